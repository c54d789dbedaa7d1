"""The trainings of a study (cells with one seed), and the teachers of each."""

from pathlib import Path

from kd_trainer.errors import InputError
from kd_trainer.study.plan import SAME, Cell, Plan, Teacher, slug


def run_name(plan: Plan, run: Cell) -> str:
    """Name of a training, whose files are in training/<name>."""
    return f"{plan.names}{_parts(plan, *run[:4])}_seed{run.seed}{plan.comment}"


def teacher_name(plan: Plan, of: Teacher) -> str:
    """Name of a teacher; for several seeds it contains all of them."""
    if of.weights:
        return plan.names + "_".join(map(slug, [of.model, Path(of.config).stem, of.weights])) + plan.comment
    return f"{plan.names}{_parts(plan, *of[:3], of.arm)}_seed{'+'.join(map(str, of.seeds))}{plan.comment}"


def _parts(plan: Plan, model: str, tier: str, sample: str, arm: str = "") -> str:
    several = len({cell.sample for cell in plan.cells}) > 1
    return slug("_".join(filter(None, [model, tier, sample if several else "", arm])))


def pretraining_seed(plan: Plan, run: Cell) -> int:
    """Seed of the pre-training from which a training starts: its own seed if possible, else the first."""
    seeds = plan.pretrainings[run.pretrained].seeds
    return run.seed if run.seed in seeds else seeds[0]


def pretraining_name(plan: Plan, run: Cell) -> str:
    """Name of the pre-training from which a training starts."""
    parts = slug(f"{run.student}_{run.tier}_pretraining_{run.pretrained}")
    return f"{plan.names}{parts}_seed{pretraining_seed(plan, run)}{plan.comment}"


def settled(plan: Plan, cell: Cell, name: str | None = None) -> Teacher:
    """The teacher of a student, or the teacher `name`; empty fields are filled from the student."""
    of = plan.teachers[name or str(cell.teacher)]
    tier, sample = of.tier or cell.tier, of.sample or (next(iter(plan.samples)) if of.model else SAME)
    sample = cell.sample if sample == SAME else sample
    config = of.config or plan.config(tier)
    return of._replace(model=of.model or cell.student, tier=tier, sample=sample, config=config)


def trained(plan: Plan, of: Teacher) -> list[Cell]:
    """The trainings of a settled teacher; none for an existing checkpoint.

    If the teacher is also a student of the baseline, this is the same training.
    """
    if of.weights:
        return []
    if of.arm:
        return _of_arm(plan, of)
    own = Cell(*of[:3], "", of.seeds, weaver=of.weaver, settings=of.settings)
    twins = [cell for cell in plan.cells if cell.arm == plan.baseline and cell[:3] == of[:3]]
    if twins and (of.weaver or of.settings):
        what = f"{of.model} on {of.tier} inputs, sample {of.sample}"
        raise InputError(f"the teacher {what} is also trained in the arm {plan.baseline}: give its settings there")
    return [*twins, own][0]._replace(seeds=of.seeds).runs


def _of_arm(plan: Plan, of: Teacher) -> list[Cell]:
    for cell in plan.cells:
        if cell[:4] == (*of[:3], of.arm) and set(of.seeds) <= set(cell.seeds):
            return cell._replace(seeds=of.seeds).runs
    what = f"{of.model} on {of.tier} inputs, sample {of.sample}"
    raise InputError(f"the arm {of.arm} does not train {what}, with the seeds {of.seeds} of the teacher")


def members(plan: Plan, name: str) -> list[str]:
    """The names of the teachers of a blend, or of the single teacher `name`."""
    return [member for member, _ in plan.teachers[name].blend] or [name]


def teacher_cells(plan: Plan) -> dict[str, list[Cell]]:
    """The teachers as cells, including the ceiling of each tier: {name of the teacher: [Cell]}."""
    found: dict[str, list[Cell]] = {name: [] for name in plan.teachers}
    for cell in plan.cells:
        taught = members(plan, cell.teacher) if cell.teacher else []
        for name in dict.fromkeys([*taught, plan.ceiling]):
            if name is None:
                continue
            of = settled(plan, cell, name)
            for run in trained(plan, of)[:1]:
                if (entry := run._replace(seeds=of.seeds)) not in found[name]:
                    found[name].append(entry)
    return found


def taught_by_checkpoints(plan: Plan) -> list[Cell]:
    """One training of a student for each checkpoint that is a teacher and each tier of its students."""
    found: dict[tuple, Cell] = {}
    for cell in plan.cells:
        if cell.teacher and (of := settled(plan, cell)).weights:
            found.setdefault((cell.tier, of[:7]), cell.runs[0])
    return list(found.values())


def stages(plan: Plan) -> tuple[list[Cell], list[Cell]]:
    """All trainings, each once: first teachers that are not students, then students."""
    students = [run for cell in plan.cells for run in cell.runs]
    teachers: list[Cell] = []
    for run in (run for cells in teacher_cells(plan).values() for cell in cells for run in cell.runs):
        if run not in students and run not in teachers:
            teachers.append(run)
    return teachers, students
