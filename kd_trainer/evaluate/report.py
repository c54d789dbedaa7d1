"""python -m kd_trainer report: compare taggers from weaver's prediction files, in tables, plots and sentences."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kd_trainer import families
from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare, content, firmware, latency, markdown, page, plots, published, style, tables
from kd_trainer.evaluate.predictions import SIDECAR_KEYS, Prediction, check_all_same_jets, class_names, read, sidecar
from kd_trainer.evaluate.recovered import logarithm, recovered
from kd_trainer.evaluate.task import Task, make_task
from kd_trainer.evaluate.trainings import recorded
from kd_trainer.evaluate.working_points import MANY_CLASSES
from kd_trainer.files import json_text, write_text
from kd_trainer.jet_files import files_of

PACKAGES = ("weaver-kd", "numpy", "matplotlib")  # packages whose versions a report contains
DISTILLED, BASELINE = "distilled", "baseline"  # parts of model names that are compared by default


def read_models(arguments: Iterable[str]) -> tuple[dict[str, list[Prediction]], str]:
    """{name: [Prediction, one for each seed]} of the arguments NAME=PRED[,PRED...], checked for equal jets.

    It is returned with the sentence of `check_all_same_jets`. Observers are dropped, because they may need as much
    memory as the scores.
    """
    models: dict[str, list[Prediction]] = {}
    for argument in arguments:
        name, equals, patterns = argument.partition("=")
        if not (name and equals and patterns):
            raise InputError(f"'{argument}' is not NAME=PRED[,PRED...]")
        if name in models:
            raise InputError(f"the name {name} is given twice; give the seeds of a model as {name}=PRED,PRED")
        paths = files_of(item for item in patterns.split(",") if item)
        models[name] = [read(path) for path in dict.fromkeys(paths)]
    caveat = check_all_same_jets([prediction for seeds in models.values() for prediction in seeds])
    return {name: [p._replace(observers={}) for p in seeds] for name, seeds in models.items()}, caveat


def pairs_to_compare(wanted: Iterable[str] | None, names: Sequence[str]) -> list[tuple[str, str]]:
    """(numerator, denominator) of each `--compare A=B`; by default each distilled model and its baseline.

    The baseline of 'PFN distilled' is 'PFN baseline'.
    """
    if wanted is None:
        pairs = [(name, name.replace(DISTILLED, BASELINE)) for name in names if DISTILLED in name]
        return [pair for pair in pairs if pair[1] in names]
    pairs = []
    for text in wanted:
        first, _, second = text.partition("=")
        for name in (first, second):
            if name not in names:
                raise InputError(f"--compare {text}: '{name}' is not among the models given ({', '.join(names)})")
        pairs.append((first, second))
    return pairs


def evaluate(
    task: Task,
    models: Mapping[str, Sequence[Prediction]],
    pairs: Iterable[tuple[str, str]],
    *,
    title: str,
    replicas: int,
    reference: Mapping[str, Any] | None = None,
    ceiling: str | None = None,
) -> dict[str, Any]:
    """The content of report.json, as nested dicts of plain numbers; `reference` comes from `published.select`.

    `ceiling` is the larger model for the recovered fractions.
    """
    samples, rejections = compare.collect(task, models, replicas)
    averaged = compare.well_measured(*rejections.values())
    points = [point.key for point in task.points]
    jets = np.bincount(task.labels, minlength=len(task.names)).tolist()
    columns = families.columns_of(task.names)
    results: dict[str, Any] = {
        "title": title,
        "n_jets": len(task.labels),
        "jets_per_class": dict(zip(task.names, jets)),
        "background": {"name": task.background_name, "classes": [task.names[i] for i in task.background]},
        "working_points": [{"key": point.key, **point._asdict()} for point in task.points],
        "averaged": averaged,
        "bootstrap_replicas": replicas,
        "models": {},
        "comparisons": [],
        "published": reference,
        "versions": {package: version(package) for package in PACKAGES},
    }
    for name, predictions in models.items():
        files = [p.path for p in predictions]
        known = sidecar(files)
        results["models"][name] = {
            "files": files,
            **{key: known.get(key) for key in SIDECAR_KEYS if key != "name"},
            "trainings": [recorded(path) for path in files],
            **compare.summarise(samples[name], rejections[name], averaged),
        }
        if len(columns) <= MANY_CLASSES < len(task.names):
            results["families"] = list(columns)
            found = [families.confusion(task.labels, p.scores, columns.values()) for p in predictions]
            fractions = np.mean(found, axis=0)
            results["models"][name]["confusion"] = np.where(np.isnan(fractions), np.array(None), fractions).tolist()
    for first, second in pairs:
        together = compare.well_measured(rejections[first], rejections[second])
        comparison = {
            "numerator": first,
            "denominator": second,
            "distilled_over_baseline": DISTILLED in first and BASELINE in second,
            **compare.compare(samples[first], samples[second], points, together),
        }
        if ceiling not in (None, first, second):
            shared = compare.well_measured(*(rejections[name] for name in (first, second, ceiling)))
            comparison["recovered"] = of_the_way([samples[name] for name in (first, second, ceiling)], shared, ceiling)
        results["comparisons"].append({**comparison, "conclusion": content.conclusion(results, comparison)})
    return results


def of_the_way(models: Sequence[compare.Samples], points: Sequence[str], ceiling: str) -> dict[str, Any]:
    """Recovered fractions of the gap to a ceiling, from the samples of student, twin and ceiling; None if unknown.

    They are computed for the AUC, and for the logarithm of the rejection (geometric mean over working points).
    """
    aucs = [samples["auc"] for samples in models if "auc" in samples]
    means = [compare.mean_over_points(samples, points) for samples in models]
    logs = [logarithm(mean) for mean in means if mean]
    return {
        "ceiling": ceiling,
        "auc": recovered(*aucs) if len(aucs) == len(models) else None,
        "log_rejection": recovered(*logs) if len(logs) == len(models) else None,
    }


def add_latencies(results: dict[str, Any], path: Path) -> None:
    """Add the latencies of latency.json to the results: for each model, and the conditions of the measurement."""
    measured = latency.read(path)
    found = latency.of_models(measured["rows"], results["models"])
    rows = [row for row in found.values() if row]
    if not rows:
        known = ", ".join(dict.fromkeys(row["model"] for row in measured["rows"]))
        raise InputError(f"--latency {path} has none of the models of the report, but {known}: use the same names")
    results["latency"] = {
        "file": str(path),
        "processor": measured["machine"]["processor"],
        "conditions": latency.conditions(rows),
    }
    for name, row in found.items():
        results["models"][name]["latency"] = row


def main(argv: Sequence[str]) -> None:
    """Read and compare, write DIR/report.html, .md, .json and the plots, and print main table and conclusions."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer report", description="Compare taggers from weaver's prediction files of one test sample."
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="NAME=PRED[,PRED...]", help="a model and the files of its seeds")
    add("-o", "--output", required=True, type=Path, metavar="DIR")
    add("--data-config", metavar="CFG", help="for the class names, if no ROOT file has them")
    add("--background", help="class to reject, or a common part of several names (default: QCD, or the second of two)")
    add("--signals", nargs="+", action="extend", metavar="S[/B]",
        help="rejections to quote: S for signal S against the background, S/B against the class B (default: all signal "
        "classes; X_bb X_cc X_cc/X_bb for the 188 classes of JetClass-II)")  # fmt: skip
    add("--compare", nargs="+", action="extend", metavar="A=B",
        help="ratios of A over B (default: distilled=baseline)")  # fmt: skip
    add("--ceiling", metavar="NAME", help="a larger model: quote the fraction of the gap that a comparison closes")
    add("--published", default="auto", choices=["auto", "none", *published.load()],
        help="published results to print (default: chosen by the class names); name the benchmark if the predictions "
        "are for its test set, to draw its results in the ROC plot too")  # fmt: skip
    add("--latency", type=Path, metavar="latency.json", help="from kd_trainer bench latency, same names: a column")
    add("--firmware", nargs="+", action="extend", default=[], metavar="NAME=firmware.json",
        help="from kd_trainer firmware: one line each")  # fmt: skip
    add("--title", default="", help="title of the report and of the plots")
    add("--replicas", type=int, default=200, help="bootstrap replicas (default: 200)")
    args = parser.parse_args(argv)
    if args.replicas < 2:
        raise InputError("--replicas: an uncertainty needs at least 2")
    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"--output {args.output} is a file; give a folder")
    of_firmware = firmware.sentences(args.firmware)
    style.load_style()  # a missing package is reported before the work, not after it
    models, caveat = read_models(args.models)
    predictions = [p for seeds in models.values() for p in seeds]
    task = make_task(predictions, class_names(predictions, args.data_config), args.background, args.signals)
    reference = published.select(args.published, task.names)
    pairs = pairs_to_compare(args.compare, list(models))
    if args.ceiling and args.ceiling not in models:
        raise InputError(f"--ceiling {args.ceiling} is not among the models given ({', '.join(models)})")
    results = evaluate(
        task, models, pairs, title=args.title, replicas=args.replicas, reference=reference, ceiling=args.ceiling
    )
    results |= {"caveat": caveat, "firmware": of_firmware}
    if args.latency:
        add_latencies(results, args.latency)
    drawn = None if args.published == "auto" else reference
    figures = plots.draw_all(results, task, models, args.output, drawn)
    found, data = content.report(results, figures), json_text(results)
    texts = {
        "report.html": page.document(found, figures, data),
        "report.md": markdown.document(found),
        "report.json": data,
    }
    for name, text in texts.items():
        write_text(args.output / name, text)
    print(markdown.table(tables.main_table(results), "simple"))
    for sentence in content.findings(results):
        print(f"\n{sentence}")
    if reference:
        print(f"\nPublished results on {reference['benchmark']}, for orientation: see {args.output / 'report.html'}")
    written = [path for name in figures for path in plots.paths(args.output, name)]
    print("", *(args.output / name for name in texts), *written, sep="\n")
