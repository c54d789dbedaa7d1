"""The options of a distillation, given to weaver with `-o name value`."""

import dataclasses
from typing import Any, ClassVar

from kd_trainer.cache.origin import is_blend
from kd_trainer.distill.losses import EMBED_LOSSES, soft_target_loss
from kd_trainer.distill.mixture import check_fraction
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.teacher.spec import ENSEMBLES, TeacherSpec, members
from kd_trainer.weaver_hooks import HookOptions, check_numbers

EMBEDDING_WITH_CACHE = (
    "a cache has no embeddings: train without it (CACHE=none in train_kd.sh, or leave out kd_cache), "
    "or set kd_embed_weight to 0"
)


@dataclasses.dataclass(frozen=True)
class Options(HookOptions):
    """The options of `networks/distill.py`; all others go to the student's network."""

    student: str  # network file of the student
    # network file of the teacher; optional only with kd_alpha 0, which trains on labels alone, and with kd_cache
    teacher: str | list[str] | None = None
    # the teacher's checkpoint, a state dict as weaver writes it; several form an ensemble
    teacher_weights: str | list[str] | None = None
    # options of the teacher's network
    teacher_options: dict[str, Any] | list[dict[str, Any]] = dataclasses.field(default_factory=dict)
    # weight of the soft targets in the loss, 0 to 1; the weight of the labels is 1 - kd_alpha
    kd_alpha: float | list[tuple[int, float]] = 0.7
    kd_temperature: float | list[tuple[int, float]] = 3.0  # of both softmax functions, above 0
    kd_loss: str = "kl"  # the loss between student and teacher, see `losses`
    kd_loss_options: dict[str, float] = dataclasses.field(default_factory=dict)  # the weights of this loss
    kd_label_smoothing: float = 0.0  # of the cross-entropy, at least 0 and below 1
    kd_ensemble: str = "probabilities"  # how several teachers are averaged: probabilities or logits, see `ensemble`
    kd_embed_weight: float = 0.0  # weight of the loss between the embeddings of student and teacher, 0 or above
    kd_embed_loss: str = "cosine"  # that loss: cosine, smooth_l1
    kd_ema: float = 0.0  # decay of the moving average of the student's weights, below 1; 0 for no average
    # memory in megabytes for soft targets, so that the teacher is evaluated once for each jet; with 0 every time
    kd_memory: float = 500.0
    # folder of a cache of the training files, or of a blend, to read the soft targets from. It names its teachers; if
    # `teacher` is given too, it must be the same
    kd_cache: str | None = None
    kd_unlabelled: str | list[str] | None = None  # `[GROUP:]PATTERN` of files with unlabelled jets, see `mixture`
    # their data config, as `kd_trainer pair --unlabelled` writes it; not needed with kd_unlabelled_cache
    kd_unlabelled_config: str | None = None
    kd_unlabelled_fraction: float = 0.9  # fraction of each batch with unlabelled jets, above 0 and below 1
    kd_unlabelled_cache: str | None = None  # the cache of these jets, like kd_cache
    pretrained: str | None = None  # checkpoint for all layers of the student but its output layer

    PREFIXES: ClassVar = ("kd_", "teacher", "pretrained")
    PATTERNS: ClassVar = {"kd_unlabelled": "", "kd_cache": "/*/*.parquet", "kd_unlabelled_cache": "/*/*.parquet"}
    NETWORK: ClassVar = "student"
    EXAMPLE: ClassVar = "networks/PFN.py"

    def __post_init__(self) -> None:
        super().__post_init__()
        alphas = Schedule("kd_alpha", self.kd_alpha).values()
        if not 0 <= min(alphas) <= max(alphas) <= 1:
            raise InputError(f"kd_alpha is {self.kd_alpha}: it must lie between 0 and 1")
        if not min(Schedule("kd_temperature", self.kd_temperature).values()) > 0:
            raise InputError(f"kd_temperature is {self.kd_temperature}: it must be above 0")
        if not isinstance(self.kd_loss_options, dict):
            raise InputError(f"kd_loss_options is {self.kd_loss_options!r}: it must be a dict like {{'target': 1.0}}")
        soft_target_loss(self.kd_loss, self.kd_loss_options)
        check_numbers(self, ("kd_label_smoothing", "kd_embed_weight", "kd_memory", "kd_ema"))
        if not 0 <= self.kd_label_smoothing < 1:
            raise InputError(f"kd_label_smoothing is {self.kd_label_smoothing}: it must be 0 or above, and below 1")
        if not 0 <= self.kd_ema < 1:
            raise InputError(f"kd_ema is {self.kd_ema}: it must be 0 or above, and below 1, for example 0.999")
        for name in ("kd_embed_weight", "kd_memory"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be 0 or above")
        for name, valid in (("kd_ensemble", ENSEMBLES), ("kd_embed_loss", EMBED_LOSSES)):
            if getattr(self, name) not in list(valid):
                raise InputError(f"{name} is {getattr(self, name)!r}: valid are {', '.join(valid)}")
        self._check_unlabelled()
        if not self.taught:
            self._check_without_teacher(max(alphas))
        else:
            self._check_with_teacher()

    def _check_unlabelled(self) -> None:
        check_fraction(self.kd_unlabelled_fraction)
        if not self.kd_unlabelled:
            if self.kd_unlabelled_config or self.kd_unlabelled_cache:
                raise InputError("kd_unlabelled_config and kd_unlabelled_cache need kd_unlabelled, the files")
            return
        if not self.taught:
            raise InputError("kd_unlabelled: a student needs a teacher to learn from jets without labels")
        if not self.kd_unlabelled_config and not self.kd_unlabelled_cache:
            raise InputError("kd_unlabelled: name the data config of these files with -o kd_unlabelled_config "
                             "(python -m kd_trainer pair --unlabelled writes one)")  # fmt: skip
        if bool(self.kd_cache) != bool(self.kd_unlabelled_cache):
            raise InputError("kd_cache and kd_unlabelled_cache: give both or none, so that all jets have one teacher")

    @property
    def blended(self) -> bool:
        """Whether the soft targets come from a blend."""
        return is_blend(self.kd_cache)

    @property
    def taught(self) -> bool:
        """Whether there are soft targets to learn from."""
        return self.teacher is not None or self.kd_cache is not None

    def _check_without_teacher(self, alpha: float) -> None:
        if alpha > 0 or self.kd_embed_weight > 0:
            raise InputError(
                "no teacher is given: name its network file with -o teacher \"'networks/ParT.py'\", "
                "or train on labels alone with -o kd_alpha 0.0"
            )

    def _check_with_teacher(self) -> None:
        if self.blended and self.teacher is not None:
            raise InputError(f"-o kd_cache {self.kd_cache} is a blend, which has its own teachers: leave out teacher")
        if self.teacher is None and (self.teacher_weights or self.teacher_options or self.kd_ensemble != ENSEMBLES[0]):
            raise InputError("teacher_weights, teacher_options and kd_ensemble need teacher, the network file")
        if self.teacher is not None and self.teacher_weights is None:
            raise InputError("the teacher has no weights: name its checkpoint with -o teacher_weights \"'model.pt'\"")
        if self.kd_loss == "none" and not self.kd_embed_weight:
            raise InputError("with kd_loss 'none' the student learns nothing from the teacher: give a kd_embed_weight")
        if self.kd_embed_weight and self.kd_cache:
            raise InputError(EMBEDDING_WITH_CACHE)
        if self.teacher is not None and len(self.teachers()) > 1 and self.kd_embed_weight:
            raise InputError("an ensemble has no embedding: give one teacher, or set kd_embed_weight to 0")

    def teachers(self) -> list[TeacherSpec]:
        """The teachers: list of `spec.TeacherSpec`."""
        return members(self.teacher, self.teacher_weights, self.teacher_options)
