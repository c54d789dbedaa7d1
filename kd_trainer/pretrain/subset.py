"""Fixed and nested subsets of the training jets, chosen by a hash of the number of each jet.

Weaver's `--data-fraction` draws other jets in each epoch. Here a jet is in the subset of a fraction f if the hash of
its number, uniform in [0, 1), is below f. The choice does not depend on the file, the order of the jets or the epoch.
"""

import argparse
import copy
from collections.abc import Sequence
from typing import Any

import tqdm
from weaver.utils.data.eval_utils import _get_data_var_names
from weaver.utils.data.preprocess import _apply_selection
from weaver.utils.dataset import DataConfig

from kd_trainer.classes import unlabelled
from kd_trainer.configs import load, write
from kd_trainer.definitions import needed_by
from kd_trainer.errors import InputError
from kd_trainer.files import write_json
from kd_trainer.jet_files import checked_rows, chunks, files_of, inspect_all
from kd_trainer.pairing import with_sampling_weights

NUMBER = "event_number"
HASH = "kd_subset"  # name of the variable in the data config
ROWS = 1_000_000  # number of rows that are read at once


def hash_expression(number: str) -> str:
    """Weaver's expression for the hash of an integer n, in [0, 1): output n of SplitMix64 (Steele, Lea, Flood 2014).

    It is one expression, because weaver's selection can use a variable only if that does not use another variable.
    """

    def folded(value: str, shift: int) -> str:  # x ^ (x >> shift), written such that x appears only once
        return f"np.bitwise_xor.reduce(np.right_shift({value}, np.uint64([[0], [{shift}]])))"

    value = f"(np.asarray({number}).astype('uint64') + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)"
    value = f"{folded(value, 30)} * np.uint64(0xBF58476D1CE4E5B9)"
    value = f"{folded(value, 27)} * np.uint64(0x94D049BB133111EB)"
    return f"{folded(value, 31)} / 2.0**64"


def subset(options: dict[str, Any], fraction: float, number: str = NUMBER) -> dict[str, Any]:
    """Options of a data config that trains on a fraction of the jets; 1 selects all jets and needs no numbers.

    Parameters
    ----------
    fraction : float
        0 < fraction <= 1; the subset of a fraction is contained in that of every larger fraction.
    number : str
        Branch with an integer that identifies jets. Jets of several files may share a number: all are chosen, or none.

    Raises
    ------
    InputError
        If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"the fraction is {fraction}: it must be above 0 and at most 1")
    result = copy.deepcopy(options)
    if fraction < 1:
        result["new_variables"] = {**(result.get("new_variables") or {}), HASH: hash_expression(number)}
        selection = result.get("selection")
        chosen = f"({HASH} < {fraction})"
        result["selection"] = f"({selection}) & {chosen}" if selection else chosen
    return result


def count(options: dict[str, Any], paths: Sequence[str]) -> tuple[int, int]:
    """Numbers of jets in files, and of jets that pass the selection of a data config: (int, int).

    Raises
    ------
    InputError
        If a file cannot be read, or lacks a branch of the selection.
    """
    config = DataConfig(print_info=False, **copy.deepcopy(options))  # DataConfig changes the histograms of weights
    _, branches = needed_by(_get_data_var_names(config.selection or "True"), config.var_funcs)
    total = checked_rows(paths, branches, config.treename)
    if not config.selection:
        return total, total
    kept = 0
    for path in tqdm.tqdm(paths, desc="files", unit="file", disable=None):
        for table in chunks(path, branches, ROWS, config.treename):
            kept += len(_apply_selection(table, config.selection, funcs=config.var_funcs))
    return total, kept


def _check_numbers(paths: Sequence[str], number: str, treename: str | None) -> None:
    results = inspect_all(paths, {number}, treename)
    missing = [path for path, (_, trouble) in zip(paths, results) if trouble.startswith("lacks")]
    if missing:
        raise InputError(
            f"{missing[0]} (of {len(missing)}) has no {number} for the choice of jets: `kd_trainer convert` adds it to "
            "public files, `kd_trainer simulate --overwrite` to jets of an earlier version; --by names another branch"
        )


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer subset"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer subset",
        description="Write data configs that train on fixed fractions of the jets of CFG, the same in each epoch. A "
        "smaller fraction is a subset of a larger one. Validate and test with CFG itself.",
    )
    add = parser.add_argument
    add("--data-config", required=True, metavar="CFG")
    add("--fraction", required=True, nargs="+", metavar="F", help="fractions, above 0 and at most 1")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--unlabelled", action="store_true", help="without labels, like `kd_trainer unlabelled`")
    either.add_argument("--weights", metavar="CFG", help="*.auto.yaml to take the sampling weights from")
    add("--by", default=NUMBER, metavar="BRANCH", help="integer that identifies jets (default: %(default)s)")
    add("-o", "--output", required=True, metavar="NAME", help="the data configs are NAME_F.yaml")
    add("--files", required=True, nargs="+", help="training files, as for weaver; the number of chosen jets "
        "is printed and written to NAME_F.json")  # fmt: skip
    args = parser.parse_args(argv)
    options = load(args.data_config)
    sources = [load(args.weights)] if args.weights else []
    options = unlabelled(options) if args.unlabelled else with_sampling_weights(options, named=sources)
    paths = files_of(args.files)
    for fraction in dict.fromkeys(args.fraction):
        chosen = subset(options, _number(fraction), args.by)
        if HASH in (chosen.get("selection") or ""):
            _check_numbers(paths, args.by, options.get("treename"))
        total, kept = count(chosen, paths)
        if not kept:
            raise InputError(f"a fraction of {fraction} of {total} jets leaves none: give a larger one")
        output = f"{args.output}_{fraction}.yaml"
        write(chosen, output, f"{args.data_config}, {kept} of {total} jets (fraction {fraction}) to train on")
        write_json(f"{args.output}_{fraction}.json", {"jets": kept, "of": total})
        print(f"{fraction}: {kept} of {total} jets, {output}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"the fraction is {text!r}: it must be a number") from None
