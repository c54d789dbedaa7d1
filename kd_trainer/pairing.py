"""A data config for two networks: the pairing of a student's config with its teacher's.

A paired config is the student's config plus the teacher's input groups and their variables, all with the prefix
`teacher_`. Selection, labels, weights and observers are those of the student.
"""

import argparse
import ast
import copy
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from kd_trainer import classes
from kd_trainer.configs import PREFIX, Options, load, standardisation, variables_of, write
from kd_trainer.definitions import needed_by
from kd_trainer.errors import InputError

OTHERWISE = "; if teacher and student have different classes, give --classes"
WEIGHT_KEYS = ("reweight_method", "reweight_vars", "reweight_classes", "class_weights", "reweight_basewgt")


def pair(student: Options, teacher: Options, groups: classes.Groups | None = None) -> Options:
    """Options of the config that feeds a student and its teacher with the same jets.

    Parameters
    ----------
    student, teacher : dict
        Options of the two data configs, see `configs.load`.
    groups : dict
        The teacher's classes for each class of the student, if they differ, see `classes.resolve`.

    Raises
    ------
    InputError
        If the classes or their order differ and there are no groups, if the two configs read the files in different
        ways, if a variable of the student hides a branch that the teacher reads, or if a standardisation has not been
        computed yet.
    """
    if groups is None:
        _check_same_classes(student, teacher)
    for key in ("treename", "branch_magic", "file_magic"):
        if student.get(key) != teacher.get(key):
            raise InputError(f"the data configs of student and teacher differ in `{key}`")
    definitions = teacher.get("new_variables") or {}
    wanted = [v[0] for spec in teacher["inputs"].values() for v in variables_of(spec)]
    needed, branches = needed_by(wanted, definitions)
    hidden = sorted(branches & set(student.get("new_variables") or {}))
    if hidden:
        raise InputError(
            f"the student's data config redefines {', '.join(hidden)}, which the teacher reads as stored: "
            "give these variables of the student other names"
        )
    paired = copy.deepcopy(student)
    if groups is not None:
        paired["labels"] = classes.with_groups(paired["labels"], copy.deepcopy(teacher["labels"]), groups)
    paired["new_variables"] = {
        **(student.get("new_variables") or {}),
        **{PREFIX + k: _rename(definitions[k], needed) for k in definitions if k in needed},
        **{PREFIX + k: k for k in dict.fromkeys(wanted) if k not in definitions},
    }
    paired["inputs"] = {
        **copy.deepcopy(student["inputs"]),
        **{
            PREFIX + group: {**spec, "vars": [[PREFIX + v[0], *v[1:]] for v in variables_of(spec)]}
            for group, spec in teacher["inputs"].items()
        },
    }
    paired["preprocess"] = {
        "method": "manual",
        "params": {
            **standardisation(student, "student"),
            **{PREFIX + k: v for k, v in standardisation(teacher, "teacher").items()},
        },
    }
    return paired


def _check_same_classes(student: Options, teacher: Options) -> None:
    ours, theirs = student["labels"], teacher["labels"]
    if classes.is_unlabelled(ours):
        return  # its classes are the teacher's
    if ours["type"] != theirs["type"]:
        raise InputError(f"the student's labels are `{ours['type']}`, the teacher's are `{theirs['type']}`{OTHERWISE}")
    if ours["type"] == "simple":
        pairs = list(zip(ours["value"], theirs["value"]))
        if len(ours["value"]) != len(theirs["value"]):
            raise InputError(
                f"the student has {len(ours['value'])} classes, the teacher has {len(theirs['value'])}{OTHERWISE}"
            )
    else:
        pairs = list(zip(ours["value"].values(), theirs["value"].values()))
        pairs += zip(classes.names_of(ours), classes.names_of(theirs))
    for index, (a, b) in enumerate(pairs):
        if a != b:
            raise InputError(f"the classes differ: number {index} is {a} for the student, {b} for the teacher")


def _rename(expression: object, names: Collection[str]) -> str:
    tree = ast.parse(str(expression), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = PREFIX + node.id
    return ast.unparse(tree)


def with_sampling_weights(student: Options, *sources: Options, named: Iterable[Options] = ()) -> Options:
    """The student's options with histograms of sampling weights.

    Parameters
    ----------
    sources : dicts
        The histograms come from the first config that has them, the student's included.
    named : sequence of dicts
        Configs that the user has named explicitly; they come before all others.

    Raises
    ------
    InputError
        If the config asks for weights that do not exist, or if a source made them with other settings.
    """
    weights = student.get("weights")
    if not weights or weights.get("use_precomputed_weights"):
        return student
    for source in (*named, student, *sources):
        theirs = source.get("weights") or {}
        if not theirs.get("reweight_hists"):
            continue
        for key in WEIGHT_KEYS:
            if weights.get(key) != theirs.get(key):
                raise InputError(f"the sampling weights were made with another `{key}` than the student's config has")
        return {**student, "weights": {**weights, "reweight_hists": theirs["reweight_hists"]}}
    raise InputError(
        "the data config asks for sampling weights that have not been made: run make_weight first, "
        "or give an existing *.auto.yaml with --weights"
    )


def main(argv: Sequence[str]) -> None:
    """python -m kd_trainer pair"""
    parser = argparse.ArgumentParser(
        prog="kd_trainer pair",
        description="Write the data configs of a run: DIR/student.yaml (the student's config with its sampling "
        "weights) and, with a teacher, DIR/paired.yaml (the inputs of student and teacher for the same jets).",
    )
    parser.add_argument("--student", required=True, metavar="CFG", help="data config of the student")
    parser.add_argument("--teacher", metavar="CFG", help="data config of the teacher")
    parser.add_argument("--classes", metavar="GROUPS.yaml", help="the teacher's classes for each class of the student")
    parser.add_argument("--unlabelled", action="store_true", help="for files without labels (kd_alpha 1); the classes "
                        "are those of the teacher or of --classes")  # fmt: skip
    parser.add_argument("--weights", metavar="CFG", help="*.auto.yaml to take the sampling weights from")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", type=Path)
    args = parser.parse_args(argv)
    student = load(args.student)
    teacher = load(args.teacher) if args.teacher else None
    groups = classes.load_groups(args.classes) if args.classes else None
    if args.unlabelled or classes.is_unlabelled(student["labels"]):
        if not teacher:
            raise InputError("without labels the classes come from the teacher: name its data config with --teacher")
        names = [name for name in groups if name != classes.IGNORED] if groups else classes.names_of(teacher["labels"])
        student = classes.unlabelled(student, names)
    named = [load(args.weights)] if args.weights else []
    student = with_sampling_weights(student, *([teacher] if teacher else []), named=named)
    paired = pair(student, teacher, groups) if teacher else None
    write(student, args.output / "student.yaml", f"{args.student} as this run reads it")
    if paired:
        write(paired, args.output / "paired.yaml", f"student {args.student}, teacher {args.teacher}")
