"""The trainings of a study: one for each tagger and seed, and which of them teach which."""

from pathlib import Path
from typing import NamedTuple

from kd_trainer.study.plan import Cell, slug


class Run(NamedTuple):
    """One training: a cell with one seed, and the trainings that teach it."""

    network: str
    tier: str
    sample: str
    arm: str
    seed: int
    teacher: "Members | None"
    options: dict
    labelled: bool = True

    @property
    def name(self):
        """Name of its folder."""
        return f"{slug(f'{self.network}_{self.tier}_{self.sample}_{self.arm}')}_seed{self.seed}"


class Members(NamedTuple):
    """The taggers behind a teacher: trainings on labels alone, or one existing checkpoint."""

    network: str
    tier: str
    sample: str
    seeds: tuple
    weights: str | None
    config: str  # path of its data config
    classes: str | None

    @property
    def name(self):
        """Name of the folder of its soft targets, less the student's tier."""
        if self.weights:
            return "_".join(map(slug, [self.network, Path(self.config).stem, self.weights]))
        return f"{slug(f'{self.network}_{self.tier}_{self.sample}')}_seed{'+'.join(map(str, self.seeds))}"


def members(plan, name, student, tier, sample):
    """The teacher `name` of a student; what the plan leaves open is the student's."""
    teacher = plan.teachers[name]
    own = sample if teacher.network is None else next(iter(plan.samples))
    tier = teacher.tier or tier
    config = teacher.config or plan.config(tier)
    sample = teacher.sample or own
    return Members(teacher.network or student, tier, sample, teacher.seeds, teacher.weights, config, teacher.classes)


def trained(plan, of):
    """The trainings behind a teacher: list of Run, empty for an existing checkpoint."""
    return [] if of.weights else [on_labels(plan, of.network, of.tier, of.sample, seed) for seed in of.seeds]


def on_labels(plan, network, tier, sample, seed):
    """A training on labels alone; it is the same one whether it is a teacher or a student of the baseline."""
    return Run(network, tier, sample, plan.baseline, seed, None, {})


def of_cell(plan, cell):
    """The trainings of a cell, one a seed."""
    if cell.teacher is None:
        return [Run(*cell[:4], seed, None, cell.options, cell.labelled) for seed in cell.seeds]
    teacher = members(plan, cell.teacher, *cell[:3])
    options = plan.networks[cell.student].distillation | cell.options
    return [Run(*cell[:4], seed, teacher, options, cell.labelled) for seed in cell.seeds]


def teacher_cells(plan):
    """The teachers as cells of the baseline, the ceiling of each tier among them: {name of the teacher: [Cell]}."""
    found = {name: [] for name in plan.teachers}
    for cell in plan.cells:
        for name in {cell.teacher, plan.ceiling} - {None}:
            of = members(plan, name, *cell[:3])
            entry = Cell(of.network, of.tier, of.sample, plan.baseline, None, {}, of.seeds, {})
            if not of.weights and entry not in found[name]:
                found[name].append(entry)
    return found


def taught_by_checkpoints(plan):
    """A training for each existing checkpoint that teaches and each tier of its students: list of Run."""
    found = [run for cell in plan.cells for run in of_cell(plan, cell)[:1] if run.teacher and run.teacher.weights]
    return list({(run.tier, run.teacher): run for run in found}.values())


def stages(plan):
    """All trainings in two stages, teachers before students, each once; seed by seed, so that a study that is cut
    short has some of every arm.

    Returns
    -------
    list of Run, list of Run
    """
    teachers = [run for cells in teacher_cells(plan).values() for cell in cells for run in of_cell(plan, cell)]
    teachers = {run.name: run for run in teachers}
    runs = [(i, run) for cell in plan.cells for i, run in enumerate(of_cell(plan, cell))]
    students = {run.name: run for _, run in sorted(runs, key=lambda pair: pair[0]) if run.name not in teachers}
    return list(teachers.values()), list(students.values())
