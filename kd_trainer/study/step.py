"""A step of a workflow: one command, with its input and output files."""

import fnmatch
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from kd_trainer.digests import network_files
from kd_trainer.errors import InputError
from kd_trainer.study.scripts import Dataset, Script

TRAININGS = ("teacher", "pretrain", "finetune", "baseline", "train")
CHECKPOINT, RECORD, PREDICTION = "net_best_epoch_state.pt", "net_record.json", "pred.root"
TAKEN = "net_record.taken.json"  # a copy of the record, made at the end of a step
# settings of train_kd.sh that each step sets itself; the environment of the caller must not change them
SETTINGS = (
    "DATASET", "DATADIR", "TRAIN_FILES", "TEACHER", "TEACHER_TIER", "TEACHER_SEED", "TEACHER_WEIGHTS", "TEACHER_CONFIG",
    "CLASSES", "PRETRAINED", "HEAD_RATE", "STUDENT", "SEED", "TIER", "CACHE", "UNLABELLED", "UNLABELLED_FRACTION",
    "BLEND", "LABELS", "WEIGHTS", "KD_ALPHA", "KD_TEMPERATURE",
    "KD_ENSEMBLE", "EBOPS_WEIGHT", "FIRMWARE", "PREDICT", "RUN", "COMMENT", "RESTART", "DDP_NGPUS", "JETS",
)  # fmt: skip
CACHED = "cached.yaml"


class Step(NamedTuple):
    """One command."""

    kind: str  # rule of the Snakefile that runs it
    run: str  # unique among steps of this kind: name of the training, folder of the cache or of the jets
    settings: dict  # {name: value} for train_kd.sh
    arguments: tuple  # arguments of its mode, or several argument lists of `kd_trainer simulate`
    inputs: tuple  # files
    outputs: tuple
    alone: bool = False  # whether it is the only step of its kind, and uses all cores
    program: str = ""  # empty: a mode of train_kd.sh

    @property
    def command(self) -> str:
        """The step as a line of bash for the root of the repository."""
        if self.kind == "simulate":
            make = 'python -m kd_trainer simulate --workers "${OMP_NUM_THREADS:-1}"'
            return " && ".join(f"{make} {shlex.join(words)}" for words in self.arguments)
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.settings.items()]
        return " ".join([*settings, self.program or f"./train_kd.sh {self.kind}", shlex.join(self.arguments)]).rstrip()


def refuse_foreign(steps: Iterable[Step]) -> None:
    """Raise InputError for a training that was repeated outside the workflow after its step."""
    for step in steps:
        for path in (Path(output) for output in step.outputs if output.endswith(RECORD)):
            taken = path.with_name(TAKEN)
            if path.is_file() and taken.is_file() and path.read_bytes() != taken.read_bytes():
                raise InputError(
                    f"{path.parent} was trained again, but not by this study: remove {taken} to let the study train it "
                    "again, or give the study other names with COMMENT"
                )


def settle(steps: Iterable[Step]) -> list[Step]:
    """Remove repeated steps and inputs, and set `alone`."""
    found: dict[tuple[str, str], Step] = {}
    for step in steps:
        if found.setdefault((step.kind, step.run), step) != step:
            raise InputError(f"two different {step.kind} steps would have the name {step.run}: rename one of them")
    kinds = [kind for kind, _ in found]
    whole = ("simulate", "latency")  # simulate has its own processes; nothing may run in parallel to latency
    return [
        step._replace(
            inputs=tuple(dict.fromkeys(step.inputs)),
            alone=step.alone or step.kind in whole or kinds.count(step.kind) == 1,
        )
        for step in found.values()
    ]


class Files:
    """The files of patterns: files that the study simulates, or existing files."""

    def __init__(self, simulated: list[str], find: Callable[[str], Iterable[str]]) -> None:
        self.simulated, self.find = simulated, find

    def __call__(self, patterns: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for pattern in (text.rpartition(":")[2] for text in patterns):
            made = fnmatch.filter(self.simulated, pattern)
            paths = made or sorted(self.find(pattern))
            if not paths:
                raise InputError(f"there is no file {pattern}")
            found |= dict.fromkeys(paths)
        return list(found)


def description(dataset: Dataset, model: Script, *configs: str) -> list[str]:
    """The files that describe a dataset and a model, and its network."""
    return [dataset.path, model.path, *network_files(model.network), *configs]


def predicted(name: str) -> tuple[str, str]:
    """The files that the mode test writes for a training."""
    return f"training/{name}/{PREDICTION}", f"training/{name}/pred.model.json"
