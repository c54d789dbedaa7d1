"""Classes of data configs: their names, groups of a teacher's classes, and configs without labels.

If teacher and student have different classes, the paired config has two more entries in `labels`: `teacher` holds the
labels of the teacher's data config, `groups` the teacher's classes for each class of the student.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kd_trainer.errors import InputError, some
from kd_trainer.files import read_yaml

Labels = Mapping[str, Any]  # the section `labels` of a data config
Groups = Mapping[str, Sequence[str]]  # the teacher's classes, or patterns of them, for each class of the student

UNLABELLED = "no_label"
IGNORED = "ignored"
TEACHER, GROUPS = "teacher", "groups"  # in the labels of a paired config


def names_of(labels: Labels) -> list[str]:
    """Names of the classes in the labels of a data config, in order; empty if the config does not name them."""
    return list(labels["value"] if labels["type"] == "simple" else labels.get("names") or [])


def shown(name: str) -> str:
    """The name of a class in tables and plots, without the prefix `label_`."""
    return name.removeprefix("label_")


def is_unlabelled(labels: Labels) -> bool:
    """Whether a data config reads no labels, see `unlabelled`."""
    return list(labels["value"]) == [UNLABELLED]


def unlabelled(options: Mapping[str, Any], names: Iterable[str] = ()) -> dict[str, Any]:
    """Options of a data config that reads files without labels, and without sampling weights and observers.

    Weaver requires a label, so the label is the constant 0, made from the mask of the particles; InputError if there is
    no mask. `names` are the classes, because networks need their number.
    """
    mask = (options["inputs"].get("pf_mask") or {}).get("vars")
    if not mask:
        raise InputError("the data config has no pf_mask, which is needed for the constant label of unlabelled jets")
    name = mask[0][0] if isinstance(mask[0], list) else mask[0]
    result = dict(copy.deepcopy(options))
    for section in ("weights", "observers", "monitor_variables"):
        result.pop(section, None)
    result["labels"] = {"type": "custom", "value": {UNLABELLED: f"0 * ak.num({name}, axis=1)"}}
    if names:
        result["labels"]["names"] = list(names)
    return result


def load_groups(path: str | Path) -> dict[str, list[str]]:
    """The class groups in a YAML file: {class of the student: [patterns of the teacher's classes]}, and `ignored`.

    Raises
    ------
    InputError
        If the file is missing or has another format.
    """
    groups = read_yaml(path, "the file of class groups")
    lists = isinstance(groups, dict) and all(isinstance(group, list) for group in groups.values())
    if not lists or not all(isinstance(text, str) for group in groups.values() for text in group):
        raise InputError(f"class groups {path}: give a list of the teacher's classes for each class of the student")
    return groups


def resolve(groups: Groups, student: Sequence[str], teacher: Sequence[str]) -> dict[str, list[str]]:
    """The teacher's classes for each class of the student.

    Parameters
    ----------
    groups : dict of `load_groups`
        Names of the teacher's classes, or patterns with shell wildcards.
    student, teacher : list of str
        Names of the classes of each.

    Returns
    -------
    dict of student's class -> list of teacher's classes, both in the order of the data configs

    Raises
    ------
    InputError
        If the groups are not the student's classes, name an unknown class of the teacher, overlap, or leave out a class
        that is not listed as ignored.
    """
    if not teacher:
        raise InputError("the teacher's data config does not name its classes (`names` in `labels`)")
    missing, unknown = ([x for x in a if x not in b] for a, b in ((student, groups), (groups, [*student, IGNORED])))
    if missing or unknown:
        what = [f"there is no group for {', '.join(missing)}"] if missing else []
        what += [f"the student has no class {', '.join(unknown)}"] if unknown else []
        raise InputError(f"class groups: {'; '.join(what)}; the student's classes are {some(student, 5)}")
    owners: dict[str, str] = {}
    for group, patterns in groups.items():
        for pattern in patterns:
            found = [name for name in teacher if fnmatchcase(name, pattern)]
            if not found:
                there = some(teacher, 5)
                raise InputError(f"class groups: {group}: the teacher has no class {pattern}; it has {there}")
            for name in found:
                owner = owners.setdefault(name, group)
                if owner != group:
                    raise InputError(f"class groups overlap: the teacher's {name} is in {owner} and in {group}")
    empty = [name for name in student if name not in owners.values()]
    if empty:
        raise InputError(f"class groups: {', '.join(empty)} has no classes of the teacher")
    left = [name for name in teacher if name not in owners]
    if left:
        raise InputError(f"class groups: {some(left, 5)} of the teacher's classes are in no group: add them to a group "
                         f"or to `{IGNORED}`")  # fmt: skip
    return {group: [name for name in teacher if owners[name] == group] for group in student}


def with_groups(student: Labels, teacher: Labels, groups: Groups) -> dict[str, Any]:
    """The student's labels, extended by the labels and class groups of a teacher with other classes."""
    return {**student, TEACHER: teacher, GROUPS: resolve(groups, names_of(student), names_of(teacher))}


def of_student(labels: Labels) -> dict[str, Any]:
    """The labels without the entries for a teacher."""
    return {key: value for key, value in labels.items() if key not in (TEACHER, GROUPS)}


def of_teacher(labels: Labels) -> Labels:
    """The labels of the teacher."""
    return labels.get(TEACHER) or of_student(labels)


def columns_of(labels: Labels) -> list[list[int]] | None:
    """Columns of the teacher's logits for each class of the student: list of lists of int; None for equal classes."""
    if GROUPS not in labels:
        return None
    teacher = names_of(labels[TEACHER])
    return [[teacher.index(name) for name in labels[GROUPS][group]] for group in names_of(labels)]
