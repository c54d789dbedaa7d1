"""python -m kd_trainer study: compare the results of a study in results.json, tables and figures.

train_scripts/study.sh runs the steps themselves, with snakemake.
"""

import argparse
import os
from pathlib import Path

from kd_trainer.errors import InputError
from kd_trainer.study import plan as plans


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kd_trainer study",
        description="Compare the trained and tested taggers of a study (--report), or update the tables of a Markdown "
        "file from stored results (--document). train_scripts/study.sh trains and tests the taggers.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="STUDY.yaml; RESULTS.json for --document")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR",
                        help="folder of the results; the Markdown file for --document")  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--report", action="store_true", help="write results.json, results.md and figures to DIR")
    what.add_argument("--document", action="store_true", help="update tables and figures from stored results")
    parser.add_argument("--replicas", type=int, default=200, help="bootstrap replicas of the test jets (default: 200)")
    args = parser.parse_args(argv)
    if args.replicas < 2:
        raise InputError("--replicas: an uncertainty needs at least 2")
    if not args.document and len(args.files) > 1:
        raise InputError("--report takes one study: give one STUDY.yaml")
    return args


def main(argv: list[str]) -> int:
    """Write the report or the document."""
    args = parse(argv)
    if args.document:
        from kd_trainer.study.document import write_document

        return write_document(args.files, args.output)
    plan = plans.read(args.files[0], os.environ)
    from kd_trainer.study.report import write_report  # imports torch, so the YAML is checked before

    return write_report(plan, args.output, replicas=args.replicas)
