"""The parts of a report, which describe its content independently of the format (Markdown or HTML)."""

from collections.abc import Sequence
from typing import NamedTuple


class Number(str):
    """A printed number, with its value for the sorting of a table."""

    value: float

    def __new__(cls, text: str, value: float) -> "Number":
        number = super().__new__(cls, text)
        number.value = value
        return number


class Table(NamedTuple):
    """Rows of cells below a header; numeric cells are a `Number` or an int."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | int]]


class Figure(NamedTuple):
    """A figure, by the name of its files without suffix."""

    name: str
    caption: str


Block = str | list[str] | Table | Figure  # a paragraph, a list of items, a table, a figure


class Section(NamedTuple):
    """Blocks below a heading; a folded section contains details."""

    heading: str
    blocks: Sequence[Block]
    folded: bool = False


class Report(NamedTuple):
    """A report; its findings, one sentence each, come before all sections."""

    title: str
    findings: Sequence[str]
    sections: Sequence[Section]
