"""Readable reasons for the steps in snakemake's log."""

import logging
import re
from collections.abc import Iterator

LONGEST = 200  # characters
PARAMS = re.compile(r"Union of exclusive params before and now across all output: before: (.*) now: (.*)", re.DOTALL)


class Shorter(logging.Filter):
    """Shortens the reason of a job in snakemake's log, which contains all file names and whole commands."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, with its reason shortened."""
        reason = getattr(record, "reason", None)
        if reason:
            record.__dict__["reason"] = shortened(reason)
        return True


def shortened(reason: str) -> str:
    """The reason, in which the differences of two commands replace the commands."""
    reason = PARAMS.sub(lambda match: "was {}; is {}".format(*_differences(match[1], match[2])), reason)
    return reason if len(reason) <= LONGEST else f"{reason[:LONGEST]} ..."


def _differences(*commands: str) -> Iterator[str]:
    """The words that only one of two commands has, each with the option before it."""
    first, second = (command.replace('"', "").strip(" '").split() for command in commands)
    for words, others in ((first, second), (second, first)):
        only = [f"{before} {word}".strip() for before, word in zip(["", *words], words) if word not in others]
        yield " ".join(only) or "nothing more"
