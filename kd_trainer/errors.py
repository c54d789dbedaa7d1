"""Exceptions that mean: the input is wrong, and this line says what to do; and other errors brought into one line."""

import contextlib
import errno
import os
from collections.abc import Iterator

FULL = (errno.ENOSPC, errno.EDQUOT)


class InputError(RuntimeError):
    """Something that the user gave does not fit; the message is one clear line."""


class StopError(InputError):
    """What is wrong is wrong for every file: there is no use in going on with the others."""


def one_line(error: object, length: int = 200) -> str:
    """The message of an exception, or any text, in one line of at most about `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."


def reason(error: Exception) -> str:
    """Why a file could not be read or written, in one line, without its name where the system adds that."""
    number = error.errno if isinstance(error, OSError) else None
    return "the disk is full" if number in FULL else os.strerror(number) if number else one_line(error)


@contextlib.contextmanager
def named(path: object) -> Iterator[None]:
    """Put a path in front of an InputError that does not have it."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
