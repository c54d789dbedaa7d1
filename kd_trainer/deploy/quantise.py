"""python -m kd_trainer quantise: convert an exported model to 8 bits, and measure its physics performance and speed."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_trainer.arguments import check_at_least
from kd_trainer.classes import shown
from kd_trainer.deploy import session
from kd_trainer.deploy.inputs import Inputs, label_view, labels
from kd_trainer.deploy.model_dir import INT8, MODEL, QUANTISED, Exported, check_model, read, record, sign
from kd_trainer.deploy.reading import read_inputs
from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare
from kd_trainer.evaluate.predictions import SIMPLE_LABEL, Prediction
from kd_trainer.evaluate.task import make_task
from kd_trainer.files import replacing, write_json
from kd_trainer.jet_files import files_of
from kd_trainer.machine import machine
from kd_trainer.timing import alternate, rates, ratio, text

FIGURES = {"accuracy_difference": "accuracy", "auc_difference": "AUC", "rejection_ratio": "background rejection"}


def labelled_sample(files: Sequence[str], exported: Exported, jets: int) -> tuple[Inputs, np.ndarray]:
    """(inputs, labels) of jets with known true classes, with the selection of weaver's prediction."""
    view = label_view(exported.options)
    events, chosen = read_inputs(files, exported.config, jets, view.test_load_branches, selected=True)
    return chosen.inputs, labels(events, view)[chosen.rows]


def figures(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray,
    names: Sequence[str],
    pairs: Iterable[tuple[str, str]],
    replicas: int = 200,
) -> dict[str, Any]:
    """Accuracy, AUC and rejections of models on the same jets, and comparisons of pairs of models.

    Parameters
    ----------
    scores : {name of model: (N, K)}
    truth : (N,) true classes.
    names : (K,) classes.
    pairs : list of (name, name of the reference)

    Returns
    -------
    dict
        `models`: {name: `compare.summarise`}; `changes`: {"name / reference": `compare.compare`}.
    """
    predictions = {k: [Prediction(k, list(names), s, truth, SIMPLE_LABEL, {})] for k, s in scores.items()}
    task = make_task([p for seeds in predictions.values() for p in seeds], [shown(name) for name in names])
    samples, rejections = compare.collect(task, predictions, replicas)
    points, keys = compare.well_measured(*rejections.values()), [p.key for p in task.points]
    return {
        "models": {name: compare.summarise(samples[name], rejections[name], points) for name in scores},
        "changes": {f"{a} / {b}": compare.compare(samples[a], samples[b], keys, points) for a, b in pairs},
    }


def verdict(change: Mapping[str, Any], subject: str, reference: str = "single precision") -> list[str]:
    """Sentences about the loss of a reduced precision, and whether it exceeds the statistical uncertainty.

    Parameters
    ----------
    change : see `compare.compare`
    subject : subject of the sentences, in the plural, such as '8 bits'.
    reference : name of the reference.
    """
    sentences = []
    for key, name in FIGURES.items():
        if change[key] is None:
            sentences.append(f"There are too few test jets to compare the {name}.")
            continue
        value, error = change[key]["value"], change[key]["statistical"]
        shown = f"{value:.4f} ± {error:.4f}"
        if key.endswith("ratio"):
            lost, shown = value < 1 - error, f"{shown} times that of {reference}"
        else:
            lost, shown = value < -error, f"it changes by {shown}"
        if lost:
            sentences.append(f"{subject} LOSE {name}: {shown}, more than the statistical uncertainty.")
        else:
            sentences.append(f"{subject} lose no {name} beyond the statistical uncertainty: {shown}.")
    return sentences


def speed(sessions: Mapping[str, Any], inputs: Inputs, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Jets per second of each model, and the ratio to the first one."""
    sides = {name: (lambda s=s: session.run(s, inputs, batch_size)) for name, s in sessions.items()}
    seconds = alternate(sides, repetitions)
    jets = len(next(iter(inputs.values())))
    first, *others = sessions
    return {
        "batch_size": batch_size,
        "jets_per_s": {name: rates(found, jets) for name, found in seconds.items()},
        "ratios": {f"{name} / {first}": ratio(seconds[name], seconds[first]) for name in others},
    }


def make_int8(exported: Exported, calibration: Inputs) -> tuple[Path, Path]:
    """Write the 8-bit variant of a model; returns the paths of both."""
    original, target = exported.folder / MODEL, exported.folder / INT8
    fp32 = session.open_session(original)
    check_model(fp32, original, exported)
    from kd_trainer.deploy import int8  # needs the extra onnx; open_session has checked for it

    with replacing(target) as temporary:
        int8.quantise(original, temporary, calibration, [x.name for x in fp32.get_inputs()])
        sign(target.parent, temporary)
    record(target.parent, target.name)
    return original, target


def run(
    folder: str | Path,
    calibration: Sequence[str],
    test: Sequence[str],
    *,
    jets: int,
    test_jets: int,
    batch_size: int,
    threads: int | None,
    repetitions: int,
) -> dict[str, Any]:
    """Quantise and measure a model, and write it with a report; returns the report."""
    plain = read(folder)
    if not plain.classes:
        raise InputError("the data config does not name the classes, so the scores cannot be compared")
    sample, truth = labelled_sample(test, plain, test_jets)
    inputs = read_inputs(calibration, plain.config, jets)[1].inputs
    paths = dict(zip(("fp32", "int8"), make_int8(plain, inputs)))
    from kd_trainer.deploy.int8 import quantised_operators  # as in make_int8

    sessions = {name: session.open_session(path, threads) for name, path in paths.items()}
    classes = len(plain.classes)
    scores = {name: session.run(s, sample, batch_size)[:, :classes] for name, s in sessions.items()}
    found = figures(scores, truth, plain.classes, [("int8", "fp32")])
    result = {
        "machine": machine(),
        "calibration": {"files": [str(path) for path in calibration], "jets": len(next(iter(inputs.values())))},
        "test": {"files": [str(path) for path in test], "jets": len(truth)},
        "files": {name: str(path) for name, path in paths.items()},
        "operators": quantised_operators(paths["int8"]),
        "bytes": {name: path.stat().st_size for name, path in paths.items()},
        "speed": speed(sessions, sample, batch_size, repetitions),
        **found,
        "verdict": verdict(found["changes"]["int8 / fp32"], "8 bits"),
    }
    write_json(Path(folder, QUANTISED), result)
    record(Path(folder), QUANTISED)
    return result


def print_result(result: Mapping[str, Any]) -> None:
    """Print a table of the models, the operators and the verdict."""
    from tabulate import tabulate

    rows = []
    for name, model in result["models"].items():
        numbers = [f"{m['value']:.4g} ± {m['statistical']:.2g}" if m else "-"
                   for m in (model["accuracy"], model["auc"], model["rejection"])]  # fmt: skip
        rate = result["speed"]["jets_per_s"][name]["median"]
        rows.append([name, *numbers, f"{result['bytes'][name] / 1000:.0f} kB", f"{rate:.3g}"])
    header = ["model", "accuracy", "AUC", "rejection", "size", "jets/s"]
    print(tabulate(rows, header, disable_numparse=True))
    print()
    for name, found in result["speed"]["ratios"].items():
        print(f"{name} in jets/s: {text(found)}")
    operators = [f"{k} {v['quantised']} of {v['all']}" for k, v in result["operators"].items() if v["quantised"]]
    others = [k for k, v in result["operators"].items() if not v["quantised"]]
    print(f"in 8 bits: {', '.join(operators) or 'nothing'}; in single precision: {', '.join(others)}")
    print(*result["verdict"], sep="\n")


def main(argv: Sequence[str]) -> None:
    """Quantise, print the comparison."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer quantise",
        description="Static INT8 quantisation of an exported model: training jets give the ranges of the activations, "
        "test jets compare the models. Writes model_int8.onnx and quantised.json into the folder.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR")
    add("files", nargs="+", metavar="FILE", help="training jets, for the ranges of the activations")
    add("--test", nargs="+", required=True, metavar="FILE", help="test jets with labels, for the comparison")
    add("--jets", type=int, default=2000, metavar="N", help="jets for calibration (default: %(default)s)")
    add("--test-jets", type=int, default=100_000, metavar="N", help="jets for the comparison (default: %(default)s)")
    add("--batch-size", type=int, default=256, metavar="B", help="for the measurement of speed (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="of ONNX Runtime (default: all cores)")
    add("--repetitions", type=int, default=5, metavar="R", help="measurements of the speed (default: %(default)s)")
    args = parser.parse_args(argv)
    check_at_least(1, args, "jets", "test_jets", "batch_size", "repetitions")
    result = run(args.model_dir, files_of(args.files), files_of(args.test), jets=args.jets,
                 test_jets=args.test_jets, batch_size=args.batch_size, threads=args.threads,
                 repetitions=args.repetitions)  # fmt: skip
    print_result(result)
    print(args.model_dir / INT8, args.model_dir / QUANTISED, sep="\n")
