"""The data config of a pre-training: the inputs of another, without its labels, sampling weights and observers."""

import argparse
from pathlib import Path

import yaml

from kd_trainer.classes import unlabelled
from kd_trainer.configs import load


def main(argv):
    """python -m kd_trainer unlabelled"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer unlabelled",
        description="Write the data config of a pre-training, for files with or without labels: the inputs and the "
        "selection of CFG, without its labels, sampling weights and observers.",
    )
    parser.add_argument("--data-config", required=True, metavar="CFG")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", type=Path)
    args = parser.parse_args(argv)
    text = yaml.safe_dump(unlabelled(load(args.data_config)), sort_keys=False)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(f"# {args.data_config} without labels; made by kd_trainer unlabelled, do not edit\n{text}")
