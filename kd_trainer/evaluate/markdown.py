"""A report as Markdown."""

import re

from tabulate import tabulate

from kd_trainer.evaluate.blocks import Block, Figure, Report, Table


def escaped(text: str) -> str:
    """Text with escaped HTML tags and cell borders."""
    return re.sub(r"[<|]", r"\\\g<0>", text)


def table(content: Table, tablefmt: str = "github") -> str:
    """A table in one of the formats of tabulate."""
    return tabulate(content.rows, content.header, tablefmt=tablefmt, disable_numparse=True)


def _block(block: Block) -> str:
    if isinstance(block, Table):
        rows = [[escaped(str(cell)) for cell in row] for row in block.rows]
        return table(Table([*map(escaped, block.header)], rows))
    if isinstance(block, Figure):
        return f"![{block.name}]({block.name}.png)\n\n{escaped(block.caption)}"
    if isinstance(block, list):
        return "\n".join(f"* {escaped(item)}" for item in block)
    return escaped(block)


def document(report: Report) -> str:
    """The text of report.md."""
    parts = [f"# {escaped(report.title)}", *map(escaped, report.findings)]
    for section in report.sections:
        parts += [f"## {escaped(section.heading)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"
