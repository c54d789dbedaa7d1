"""Steps that compute soft targets: one cache for each teacher and tier, with the jets of all its students."""

from collections.abc import Callable, Iterable

from kd_trainer.errors import InputError
from kd_trainer.study.plan import Cell, Plan, Teacher, slug
from kd_trainer.study.runs import members, run_name, settled, teacher_name, trained
from kd_trainer.study.step import CACHED, CHECKPOINT, Step, description

Files = Callable[[Iterable[str]], list[str]]  # patterns -> files


def teaching(plan: Plan, run: Cell) -> dict[str, str]:
    """Settings that name the teacher (or the blend) of a student, and the soft targets."""
    weights = plan.teachers[str(run.teacher)].blend
    if weights:
        parts = zip(_of_members(plan, run), weights)
        blend = " ".join(f"{cache_of(plan, member)}={weight}" for member, (_, weight) in parts)
        return {"BLEND": blend, "CACHE": cache_of(plan, run)}
    of = settled(plan, run)
    return {
        "TEACHER": plan.models[of.model].name,
        **({"TEACHER_TIER": of.tier} if of.config == plan.config(of.tier) else {"TEACHER_CONFIG": of.config}),
        **({"CLASSES": of.classes} if of.classes else {}),
        "TEACHER_WEIGHTS": " ".join(_weights_of(plan, of)),
        "CACHE": "none" if is_live(run) else cache_of(plan, run),
    }


def is_live(run: Cell) -> bool:
    """Whether the teacher is evaluated in the training, because a cache contains no embeddings."""
    return bool(run.options.get("kd_embed_weight"))


def made_from(plan: Plan, run: Cell) -> list[str]:
    """The files that determine the soft targets of a student: checkpoints, networks, data configs."""
    return [path for member in _of_members(plan, run) for path in _teacher_files(plan, settled(plan, member))]


def cache_of(plan: Plan, run: Cell) -> str:
    """Folder of the soft targets for a student."""
    if "kd_ensemble" in run.options:
        raise InputError(f"arm {run.arm}: the cache needs kd_ensemble too: give it as settings: {{KD_ENSEMBLE: ...}}")
    more = ["" if run.labelled else "nolabels", run.settings.get("KD_ENSEMBLE", "")]
    name = str(run.teacher)
    if plan.teachers[name].blend:
        own = any(not plan.teachers[member].model for member in members(plan, name))
        parts = [name, *([run.student] if own else []), run.sample]
        teacher = f"{plan.names}{'_'.join(map(slug, parts))}{plan.comment}"
    else:
        teacher = teacher_name(plan, settled(plan, run))
    return f"cache/{teacher}_{'_'.join(filter(None, [slug(run.tier), *more]))}"


def caches_for(plan: Plan, run: Cell, files: Files) -> list[Step]:
    """The steps that compute the soft targets for a student; none if the training evaluates its teacher."""
    if is_live(run):
        return []
    steps = [_cache(plan, member, files) for member in _of_members(plan, run)]
    if not plan.teachers[str(run.teacher)].blend:
        return steps
    cache, inputs = cache_of(plan, run), [path for step in steps for path in step.outputs]
    return [*steps, _step(plan, run, cache, inputs, _samples(plan, cache))]


def on_test(plan: Plan, run: Cell) -> str:
    """The folder with the soft targets of a student's teacher for the test jets."""
    return f"cache/{teacher_name(plan, settled(plan, run))}_{slug(run.tier)}_test"


def of_test(plan: Plan, run: Cell, files: Files) -> Step:
    """The step that computes the soft targets for the test jets."""
    sample = {"TRAIN_FILES": " ".join(plan.dataset.test)}
    run = run._replace(labelled=True, options={})
    jets = [*files(plan.dataset.test), plan.dataset.path, plan.config(run.tier), *made_from(plan, run)]
    return _step(plan, run, on_test(plan, run), jets, sample)


def training_files(plan: Plan, patterns: Iterable[str]) -> dict[str, str]:
    """The setting TRAIN_FILES, if a study has its own samples."""
    return {} if plan.dataset_samples else {"TRAIN_FILES": " ".join(patterns)}


def without_labels(plan: Plan, samples: Iterable[str]) -> dict[str, str]:
    """The setting UNLABELLED, with the files of unlabelled samples."""
    patterns = dict.fromkeys(pattern for name in samples if name for pattern in plan.samples[name])
    return {"UNLABELLED": " ".join(patterns)} if patterns else {}


def labels(run: Cell) -> dict[str, str]:
    """The setting LABELS, if a training reads no labels."""
    return {} if run.labelled else {"LABELS": "no"}


def _of_members(plan: Plan, run: Cell) -> list[Cell]:
    return [run._replace(teacher=name) for name in members(plan, str(run.teacher))]


def _weights_of(plan: Plan, of: Teacher) -> list[str]:
    return [of.weights] if of.weights else [f"training/{run_name(plan, r)}/{CHECKPOINT}" for r in trained(plan, of)]


def _teacher_files(plan: Plan, of: Teacher) -> list[str]:
    described = description(plan.dataset, plan.models[of.model].script)
    return [*_weights_of(plan, of), *described, of.config, *([of.classes] if of.classes else [])]


def _samples(plan: Plan, cache: str) -> dict[str, str]:
    """The training files of all students that use a cache or a blend with it, since a blend needs equal files."""
    taught = [cell for cell in plan.cells if cell.teacher]
    taken = [(cell, {cache_of(plan, each) for each in (cell, *_of_members(plan, cell))}) for cell in taught]
    linked, before = {cache}, set[str]()
    while linked != before:
        before = linked
        linked = before.union(*(caches for _, caches in taken if caches & before))
    users = [cell for cell, caches in taken if caches & linked]
    patterns = dict.fromkeys(pattern for cell in users for pattern in plan.samples[cell.sample])
    return training_files(plan, patterns) | without_labels(plan, [cell.unlabelled for cell in users])


def _cache(plan: Plan, run: Cell, files: Files) -> Step:
    """The step for the soft targets of one teacher for a student."""
    cache = cache_of(plan, run)
    sample = _samples(plan, cache)
    used = [sample.get("TRAIN_FILES", " ".join(plan.dataset.train)), sample.get("UNLABELLED", "")]
    jets = files(" ".join(used).split())
    return _step(plan, run, cache, [*jets, plan.dataset.path, plan.config(run.tier), *made_from(plan, run)], sample)


def _step(plan: Plan, run: Cell, cache: str, inputs: list[str], sample: dict[str, str]) -> Step:
    ensemble = {name: value for name, value in run.settings.items() if name == "KD_ENSEMBLE"}
    settings = {"DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings, "TIER": run.tier}
    settings |= {**labels(run), **teaching(plan, run), **ensemble, **sample, "CACHE": cache}
    outputs = (f"{cache}/{CACHED}",)
    return Step("cache", cache.removeprefix("cache/"), settings, ("--overwrite",), tuple(inputs), outputs)
