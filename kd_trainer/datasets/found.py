"""python -m kd_trainer files: which files of a dataset are there, for FILES=found of the scripts."""

import argparse
import sys
from collections.abc import Sequence

from kd_trainer.jet_files import those_there


def main(argv: Sequence[str]) -> None:
    """Print the arguments that match a file, a line each; on stderr, how many of each group they are."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer files",
        description="Which files of a list are there: each on a line, and on stderr how many of each group those are. "
        "Exit code 1 if a group has none.",
    )
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, patterns or name:pattern, as for weaver")
    there, text = those_there(parser.parse_args(argv).files)
    if text:
        print(f"found: {text}", file=sys.stderr)
    print(*there, sep="\n")
