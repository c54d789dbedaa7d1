"""The one exception that means: the input is wrong, and this line says what to do."""


class InputError(RuntimeError):
    """Something that the user gave does not fit; the message is one clear line."""
