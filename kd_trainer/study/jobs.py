"""What a study does, as jobs: a folder each, with `record.json`, written last, that says what made it."""

import functools
import glob
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from kd_trainer import configs
from kd_trainer.distill import fingerprint
from kd_trainer.distill.cache import CONFIG as CACHED
from kd_trainer.distill.targets import as_arguments, targets_of
from kd_trainer.errors import InputError
from kd_trainer.evaluate.output import write_json
from kd_trainer.study import runs
from kd_trainer.study.plan import slug

HOOK = Path(__file__).resolve().parents[2] / "networks" / "distill.py"
RECORD = "record.json"
BEST, PREDICTION = "net_best_epoch_state.pt", "pred.root"


class Job(NamedTuple):
    """One thing to do.

    folder : where its results go
    needs : jobs that come before it
    recipe : callable () -> dict of all that decides the results; what `needs` make has to be there
    command : callable () -> (program, arguments): `weaver` or `cache`
    products : names of files in `folder` that have to be there in the end
    """

    name: str
    folder: Path
    needs: tuple
    recipe: Any
    command: Any
    products: tuple


def read_record(job):
    """The record of a job that has ended well, else None."""
    path = job.folder / RECORD
    if not path.is_file() or not all((job.folder / name).is_file() for name in job.products):
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def is_done(job):
    """Whether the results of a job are there.

    Raises
    ------
    InputError
        If they were made from something else.
    """
    record = read_record(job)
    if record is None or not all(map(read_record, job.needs)):
        return False
    found = fingerprint.serious(record["recipe"], _plain(job.recipe()))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise InputError(f"{job.name} was made from something else: {'; '.join(found[:3])}{more}")
    return True


def write_record(job, seconds):
    """Say that a job has ended well.

    Raises
    ------
    InputError
        If a file that it should have written is not there.
    """
    missing = [name for name in job.products if not (job.folder / name).is_file()]
    if missing:
        raise InputError(f"{job.name} left no {', '.join(missing)}: see {job.folder}")
    program, arguments = job.command()
    write_json(
        job.folder / RECORD,
        {"recipe": _plain(job.recipe()), "seconds": round(seconds, 1), "command": [program, *map(str, arguments)]},
    )


def _plain(recipe):
    return json.loads(fingerprint.canonical(recipe))


class Workshop:
    """Makes the jobs of a plan, in a folder.

    Parameters
    ----------
    plan : plan.Plan
    folder : Path
    gpus : str
        As for weaver's --gpus; '' for the CPU.
    """

    def __init__(self, plan, folder, gpus=""):
        if not HOOK.is_file():
            raise InputError(f"a study runs from a clone of weaver-kd: there is no {HOOK}")
        for patterns in (*plan.samples.values(), plan.val, plan.test):
            _inputs(patterns)  # which there must be
        self.plan, self.folder, self.gpus = plan, Path(folder), gpus
        self._made, self._written = {}, {}

    def stages(self):
        """Jobs in the order of their stages, those of a stage independent of each other: {name: [Job]}."""
        teachers, students = runs.stages(self.plan)
        trainings = [self.training(run) for run in students]
        caches = {need.name: need for job in trainings for need in job.needs}
        return {
            "teachers": [self.training(run) for run in teachers],
            "soft targets": list(caches.values()),
            "students": trainings,
        }

    def training(self, run):
        """The job of one training."""
        job = Job(
            name=run.name,
            folder=self.folder / "runs" / run.name,
            needs=(self.cache(run),) if run.teacher else (),
            recipe=functools.partial(self._training_recipe, run),
            command=functools.partial(self._training_command, run),
            products=(BEST, PREDICTION),
        )
        return self._made.setdefault(run.name, job)

    def cache(self, run):
        """The job that writes the soft targets for a student."""
        name = "_".join([slug(run.tier), "from", run.teacher.name, *_ensemble(run)[1:]])
        job = Job(
            name=f"soft targets {name}",
            folder=self.folder / "caches" / name,
            needs=tuple(self.training(teacher) for teacher in runs.trained(self.plan, run.teacher)),
            recipe=functools.partial(self._cache_recipe, run),
            command=functools.partial(self._cache_command, run),
            products=(CACHED,),
        )
        return self._made.setdefault(job.name, job)

    def _configs(self, run):
        """(paired.yaml or None, student.yaml, hash of what the training reads): written if need be, once."""
        tiers = run.tier, run.teacher and run.teacher.tier
        if tiers not in self._written:
            self._written[tiers] = self._write_configs(*tiers)
        return self._written[tiers]

    def _write_configs(self, tier, teacher_tier):
        teacher = configs.load(self.plan.config(teacher_tier)) if teacher_tier else None
        student = configs.load(self.plan.config(tier))
        student = configs.with_sampling_weights(student, *([teacher] if teacher else []))
        contents = {"student": student} | ({"paired": configs.pair(student, teacher)} if teacher else {})
        folder = self.folder / "configs" / (f"{tier}_and_{teacher_tier}" if teacher else tier)
        for kind, content in contents.items():
            path = folder / f"{kind}.yaml"
            if not path.is_file() or fingerprint.canonical(configs.load(path)) != fingerprint.canonical(content):
                configs.write(content, path, f"{kind} config of the tier {tier}")
        read = contents.get("paired", student)
        return folder / "paired.yaml" if teacher else None, folder / "student.yaml", fingerprint.of_config(read)

    def _weights(self, run):
        """Checkpoints of the teacher of a run."""
        if run.teacher.weights:
            return [run.teacher.weights]
        return [self.training(teacher).folder / BEST for teacher in runs.trained(self.plan, run.teacher)]

    def _patterns(self, run):
        """Patterns of all training files for which soft targets of this teacher are needed."""
        wanted = [
            pattern
            for cell in self.plan.cells
            for other in runs.of_cell(self.plan, cell)[:1]
            if (other.tier, other.teacher, _ensemble(other)) == (run.tier, run.teacher, _ensemble(run))
            for pattern in self.plan.samples[other.sample]
        ]
        return list(dict.fromkeys(wanted))

    def _training_recipe(self, run):
        network = self.plan.networks[run.network]
        return {
            "network": _sha256(network.file),
            "options": network.options,
            "arguments": [*self.plan.weaver, *network.training],
            "distillation": {**run.options, "seed": run.seed},
            "config": self._configs(run)[2],
            "teacher": self._teacher_recipe(run) if run.teacher else None,
            "train": _inputs(self.plan.samples[run.sample]),
            "val": _inputs(self.plan.val),
            "test": _inputs(self.plan.test),
            "versions": _versions(),
        }

    def _teacher_recipe(self, run):
        network = self.plan.networks[run.teacher.network]
        return {
            "network": _sha256(network.file),
            "options": network.options,
            "weights": [_sha256(path) for path in self._weights(run)],
        }

    def _cache_recipe(self, run):
        return {
            "config": self._configs(run)[2],
            "teacher": self._teacher_recipe(run),
            "ensemble": _ensemble(run),
            "files": _inputs(self._patterns(run)),
            "versions": _versions(),
        }

    def _cache_command(self, run):
        network = self.plan.networks[run.teacher.network]
        options = [word for name, value in network.options.items() for word in ("-o", name, repr(value))]
        member = [["--network", network.file, "--weights", path, *options] for path in self._weights(run)]
        paired, *_ = self._configs(run)
        cache = self.cache(run).folder
        words = [word for words in member for word in words] + _ensemble(run)
        device = ["--device", "cuda" if self.gpus else "cpu", "--rank", 0, "--world-size", 1]  # a whole cache each
        return "cache", [*self._patterns(run), "--paired", paired, *words, "--output", cache, *device, "--overwrite"]

    def _training_command(self, run):
        network, folder = self.plan.networks[run.network], self.training(run).folder
        paired, student, _ = self._configs(run)
        options = {**network.options, "student": network.file, "seed": run.seed, "kd_alpha": 0.0, **run.options}
        config, files = student, self.plan.samples[run.sample]
        if run.teacher:
            teacher, weights = self.plan.networks[run.teacher.network], [str(path) for path in self._weights(run)]
            if "kd_alpha" not in run.options:
                del options["kd_alpha"]
            options |= {
                "teacher": teacher.file,
                "teacher_weights": weights if len(weights) > 1 else weights[0],
                "teacher_options": teacher.options,
                "kd_cache": str(paired),
            }
            cache = self.cache(run).folder
            config, files = cache / CACHED, as_arguments(targets_of(files, cache))
        words = [word for name, value in options.items() for word in ("-o", name, repr(value))]
        return "weaver", [
            "--no-remake-weights", "--auto-clean", "--gpus", self.gpus,
            "--data-train", *files, "--data-val", *self.plan.val, "--data-test", *self.plan.test,
            "--data-config", config, "--data-config-val", student, "--data-config-test", student,
            "--network-config", HOOK, *words, *self.plan.weaver, *network.training,
            "--model-prefix", folder / "net", "--log-file", folder / "train.log",
            "--predict-output", (folder / PREDICTION).absolute(),
        ]  # fmt: skip


def _ensemble(run):
    """Arguments of `cache` that say what of several teachers is averaged, if the arm does."""
    return ["--ensemble", run.options["kd_ensemble"]] if "kd_ensemble" in run.options else []


@functools.cache
def _versions():
    return {package: version(package) for package in fingerprint.PACKAGES}


def _inputs(patterns):
    """The files of patterns as they are now: {path: size and time}."""
    paths = {pattern: sorted(glob.glob(pattern.rpartition(":")[2])) for pattern in patterns}
    for pattern, found in paths.items():
        if not found:
            raise InputError(f"there is no file {pattern}")
    status = {path: fingerprint.of_input(path) for found in paths.values() for path in found}
    return {path: f"{now['size']} bytes, time {now['mtime_ns']}" for path, now in status.items()}


def _sha256(path):
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist")
    now = Path(path).stat()
    return _sha256_of(str(path), now.st_size, now.st_mtime_ns)


@functools.cache
def _sha256_of(path, size, mtime_ns):
    return fingerprint.sha256(path)
