"""Exceptions that mean: the input is wrong, and this line says what to do; and other errors brought into one line."""


class InputError(RuntimeError):
    """Something that the user gave does not fit; the message is one clear line."""


class StopError(InputError):
    """What is wrong is wrong for every file: there is no use in going on with the others."""


def one_line(error: object, length: int = 200) -> str:
    """The message of an exception, or any text, in one line of at most about `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."
