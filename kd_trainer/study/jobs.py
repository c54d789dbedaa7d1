"""What a study does, as jobs: a folder each, with `record.json`, written last, that says what made it."""

import functools
import glob
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from kd_trainer import classes, configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.command import CONFIG as CACHED
from kd_trainer.cache.paths import as_arguments, targets_of
from kd_trainer.errors import InputError
from kd_trainer.files import write_json
from kd_trainer.study import runs
from kd_trainer.study.plan import slug

HOOK = Path(__file__).resolve().parents[2] / "networks" / "distill.py"
RECORD = "record.json"
FAILED = "failed"  # left by a job that has ended badly, for other machines that wait for it
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
    made, wanted = record["recipe"], _plain(job.recipe())
    found = fingerprint.serious(made, wanted) or fingerprint.serious(wanted, made, was="is", now="was")
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


def soft_targets(name):
    """Name of the job that fills a folder of `caches`."""
    return f"soft targets {name}"


def on_test(run):
    """The folder of `caches` with what the teacher of a student says of the test jets."""
    return f"test_{slug(run.tier)}_from_{run.teacher.name}"


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
        caches |= {job.name: job for job in map(self.teacher_on_test, runs.taught_by_checkpoints(self.plan))}
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
        name = "_".join([slug(run.tier), *(["unlabelled"] if not run.labelled else []), "from", run.teacher.name,
                         *_ensemble(run)[1:]])  # fmt: skip
        return self._cache_job(name, run, functools.partial(self._patterns, run))

    def teacher_on_test(self, run):
        """The job that asks the teacher of a student, an existing checkpoint, for the test jets."""
        run = run._replace(labelled=True, options={})
        return self._cache_job(on_test(run), run, lambda: self.plan.test)

    def _cache_job(self, name, run, patterns):
        job = Job(
            name=soft_targets(name),
            folder=self.folder / "caches" / name,
            needs=tuple(self.training(teacher) for teacher in runs.trained(self.plan, run.teacher)),
            recipe=functools.partial(self._cache_recipe, run, patterns),
            command=functools.partial(self._cache_command, run, patterns, self.folder / "caches" / name),
            products=(CACHED,),
        )
        return self._made.setdefault(job.name, job)

    def _configs(self, run):
        """(paired.yaml or None, student.yaml, hash of what the training reads): written if need be, once."""
        what = run.tier, run.teacher and (run.teacher.config, run.teacher.classes), run.labelled
        if what not in self._written:
            self._written[what] = self._write_configs(run)
        return self._written[what]

    def _write_configs(self, run):
        student, of = configs.load(self.plan.config(run.tier)), run.teacher
        teacher = configs.load(of.config) if of else None
        groups = classes.load_groups(of.classes) if of and of.classes else None
        if not run.labelled:
            student = classes.unlabelled(student, classes.names_of(student["labels"]))
        student = configs.with_sampling_weights(student, *([teacher] if teacher else []))
        contents = {"student": student} | ({"paired": configs.pair(student, teacher, groups)} if teacher else {})
        name = run.tier
        if of:
            own = of.tier if of.config == self.plan.config(of.tier) else Path(of.config).stem
            name += f"_and_{slug(own)}" + (f"_{slug(Path(of.classes).stem)}" if of.classes else "")
        folder = self.folder / "configs" / (name if run.labelled else f"{name}_unlabelled")
        for kind, content in contents.items():
            path = folder / f"{kind}.yaml"
            if not path.is_file() or fingerprint.canonical(configs.load(path)) != fingerprint.canonical(content):
                configs.write(content, path, f"{kind} config of the tier {run.tier}")
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
            if _asked(other) == _asked(run)
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

    def _cache_recipe(self, run, patterns):
        return {
            "config": self._configs(run)[2],
            "teacher": self._teacher_recipe(run),
            "ensemble": _ensemble(run),
            "files": _inputs(patterns()),
            "versions": _versions(),
        }

    def _cache_command(self, run, patterns, cache):
        network = self.plan.networks[run.teacher.network]
        options = [word for name, value in network.options.items() for word in ("-o", name, repr(value))]
        member = [["--network", network.file, "--weights", path, *options] for path in self._weights(run)]
        paired, *_ = self._configs(run)
        words = [word for words in member for word in words] + _ensemble(run)
        device = ["--device", "cuda" if self.gpus else "cpu", "--rank", 0, "--world-size", 1]  # a whole cache each
        return "cache", [*patterns(), "--paired", paired, *words, "--output", cache, *device, "--overwrite"]

    def _training_command(self, run):
        network, folder = self.plan.networks[run.network], self.training(run).folder
        paired, student, _ = self._configs(run)
        # without labels the agreement with the teacher chooses the best epoch; the test jets always have labels
        validation, test = (student, student) if run.labelled else (paired, self.plan.config(run.tier))
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
            "--data-config", config, "--data-config-val", validation, "--data-config-test", test,
            "--network-config", HOOK, *words, *self.plan.weaver, *network.training,
            "--model-prefix", folder / "net", "--log-file", folder / "train.log",
            "--predict-output", (folder / PREDICTION).absolute(),
        ]  # fmt: skip


def _asked(run):
    """What decides the soft targets of a student."""
    return run.tier, run.labelled, run.teacher, _ensemble(run)


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
