"""Data efficiency: performance of taggers against the number of labelled jets, for several starting weights."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare
from kd_trainer.evaluate.predictions import Prediction, class_names
from kd_trainer.evaluate.report import read_models
from kd_trainer.evaluate.style import load_style
from kd_trainer.evaluate.tables import ABSENT, plus_minus
from kd_trainer.evaluate.task import Task, make_task
from kd_trainer.files import json_of, write_json, write_text
from kd_trainer.pretrain.efficiency_plot import draw

FIGURES = {"accuracy": "accuracy", "auc": "AUC", "rejection": "rejection (geometric mean)"}
GAINS = {"accuracy_difference": "gain in accuracy", "auc_difference": "in AUC", "rejection_ratio": "rejection ratio"}


def point_of(name: str) -> tuple[str, int]:
    """(start, number of labelled jets) from 'START:LABELS'."""
    start, colon, labels = name.rpartition(":")
    if not (colon and start and labels.isdecimal() and int(labels)):
        raise InputError(f"'{name}' is not START:LABELS, with the number of labelled jets")
    return start, int(labels)


def with_numbers(name: str) -> str:
    """Replace the JSON files of `kd_trainer subset` in 'START:FILE' or 'START:FILE:FILE' by numbers: 'START:LABELS'.

    The first of two files is that of the unlabelled jets: 'finetune:unlabelled_1.json:labelled_0.1.json' becomes
    'finetune, 1000 unlabelled:100'.
    """
    start, *files = (_jets(part) if part.endswith(".json") else part for part in name.split(":"))
    if len(files) == 2 and ".json:" in name:
        return f"{start}, {files[0]} unlabelled:{files[1]}"
    return ":".join([start, *files])


def _jets(path: str) -> str:
    with json_of(path, "a file that `kd_trainer subset` has written") as content:
        return str(content["jets"])


def evaluate(
    task: Task, models: Mapping[str, Sequence[Prediction]], *, reference: str, replicas: int, title: str
) -> dict[str, Any]:
    """The content of efficiency.json, as nested dicts of plain numbers.

    Parameters
    ----------
    models : {'START:LABELS': [Prediction, one a seed]}
    reference : str
        The start with which the others are compared, at the same number of labels.
    replicas : int
        Number of bootstrap replicas of the test sample, for its uncertainty.
    """
    samples, rejections = compare.collect(task, models, replicas)
    averaged = compare.well_measured(*rejections.values())
    points = []
    for name in sorted(models, key=lambda name: (point_of(name)[1], list(models).index(name))):
        start, labels = point_of(name)
        other = f"{reference}:{labels}"
        gain = None
        if start != reference and other in models:
            gain = compare.compare(samples[name], samples[other], [point.key for point in task.points], averaged)
        figures = compare.summarise(samples[name], rejections[name], averaged)
        files = [prediction.path for prediction in models[name]]
        points.append({"start": start, "labels": labels, "files": files, **figures, "gain": gain})
    return {
        "title": title,
        "n_jets": len(task.labels),
        "classes": list(task.names),
        "reference": reference,
        "averaged": averaged,
        "starts": list(dict.fromkeys(point_of(name)[0] for name in models)),
        "points": points,
    }


def table(results: Mapping[str, Any], tablefmt: str = "github") -> str:
    """One row for each number of labels and start: mean, uncertainty, and gain over the reference."""
    header = ["labelled jets", "start", "seeds", *FIGURES.values()]
    header += [f"{text} over {results['reference']}" for text in GAINS.values()]
    rows = []
    for point in results["points"]:
        figures = [plus_minus(point[key]) for key in FIGURES]
        gains = [plus_minus(point["gain"][key]) if point["gain"] else ABSENT for key in GAINS]
        rows.append([point["labels"], point["start"], len(point["files"]), *figures, *gains])
    return tabulate(rows, header, tablefmt=tablefmt, disable_numparse=True)


def document(results: Mapping[str, Any]) -> str:
    """The text of efficiency.md."""
    return "\n".join([
        f"# {results['title'] or 'Data efficiency'}",
        "",
        table(results),
        "",
        f"{results['n_jets']} test jets. Values are means over the seeds; uncertainties are those of test jets and "
        "seeds, added in quadrature. The starts are compared on the same test jets. The rejection is the geometric "
        f"mean over the {len(results['averaged'])} working points at which every model leaves enough background jets.",
        "",
        *([results["caveat"], ""] if results["caveat"] else []),
        "![efficiency](efficiency.png)",
        "",
    ])  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer efficiency"""
    parser = argparse.ArgumentParser(prog="kd_trainer efficiency", description=__doc__)
    add = parser.add_argument
    add("models", nargs="+", metavar="START[:FILE]:LABELS=PRED[,PRED...]",
        help="name of the start; number of labelled jets, or the NAME_F.json of `kd_trainer subset`; weaver's "
        "prediction files, one for each seed. FILE is the NAME_F.json of the unlabelled jets")  # fmt: skip
    add("-o", "--output", required=True, type=Path, metavar="DIR")
    add("--reference", default="scratch", metavar="START", help="start to compare the others with (%(default)s)")
    add("--data-config", metavar="CFG", help="data config for the class names, if no ROOT file contains them")
    add("--background", help="class to reject (default: QCD, or the second of two classes)")
    add("--title", default="", help="title of the table and of the plot")
    add("--replicas", type=int, default=200, help="bootstrap replicas (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.replicas < 2:
        raise InputError("--replicas: an uncertainty needs at least 2")
    load_style()  # a missing package is reported before the work, not after it
    named = []
    for argument in args.models:
        name, equals, files = argument.partition("=")
        name = with_numbers(name)
        point_of(name)
        named.append(f"{name}{equals}{files}")
    models, caveat = read_models(named)
    predictions = [prediction for seeds in models.values() for prediction in seeds]
    task = make_task(predictions, class_names(predictions, args.data_config), args.background)
    results = evaluate(task, models, reference=args.reference, replicas=args.replicas, title=args.title)
    results["caveat"] = caveat
    written = draw(results, args.output)
    write_json(args.output / "efficiency.json", results)
    write_text(args.output / "efficiency.md", document(results))
    print(table(results, tablefmt="simple"))
    lines = [caveat, args.output / "efficiency.md", args.output / "efficiency.json", *written]
    print("", *filter(None, lines), sep="\n")
