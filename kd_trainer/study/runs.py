"""The trainings of a study: one for each tagger and seed, and which of them teach which."""

from pathlib import Path
from typing import NamedTuple

from kd_trainer.study.plan import Cell, Plan, slug


class Run(NamedTuple):
    """One training: a cell with one seed, and what teaches it."""

    model: str
    tier: str
    sample: str
    arm: str  # '' for a teacher that is no student of the study
    seed: int
    teacher: "SettledTeacher | None"
    options: dict
    labelled: bool = True
    arguments: tuple = ()
    settings: dict = {}

    @property
    def taught_by(self) -> "SettledTeacher":
        """Its teacher, which there has to be."""
        assert self.teacher is not None, self
        return self.teacher


class SettledTeacher(NamedTuple):
    """The teacher of one student, with nothing left open: trainings on labels alone, or one existing checkpoint."""

    model: str
    tier: str
    sample: str
    seeds: tuple
    weights: str | None
    config: str  # path of its data config
    classes: str | None
    arguments: tuple = ()
    settings: dict = {}


def run_name(plan: Plan, run: Run) -> str:
    """Name of a training: its files are in training/<name>."""
    return f"{plan.names}{_parts(plan, run.model, run.tier, run.sample, run.arm)}_seed{run.seed}{plan.comment}"


def teacher_name(plan: Plan, of: SettledTeacher) -> str:
    """Name of a teacher; one of several seeds has them all in it."""
    if of.weights:
        return plan.names + "_".join(map(slug, [of.model, Path(of.config).stem, of.weights])) + plan.comment
    seeds = "+".join(map(str, of.seeds))
    return f"{plan.names}{_parts(plan, of.model, of.tier, of.sample)}_seed{seeds}{plan.comment}"


def _parts(plan: Plan, model: str, tier: str, sample: str, arm: str = "") -> str:
    return slug("_".join(filter(None, [model, tier, sample if len(plan.samples) > 1 else "", arm])))


def settled(plan: Plan, name: str, student: str, tier: str, sample: str) -> SettledTeacher:
    """The teacher `name` of a student; what the plan leaves open is the student's."""
    teacher = plan.teachers[name]
    own = sample if teacher.model is None else next(iter(plan.samples))
    tier = teacher.tier or tier
    return SettledTeacher(
        teacher.model or student, tier, teacher.sample or own, teacher.seeds, teacher.weights,
        teacher.config or plan.config(tier), teacher.classes, teacher.arguments, teacher.settings,
    )  # fmt: skip


def trained(plan: Plan, of: SettledTeacher) -> list[Run]:
    """The trainings behind a teacher, none for an existing checkpoint.

    One that is a student of the baseline as well is the same training.
    """
    if of.weights:
        return []
    twins = [cell for cell in plan.cells if cell.arm == plan.baseline and cell[:3] == of[:3]]
    arm, arguments, settings = "", of.arguments, of.settings
    if twins:
        arm, arguments, settings = plan.baseline, twins[0].arguments, twins[0].settings
    return [Run(*of[:3], arm, seed, None, {}, True, arguments, settings) for seed in of.seeds]


def of_cell(plan: Plan, cell: Cell) -> list[Run]:
    """The trainings of a cell, one a seed."""
    teacher = settled(plan, cell.teacher, *cell[:3]) if cell.teacher else None
    more = cell.options, cell.labelled, cell.arguments, cell.settings
    return [Run(*cell[:4], seed, teacher, *more) for seed in cell.seeds]


def teacher_cells(plan: Plan) -> dict[str, list[Cell]]:
    """The teachers as cells, the ceiling of each tier among them: {name of the teacher: [Cell]}."""
    found: dict[str, list[Cell]] = {name: [] for name in plan.teachers}
    for cell in plan.cells:
        for name in {cell.teacher, plan.ceiling} - {None}:
            runs = trained(plan, settled(plan, name, *cell[:3]))
            if runs:
                seeds = tuple(run.seed for run in runs)
                entry = Cell(*runs[0][:4], None, {}, seeds, {}, True, *runs[0][8:])
                if entry not in found[name]:
                    found[name].append(entry)
    return found


def taught_by_checkpoints(plan: Plan) -> list[Run]:
    """A training for each existing checkpoint that teaches and each tier of its students."""
    found: dict[tuple, Run] = {}
    for cell in plan.cells:
        run = of_cell(plan, cell)[0]
        if run.teacher and run.teacher.weights:
            found.setdefault((run.tier, run.teacher[:7]), run)
    return list(found.values())


def stages(plan: Plan) -> tuple[list[Run], list[Run]]:
    """All trainings: teachers that are no students, then students, each once."""
    students = [run for cell in plan.cells for run in of_cell(plan, cell)]
    every = [run for cells in teacher_cells(plan).values() for cell in cells for run in of_cell(plan, cell)]
    teachers: list[Run] = []
    for run in every:
        if run not in students and run not in teachers:
            teachers.append(run)
    return teachers, students
