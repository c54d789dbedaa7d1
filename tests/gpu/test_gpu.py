"""Trainings on a CUDA device: they agree with the CPU, a side stream changes no number, and their speed is recorded.

`tests/run gpu` runs them, in ten minutes at most. KD_TEST_DEVICE=cpu tests/run gpu rehearses them where there is none.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from distillation import FULL, STUDENT, TEACHER, TRAINING, data
from helpers import ROOT, run
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

from kd_trainer.distill.embedding import attach
from kd_trainer.distill.loop import train_fn
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.errors import InputError
from kd_trainer.teacher import prefetch
from kd_trainer.teacher.frozen import Teacher
from kd_trainer.teacher.precision import has_bfloat16

EXACT = {"NVIDIA_TF32_OVERRIDE": "0"}  # no products of fewer bits: the CPU has none
LOSSES = re.compile(r"Epoch #\d distillation: task_loss ([\d.]+), kd_loss ([\d.]+), agreement ([\d.]+)")


def trained(prefix, gpus, *args, jets, configs, command=("weaver",), env=None):
    """Weaver itself with networks/distill.py: the losses of its two epochs, and seconds."""
    start = time.perf_counter()
    run(
        *command, "--gpus", gpus, *data(jets), "-c", configs / "paired.yaml",
        "--data-config-val", configs / "student.yaml",
        "-n", "networks/distill.py", "-o", "student", "'networks/PFN.py'", *STUDENT, "-o", "seed", 1,
        "-m", prefix, "--log-file", f"{prefix}.log", "--num-epochs", 2, *TRAINING, *args, env={**EXACT, **(env or {})},
    )  # fmt: skip
    log = Path(f"{prefix}.log").read_text()
    assert "ERROR" not in log
    found = [tuple(map(float, epoch)) for epoch in LOSSES.findall(log)]
    assert len(found) == 2
    return found, time.perf_counter() - start


def live(teacher):
    return ("-o", "teacher", "'networks/ParT.py'", "-o", "teacher_weights", f"'{teacher}'",
            "-o", "teacher_options", str(TEACHER))  # fmt: skip


def close(some, others, tolerance):
    for epoch, other in zip(some, others):
        assert epoch[:2] == pytest.approx(other[:2], rel=tolerance)


@pytest.fixture(scope="module")
def on_cpu(teacher, jets, configs, tmp_path_factory):
    """The losses of a live distillation on the CPU."""
    return trained(tmp_path_factory.mktemp("cpu") / "net", "", *live(teacher), jets=jets, configs=configs)[0]


@pytest.fixture(scope="module")
def distil(gpus, teacher, jets, configs, tmp_path_factory):
    """The losses of a distillation on the device, with more arguments."""

    def distil(*args, source=None, **kwargs):
        prefix = tmp_path_factory.mktemp("device") / "net"
        return trained(prefix, gpus, *(source or live(teacher)), *args, jets=jets, configs=configs, **kwargs)

    return distil


@pytest.fixture(scope="module")
def caches(make_cache, device, jets, tmp_path_factory):
    """Folders of the same soft targets, computed on the CPU and on the device."""
    files = [f"{path.name.partition('_')[0]}:{path}" for path in sorted((jets / "train").iterdir())]
    folders = {}
    for name in ("cpu", str(device)):
        folders[name] = tmp_path_factory.mktemp("caches") / name
        make_cache(folders[name], *files, "--dtype", "float32", "--device", name)
    return folders


def test_live(distil, on_cpu, figure):
    losses, seconds = distil()
    close(losses, on_cpu, 2e-3)
    figure("live distillation, kd_loss of two epochs (CPU)", f"{losses[1][1]:.4f} ({on_cpu[1][1]:.4f})")
    figure("weaver for two epochs of 2000 jets", f"{seconds:.1f} s")


def test_cached(distil, caches, device, on_cpu):
    def logits(folder):
        tables = [pq.read_table(path) for path in sorted(folder.rglob("*.parquet"))]
        return torch.cat([torch.tensor(table["teacher_logits"].to_pylist()) for table in tables])

    by_cpu, by_device = logits(caches["cpu"]), logits(caches[str(device)])
    torch.testing.assert_close(by_device, by_cpu, rtol=1e-3, atol=1e-3)
    losses, _ = distil(source=("-o", "kd_cache", f"'{caches[str(device)]}'"))
    assert losses[1][1] == pytest.approx(on_cpu[1][1], rel=0.05)  # batches come in another order


def test_mixed_precision(distil, on_cpu, device, figure):
    if device.type == "cpu":
        pytest.skip("weaver's --use-amp is for CUDA")
    for kind in ("fp16", *["bf16"] * has_bfloat16(device)):
        losses, _ = distil("--use-amp", "--amp-dtype", kind)
        close(losses, on_cpu, 0.02)
        figure(f"kd_loss with {kind}", f"{losses[1][1]:.4f}")


def test_compiled_student(distil, on_cpu, figure):
    if not shutil.which("cc"):
        pytest.skip("torch.compile needs a C compiler")
    losses, seconds = distil("--compile")
    close(losses, on_cpu, 0.01)
    figure("weaver with --compile for two epochs of 2000 jets", f"{seconds:.1f} s")


def test_torchrun_with_one_process(distil, on_cpu, device):
    if device.type == "cpu":
        pytest.skip("weaver asks for a GPU there")
    launcher = ("torchrun", "--standalone", "--nproc_per_node=1", shutil.which("weaver"))
    losses, _ = distil("--backend", "nccl", command=launcher)
    close(losses, on_cpu, 2e-3)


def batches(config, device, number=12, jets=256):
    """Batches of random inputs (N, C, P) of a paired config, with labels."""
    generator = torch.Generator().manual_seed(4)
    made = []
    for _ in range(number):
        X = {name: torch.rand((jets, *shape[1:]), generator=generator) for name, shape in config.input_shapes.items()}
        for name in X:
            if name.endswith("mask"):
                counts = torch.randint(2, X[name].shape[2], (jets, 1, 1), generator=generator)
                X[name] = (torch.arange(X[name].shape[2]) < counts).float()
        made.append((X, {"_label_": torch.randint(0, 10, (jets,), generator=generator)}, {}))
    return made


@pytest.fixture(scope="module")
def models(configs, teacher):
    """models(device, embedding): a student with its loss, its teacher, and a loader of the same batches each time."""
    config = DataConfig.load(str(configs / "paired.yaml"), load_observers=False)

    def models(device, embedding=False):
        torch.manual_seed(0)
        pfn, part = (import_module(str(ROOT / "networks" / f"{name}.py")) for name in ("PFN", "ParT"))
        student, _ = pfn.get_model(config, phi_dims=(64, 64), rho_dims=(64,))
        full = DataConfig.load(str(FULL), load_observers=False)
        network, info = part.get_model(full, **TEACHER)
        network.load_state_dict(torch.load(teacher, weights_only=True))
        frozen = Teacher(network, info["input_names"], "ParT", 1)
        if embedding:
            attach(student, TEACHER["embed_dims"][-1])
            frozen.give_embedding()
        loader = batches(config, device)
        return student.to(device), frozen, Loader(config, loader)

    return models


class Loader:
    def __init__(self, config, loaded):
        self.dataset, self.loaded = SimpleNamespace(config=config, _init_file_dict={}), loaded

    def __iter__(self):
        return iter(self.loaded)


def epoch(student, teacher, loader, device, embed_weight=0.0):
    """Seconds of a training epoch with SGD."""
    args = SimpleNamespace(regression_mode=False, use_amp=False, amp_dtype="", load_epoch=None, model_prefix="")
    loss = DistillationLoss(alpha=0.6, temperature=3.0, embed_weight=embed_weight)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    start = time.perf_counter()
    train_fn(teacher, "a student")(student, loss, optimizer, None, loader, device, 0, extra_args={"args": args})
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@pytest.mark.parametrize("embed_weight", [0.0, 0.5])
def test_steps_are_those_of_the_cpu(models, device, embed_weight):
    states = []
    for where in (torch.device("cpu"), device):
        student, teacher, loader = models(where, embedding=embed_weight > 0)
        epoch(student, teacher, loader, where, embed_weight)
        states.append({name: value.cpu() for name, value in student.state_dict().items()})
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4)


def test_side_stream_gives_the_numbers_of_plain_order(models, device, monkeypatch, figure):
    def plain_order(loaded, teacher, where):
        for batch in loaded:
            yield batch, teacher(batch[0], where)

    states, seconds = {}, {}
    for name, function in {"side stream": prefetch.with_soft_targets, "plain order": plain_order}.items():
        monkeypatch.setattr("kd_trainer.distill.loop.with_soft_targets", function)
        epoch(*models(device), device)  # warm-up
        student, teacher, loader = models(device)
        seconds[name] = [epoch(student, teacher, loader, device) for _ in range(5)]
        states[name] = student.state_dict()
    for name, value in states["side stream"].items():
        torch.testing.assert_close(value, states["plain order"][name], rtol=1e-5, atol=1e-6)
    best = {name: min(times) for name, times in seconds.items()}
    figure("time of an epoch, plain order / side stream", f"{best['plain order'] / best['side stream']:.2f}")


def test_data_parallel_with_the_embedding_is_refused(models, device):
    student, teacher, loader = models(device, embedding=True)
    with pytest.raises((InputError, SystemExit), match="does not work with --gpus 0,1 in one process"):
        epoch(torch.nn.DataParallel(student), teacher, loader, device, embed_weight=0.5)


SMALL = {
    "cache": ("--repetitions", "0", "--chunks", "1"),  # rates of a few jets are noise
    "step": ("--jets", "64", "--batch-size", "32", "--steps", "2", "--live-steps", "1", "--repetitions", "1"),
    "network": ("--jets", "64", "--repetitions", "1"),
}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cache", ("--jets", "20000", "--batch-size", "512", "--repetitions", "2")),
        ("step", ("--jets", "20000", "--live-steps", "16", "--repetitions", "4", "--live-repetitions", "3")),
        ("network", ("--network", "networks/ParT.py", "--network", "networks/MIParT.py", "--data-config",
                     "data/JetClass/JetClass_full.yaml", "--jets", "2048", "--batch-size", "256")),
    ],
)  # fmt: skip
def test_benchmarks(name, arguments, device, tmp_path, figure):
    if device.type == "cpu":
        arguments += SMALL[name]  # the last of an option counts
    output = tmp_path / "bench.json"
    run(sys.executable, "-m", "kd_trainer", "bench", name, *arguments, "--output", output, env=dict(os.environ))
    results = json.loads(output.read_text())
    for what, value in results.get("ratios", {}).items():
        pairs = value.items() if "median" not in value else [("", value)]
        for pair, found in pairs:
            figure(f"bench {name}: {what} {pair}".strip(), f"{found['median']:.3g}")
    for network in results.get("networks", {}).values():
        for use in ("training", "inference"):
            memory = network[use]["peak_memory"]
            text = f"{network[use]['jets_per_s']['median']:.4g} jets/s, {(memory or 0) / 1e6:.0f} MB"
            figure(f"{network['network']}, {use}, batches of 256", text)
    for side, rate in results.get("jets_per_s", {}).items():
        figure(f"bench cache: {side}", f"{rate['after them']['median']:.4g} jets/s")
