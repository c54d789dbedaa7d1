"""python -m kd_trainer check: check the input files before a long training.

The command reads the metadata of every file: whether it opens, whether it has the branches that the data configs read,
and its number of jets. It reads the labels of the first rows of every file. In the first rows of some files it looks
for NaN, infinity and lists of different lengths. `--all` reads every value.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import awkward as ak
import numpy as np
import tabulate
import tqdm
from weaver.utils.dataset import DataConfig

from kd_trainer.classes import is_unlabelled, names_of, shown
from kd_trainer.configs import load
from kd_trainer.errors import InputError, one_line, some
from kd_trainer.families import columns_of, part
from kd_trainer.jet_files import (
    Found,
    Opened,
    check_numbers,
    chunks,
    first_rows,
    inspect,
    named_files,
    needed_branches,
    series,
)
from kd_trainer.jet_labels import classes_in, plan

MANY_CLASSES = 12  # with more classes, the table has one column for all of them
CHUNK = 20_000  # rows in memory at once
WITHOUT = "--allow-missing-classes accepts this; with the scripts, use -o allow_missing_classes True"
SAMPLED = 20  # number of files whose values are read


def by_group(named: Iterable[tuple[str, str]], parts: Collection[str] = ()) -> dict[str, list[str]]:
    """Group the paths of `named_files` by their name; paths without a name by folder and part of the dataset."""
    groups: dict[str, list[str]] = {}
    for name, path in named:
        part, folder = series(path), os.path.dirname(path) or "."
        groups.setdefault(name or (f"{folder}/{part}_*" if part in parts else folder), []).append(path)
    return groups


def tables(
    path: str, branches: Collection[str], rows: int | None, treename: str | None, file: Opened | None = None
) -> Iterator[ak.Array]:
    """Yield the first rows of a file as one table; if `rows` is None, all rows in tables of `CHUNK` rows.

    `file` is the file if it is already open.
    """
    if rows is None:
        whole: Iterable[ak.Array] = chunks(path, branches, CHUNK, treename)
    else:
        whole = [file.first(branches, rows) if file else first_rows(path, branches, rows, treename)]
    for table in whole:
        check_numbers(table, branches)
        yield table


def labels(path: str, config: DataConfig, rows: int | None = None, file: Opened | None = None) -> np.ndarray:
    """Class indices of the selected jets in the first rows of a file (None: in all rows), as in `classes_in`."""
    found = [classes_in(table, config) for table in tables(path, plan(config)[0], rows, config.treename, file)]
    return np.concatenate(found or [np.zeros(0, dtype=int)])


def look(path: str, branches: Collection[str], config: DataConfig, rows: int | None) -> tuple[Found, Any]:
    """What `inspect` finds in a file, and its `labels`; the file is opened once, unless all rows are read.

    Instead of the labels there is a text that says why they cannot be read, or None if the file is unusable.
    """
    read: list[Any] = []

    def read_labels(file: Opened) -> None:
        read.append(or_trouble(partial(labels, config=config, rows=rows, file=file))(path))

    return inspect(path, branches, config.treename, read_labels), read[0] if read else None


def defects(path: str, branches: Collection[str], rows: int | None, treename: str | None = None) -> list[str]:
    """Describe what is wrong with the values of the branches in the first rows of a file (None: in all rows)."""
    not_finite: Counter[str] = Counter()
    ragged: Counter[str] = Counter()
    empty: Counter[str] = Counter()
    for table in tables(path, branches, rows, treename):
        lengths: dict[str, np.ndarray] = {}  # lengths of the lists, by the prefix of the branch
        for name in sorted(branches):
            finite = np.isfinite(table[name])
            while finite.ndim > 1:
                finite = ak.all(finite, axis=-1)
            if table[name].ndim > 1:
                length, prefix = ak.to_numpy(ak.num(table[name], axis=1)), name.partition("_")[0]
                first = lengths.setdefault(prefix, length)
                ragged[name] += int((length != first).sum())
                empty[prefix] += int((length == 0).sum()) if first is length else 0
            not_finite[name] += int((~ak.to_numpy(ak.fill_none(finite, False))).sum())
    texts = [f"has NaN or infinity in {', '.join(names)} ({most} jets)" for names, most in _worst(not_finite)]
    texts += [f"has lists in {', '.join(names)} whose length differs from that of other branches ({most} jets)"
              for names, most in _worst(ragged)]  # fmt: skip
    return texts + [f"has {most} jets with empty lists in {', '.join(names)}_*" for names, most in _worst(empty)]


def _worst(counts: Counter[str]) -> list[tuple[list[str], int]]:
    """Names with a count above 0, and the largest of their counts; an empty list if there are none."""
    names = [name for name, count in sorted(counts.items()) if count]
    return [(names, max(counts.values()))] if names else []


def check(
    groups: Mapping[str, Sequence[str]],
    configs: Sequence[DataConfig],
    rows: int | None,
    allow_missing_classes: bool = False,
) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """Check the files of all groups: the labels in the first `rows` of each, the values of some; None reads everything.

    Returns
    -------
    (list of tables, list of str)
        A table with one row per group and, if there are many classes, one with a row per family of classes; and the
        problems that were found.
    """
    paths = list(dict.fromkeys(path for group in groups.values() for path in group))
    trained_on = set().union(*(needed_branches(config) for config in configs))
    branches = trained_on.union(*(needed_branches(config, training=False) for config in configs))
    treename = configs[0].treename
    bar = partial(tqdm.tqdm, total=len(paths), desc="files", unit="file", disable=None)
    names = [] if is_unlabelled(configs[0].labels) else [shown(name) for name in names_of(configs[0].labels)]
    with ThreadPoolExecutor(4) as pool:
        looks = dict(zip(paths, bar(pool.map(lambda path: look(path, branches, configs[0], rows), paths))))
        metadata = {path: inspected for path, (inspected, _) in looks.items()}
        troubles = [f"{path} {trouble}" for path, (_, trouble) in metadata.items() if trouble]
        found = {path: values for path, (_, values) in looks.items() if isinstance(values, np.ndarray)}
        troubles += [f"{path} {text}" for path, (_, text) in looks.items() if isinstance(text, str)]
        chosen = list(found) if rows is None else sampled(list(found))
        for path, texts in zip(chosen, pool.map(or_trouble(lambda x: defects(x, trained_on, rows, treename)), chosen)):
            troubles += [f"{path} {text}" for text in ([texts] if isinstance(texts, str) else texts)]
    troubles += [f"{path} has jets in no class or in several" for path, values in found.items() if (values < 0).any()]
    if parts_of(names):
        troubles += foreign(found, names)
    if names and found and not allow_missing_classes:
        missing = missing_classes(list(found), found, configs[0], len(names))
        if missing:
            which = some([names[i] for i in missing], 10)
            troubles.append(f"no jets of {len(missing)} of the {len(names)} classes: {which} ({WITHOUT})")
    tables = [[summary(name, group, metadata, found, names) for name, group in groups.items()]]
    tables += [by_family(found, names)] if len(names) > MANY_CLASSES else []
    return tables, troubles


def parts_of(names: Sequence[str]) -> set[str]:
    """The names of the three parts of JetClass-II, if these are its classes."""
    parts = {part(name) for name in names} - {""}
    return parts if len(parts) > 1 else set()


def foreign(found: Mapping[str, np.ndarray], names: Sequence[str]) -> Iterator[str]:
    """Describe each JetClass-II file with jets that belong in files of another name."""
    for path, values in found.items():
        wrong = {names[i] for i in np.unique(values[values >= 0]) if part(names[i]) not in ("", series(path))}
        if series(path) in parts_of(names) and wrong:
            yield f"{path} has jets of {', '.join(sorted(wrong)[:3])}, which are not classes of {series(path)}"


def by_family(found: Mapping[str, np.ndarray], names: Sequence[str]) -> list[dict[str, Any]]:
    """One table row per family of classes: how many of its classes were seen, and their number of jets."""
    values = np.concatenate([*found.values(), np.zeros(0, dtype=int)])
    jets = np.bincount(values[values >= 0], minlength=len(names))
    return [
        {"classes": family, "seen": f"{np.count_nonzero(jets[columns])} of {len(columns)}", "jets": jets[columns].sum()}
        for family, columns in columns_of(names).items()
    ]


def sampled(paths: Sequence[str]) -> Sequence[str]:
    """Some of many files."""
    return paths[:: max(1, len(paths) // SAMPLED)]


def or_trouble(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap a function of a path: if the file cannot be read, the new function returns a text that says why."""

    def reading(path: str) -> Any:
        try:
            return read(path)
        except Exception as error:
            return f"cannot be read whole: {one_line(error).removeprefix(f'{path} cannot be read: ')}"

    return reading


def missing_classes(
    paths: Sequence[str], found: Mapping[str, np.ndarray], config: DataConfig, num_classes: int
) -> list[int]:
    """Classes without jets; whole files are read only if the first rows do not contain all classes."""
    seen = set().union(*(np.unique(values).tolist() for values in found.values()))
    for path in paths:
        if seen.issuperset(range(num_classes)):
            break
        values = or_trouble(partial(labels, config=config))(path)
        if isinstance(values, str):
            raise InputError(f"{path} {values}")
        seen |= set(np.unique(values).tolist())
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
        description="Check input files before a long training. Every file has to open and to have the branches that "
        "the data configs read, and every class needs jets. Values have to be finite, and the lists of a jet equally "
        "long; this is checked for a sample of the files, or for all. Exit code 1 if there is a problem.",
    )
    parser.add_argument("--data-config", required=True, action="append", metavar="CFG", help="can be repeated")
    parser.add_argument("--rows", type=int, default=1000, help="rows of each file to read labels from (default 1000)")
    parser.add_argument("--all", action="store_true", help="read every value of every file, to find damaged pages, "
                        "NaN and lists of different lengths (default: a sample)")  # fmt: skip
    parser.add_argument("--allow-missing-classes", action="store_true", help="accept classes without jets")
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, patterns or name:pattern, as for weaver")
    args = parser.parse_args(argv)
    if args.rows < 1:
        raise InputError(f"--rows is {args.rows}: it must be at least 1")
    configs = [DataConfig(print_info=False, **load(path)) for path in args.data_config]
    named = named_files(args.files)
    classes = [shown(name) for name in names_of(configs[0].labels)]
    groups = by_group(named, parts_of(classes))
    found, troubles = check(groups, configs, None if args.all else args.rows, args.allow_missing_classes)
    for rows in found:
        print(tabulate.tabulate(rows, headers="keys", floatfmt="g"), end="\n\n")
    if args.all:
        print("(all values of all files were read)")
    else:
        number = len(sampled(sorted({path for _, path in named})))
        print(f"(classes were counted in the first {args.rows} rows of each file, values were checked in {number} "
              "files; --all reads everything)")  # fmt: skip
    if troubles:
        more = f" (and {len(troubles) - 20} more)" if len(troubles) > 20 else ""
        raise InputError(f"{len(troubles)} problem{'s' * (len(troubles) > 1)}: " + "; ".join(troubles[:20]) + more)
