"""python -m kd_trainer files: list the files of a dataset that exist, for FILES=found of the scripts."""

import argparse
import sys
from collections.abc import Sequence

from kd_trainer.jet_files import those_there


def main(argv: Sequence[str]) -> None:
    """Print the arguments that match a file, one per line; print their number in each group on stderr."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer files",
        description="Print which files of a list exist, one per line, and on stderr their number in each group. "
        "Exit code 1 if a group has none.",
    )
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, patterns or name:pattern, as for weaver")
    there, text = those_there(parser.parse_args(argv).files)
    if text:
        print(f"found: {text}", file=sys.stderr)
    print(*there, sep="\n")
