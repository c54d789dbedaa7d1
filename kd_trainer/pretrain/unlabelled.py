"""The data config of a pre-training: the inputs of another, without its labels, sampling weights and observers."""

import argparse
from collections.abc import Sequence

from kd_trainer.classes import unlabelled
from kd_trainer.configs import load, write


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer unlabelled"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer unlabelled",
        description="Write the data config of a pre-training, for files with or without labels: the inputs and the "
        "selection of CFG, without its labels, sampling weights and observers.",
    )
    parser.add_argument("--data-config", required=True, metavar="CFG")
    parser.add_argument("-o", "--output", required=True, metavar="FILE")
    args = parser.parse_args(argv)
    write(unlabelled(load(args.data_config)), args.output, f"{args.data_config} without labels")
