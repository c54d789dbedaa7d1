"""python -m kd_trainer quantise: an exported model in 8 bits, with what it loses in physics and gains in speed."""

import argparse
from pathlib import Path

from kd_trainer.bench.machine import machine
from kd_trainer.bench.timing import alternate, rates, ratio
from kd_trainer.deploy import session
from kd_trainer.deploy.deploy import sign
from kd_trainer.deploy.inputs import input_view, label_view, labels, prepare
from kd_trainer.deploy.model_dir import MODEL, check_model, read
from kd_trainer.deploy.reading import files_of, read_jets
from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare
from kd_trainer.evaluate.output import replacing, write_json
from kd_trainer.evaluate.predictions import SIMPLE_LABEL, Prediction, class_name
from kd_trainer.evaluate.task import make_task

INT8, REPORT = "model_int8.onnx", "quantised.json"
FIGURES = {"accuracy_difference": "accuracy", "auc_difference": "AUC", "rejection_ratio": "background rejection"}


def labelled_sample(files, exported, jets):
    """(inputs, labels) of jets whose true classes are known."""
    view = label_view(exported.options)
    events = read_jets(files, exported.config, jets, others=view.test_load_branches)
    return prepare(events, input_view(exported.options)).inputs, labels(events, view)


def figures(scores, truth, names, replicas=200):
    """Accuracy, AUC and rejections of models on the same jets, and the second against the first.

    Parameters
    ----------
    scores : {name of model: (N, K)}, two of them.
    truth : (N,) true classes.
    names : (K,) classes.

    Returns
    -------
    dict
        `models`: {name: `compare.summarise`}; `change`: `compare.compare` of the second with the first.
    """
    predictions = {k: [Prediction(k, names, s, truth, SIMPLE_LABEL, None)] for k, s in scores.items()}
    task = make_task([p for seeds in predictions.values() for p in seeds], [class_name(name) for name in names])
    samples, rejections = compare.collect(task, predictions, replicas)
    first, second = scores
    points = compare.well_measured(*rejections.values())
    return {
        "models": {name: compare.summarise(samples[name], rejections[name], points) for name in scores},
        "change": compare.compare(samples[second], samples[first], [p.key for p in task.points], points),
    }


def verdict(change):
    """Sentences that say what 8 bits lose, and whether that is more than its statistical uncertainty."""
    sentences = []
    for key, name in FIGURES.items():
        if change[key] is None:
            sentences.append(f"The {name} cannot be compared with so few test jets.")
            continue
        value, error = change[key]["value"], change[key]["statistical"]
        shown = f"{value:.4f} ± {error:.4f}"
        if key.endswith("ratio"):
            lost, shown = value < 1 - error, f"{shown} times that of single precision"
        else:
            lost, shown = value < -error, f"it changes by {shown}"
        if lost:
            sentences.append(f"8 bits LOSE {name}: {shown}, more than the statistical uncertainty.")
        else:
            sentences.append(f"8 bits lose no {name} beyond the statistical uncertainty: {shown}.")
    return sentences


def speed(sessions, inputs, batch_size, repetitions):
    """Jets a second of each model, and how many times the first takes as long as the last."""
    sides = {name: (lambda s=s: session.run(s, inputs, batch_size)) for name, s in sessions.items()}
    seconds = alternate(sides, repetitions)
    jets = len(next(iter(inputs.values())))
    first, last = list(sessions)[0], list(sessions)[-1]
    return {
        "batch_size": batch_size,
        "jets_per_s": {name: rates(found, jets) for name, found in seconds.items()},
        "ratio": ratio(seconds[last], seconds[first]),
    }


def run(folder, calibration, test, *, jets, test_jets, batch_size, threads, repetitions):
    """Quantise, measure, write model and report; returns the report."""
    exported = read(folder)
    if not exported.classes:
        raise InputError("the data config does not name the classes, so that nothing can be said about the scores")
    original, target = exported.folder / MODEL, exported.folder / INT8
    fp32 = session.open_session(original, threads)
    check_model(fp32, original, exported)
    from kd_trainer.deploy import int8  # onnx and onnxruntime are an extra, which open_session has looked for

    sample, truth = labelled_sample(test, exported, test_jets)
    inputs = prepare(read_jets(calibration, exported.config, jets), exported.config).inputs
    with replacing(target) as temporary:
        int8.quantise(original, temporary, inputs, [x.name for x in fp32.get_inputs()])
        sign(exported.folder, temporary)
    sessions = {"fp32": fp32, "int8": session.open_session(target, threads)}
    classes = len(exported.classes)
    scores = {name: session.run(s, sample)[:, :classes] for name, s in sessions.items()}
    found = figures(scores, truth, exported.classes)
    result = {
        "machine": machine(),
        "calibration": {"files": [str(path) for path in calibration], "jets": len(next(iter(inputs.values())))},
        "test": {"files": [str(path) for path in test], "jets": len(truth)},
        "operators": int8.quantised_operators(target),
        "bytes": {"fp32": original.stat().st_size, "int8": target.stat().st_size},
        "speed": speed(sessions, sample, batch_size, repetitions),
        **found,
        "verdict": verdict(found["change"]),
    }
    write_json(exported.folder / REPORT, result)
    return result


def print_result(result):
    """Table of both models, operators, and the verdict."""
    from tabulate import tabulate

    rows = []
    for name, model in result["models"].items():
        numbers = [f"{m['value']:.4g} ± {m['statistical']:.2g}" if m else "-"
                   for m in (model["accuracy"], model["auc"], model["rejection"])]  # fmt: skip
        rate = result["speed"]["jets_per_s"][name]["median"]
        rows.append([name, *numbers, f"{result['bytes'][name] / 1000:.0f} kB", f"{rate:.3g}"])
    header = ["model", "accuracy", "AUC", "rejection", "size", "jets/s"]
    print(tabulate(rows, header, disable_numparse=True))
    found = result["speed"]["ratio"]
    print(f"\nint8 / fp32 in jets/s: {found['median']:.3g} ({found['lowest']:.3g} to {found['highest']:.3g})")
    operators = [f"{k} {v['quantised']} of {v['all']}" for k, v in result["operators"].items() if v["quantised"]]
    others = [k for k, v in result["operators"].items() if not v["quantised"]]
    print(f"in 8 bits: {', '.join(operators) or 'nothing'}; in single precision: {', '.join(others)}")
    print(*result["verdict"], sep="\n")


def main(argv):
    """Quantise, print the comparison."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer quantise",
        description="Static INT8 of an exported model: ranges from training jets, figures before and after from test "
        "jets. Writes model_int8.onnx and quantised.json into the folder.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR")
    add("files", nargs="+", metavar="FILE", help="training jets, for the ranges of the activations")
    add("--test", nargs="+", required=True, metavar="FILE", help="test jets with their labels, for the figures")
    add("--jets", type=int, default=2000, metavar="N", help="for calibration (default: %(default)s)")
    add("--test-jets", type=int, default=100_000, metavar="N", help="for the figures (default: %(default)s)")
    add("--batch-size", type=int, default=256, metavar="B", help="for the speed (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="of ONNX Runtime (default: all cores)")
    add("--repetitions", type=int, default=5, metavar="R", help="of the timing (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("jets", "test_jets", "batch_size", "repetitions"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} has to be at least 1")
    result = run(args.model_dir, files_of(args.files), files_of(args.test), jets=args.jets, test_jets=args.test_jets,
                 batch_size=args.batch_size, threads=args.threads, repetitions=args.repetitions)  # fmt: skip
    print_result(result)
    print(args.model_dir / INT8, args.model_dir / REPORT, sep="\n")
