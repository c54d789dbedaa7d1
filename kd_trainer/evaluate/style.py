"""Style of the plots of a report: style sheet, colours of the models, title and legend."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kd_trainer.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "weaver-kd, simulated jets"
# The colour-blind safe palette for ten lines of arXiv:2107.02270; its grey is for teachers.
COLOURS = ("#3f90da", "#e76300", "#832db6", "#bd1f01", "#ffa90e", "#a96b59", "#b9ac70", "#92dadd")
TEACHERS = ("#000000", "#717581")


def load_style() -> tuple[ModuleType, list[Any]]:
    """matplotlib.pyplot without a display, and the style sheet of mplhep; InputError if they are not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        import mplhep
    except ImportError as error:
        raise InputError(f"plots need {error.name}: pip install 'weaver-kd[plot]'") from error
    # The text sizes of the style are for a single pad of 10 x 10 inches.
    sizes = dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize"), 16)
    ticks = dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 14)
    return plt, [mplhep.style.CMS, {**sizes, **ticks, "legend.frameon": False, "savefig.bbox": None}]


def colours(names: Iterable[str]) -> dict[str, str]:
    """{model: colour}, the same in all plots: teachers in black and grey, the others from the palette."""
    teachers = [name for name in names if "teacher" in name.lower()]
    others = [name for name in names if name not in teachers]
    chosen = {name: TEACHERS[i % len(TEACHERS)] for i, name in enumerate(teachers)}
    return chosen | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)}


def legend(figure: Figure, ax: Axes, results: Mapping[str, Any], columns: int) -> None:
    """Draw the title and one legend for all panels, above them."""
    handles, labels = ax.get_legend_handles_labels()
    text = f"{results['title']} ({SOURCE})" if results["title"] else SOURCE
    columns = min(columns, len(labels))
    text = textwrap.fill(text, round(8 * figure.get_figwidth()), break_on_hyphens=False)
    found = figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=text, title_fontsize=18)
    found.get_title().set_multialignment("center")
