"""A distillation to be measured: a folder with its configs, teacher and cache, and weaver's own functions for it."""

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from weaver.utils.dataset import DataConfig

from kd_trainer import configs, resources
from kd_trainer.arguments import parse_options
from kd_trainer.cache import command as cache
from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import load_network
from kd_trainer.jet_files import needed_branches
from kd_trainer.pairing import pair
from kd_trainer.teacher.frozen import Teacher, load_teacher
from kd_trainer.weaver_hooks import look_at

ROOT = resources.root()
DISTILL = ROOT / "networks" / "distill.py"


class Setting(NamedTuple):
    """Networks, options and weights of a student and its teacher."""

    folder: Path  # holds student.yaml, teacher.yaml and paired.yaml; nothing is written outside of it
    network: Path  # of the student
    options: dict
    teacher: Path  # network file
    teacher_options: dict
    weights: Path  # of the teacher

    def config(self, name: str) -> Path:
        """Path of student.yaml, teacher.yaml or paired.yaml."""
        return self.folder / f"{name}.yaml"

    def data_config(self, name: str) -> DataConfig:
        """DataConfig of one of them."""
        return DataConfig(print_info=False, **configs.load(self.config(name)))

    def branches(self) -> set[str]:
        """Names of the branches that the input files must have."""
        paired, teacher = self.data_config("paired"), self.data_config("teacher")
        tested = needed_branches(paired, training=False) | needed_branches(teacher, training=False)
        return needed_branches(paired) | tested

    def load_teacher(self) -> Teacher:
        """The teacher, as the hooks of a distillation build it."""
        view = configs.teacher_view(self.data_config("paired"))
        return load_teacher(str(self.teacher), str(self.weights), view, self.teacher_options)

    def make_cache(self, folder: Path, *files: Any) -> list[str]:
        """Soft targets of files, by `python -m kd_trainer cache`; returns the paths of the files of the cache."""
        arguments = ["--paired", self.config("paired"), "--output", folder, *self.of_teacher(), *files]
        with quiet():
            cache.main([str(x) for x in arguments])
        return sorted(str(path) for path in folder.rglob("*.parquet"))

    def of_teacher(self) -> list[Any]:
        """Arguments of `python -m kd_trainer cache` that name the teacher."""
        options = [word for key, value in self.teacher_options.items() for word in ("-o", key, repr(value))]
        return ["--network", self.teacher, "--weights", self.weights, *options]

    def plain(self, *files: Any) -> list[Any]:
        """Arguments of weaver for a training on labels, without this package."""
        return [*self._of_student(), "-c", self.config("student"), "-n", self.network, "--data-train", *files]

    def cached(self, folder: Path, *files: Any) -> list[Any]:
        """Arguments of weaver for a training with soft targets from the `cached.yaml` and the files of a cache."""
        return [*self._distilled(), "-c", folder / "cached.yaml", "-o", "kd_cache", repr(str(folder)),
                "--data-train", *files]  # fmt: skip

    def live(self, *files: Any, memory: int = 0) -> list[Any]:
        """Arguments of weaver for a training with the teacher; with memory 0 it evaluates every jet in every epoch."""
        return [*self._distilled(), "-c", self.config("paired"), "-o", "kd_memory", memory, "--data-train", *files]

    def _of_student(self) -> list[Any]:
        return [word for key, value in self.options.items() for word in ("-o", key, repr(value))]

    def _distilled(self) -> list[Any]:
        files = {"student": self.network, "teacher": self.teacher, "teacher_weights": self.weights}
        named = [word for key, path in files.items() for word in ("-o", key, repr(str(path)))]
        return [*self._of_student(), "-n", DISTILL, *named, "-o", "teacher_options", repr(self.teacher_options)]


def add_arguments(parser: argparse.ArgumentParser, teacher: str | None = None) -> None:
    """Add the arguments for the networks and data configs; `teacher` is the default of networks/*.py.

    Without one the benchmark chooses it and the student's data config.
    """
    add, data, networks = parser.add_argument, ROOT / "data" / "JetClass", ROOT / "networks"
    add("--student-config", type=Path, default=data / "JetClass_l1.yaml" if teacher else None, metavar="CFG",
        help=f"of the student (default: {'JetClass, l1' if teacher else 'depends on the axis'})")  # fmt: skip
    add("--teacher-config", type=Path, default=data / "JetClass_full.yaml", metavar="CFG",
        help="of the teacher (default: JetClass, full)")  # fmt: skip
    add("--student", type=Path, default=networks / "PFN.py", metavar="NET.py", help="default: PFN")
    add("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="of the student")
    add("--teacher", type=Path, default=networks / f"{teacher}.py" if teacher else None, metavar="NET.py",
        help=f"default: {teacher or 'depends on the axis'}")  # fmt: skip
    add("--teacher-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="of the teacher")
    add("--output", metavar="FILE.json", help="write all numbers to this file")


def add_jets(parser: argparse.ArgumentParser, jets: int) -> None:
    """Add the arguments for the jets, their number, and the weights of the teacher."""
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="files of jets (default: random jets in the layout of JetClass)")
    add("--jets", type=int, default=jets, metavar="N", help="default: %(default)s")
    add("--weights", type=Path, metavar="W.pt", help="checkpoint of the teacher (default: random weights)")


def prepare(
    args: argparse.Namespace,
    folder: Path,
    weights: Path | None = None,
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda options: options,
) -> Setting:
    """Write the configs that the arguments of `add_arguments` describe to a folder, without sampling weights.

    Parameters
    ----------
    weights : Path or None
        Of the teacher; None for random weights.
    change : function of the options of a data config
        Returns the options to use instead.
    """
    student, teacher = (
        {**change(configs.load(path)), "weights": None} for path in (args.student_config, args.teacher_config)
    )
    for name, options in {"student": student, "teacher": teacher, "paired": pair(student, teacher)}.items():
        configs.write(options, folder / f"{name}.yaml", "of a benchmark")
    setting = Setting(
        folder, args.student.resolve(), parse_options(args.network_option),
        args.teacher.resolve(), parse_options(args.teacher_option), (weights or folder / "teacher.pt").resolve(),
    )  # fmt: skip
    if not weights:
        torch.manual_seed(0)
        model, _ = load_network(setting.teacher, setting.data_config("teacher"), setting.teacher_options)
        torch.save(model.state_dict(), setting.weights)
    return setting


class Weaver:
    """Loader and training function of a `weaver` command with these arguments, made by weaver's own functions."""

    def __init__(self, arguments: Iterable[Any]) -> None:
        from weaver import train as weaver

        self.args = weaver.parser.parse_args(["--num-workers", "0", "--start-lr", "1e-3", *map(str, arguments)])
        self.args.local_rank, self.args.model_prefix = None, ""  # these trainings write no files
        for name in ("data_config", "batch_size", "fetch_step"):  # weaver's main() fills these in
            setattr(self.args, f"{name}_val", getattr(self.args, name))
        self.args.data_split_val, self.args.in_memory_val = 1, False
        self.args.data_val = self.args.data_val or self.args.data_train
        self.loader, self.config, self.val_loader, _ = weaver.train_load(self.args)

    def trained(self) -> Callable[[], None]:
        """A function that trains for one epoch of --steps-per-epoch steps."""
        from weaver import train as weaver

        device = default_device()
        torch.manual_seed(0)
        try:
            with quiet():
                model, _, loss, train, _ = weaver.model_setup(self.args, self.config, device=device)
        except SystemExit as error:  # from the hooks, with one line that says why
            raise InputError(str(error)) from None
        model = model.to(device)
        optimizer, scheduler = weaver.optimizer_setup(self.args, model)
        epochs = iter(range(10**9))

        def epoch() -> None:
            with quiet():
                train(
                    model, loss, optimizer, scheduler, self.loader, device, next(epochs),
                    steps_per_epoch=self.args.steps_per_epoch,
                    extra_args={"args": self.args, "val_loader": self.val_loader},
                )  # fmt: skip

        return epoch

    def as_trained(self) -> Self:
        """Make the loader read and collate batches as in a training with our hooks."""
        look_at(self.loader, "training")
        return self

    def read(self) -> int:
        """Read all batches of the loader once; returns the number of jets."""
        with quiet():
            return sum(len(next(iter(y.values()))) for _, y, _ in self.loader)


def loading(
    batch_size: int, *, steps: int | None = None, in_memory: bool = False, fetch_step: float = 1.0
) -> list[Any]:
    """Arguments of weaver for its loader.

    Parameters
    ----------
    steps : int or None
        Steps per epoch; None reads until the files end.
    in_memory : bool
        Whether the files are read once and then shuffled for every epoch; this needs `steps`.
    fetch_step : float
        Fraction of the files that is read together.
    """
    arguments = ["--batch-size", batch_size, "--fetch-step", fetch_step]
    if steps:
        arguments += ["--steps-per-epoch", steps]
    return arguments + ["--in-memory"] * in_memory


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the output of weaver: progress bars, tables of FLOPs."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield
