"""The teachers that options name: one, or the members of an ensemble."""

import argparse
from collections.abc import Iterable
from typing import Any, NamedTuple

from kd_trainer.arguments import parse_options
from kd_trainer.errors import InputError

ENSEMBLES = ("probabilities", "logits")


class TeacherSpec(NamedTuple):
    """A teacher: network file, checkpoint, options of the network."""

    network: str
    weights: str
    options: dict[str, Any]


def members(network: Any, weights: Any, options: Any) -> list[TeacherSpec]:
    """The teachers of these options. Each option may be a list; a single value holds for all teachers.

    Parameters
    ----------
    network, weights : str or list of str
    options : dict or list of dict

    Raises
    ------
    InputError
        If lists have different lengths, or entries of a wrong type.
    """
    given = {"teacher": (network, str), "teacher_weights": (weights, str), "teacher_options": (options, dict)}
    size = max(len(value) if isinstance(value, list | tuple) else 1 for value, _ in given.values())
    columns = []
    for name, (value, kind) in given.items():
        values = list(value) if isinstance(value, list | tuple) else [value] * size
        if not all(isinstance(x, kind) for x in values):
            example = {str: "a file, or a list of files", dict: "a dict like {'num_layers': 4}, or a list of them"}
            raise InputError(f"{name} is {value!r}: it must be {example[kind]}")
        if len(values) != size:
            raise InputError(f"{name} has {len(values)} entries for {size} teachers: give one for all, or one for each")
        columns.append(values)
    return [TeacherSpec(*row) for row in zip(*columns)]


class AddTeacher(argparse.Action):
    """Collect a list of TeacherSpec: --network starts a teacher, the following --weights and -o belong to it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        value: Any,
        option_string: str | None = None,
    ) -> None:
        teachers = list(getattr(namespace, self.dest) or [])
        if not teachers or (option_string == "--network" and teachers[-1].network):
            teachers.append(TeacherSpec("", "", {}))
        last = teachers[-1]
        if option_string == "--network":
            teachers[-1] = last._replace(network=value)
        elif option_string == "--weights" and last.weights:
            raise InputError(f"--weights {value} needs its own --network before it")
        elif option_string == "--weights":
            teachers[-1] = last._replace(weights=value)
        else:
            teachers[-1] = last._replace(options={**last.options, **parse_options([value])})
        setattr(namespace, self.dest, teachers)


def check_complete(teachers: Iterable[TeacherSpec]) -> None:
    """Raise InputError for a teacher of a command line without weights."""
    for teacher in teachers:
        if not teacher.weights:
            raise InputError(f"--network {teacher.network} has no --weights after it")
