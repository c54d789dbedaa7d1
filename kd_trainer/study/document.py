"""Tables of studies in a Markdown file, made from stored results; other text of the file does not change."""

import os
from pathlib import Path

from tabulate import tabulate

from kd_trainer.errors import InputError
from kd_trainer.evaluate.tables import ABSENT, plus_minus
from kd_trainer.files import json_of, reading, si, write_text
from kd_trainer.study import plots

NEEDED = (
    "name", "title", "training_jets", "test_jets", "background", "averaged", "bootstrap_replicas", "baseline", "jobs",
    "minutes", "cells",
)  # fmt: skip
REJECTIONS = {"rejection": "Rej", "rej30": "Rej 30 %", "rej50": "Rej 50 %"}
NAMES = {"accuracy": "accuracy", "auc": "AUC", **REJECTIONS, "ece": "ECE"}
RECOVERED = {name: NAMES[name] for name in ("accuracy", "auc", "rej30", "rej50")}
RECOVERED |= {f"log_{name}": f"log {NAMES[name]}" for name in REJECTIONS}


def write_document(paths: list[Path], output: Path) -> int:
    """Write the blocks of results into a Markdown file, and their figures beside the results.

    A block lies between `<!-- begin NAME -->` and `<!-- end NAME -->`, where NAME is the name of the results. Text
    outside the blocks does not change. If the file does not exist, it is created with the blocks alone.
    """
    if output.is_dir():
        raise InputError(f"--output {output} is a folder: give the Markdown file")
    found = {path: load(path) for path in paths}
    with reading(output):
        text = output.read_text(encoding="utf-8") if output.is_file() else ""
    for path, results in found.items():
        begin, end = (f"<!-- {mark} {results['name']} -->" for mark in ("begin", "end"))
        if not output.is_file():
            text += f"{begin}\n{end}\n"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"{output} has no place for the results of {path}: add the lines '{begin}' and '{end}'")
        drawn = plots.draw_all(results, path.parent, path.stem)
        links = [os.path.relpath(figure, output.parent) for figure in drawn if figure.suffix == ".png"]
        block = f"{begin}\n\n{tables(results, links)}\n\n{end}"
        text = text[: text.index(begin)] + block + text[text.index(end) + len(end) :]
    write_text(output, text)
    return 0


def load(path: Path) -> dict:
    """Results of a study; InputError if the file does not contain results."""
    with json_of(path, "from `kd_trainer study --report`") as results:
        for key in NEEDED:
            results[key]
        return results


def tables(results: dict, links: list[str]) -> str:
    """The block of a study: what was trained, figures of merit, gains, figures."""
    parts = [introduction(results), merit_table(results), GAINS, gain_table(results)]
    return "\n\n".join([*parts, *(f"![{Path(link).stem}]({link})" for link in links)])


GAINS = (
    "Against the twin trained on labels alone: the ratio of the rejections and the differences, paired by seed and by "
    "test jet; the recovered fraction (student - twin) / (ceiling - twin), of the logarithm for log Rej."
)


def introduction(results: dict) -> str:
    """What was trained and measured, in sentences."""
    sizes = ", ".join(f"{count} ({name})" for name, count in results["training_jets"].items())
    test = ", ".join(f"{count} {name}" for name, count in results["test_jets"].items())
    done = results["jobs"]
    text = (
        f"{results['title']}: {done['done']} trainings and caches, {results['minutes']:.0f} minutes with one thread "
        f"each. Training jets: {sizes}; test jets: {test}. ± is one standard deviation: "
        f"{results['bootstrap_replicas']} bootstrap replicas of the test jets and the standard error over seeds in "
        "quadrature. Accuracy and expected calibration error (ECE) weigh all classes alike; rejections of "
        f"{results['background']} are geometric means over {_listed(results['averaged'])}."
    )
    if done["done"] < done["planned"]:
        text += f" {done['planned'] - done['done']} of {done['planned']} were not trained when this was written."
    return f"{text} {results.get('caveat', '')}".rstrip()


def _listed(averaged: dict) -> str:
    points = {name: len(points) for name, points in averaged.items()}
    own = [f"{points.pop('rejection')} working points of the benchmark (Rej)"] if "rejection" in points else []
    return ", ".join([*own, *(f"{count} signal{'s' * (count != 1)} at {name[3:]} %" for name, count in points.items())])


def _order(results: dict) -> list[dict]:
    roles = ("teacher", "ensemble", "ceiling", "student")
    return sorted(results["cells"], key=lambda cell: roles.index(cell["role"]))


def _who(results: dict, cell: dict) -> list[str]:
    several = len(results["training_jets"]) > 1
    return [cell["student"], cell["tier"], *([cell["sample"]] if several else []), cell["arm"]]


def _header(results: dict) -> list[str]:
    return ["tagger", "inputs", *(["jets"] if len(results["training_jets"]) > 1 else []), "arm"]


def merit_table(results: dict) -> str:
    """One row for each cell: size and figures of merit."""
    names = {name: label for name, label in NAMES.items() if any(name in cell for cell in results["cells"])}
    rows = [
        [*_who(results, cell), len(cell["seeds"]) or ABSENT, si(cell["parameters"]), si(cell["flops"]),
         *(plus_minus(cell.get(name)) for name in names)]
        for cell in _order(results)
    ]  # fmt: skip
    header = [*_header(results), "seeds", "parameters", "FLOPs", *names.values()]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def gain_table(results: dict) -> str:
    """One row for each distilled cell: ratios, differences, calibration before and after, recovered fractions."""
    twins = {
        (cell["student"], cell["tier"], cell["sample"]): cell
        for cell in results["cells"]
        if cell["role"] == "student" and cell["arm"] == results["baseline"]
    }
    found = {name for cell in results["cells"] for name in cell.get("recovered", {})}
    ways = {name: label for name, label in RECOVERED.items() if name in found}
    ratios = [name for name in REJECTIONS if any(name in cell.get("ratio", ()) for cell in results["cells"])]
    rows = []
    for cell in results["cells"]:
        if "ratio" not in cell:
            continue
        twin = twins[cell["student"], cell["tier"], cell["sample"]]
        recovered = cell.get("recovered", {})
        rows.append(
            [*_who(results, cell), len(cell["paired_seeds"]),
             *(plus_minus(cell["ratio"].get(name)) for name in ratios),
             *(plus_minus(cell["difference"].get(name)) for name in ("accuracy", "auc")),
             f"{twin['ece']['value']:.3f} → {cell['ece']['value']:.3f}",
             *(plus_minus(recovered.get(name)) for name in ways)]
        )  # fmt: skip
    names = [*(f"{NAMES[name]} ratio" for name in ratios), "accuracy", "AUC", "ECE"]
    names += [f"recovered ({label})" for label in ways.values()]
    table = tabulate(rows, [*_header(results), "seeds", *names], tablefmt="github", disable_numparse=True)
    return table if rows else f"({ABSENT} no arm except {results['baseline']} is trained yet)"
