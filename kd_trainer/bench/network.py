"""python -m kd_trainer bench network: jets per second and peak memory of networks in training and inference."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.arguments import check_at_least, parse_options, write_output
from kd_trainer.deploy import session
from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import count_parameters, load_data_config, load_network
from kd_trainer.files import si
from kd_trainer.jet_files import checked_rows, files_of
from kd_trainer.machine import described, machine, peak_memory
from kd_trainer.timing import alternate, rates, ratio, text

if TYPE_CHECKING:
    import torch
    from weaver.utils.dataset import DataConfig

USES = ("training", "inference", "onnx")
MEAN_PARTICLES, SPREAD = 45, 18  # of jets of JetClass


def multiplicities(rng: np.random.Generator, jets: int, longest: int) -> np.ndarray:
    """Random numbers of particles per jet, distributed as in JetClass, at most `longest`: (N,) array of int."""
    counts = rng.gamma((MEAN_PARTICLES / SPREAD) ** 2, SPREAD**2 / MEAN_PARTICLES, jets)
    return np.clip(counts, 3, longest).astype(int)


def random_jets(shapes: Mapping[str, tuple[int, ...]], jets: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random inputs (N, C, P) of jets with realistic numbers of particles: about 45, or as many as fit.

    Parameters
    ----------
    shapes : dict of input name -> (1, C, P); inputs whose names end in vectors, mask or points get such values
    """
    import torch

    rng = np.random.default_rng(seed)
    longest = max(shape[-1] for shape in shapes.values())
    mask = np.arange(longest) < multiplicities(rng, jets, longest)[:, None]
    pt, eta, phi = rng.exponential(10, mask.shape) + 0.5, *rng.normal(0, 0.2, (2, *mask.shape))
    vectors = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta) * 1.001], axis=1)
    known = {"vectors": vectors, "points": np.stack([eta, phi], axis=1), "mask": mask[:, None]}
    inputs = {}
    for name, (_, channels, length) in shapes.items():
        values = known.get(name.split("_")[-1])
        if values is None or values.shape[1:] != (channels, length):
            values = rng.normal(0, 1, (jets, channels, length))
        inputs[name] = torch.tensor(values, dtype=torch.float32)
    return inputs


def real_jets(config: DataConfig, files: Sequence[str], jets: int) -> dict[str, torch.Tensor]:
    """Inputs of the first jets of files, read and preprocessed by weaver: dict of tensors."""
    import torch
    from weaver.utils.dataset import _load_next

    checked_rows(files, set(config.test_load_branches), config.treename)
    options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, indices = _load_next(config, files, None, options)
    chosen = np.random.default_rng(0).permutation(indices)[:jets]
    return {name: torch.tensor(table["_" + name][chosen]) for name in config.input_names}


def sides(
    model: torch.nn.Module, inputs: Sequence[torch.Tensor], labels: torch.Tensor, batch_size: int
) -> dict[str, Callable[[], object]]:
    """A function that trains on all jets once (forward and backward), and one that predicts all jets."""
    import torch

    device = next(model.parameters()).device
    batches = [
        ([x[i : i + batch_size].to(device) for x in inputs], labels[i : i + batch_size].to(device))
        for i in range(0, len(labels), batch_size)
    ]

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def train() -> None:
        model.train()
        for x, y in batches:
            model.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(*x), y).backward()
        wait()

    def predict() -> None:
        model.eval()
        with torch.no_grad():
            for x, _ in batches:
                model(*x)
        wait()

    return {"training": train, "inference": predict}


def onnx_side(
    model: torch.nn.Module,
    info: Mapping[str, Any],
    inputs: Sequence[torch.Tensor],
    batch_size: int,
    threads: int | None,
) -> Callable[[], object]:
    """A function that predicts all jets once with ONNX Runtime, from a model made with `for_inference`.

    Raises
    ------
    InputError
        If onnx or onnxruntime is not installed.
    """
    import torch

    try:
        import onnx  # noqa: F401, needed by the exporter of torch
    except ImportError:
        raise InputError("onnx is not installed; pip install 'weaver-kd[onnx]'") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            model.eval().cpu(), tuple(x[:2] for x in inputs), path, input_names=info["input_names"],
            output_names=info["output_names"], dynamic_axes=info["dynamic_axes"], opset_version=15, dynamo=False,
        )  # fmt: skip
        exported = session.open_session(path, threads, gpu=True)
    arrays = {name: x.numpy() for name, x in zip(info["input_names"], inputs)}
    return lambda: session.run(exported, arrays, batch_size)


def prepare(
    network: str, options: dict[str, Any], args: argparse.Namespace
) -> tuple[torch.nn.Module, dict[str, Callable[[], object]], int]:
    """Model and the function of each use for one network."""
    import torch

    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_data_config(args.data_config, args.particles)
    model, info = load_network(network, config, options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    X = real_jets(config, args.files, args.jets) if args.files else random_jets(info["input_shapes"], args.jets)
    jets = len(next(iter(X.values())))
    inputs = [X[name] for name in info["input_names"]]
    model.eval()
    with torch.no_grad():
        classes = model(*[x[:2].to(device) for x in inputs]).shape[1]
    functions = sides(model, inputs, torch.randint(0, classes, (jets,)), args.batch_size)
    if "onnx" in args.uses:
        exported, info = load_network(network, config, {**options, "for_inference": True})
        functions["onnx"] = onnx_side(exported, info, inputs, args.batch_size, args.threads)
    return model, functions, jets


def run_of(network: str, options: dict[str, Any], args: argparse.Namespace, use: str) -> Callable[[], object]:
    """For `peak_memory`: the function of one use, in a process of its own."""
    return prepare(network, options, args)[1][use]


def measure(networks: Sequence[tuple[str, dict[str, Any]]], args: argparse.Namespace) -> dict[str, Any]:
    """All results as plain numbers, for networks (path, options)."""
    names = [f"{i}: {path}" for i, (path, _) in enumerate(networks, start=1)]
    prepared = [prepare(path, options, args) for path, options in networks]
    jets = prepared[0][2]
    results = {"machine": machine(), "jets": jets, "batch_size": args.batch_size, "networks": {}, "ratios": {}}
    for name, (path, options), (model, _, _) in zip(names, networks, prepared):
        results["networks"][name] = {"network": path, "options": options, "parameters": count_parameters(model)}
    for use in args.uses:
        seconds = alternate({name: p[1][use] for name, p in zip(names, prepared)}, args.repetitions)
        for name, network in zip(names, networks):
            memory = peak_memory(run_of, *network, args, use)
            results["networks"][name][use] = {"jets_per_s": rates(seconds[name], jets), "peak_memory": memory}
        others = enumerate(names[1:], start=2)
        results["ratios"][use] = {f"1 / {i}": ratio(seconds[names[0]], seconds[name]) for i, name in others}
    return results


class AddNetwork(argparse.Action):
    """--network FILE starts a network; the options that follow belong to it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        value: Any,
        option_string: str | None = None,
    ) -> None:
        networks = list(getattr(namespace, self.dest) or [])
        if self.nargs == 2:
            if not networks:
                raise InputError("-o has to follow the --network that it belongs to")
            networks[-1] = (networks[-1][0], [*networks[-1][1], tuple(value)])
        else:
            networks.append((value, []))
        setattr(namespace, self.dest, networks)


def main(argv: Sequence[str]) -> None:
    """Measure, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench network",
        description="Measure jets per second and peak memory of one network, or of several alternately, with ratios.",
    )
    add = parser.add_argument
    add("--network", action=AddNetwork, dest="networks", required=True, metavar="NET.py", help="can be repeated")
    add("-o", "--network-option", action=AddNetwork, dest="networks", nargs=2, metavar=("KEY", "VALUE"),
        help="option of the last network")  # fmt: skip
    add("--data-config", required=True, metavar="CFG.yaml")
    add("files", nargs="*", metavar="FILE", help="files of jets (default: random jets, as long as those of JetClass)")
    add("--jets", type=int, default=256, metavar="N", help="jets per measurement (default: %(default)s)")
    add("--batch-size", type=int, default=64, metavar="B", help="default: %(default)s")
    add("--particles", type=int, metavar="P", help="number of particles (default: as in the data config)")
    add("--repetitions", type=int, default=5, metavar="R", help="measurements of each side (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="threads of torch (default: chosen by torch)")
    add("--uses", nargs="+", choices=USES, default=USES[:2], help="what to measure (default: training and inference)")
    add("--output", metavar="FILE.json", help="write all numbers to this file")
    args = parser.parse_args(argv)
    check_at_least(1, args, "jets", "batch_size", "repetitions")
    args.files = files_of(args.files)
    networks = [(path, parse_options(options)) for path, options in args.networks]
    args.networks = None  # args is sent to other processes
    results = measure(networks, args)
    print_results(results, args.uses)
    write_output(args, results)


def print_results(results: Mapping[str, Any], uses: Iterable[str]) -> None:
    """Print a table of the networks and the ratios."""
    from tabulate import tabulate

    rows = []
    for name, network in results["networks"].items():
        row = [name, si(network["parameters"])]
        for use in uses:
            row += [text(network[use]["jets_per_s"], 4)]
            memory = network[use]["peak_memory"]
            row += ["unknown" if memory is None else f"{memory / 1e6:.0f} MB"]
        rows.append(row)
    header = ["network", "parameters", *(title for use in uses for title in (f"{use} (jets/s)", "peak memory"))]
    print(f"{described(results['machine'])}; {results['jets']} jets, batches of {results['batch_size']}")
    print(tabulate(rows, header, disable_numparse=True))
    for use, pairs in results["ratios"].items():
        for pair, value in pairs.items():
            print(f"{use}: {pair} = {text(value)}")
