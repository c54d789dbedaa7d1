"""A report as one self-contained HTML page, with figures, JSON, style and script."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from kd_trainer.evaluate.blocks import Block, Figure, Number, Report, Table

TEMPLATE = Path(__file__).with_name("page.html")


def _value(cell: str | int) -> float | None:
    """The value of a cell for sorting; None for a text."""
    return cell.value if isinstance(cell, Number) else cell if isinstance(cell, int) else None


def _cell(cell: str | int, look: str) -> str:
    value = _value(cell)
    sorted_by = "" if value is None else f' data-value="{float(value)!r}"'
    return f"<td{look}{sorted_by}>{escape(str(cell))}</td>"


def _table(table: Table) -> str:
    """A table; the first cell of a row is its header."""
    numeric = [any(_value(cell) is not None for cell in column) for column in zip(*table.rows)]
    looks = [' class="number"' if is_numeric else "" for is_numeric in numeric]
    heads = [escape(text).replace(" %", "&nbsp;%") for text in table.header]
    header = "".join(f'<th scope="col"{look}>{head}</th>' for head, look in zip(heads, looks))
    rows = [
        f'<tr><th scope="row">{escape(str(first))}</th>{"".join(map(_cell, others, looks[1:]))}</tr>\n'
        for first, *others in table.rows
    ]
    place = f'<div class="table" role="region" aria-label="Table by {escape(table.header[0])}" tabindex="0">'
    return f"{place}<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody></table></div>"


def _block(block: Block, drawn: Mapping[str, str]) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figure):
        svg = drawn[block.name].replace("<svg", f'<svg role="img" aria-label="{escape(block.caption)}"', 1)
        return f"<figure>{svg}<figcaption>{escape(block.caption)}</figcaption></figure>"
    if isinstance(block, list):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block)}</ul>"
    return f"<p>{escape(block)}</p>"


def document(report: Report, drawn: Mapping[str, str], data: str) -> str:
    """The text of report.html.

    Parameters
    ----------
    drawn : {name: SVG} of the figures, without common ids.
    data : text of report.json, which the page offers for download.
    """
    sections = []
    for number, section in enumerate(report.sections, 1):
        heading = f"<h2>{escape(section.heading)}</h2>"
        blocks = "\n".join(_block(block, drawn) for block in section.blocks)
        inside = f"<details><summary>{heading}</summary>\n{blocks}\n</details>" if section.folded else heading + blocks
        sections.append(f'<section id="section-{number}">\n{inside}\n</section>')
    links = [f'<a href="#section-{i}">{escape(section.heading)}</a>' for i, section in enumerate(report.sections, 1)]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        findings="\n".join(f"<p>{escape(sentence)}</p>" for sentence in report.findings),
        links="\n".join(links),
        sections="\n".join(sections),
        data=base64.b64encode(data.encode()).decode(),
    )
