"""The data config of a pre-training: the inputs of another, without its labels, sampling weights and observers."""

import argparse
import copy
from pathlib import Path

import yaml

from kd_trainer.configs import load
from kd_trainer.errors import InputError


def unlabelled(options):
    """Options of a data config that reads files without labels.

    Weaver does not run without a label: it is the constant 0, made from the mask of the particles.

    Raises
    ------
    InputError
        If the config has no mask.
    """
    mask = (options["inputs"].get("pf_mask") or {}).get("vars")
    if not mask:
        raise InputError("the data config has no pf_mask: augmentation must know which particles are real")
    name = mask[0][0] if isinstance(mask[0], list) else mask[0]
    result = copy.deepcopy(options)
    for section in ("weights", "observers", "monitor_variables"):
        result.pop(section, None)
    result["labels"] = {"type": "custom", "value": {"no_label": f"0 * ak.num({name}, axis=1)"}}
    return result


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
