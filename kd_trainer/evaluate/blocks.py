"""The parts of a report: its content is described once with them, and written as Markdown and as HTML."""

from collections.abc import Sequence
from typing import NamedTuple


class Number(str):
    """A number as it is printed, with the value by which a table is sorted."""

    value: float

    def __new__(cls, text: str, value: float) -> "Number":
        number = super().__new__(cls, text)
        number.value = value
        return number


class Table(NamedTuple):
    """Rows of cells below a header; a cell that is a number is a `Number` or an int."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | int]]


class Figure(NamedTuple):
    """A figure by the name of its files, without the suffix."""

    name: str
    caption: str


Block = str | list[str] | Table | Figure  # a paragraph, a list of items, a table, a figure


class Section(NamedTuple):
    """Blocks below a heading; a folded section is for those who look for details."""

    heading: str
    blocks: Sequence[Block]
    folded: bool = False


class Report(NamedTuple):
    """A report; its findings, a sentence each, come before all sections."""

    title: str
    findings: Sequence[str]
    sections: Sequence[Section]
