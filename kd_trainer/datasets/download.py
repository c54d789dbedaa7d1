"""python -m kd_trainer download: fetch and verify public datasets and checkpoints, where the scripts look for them."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tabulate
import yaml

from kd_trainer.errors import InputError
from kd_trainer.files import make_directory

Part = dict[str, Any]  # files that are fetched together
Table = dict[str, list[Part]]

TABLE = Path(__file__).with_name("downloads.yaml")
NEEDS = {"url": "requests", "doi": "pooch", "hub": "huggingface_hub"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kd_trainer download", description=__doc__.partition(": ")[2])
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="what to fetch: a name or a part from --list")
    add("-d", "--directory", type=Path, default="datasets", metavar="DIR", help="default: %(default)s")
    add("--list", action="store_true", help="print the names and parts")
    args = parser.parse_args(argv)
    table = load_table(TABLE)
    if args.list:
        print(listing(table))
        return 0
    parts = choose(table, args.names)
    for package in ["requests", *(NEEDS[kind] for part in parts for kind in part if kind in NEEDS)]:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{package} is not installed; pip install 'weaver-kd[download]'")
    make_directory(args.directory)
    try:
        importlib.import_module("kd_trainer.datasets.fetching").fetch_parts(parts, args.directory)
    except KeyboardInterrupt:
        print("download: stopped; the same command goes on from here")
        return 130
    except OSError as error:
        raise InputError(f"cannot write to {args.directory}: {error}") from error
    return 0


def load_table(path: Path) -> Table:
    """The table of downloads, each part with its name: dict of str to list of dict."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, parts in table.items():
        for part in parts:
            part.setdefault("name", part["url"].rpartition("/")[2] if "url" in part else name)
    return table


def listing(table: Table) -> str:
    """The table as text."""
    rows = [
        {"name": name if i == 0 else "", "part": part["name"], "to": part["to"], "from": _address(part)}
        for name, parts in table.items()
        for i, part in enumerate(parts)
    ]
    return tabulate.tabulate(rows, headers="keys")


def _address(part: Part) -> str:
    kind = next(kind for kind in NEEDS if kind in part)
    return part[kind] if kind == "url" else f"{kind}: {part[kind]}"


def choose(table: Table, names: Sequence[str]) -> list[Part]:
    """The parts with the given names, each once; InputError if there is no name, or an unknown one."""
    known = dict(table)
    for parts in table.values():
        known |= {part["name"]: [part] for part in parts if part["name"] not in table}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"unknown name '{unknown[0]}'" if unknown else "nothing to fetch"
        raise InputError(f"{what}; valid are: {', '.join(known)}")
    return list({id(part): part for name in names for part in known[name]}.values())
