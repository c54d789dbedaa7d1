"""The data config of a pre-training: the inputs of another config, without labels, sampling weights and observers."""

import argparse
from collections.abc import Sequence

from kd_trainer.classes import unlabelled
from kd_trainer.configs import load, variables_of, write
from kd_trainer.errors import InputError


def check_same_inputs(options: dict, other: dict, *, names: tuple[str, str]) -> None:
    """Raise InputError unless a network that is trained with one data config fits the other.

    Both must have the same input groups with the same numbers of variables. Names of variables may differ. `names` are
    those of the configs in the message.
    """
    first, second = (
        {name: [v[0] for v in variables_of(group)] for name, group in of["inputs"].items()} for of in (options, other)
    )
    for group in sorted({*first, *second}):
        sizes = [len(inputs.get(group, ())) for inputs in (first, second)]
        if sizes[0] != sizes[1]:
            larger, smaller = (first, second) if sizes[0] > sizes[1] else (second, first)
            more = [name for name in larger[group] if name not in smaller.get(group, ())]
            raise InputError(
                f"{group} has {sizes[0]} inputs in {names[0]} and {sizes[1]} in {names[1]} (not in both: "
                f"{', '.join(more)}): a network trained on one does not fit the other; choose another tier or dataset"
            )


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer unlabelled"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer unlabelled",
        description="Write the data config of a pre-training, for files with or without labels: the inputs and the "
        "selection of CFG, without its labels, sampling weights and observers.",
    )
    add = parser.add_argument
    add("--data-config", required=True, metavar="CFG")
    add("--same-inputs-as", metavar="CFG", help="check that the network will fit this config, for fine-tuning")
    add("-o", "--output", metavar="FILE", help="file to write; optional with --same-inputs-as")
    args = parser.parse_args(argv)
    if not (args.output or args.same_inputs_as):
        parser.error("give -o FILE, --same-inputs-as CFG or both")
    options = load(args.data_config)
    if args.same_inputs_as:
        names = args.data_config, args.same_inputs_as
        check_same_inputs(options, load(args.same_inputs_as), names=names)
    if args.output:
        write(unlabelled(options), args.output, f"{args.data_config} without labels")
