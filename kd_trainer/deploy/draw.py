"""python -m kd_trainer draw: draw single jets in (eta, phi), with the most likely classes of an exported model."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np

from kd_trainer.arguments import check_at_least
from kd_trainer.classes import names_of, shown
from kd_trainer.deploy.inputs import label_view, labels
from kd_trainer.deploy.reading import check_files, read_chunks
from kd_trainer.deploy.tagger import Tagger
from kd_trainer.errors import InputError, named
from kd_trainer.evaluate.style import COLOURS, load_style
from kd_trainer.files import replacing
from kd_trainer.jet_files import contents, files_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf")
NEEDED = ("part_px", "part_py", "part_deta", "part_dphi")
KINDS = {  # of constituents: name in the legend, marker
    "part_isChargedHadron": ("charged hadron", "o"),
    "part_isNeutralHadron": ("neutral hadron", "s"),
    "part_isPhoton": ("photon", "^"),
    "part_isElectron": ("electron", "P"),
    "part_isMuon": ("muon", "X"),
}
OTHER = ("constituent", "o")
TRUTH = tuple(f"aux_genpart_{key}" for key in ("eta", "phi", "pid", "isResDecayProd", "isTauDecayProd", "isQcdParton"))
DRAWN = TRUTH[3:]  # decay products and quarks, not the resonances X and Y
SYMBOLS = {1: "d", 2: "u", 3: "s", 4: "c", 5: "b", 21: "g", 11: "e", 13: "$\\mu$", 15: "$\\tau$",
           12: "$\\nu$", 14: "$\\nu$", 16: "$\\nu$"}  # fmt: skip
JET = ("jet_eta", "jet_phi", "jet_pt", "jet_sdmass")
EDGE = 1.0  # of a picture: distance from the jet axis in eta and phi
ACROSS = 2  # jets per row


class Likely(NamedTuple):
    """The classes with the largest scores of a jet."""

    names: list[str]
    scores: list[float]
    truth: str  # '' if it is not known


def pick(paths: Sequence[str], tagger: Tagger, rows: Collection[int], others: Collection[str]) -> ak.Array:
    """The jets at some positions, counted across all files, in order; with the branches of a tagger and `others`."""
    config = tagger.exported.config
    total = check_files(paths, config)
    if max(rows) >= total:
        raise InputError(f"--rows {max(rows)}: the files have {total} jets, counted from 0")
    picked, first = [], 0
    for path in paths:
        for events in read_chunks(path, config, 20_000, others):
            here = [row - first for row in sorted(rows) if first <= row < first + len(events)]
            picked += [events[here]] if here else []
            first += len(events)
            if first > max(rows):
                return ak.concatenate(picked)
    return ak.concatenate(picked)


def likely(scores: ak.Array, number: int, truth: Sequence[str]) -> list[Likely]:
    """The most likely classes of each jet, by decreasing score.

    Parameters
    ----------
    scores : awkward array of N records with `score_<class>`
    number : classes to name
    truth : (N,) names of the true classes, or ''
    """
    names = [name for name in scores.fields if name.startswith("score_")]
    values = np.stack([ak.to_numpy(scores[name]) for name in names], axis=1)
    best = np.argsort(-values, axis=1, kind="stable")[:, :number]
    short = [shown(name.removeprefix("score_")) for name in names]
    return [
        Likely([short[i] for i in order], row[order].tolist(), true) for order, row, true in zip(best, values, truth)
    ]


def true_classes(events: ak.Array, tagger: Tagger) -> list[str]:
    """Names of the true classes, '' if the files do not have them."""
    options = tagger.exported.options
    config = label_view(options)
    if not config.test_load_branches <= set(events.fields):
        return [""] * len(events)
    names = [shown(name) for name in names_of(options["labels"])]
    return [names[i] if 0 <= i < len(names) else "" for i in labels(events, config)]


def draw_constituents(ax: Axes, jet: ak.Record) -> None:
    """Draw the constituents of a jet, larger for higher pT, and the particles of its label if they are stored."""
    pt = np.hypot(jet.part_px, jet.part_py)
    kinds = {flag: kind for flag, kind in KINDS.items() if flag in jet.fields}
    chosen = {kind: ak.to_numpy(jet[flag]) > 0.5 for flag, kind in kinds.items()} or {OTHER: np.ones(len(pt), bool)}
    for colour, ((name, marker), of) in zip(COLOURS, chosen.items()):
        x, y, size = (ak.to_numpy(values[of]) for values in (jet.part_deta, jet.part_dphi, 12 * pt**0.6))
        ax.scatter(x, y, size, color=colour, marker=marker, alpha=0.6, linewidths=0)
        ax.plot([], [], color=colour, marker=marker, linestyle="", markersize=9, label=name)
    if set(TRUTH) | set(JET[:2]) <= set(jet.fields):
        draw_truth(ax, jet)
    ax.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xlabel="$\\Delta\\eta$", ylabel="$\\Delta\\phi$", aspect="equal")
    ax.set(xticks=[-EDGE, -EDGE / 2, 0, EDGE / 2, EDGE], yticks=[-EDGE, -EDGE / 2, 0, EDGE / 2, EDGE])
    ax.label_outer()


def draw_truth(ax: Axes, jet: ak.Record) -> None:
    """Draw the decay products, or the quarks of a QCD jet, as stars with the symbols of the particles."""
    eta = (jet.aux_genpart_eta - jet.jet_eta) * (1 if jet.jet_eta > 0 else -1)
    phi = (jet.aux_genpart_phi - jet.jet_phi + np.pi) % (2 * np.pi) - np.pi
    product = np.any([ak.to_numpy(jet[flag]) for flag in DRAWN], axis=0)
    inside = product & (np.abs(eta) < EDGE) & (np.abs(phi) < EDGE)
    ax.scatter(eta[inside], phi[inside], 130, color="black", marker="*", zorder=3)
    ax.plot([], [], color="black", marker="*", linestyle="", markersize=11, label="generated")
    for x, y, pid in zip(eta[inside], phi[inside], jet.aux_genpart_pid[inside]):
        symbol = SYMBOLS.get(abs(int(pid)), str(pid))
        ax.annotate(symbol, (x, y), (7, 5), textcoords="offset points", fontsize=15, zorder=4)


def draw_scores(ax: Axes, found: Likely) -> None:
    """Draw the most likely classes as bars with their scores; the true class has another colour."""
    places = range(len(found.names))
    colours = [COLOURS[1] if name == found.truth else COLOURS[0] for name in found.names]
    ax.barh(places, found.scores, 0.5, color=colours, align="edge")
    for place, name, score in zip(places, found.names, found.scores):
        ax.text(0.02, place - 0.08, f"{name}  {score:.2g}", fontsize=13, transform=ax.get_yaxis_transform())
    ax.set(xlim=(0, 1), ylim=(len(found.names), -0.7))
    ax.set_axis_off()


def describe(jet: ak.Record, truth: str) -> str:
    """Title of a jet: true class, pT and mass, if they are known."""
    parts = [truth] if truth else []
    parts += [f"$p_T$ {jet.jet_pt:.0f} GeV"] if "jet_pt" in jet.fields else []
    return ", ".join(parts + ([f"$m_{{SD}}$ {jet.jet_sdmass:.0f} GeV"] if "jet_sdmass" in jet.fields else []))


def draw(plt: ModuleType, events: ak.Array, found: Sequence[Likely]) -> Figure:
    """Draw jets, each with its most likely classes beside it.

    Parameters
    ----------
    plt : matplotlib.pyplot
    events : awkward array of N records with part_px, part_py, part_deta, part_dphi and optional branches of JetClass
        and JetClass-II
    found : N, in the same order
    """
    across = min(ACROSS, len(events))
    down = -(-len(events) // across)
    figure, axes = plt.subplots(
        down, 2 * across, figsize=(7.5 * across, 4.6 * down + 1), squeeze=False, layout="constrained",
        width_ratios=[4.6, 2.9] * across,
    )  # fmt: skip
    for left, right, jet, of in zip(axes[:, ::2].flat, axes[:, 1::2].flat, events, found):
        draw_constituents(left, jet)
        draw_scores(right, of)
        left.set_title(describe(jet, of.truth), fontsize=15)
    for ax in [*axes[:, ::2].flat, *axes[:, 1::2].flat]:
        if not ax.has_data():
            ax.set_axis_off()
    axes[0, 1].plot([], [], color=COLOURS[1], linewidth=9, label="true class")
    lines = [ax.get_legend_handles_labels() for ax in axes.flat[:2]]
    handles, names = lines[0][0] + lines[1][0], lines[0][1] + lines[1][1]
    figure.legend(handles, names, loc="outside upper center", ncols=4 * across - 1, fontsize=13)
    return figure


def main(argv: Sequence[str]) -> None:
    """Read, tag, draw."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer draw",
        description="Draw single jets in (eta, phi) relative to their axis, each with the most likely classes of an "
        "exported model. For JetClass-II, the generated particles of the label are drawn too.",
    )
    add = parser.add_argument
    add("model_dir", metavar="MODEL_DIR", help="folder with model.onnx, preprocess.json, data_config.yaml")
    add("files", nargs="+", metavar="FILE", help="jets: ROOT or parquet with the branches of the data config")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="picture to write: .png or .pdf")
    add("--rows", nargs="+", type=int, default=range(6), metavar="I", help="positions of the jets, counted from 0 "
        "across all files (default: the first six)")  # fmt: skip
    add("--top", type=int, default=5, metavar="N", help="number of classes to show (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.output.suffix not in FORMATS:
        raise InputError(f"-o {args.output}: the picture has to be .png or .pdf")
    check_at_least(1, args, "top")
    if min(args.rows) < 0:
        raise InputError(f"--rows {min(args.rows)}: jets are counted from 0")
    plt, style = load_style()  # first, so that a missing package is reported before the work
    paths, tagger = files_of(args.files), Tagger(args.model_dir)
    present = set.intersection(*(contents(path, tagger.exported.config.treename)[0] for path in paths))
    missing = [name for name in NEEDED if name not in present]
    if missing:
        raise InputError(f"{paths[0]} lacks {', '.join(missing)}")
    labelled = label_view(tagger.exported.options).test_load_branches
    others = present & {*NEEDED, *KINDS, *TRUTH, *JET, *labelled}
    rows = sorted(set(args.rows))
    events = pick(paths, tagger, rows, others)
    with named(paths[0]):
        found = likely(tagger(events), args.top, true_classes(events, tagger))
    with plt.style.context(style), replacing(args.output) as temporary:
        figure = draw(plt, events, found)
        figure.savefig(temporary, format=args.output.suffix[1:], dpi=110)
    print(args.output)
