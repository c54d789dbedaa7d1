"""Where the soft targets of a cache come from: the YAML files beside them, and what these say of their fingerprints."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from kd_trainer import configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import Layout
from kd_trainer.classes import of_student
from kd_trainer.configs import Options
from kd_trainer.digests import canonical, sha256
from kd_trainer.errors import InputError
from kd_trainer.files import read_yaml, write_text
from kd_trainer.teacher.spec import TeacherSpec

CONFIG, TEACHERS, BLEND = "cached.yaml", "teachers.yaml", "blend.yaml"


@dataclasses.dataclass(frozen=True)
class Source:
    """What a cache is computed from, beside the jets.

    Attributes
    ----------
    paired : str
        Path of the paired config.
    teachers : list of spec.TeacherSpec
    ensemble : str
        What of several teachers is averaged.
    """

    paired: str
    teachers: Sequence[TeacherSpec]
    ensemble: str = "probabilities"

    def made_of(self) -> dict[str, Any]:
        """The part of a fingerprint that is theirs, from the files as they are now."""
        teacher = fingerprint.of_teachers(self.teachers, self.ensemble)
        return {"teacher": teacher, "config": fingerprint.of_config(self.options())}

    def options(self) -> Options:
        """Options of the paired config."""
        return configs.load(self.paired)

    @property
    def name(self) -> str:
        return self.paired

    @property
    def description(self) -> str:
        return " and ".join(f"{net}, weights {path} (SHA-256 {sha256(path)})" for net, path, _ in self.teachers)

    def stored(self) -> dict[str, Any]:
        """As it is in a YAML file, with absolute paths."""
        teachers = [
            {"network": os.path.abspath(network), "weights": os.path.abspath(weights), "options": options}
            for network, weights, options in self.teachers
        ]
        content = {"paired": os.path.abspath(self.paired), "ensemble": self.ensemble, "teachers": teachers}
        return json.loads(canonical(content))

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `stored`."""
        teachers = [TeacherSpec(one["network"], one["weights"], dict(one["options"])) for one in stored["teachers"]]
        texts = [stored["paired"], stored["ensemble"], *(text for one in teachers for text in one[:2])]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a path has to be a text")
        return cls(stored["paired"], teachers, stored["ensemble"])


@dataclasses.dataclass(frozen=True)
class Member:
    """A cache in a blend.

    Attributes
    ----------
    folder : str
    weight : float
        Of its probabilities; those of all members add up to 1.
    source : Source
    fingerprint : dict
        What its files have in common.
    """

    folder: str
    weight: float
    source: Source
    fingerprint: dict[str, Any]

    def check(self) -> None:
        """Raise InputError unless teachers and paired config are still those that the files were made from."""
        texts = fingerprint.serious(self.fingerprint, fingerprint.of_files(self.source.made_of(), {}))
        if texts:
            raise InputError(
                f"the cache {self.folder} was made from something else than {self.source.description} and "
                f"{self.source.paired} are now: {'; '.join(texts)}; run cache again, and cache --blend"
            )


@dataclasses.dataclass(frozen=True)
class Blend:
    """What a blend is made from; used like a `Source`."""

    name: str  # path of its blend.yaml
    members: Sequence[Member]

    def made_of(self) -> dict[str, Any]:
        """The part of a fingerprint that is the members', which must be what they were."""
        for member in self.members:
            member.check()
        numbered = enumerate(self.members, start=1)
        return {"members": {str(n): {"weight": one.weight, **one.fingerprint} for n, one in numbered}}

    def options(self) -> Options:
        """Options of the first member's paired config, without what its labels say of a teacher's classes."""
        return student_side(self.members[0].source)

    @property
    def description(self) -> str:
        return " + ".join(f"{one.weight:g} x ({one.source.description})" for one in self.members)


def is_blend(folder: str | Path | None) -> bool:
    """Whether a folder holds a blend of caches."""
    return folder is not None and Path(folder, BLEND).is_file()


def read_origin(folder: Path) -> Source | Blend:
    """What a cache or a blend was made from; InputError if the folder holds neither."""
    return read_blend(str(folder / BLEND)) if is_blend(folder) else read_source(folder)


def student_side(source: Source) -> Options:
    """Options of a paired config in which labels say nothing of a teacher."""
    options = source.options()
    return {**options, "labels": of_student(options["labels"])}


def read_source(folder: Path) -> Source:
    """What a cache was computed from; InputError if the folder does not say so."""
    if (folder / BLEND).exists():
        raise InputError(f"{folder} is a blend itself: name the caches that it was made from")
    if not (folder / CONFIG).exists():
        raise InputError(f"there is no cache in {folder}")
    if not (folder / TEACHERS).exists():
        raise InputError(f"{folder} has no {TEACHERS}: run cache again, which writes it (complete files are kept)")
    with _read(folder / TEACHERS) as content:
        return Source.of(content)


def read_blend(path: str) -> Blend:
    """What a blend was made from; InputError if the file is something else."""
    with _read(Path(path)) as content:
        members = [
            Member(one["folder"], one["weight"], Source.of(one), dict(one["fingerprint"])) for one in content["members"]
        ]
        return Blend(path, members)


@contextlib.contextmanager
def _read(path: Path) -> Iterator[Any]:
    content = read_yaml(path, "the file")
    try:
        yield content
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} is not a file that 'cache' has written") from None


def write_beside(folder: Path, paired: Options, layout: Layout, origin: Source | Blend) -> None:
    """Write the data config that reads the cache, and where its soft targets come from.

    What weaver has derived from an older config goes, and what the folder said of other soft targets.
    """
    if isinstance(origin, Blend):
        members = [
            {"folder": one.folder, "weight": one.weight, **one.source.stored(), "fingerprint": one.fingerprint}
            for one in origin.members
        ]
        name, content = BLEND, {"members": members}
    else:
        name, content = TEACHERS, origin.stored()
    for derived in folder.glob(f"{Path(CONFIG).stem}.*.auto.yaml"):
        derived.unlink()
    options = configs.cached(paired, layout.groups())
    options = configs.stored(options) if layout.inputs else options
    configs.write(options, folder / CONFIG, "reads the soft targets of a cache")
    text = yaml.safe_dump(content, sort_keys=False)
    write_text(folder / name, f"# where the soft targets come from; made by kd_trainer, do not edit\n{text}")
    for other in {TEACHERS, BLEND} - {name}:
        (folder / other).unlink(missing_ok=True)
