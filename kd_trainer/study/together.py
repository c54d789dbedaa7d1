"""Steps of a small study that train_kd.sh runs for all trainings at once: latency and report."""

from kd_trainer.digests import network_files
from kd_trainer.errors import InputError
from kd_trainer.study.plan import Plan
from kd_trainer.study.runs import settled
from kd_trainer.study.step import Files, Step, predicted


def settings_of(plan: Plan) -> dict[str, str]:
    """Settings for train_kd.sh to find the trainings of a study by their names.

    Raises
    ------
    InputError
        If the study has more trainings than the script can compare.
    """
    students = list(dict.fromkeys(cell.student for cell in plan.cells))
    seeds = list(dict.fromkeys(seed for cell in plan.cells for seed in cell.seeds))
    tiers = {cell.tier for cell in plan.cells}
    if {cell.arm for cell in plan.cells} != {"kd", "baseline"} or len(tiers) > 1 or len(plan.teachers) != 1:
        raise InputError("report: ./train_kd.sh report compares the arms kd and baseline of one tier, with one teacher")
    (teacher,) = plan.teachers
    of = settled(plan, plan.cells[0], teacher)
    given = {"TEACHER_WEIGHTS": of.weights} if of.weights else {}
    return {
        "DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings,
        "TEACHER": plan.models[of.model].name, "TEACHER_TIER": of.tier, "TEACHER_SEED": str(of.seeds[0]), **given,
        "STUDENT": " ".join(students), "SEED": " ".join(map(str, seeds)), "TIER": plan.cells[0].tier,
        **({"COMMENT": plan.comment} if plan.comment else {}),
    }  # fmt: skip


def latency(plan: Plan, settings: dict[str, str], trainings: list[Step], files: Files) -> Step:
    parts = [settings["TEACHER"], settings["TEACHER_TIER"], *settings["STUDENT"].split(), settings["TIER"]]
    name = "_".join([plan.dataset.name, "latency", *parts]) + plan.comment
    weights = [step.outputs[0] for step in trainings if step.kind != "baseline"]
    inputs = (*weights, *files(plan.dataset.test))
    return Step("latency", name, settings, plan.latency or (), inputs, (f"training/{name}/latency.json",))


def report(plan: Plan, settings: dict[str, str], steps: list[Step]) -> Step:
    name = f"{plan.dataset.name}_report{plan.comment}"
    inputs = tuple(output for step in steps for output in step.outputs)
    outputs = tuple(f"training/{name}/report.{kind}" for kind in ("html", "md", "json"))
    return Step("report", name, settings, plan.report or (), inputs, outputs)


def test_given(plan: Plan, settings: dict[str, str], files: Files) -> Step:
    """The step for the prediction of a teacher that is an existing checkpoint, named as by train_kd.sh."""
    model = next(model for name, model in plan.models.items() if model.name == settings["TEACHER"])
    name = f"{plan.names}{settings['TEACHER']}_{settings['TEACHER_TIER']}_seed{settings['TEACHER_SEED']}{plan.comment}"
    inputs = [settings["TEACHER_WEIGHTS"], *files(plan.dataset.test), *network_files(model.script.network)]
    return Step("test", name, settings | {"RUN": name, "PREDICT": "teacher"}, (), tuple(inputs), predicted(name))
