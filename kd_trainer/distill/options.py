"""The options of a distillation, as given to weaver with `-o name value`."""

import dataclasses
from typing import Any

from kd_trainer import options as options_of
from kd_trainer.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    """What `networks/distill.py` understands; everything else goes to the student's network.

    Attributes
    ----------
    student : str
        Network file of the student.
    teacher : str or None
        Network file of the teacher; may be left out only with `kd_alpha` 0, training on labels alone.
    teacher_weights : str or None
        The teacher's checkpoint, a state dict as weaver writes it.
    teacher_options : dict
        Options of the teacher's network.
    kd_alpha : float
        Weight of the soft targets in the loss, 0 to 1; the labels have 1 - kd_alpha.
    kd_temperature : float
        Temperature of both softmax functions, above 0.
    kd_memory : float
        Megabytes of soft targets to keep, so that the teacher is asked once for each jet; 0 asks it every time.
    kd_cache : str or None
        The paired data config that a cache was made with; the soft targets are then read from its files.
    seed : int or None
        Seed of initialisation, shuffling and dropout; weaver has none of its own.
    """

    student: str
    teacher: str | None = None
    teacher_weights: str | None = None
    teacher_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    kd_alpha: float = 0.7
    kd_temperature: float = 3.0
    kd_memory: float = 500.0
    kd_cache: str | None = None
    seed: int | None = None

    def __post_init__(self):
        if not 0 <= self.kd_alpha <= 1:
            raise InputError(f"kd_alpha is {self.kd_alpha}: it must lie between 0 and 1")
        if not self.kd_temperature > 0:
            raise InputError(f"kd_temperature is {self.kd_temperature}: it must be above 0")
        if not isinstance(self.teacher_options, dict):
            raise InputError(f"teacher_options is {self.teacher_options!r}: it must be a dict like {{'num_layers': 4}}")
        if self.teacher is None and self.kd_alpha > 0:
            raise InputError(
                "no teacher is given: name its network file with -o teacher \"'networks/ParT.py'\", "
                "or train on labels alone with -o kd_alpha 0.0"
            )
        if self.teacher is not None and self.teacher_weights is None:
            raise InputError("the teacher has no weights: name its checkpoint with -o teacher_weights \"'model.pt'\"")


def split(options):
    """Separate the options of the distillation from those of the student's network: (Options, dict)."""
    own = dict(prefixes=("kd_", "teacher"), required="student", example="networks/PFN.py")
    return options_of.split(options, Options, **own)
