"""Exceptions for wrong input, whose message says what to do; and messages of other errors in one line."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

FULL = (errno.ENOSPC, errno.EDQUOT)


class InputError(RuntimeError):
    """The user's input is wrong; the message is one clear line."""


class StopError(InputError):
    """An error that affects every file, so it is useless to continue with the next file."""


def one_line(error: object, length: int = 200) -> str:
    """The message of an exception, or any text, in one line of at most about `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."


def some(names: Sequence[object], most: int) -> str:
    """The first names of a list, and how many more there are: 'a, b, c and 4 more'."""
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def reason(error: Exception) -> str:
    """Why a file could not be read or written, in one line, without the file name that the system adds."""
    number = error.errno if isinstance(error, OSError) else None
    return "the disk is full" if number in FULL else os.strerror(number) if number else one_line(error)


@contextlib.contextmanager
def named(path: object) -> Iterator[None]:
    """Put a path in front of the message of an InputError that does not contain it."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
