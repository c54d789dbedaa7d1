"""Origin of the soft targets of a cache: YAML files in its folder, and the fingerprints that follow from them."""

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
    """The origin of a cache: teachers and paired config."""

    paired: str  # path of the paired config
    teachers: Sequence[TeacherSpec]
    ensemble: str = "probabilities"  # how several teachers are averaged

    def made_of(self) -> dict[str, Any]:
        """The entries of a fingerprint for this origin, from the present files."""
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
        """The content of the YAML file, with absolute paths."""
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
            raise TypeError("a path must be a text")
        return cls(stored["paired"], teachers, stored["ensemble"])


@dataclasses.dataclass(frozen=True)
class Member:
    """A cache in a blend."""

    folder: str
    weight: float  # of its probabilities; the weights of all members add up to 1
    source: Source
    fingerprint: dict[str, Any]  # the common part of the fingerprints of its files

    def check(self) -> None:
        """Raise InputError if the teachers or the paired config have changed since the files were written."""
        texts = fingerprint.serious(self.fingerprint, fingerprint.of_files(self.source.made_of(), {}))
        if texts:
            raise InputError(
                f"{self.source.description} or {self.source.paired} have changed since the cache {self.folder} was "
                f"written: {'; '.join(texts)}; run cache again, and then cache --blend"
            )


@dataclasses.dataclass(frozen=True)
class Blend:
    """The origin of a blend; used like a `Source`."""

    name: str  # path of the blend.yaml
    members: Sequence[Member]

    def made_of(self) -> dict[str, Any]:
        """The entries of a fingerprint for the members; InputError if a member has changed."""
        for member in self.members:
            member.check()
        numbered = enumerate(self.members, start=1)
        return {"members": {str(n): {"weight": one.weight, **one.fingerprint} for n, one in numbered}}

    def options(self) -> Options:
        """Options of the first member's paired config, without the labels of a teacher."""
        return student_side(self.members[0].source)

    @property
    def description(self) -> str:
        return " + ".join(f"{one.weight:g} x ({one.source.description})" for one in self.members)


def is_blend(folder: str | Path | None) -> bool:
    """Whether a folder contains a blend of caches."""
    return folder is not None and Path(folder, BLEND).is_file()


def read_origin(folder: Path) -> Source | Blend:
    """The origin of a cache or a blend; InputError if the folder contains neither."""
    return read_blend(str(folder / BLEND)) if is_blend(folder) else read_source(folder)


def student_side(source: Source) -> Options:
    """Options of a paired config without the labels of a teacher."""
    options = source.options()
    return {**options, "labels": of_student(options["labels"])}


def read_source(folder: Path) -> Source:
    """The origin of a cache; InputError if it is not recorded in the folder."""
    if (folder / BLEND).exists():
        raise InputError(f"{folder} is itself a blend: name the caches that it combines")
    if not (folder / CONFIG).exists():
        raise InputError(f"there is no cache in {folder}")
    if not (folder / TEACHERS).exists():
        raise InputError(f"{folder} has no {TEACHERS}: run cache again to write it (complete files are kept)")
    with _read(folder / TEACHERS) as content:
        return Source.of(content)


def read_blend(path: str) -> Blend:
    """The origin of a blend; InputError if the file has another format."""
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
    """Write the data config that reads the cache, and the origin of its soft targets.

    Outdated files are removed: those that weaver has derived from an older config, and the record of another origin.
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
    write_text(folder / name, f"# origin of the soft targets; made by kd_trainer, do not edit\n{text}")
    for other in {TEACHERS, BLEND} - {name}:
        (folder / other).unlink(missing_ok=True)
