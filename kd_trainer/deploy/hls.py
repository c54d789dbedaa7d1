"""python -m kd_trainer hls: a student as a project of hls4ml, and what its C++ emulation says of the same jets."""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.arguments import check_at_least
from kd_trainer.deploy import reference
from kd_trainer.deploy.inputs import Inputs
from kd_trainer.deploy.model_dir import Exported, read
from kd_trainer.deploy.reading import read_inputs
from kd_trainer.errors import InputError, one_line
from kd_trainer.files import write_json
from kd_trainer.jet_files import files_of

if TYPE_CHECKING:
    import torch
    from hls4ml.model import ModelGraph

PROJECT, REPORT = "hls", "hls.json"
SAME = 1e-4  # between the network and its form for an FPGA, both in torch


def firmware(exported: Exported) -> tuple[torch.nn.Module, Callable[[Inputs], Sequence[torch.Tensor]], torch.nn.Module]:
    """The form for an FPGA of an exported network, and the function that makes its inputs.

    Parameters
    ----------
    exported : model_dir.Exported

    Returns
    -------
    (torch.nn.Module, callable of inputs {name: (N, C, P)} -> tuple of tensors, torch model that gives scores)

    Raises
    ------
    InputError
        If the network file has no such form.
    """
    import torch
    from weaver.utils.import_tools import import_module

    source = exported.source
    model, info = reference.load(source, exported.options)
    module = import_module(source["network"], "_network_module")
    if not hasattr(module, "get_firmware"):
        raise InputError(f"{source['network']} has no get_firmware(model): dense, PFN and InteractionNet have one")
    network, arguments = module.get_firmware(model)

    def inputs(arrays: Inputs) -> Sequence[torch.Tensor]:
        return arguments(*(torch.from_numpy(arrays[name]) for name in info["input_names"]))

    return network.eval().requires_grad_(False), inputs, model


def convert(
    network: torch.nn.Module,
    shapes: Sequence[tuple[int, ...]],
    folder: str | Path,
    *,
    backend: str,
    precision: str,
    reuse_factor: int,
) -> ModelGraph:
    """Write the project of a network.

    Parameters
    ----------
    network : torch.nn.Module
        Of operators that the PyTorch front end of hls4ml knows.
    shapes : list of tuples, of the inputs for one jet.
    folder : path
    backend : str, 'Vitis' or 'Vivado'.
    precision : str, such as 'ap_fixed<16,6>', of weights and activations; sums are as wide as they need to be.
    reuse_factor : int
        How many products a multiplier does for a jet.

    Returns
    -------
    ModelGraph of hls4ml

    Raises
    ------
    InputError
        If hls4ml is not installed, or cannot take the network.
    """
    try:
        import hls4ml
    except ImportError:
        raise InputError("hls4ml is not installed; pip install 'weaver-kd[fpga]'") from None
    shutil.rmtree(folder, ignore_errors=True)
    network = _weights_as_read(network)
    try:
        with contextlib.redirect_stdout(io.StringIO()), _shapes_of_einsum():
            config = hls4ml.utils.config_from_pytorch_model(
                network, shapes, granularity="name", backend=backend, default_precision=precision,
                default_reuse_factor=reuse_factor, channels_last_conversion="off",
            )  # fmt: skip
            model = hls4ml.converters.convert_from_pytorch_model(
                network, hls_config=config, output_dir=str(folder), backend=backend, io_type="io_parallel"
            )
            model.write()
    except Exception as error:  # Exception is what it raises
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"hls4ml {hls4ml.__version__} cannot take this network: {one_line(error)}") from None
    return model


@contextlib.contextmanager
def _shapes_of_einsum() -> Iterator[None]:
    """hls4ml 1.3 takes the shape of the first input of an einsum for that of its output."""
    from hls4ml.converters.pytorch_to_hls import layer_handlers

    original = layer_handlers["einsum"]

    def einsum(*args: Any) -> tuple[dict[str, Any], list[int | None]]:
        layer, _ = original(*args)
        return layer, [None, *layer["out_shape"][1:]]

    layer_handlers["einsum"] = einsum
    try:
        yield
    finally:
        layer_handlers["einsum"] = original


def _weights_as_read(network: torch.nn.Module) -> torch.nn.Module:
    """A copy with transposed weights: without a conversion to channels last, hls4ml 1.3 reads them as (in, out)."""
    import torch

    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(module.weight.T.contiguous(), requires_grad=False)
    return network


def emulate(model: ModelGraph, inputs: Sequence[torch.Tensor]) -> np.ndarray | None:
    """Logits (N, K) of the C++ emulation, compiled here; None where there is no g++."""
    if not shutil.which("g++"):
        return None
    arrays = [np.ascontiguousarray(x.numpy(), "float32") for x in inputs]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model.compile()
            output = model.predict(arrays if len(arrays) > 1 else arrays[0])
    except Exception as error:
        raise InputError(f"the emulation of hls4ml does not build or run: {one_line(error)}") from None
    return output.reshape(len(arrays[0]), -1)


def agreement(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """How far the logits (N, K) and the scores of an emulation are from those of torch."""
    scores = [np.exp(x - x.max(axis=1, keepdims=True)) for x in (expected, found)]
    scores = [x / x.sum(axis=1, keepdims=True) for x in scores]
    return {
        "jets": len(expected),
        "largest_logit": float(np.abs(expected).max()),
        "logit_max": float(np.abs(expected - found).max()),
        "logit_mean": float(np.abs(expected - found).mean()),
        "score_max": float(np.abs(scores[0] - scores[1]).max()),
        "score_mean": float(np.abs(scores[0] - scores[1]).mean()),
        "same_class": float((expected.argmax(axis=1) == found.argmax(axis=1)).mean()),
    }


def run(
    folder: str | Path, files: Sequence[str], *, jets: int, backend: str, precision: str, reuse_factor: int
) -> dict[str, Any]:
    """Convert, compare, write the report; returns it."""
    exported = read(folder)
    network, make_inputs, model = firmware(exported)
    prepared = read_inputs(files, exported.config, jets)[1]
    inputs = make_inputs(prepared.inputs)
    logits = network(*inputs)
    expected = model(*map(_tensor, (prepared.inputs[name] for name in exported.config.input_names)))
    off = float((logits.softmax(1) - expected[:, : logits.shape[1]]).abs().max())
    if not off <= SAME:
        raise InputError(f"the form for an FPGA of {exported.source['network']} is not the network: off by {off:.1g}")
    project = exported.folder / PROJECT
    (exported.folder / REPORT).unlink(missing_ok=True)
    shapes = [tuple(x.shape[1:]) for x in inputs]
    made = convert(network, shapes, project, backend=backend, precision=precision, reuse_factor=reuse_factor)
    found = emulate(made, inputs)
    import hls4ml

    result = {
        "hls4ml": hls4ml.__version__,
        "backend": backend,
        "precision": precision,
        "reuse_factor": reuse_factor,
        "inputs": shapes,
        "weights_sha256": exported.source["weights_sha256"],
        "files": [str(path) for path in files],
        "emulation": None if found is None else agreement(logits.numpy(), found),
    }
    write_json(exported.folder / REPORT, result)
    return result


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(array)


def main(argv: Sequence[str]) -> None:
    """Convert, and say how well the emulation agrees."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer hls",
        description="A project of hls4ml from an exported student (dense, PFN, InteractionNet) in MODEL_DIR/hls, and "
        "its C++ emulation in fixed point compared with torch on jets. The outputs of the firmware are logits.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="folder of kd_trainer deploy")
    add("files", nargs="+", metavar="FILE", help="jets: ROOT or parquet")
    add("--jets", type=int, default=1000, metavar="N", help="about how many to compare on (default: %(default)s)")
    add("--precision", default="ap_fixed<16,6>", metavar="TYPE",
        help="of weights and activations: bits, and those before the point (default: %(default)s)")  # fmt: skip
    add("--backend", default="Vitis", choices=["Vitis", "Vivado"], help="default: %(default)s")
    add("--reuse-factor", type=int, default=1, metavar="R", help="products a multiplier does for a jet (default: 1)")
    args = parser.parse_args(argv)
    check_at_least(1, args, "jets", "reuse_factor")
    result = run(args.model_dir, files_of(args.files), jets=args.jets, backend=args.backend,
                 precision=args.precision, reuse_factor=args.reuse_factor)  # fmt: skip
    found = result["emulation"]
    if found is None:
        print("there is no g++ here: the project is written, and not compared with torch")
    else:
        print(
            f"emulation ({result['precision']}) and torch, {found['jets']} jets: scores differ by up to "
            f"{found['score_max']:.2g}, {found['score_mean']:.2g} on average; the same class for "
            f"{100 * found['same_class']:.1f} %"
        )
    print(args.model_dir / PROJECT, args.model_dir / REPORT, sep=os.linesep)
