"""python -m kd_trainer check: look at the input files before a long training.

Metadata of every file (does it open, has it the branches that the data configs read, how many jets), labels of the
first rows of every file, NaN and infinity in the first rows of some.
"""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import awkward as ak
import numpy as np
import tabulate
import tqdm
from weaver.utils.data.eval_utils import _get_data_var_names
from weaver.utils.data.preprocess import _apply_selection, _build_new_variables
from weaver.utils.dataset import DataConfig

from kd_trainer.classes import names_of, shown
from kd_trainer.configs import load
from kd_trainer.errors import InputError
from kd_trainer.jet_files import Found, first_rows, inspect_all, named_files, needed_branches

MANY_CLASSES = 12  # above it the table has one column for all classes


def by_group(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Paths of `named_files` by the name of their group, or by the folder of those without one."""
    groups: dict[str, list[str]] = {}
    for name, path in named:
        groups.setdefault(name or os.path.dirname(path) or ".", []).append(path)
    return groups


def label_plan(config: DataConfig) -> tuple[set[str], dict[str, str]]:
    """What to read and to compute for the labels: (branches, {variable: expression})."""
    wanted, needed, branches = [config.label_names[0]], set(), set(_get_data_var_names(config.selection or "True"))
    wanted += sorted(branches)
    branches = set()
    while wanted:
        name = wanted.pop()
        if name in config.var_funcs and name not in needed:
            needed.add(name)
            wanted += _get_data_var_names(config.var_funcs[name])
        elif name not in needed:
            branches.add(name)
    return branches, {k: v for k, v in config.var_funcs.items() if k in needed}


def labels(path: str, config: DataConfig, rows: int | None = None) -> np.ndarray:
    """Class indices of the selected jets among the first rows of a file; -1 for a jet in no class or in several."""
    branches, functions = label_plan(config)
    table = first_rows(path, branches, rows, config.treename)
    table = _apply_selection(table, config.selection, funcs=config.var_funcs)
    table = _build_new_variables(table, functions)
    values = ak.to_numpy(table[config.label_names[0]]).astype(int)
    if config.label_type == "simple":
        flags = np.stack([ak.to_numpy(table[name]) for name in config.label_value], axis=1)
        values = np.where(flags.sum(axis=1) == 1, values, -1)
    return values


def non_finite(path: str, branches: Iterable[str], rows: int | None, treename: str | None = None) -> list[str]:
    """Names of the branches with NaN or infinity in the first rows of a file."""
    table = first_rows(path, branches, rows, treename)
    return [name for name in sorted(branches) if not np.isfinite(ak.to_numpy(ak.flatten(table[name], axis=None))).all()]


def check(
    groups: Mapping[str, Sequence[str]], configs: Sequence[DataConfig], rows: int, allow_missing_classes: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Look at the files of all groups.

    Returns
    -------
    (list of table rows as dicts, list of str)
        A row a group, and the troubles found.
    """
    paths = list(dict.fromkeys(path for group in groups.values() for path in group))
    trained_on = set().union(*(needed_branches(config) for config in configs))
    branches = trained_on.union(*(needed_branches(config, training=False) for config in configs))
    treename = configs[0].treename
    bar = partial(tqdm.tqdm, total=len(paths), desc="files", unit="file", disable=None)
    metadata = dict(zip(paths, inspect_all(paths, branches, treename, bar)))
    troubles = [f"{path} {trouble}" for path, (_, trouble) in metadata.items() if trouble]
    good = [path for path, (_, trouble) in metadata.items() if not trouble]

    names = [shown(name) for name in names_of(configs[0].labels)]
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(good, pool.map(lambda path: labels(path, configs[0], rows), good)))
        some = good[:: max(1, len(good) // 20)]
        scans = pool.map(lambda path: non_finite(path, trained_on, rows, treename), some)
        for path, bad in zip(some, scans):
            if bad:
                troubles.append(f"{path} has NaN or infinity in {', '.join(bad)}")
    troubles += [f"{path} has jets in no class or in several" for path, values in found.items() if (values < 0).any()]
    if names and not allow_missing_classes:
        missing = missing_classes(good, found, configs[0], len(names))
        if missing:
            first = ", ".join(names[i] for i in missing[:10])
            troubles.append(f"no jets of {len(missing)} of the {len(names)} classes: {first}")
    return [summary(name, group, metadata, found, names) for name, group in groups.items()], troubles


def missing_classes(
    paths: Sequence[str], found: Mapping[str, np.ndarray], config: DataConfig, num_classes: int
) -> list[int]:
    """Classes without a jet; whole files are read only for classes that the first rows did not show."""
    seen = set().union(*(np.unique(values).tolist() for values in found.values()))
    for path in paths:
        if seen.issuperset(range(num_classes)):
            break
        seen |= set(np.unique(labels(path, config)).tolist())
    return [i for i in range(num_classes) if i not in seen]


def summary(
    name: str,
    paths: Sequence[str],
    metadata: Mapping[str, Found],
    found: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> dict[str, Any]:
    """The table row of a group: files, jets, and the jets of each class among the first rows of its files."""
    row = {"files of": name, "files": len(paths), "jets": sum(metadata[path][0] for path in paths)}
    values = np.concatenate([found[path] for path in paths if path in found] or [np.zeros(0, dtype=int)])
    if names and len(names) <= MANY_CLASSES:
        row.update(zip(names, np.bincount(values[values >= 0], minlength=len(names)).tolist()))
    else:
        row["classes seen"] = f"{len(np.unique(values[values >= 0]))} of {len(names) if names else '?'}"
    return row


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer check"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer check",
        description="Look at input files before a long training: that each opens, has the branches that the data "
        "configs read, and jets of every class; and NaN or infinity in a sample. Exit code 1 on trouble.",
    )
    parser.add_argument("--data-config", required=True, action="append", metavar="CFG", help="can be repeated")
    parser.add_argument("--rows", type=int, default=1000, help="rows of each file to read labels from (default 1000)")
    parser.add_argument("--allow-missing-classes", action="store_true", help="a class without jets is no trouble")
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, patterns or name:pattern, as for weaver")
    args = parser.parse_args(argv)
    if args.rows < 1:
        raise InputError(f"--rows is {args.rows}: it must be at least 1")
    configs = [DataConfig(print_info=False, **load(path)) for path in args.data_config]
    rows, troubles = check(by_group(named_files(args.files)), configs, args.rows, args.allow_missing_classes)
    print(tabulate.tabulate(rows, headers="keys", floatfmt="g"))
    print(f"(classes: among the first {args.rows} rows of each file)")
    if troubles:
        more = f" (and {len(troubles) - 20} more)" if len(troubles) > 20 else ""
        raise InputError(f"{len(troubles)} troubles: " + "; ".join(troubles[:20]) + more)
