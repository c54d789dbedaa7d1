"""Formulas as MathML, which every browser draws: pages need neither a network nor a script for them."""

import html
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml, pick_math_environment
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def formula(text: str, *, block: bool) -> str:
    """The MathML of a LaTeX formula.

    Raises
    ------
    MathError
        If docutils does not know a command of it.
    """
    environment = pick_math_environment(text) if block and "\\begin{" not in text else "equation*"
    if environment != "equation*":
        text = f"\\begin{{{environment}}}{text}\\end{{{environment}}}"
    return latex2mathml.tex2mathml(text, as_block=block)


def _drawn(node: nodes.Node, *, block: bool) -> str:
    try:
        return formula(node.astext(), block=block)
    except MathError as error:
        logger.warning("formula: %s", error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line."""
    translator.body.append(_drawn(node, block=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    translator.body.append(f'<div class="math">{_drawn(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
