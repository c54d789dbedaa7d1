"""The one exception that means: the input is wrong, and this line says what to do."""


class InputError(RuntimeError):
    """Something that the user gave does not fit; the message is one clear line."""


class StopError(InputError):
    """What is wrong is wrong for every file: there is no use in going on with the others."""
