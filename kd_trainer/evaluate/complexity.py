"""python -m kd_trainer complexity: count parameters and FLOPs of a weaver network, and write them beside predictions.

FLOPs are multiply-adds for one jet, as in the published tables and in weaver's own counter. This is half of the result
of torch's FlopCounterMode, which counts multiplications and additions. The count includes matrix products and
convolutions, also inside attention. It leaves out biases, normalisations and activations, which weaver's counter
includes (a few per cent). ParT (2.14M parameters) with 128 particles has 335M here and 340M in arXiv:2202.03772,
ParticleNet 533M and 540M.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_trainer.arguments import parse_options
from kd_trainer.classes import names_of
from kd_trainer.errors import InputError, one_line
from kd_trainer.files import si, write_json

if TYPE_CHECKING:
    import torch
    from weaver.utils.dataset import DataConfig


def load_data_config(path: str | Path, particles: int | None = None) -> DataConfig:
    """DataConfig of weaver; `particles` replaces the length of the particle inputs, which are the longest inputs."""
    from weaver.utils.dataset import DataConfig

    from kd_trainer import configs

    options = copy.deepcopy(configs.load(path))
    if particles:
        longest = max(spec["length"] or 0 for spec in options["inputs"].values())
        for spec in options["inputs"].values():
            if spec["length"] == longest:
                spec["length"] = particles
        options.get("preprocess", {}).pop("params", None)  # in an *.auto.yaml they repeat the lengths
    return DataConfig(print_info=False, **options)


def load_network(
    path: str | Path, data_config: DataConfig, options: Mapping[str, Any]
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """(model, model_info) from a network file of weaver."""
    from kd_trainer.weaver_hooks.hook import load_network as load_module

    if not Path(path).is_file():
        raise InputError(f"--network {path} is not there")
    module = load_module(path)
    if not hasattr(module, "get_model"):
        raise InputError(f"--network {path} has no function get_model(data_config, **options)")
    return module.get_model(data_config, **options)


def count_parameters(model: torch.nn.Module) -> int:
    """Number of parameters, including frozen ones."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextlib.contextmanager
def _plain_operators() -> Iterator[None]:
    """Compute attention with matrix products, because FlopCounterMode does not know torch's fused CPU kernels."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def count_flops(model: torch.nn.Module, model_info: Mapping[str, Any]) -> int:
    """Multiply-adds for one jet with all particle slots filled.

    Parameters
    ----------
    model : torch.nn.Module; the function runs a copy of it in evaluation mode.
    model_info : dict with `input_names` and `input_shapes`, (1, C, P) each. Inputs named `*_mask` are all ones, so
        nothing is trimmed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # requires_grad is off instead of no_grad, because FlopCounterMode needs the autograd graph that a model may build.
    model = copy.deepcopy(model).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    shapes = {name: (1, *model_info["input_shapes"][name][1:]) for name in model_info["input_names"]}
    inputs = [
        torch.ones(shape) if name.endswith("_mask") else torch.rand(shape, generator=generator)
        for name, shape in shapes.items()
    ]
    with _plain_operators(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops() // 2


def complexity(
    network: str | Path,
    data_config: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    particles: int | None = None,
) -> dict[str, Any]:
    """Parameters and FLOPs of a network file.

    Parameters
    ----------
    network, data_config : paths of the two files, as given to weaver.
    options : options of the network, as `-o key value` gives them to weaver.
    name : name of the model (default: stem of the network file).
    particles : number of particles of the jet (default: as in the data config).

    Returns
    -------
    dict with name, network, options, data_config, classes (None without names), parameters, flops, particles

    Raises
    ------
    InputError
        If a file is invalid, or if the network does not run on these inputs.
    """
    config = load_data_config(data_config, particles)
    try:
        model, model_info = load_network(network, config, options or {})
        flops = count_flops(model, model_info)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"{network} does not run with {data_config} and these options ({reason})") from error
    return {
        "name": name or Path(network).stem,
        "network": str(network),
        "options": options or {},
        "data_config": str(data_config),
        "classes": names_of(config.labels) or None,
        "parameters": count_parameters(model),
        "flops": flops,
        "particles": max(model_info["input_shapes"][k][-1] for k in model_info["input_names"]),
    }


def main(argv: Sequence[str]) -> None:
    """Count, print one line and, with --output, write the file that `report` reads beside predictions."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer complexity",
        description="Count the parameters of a weaver network and its FLOPs (multiply-adds) for one jet.",
    )
    parser.add_argument("--network", required=True, metavar="NET.py", help="as in weaver's --network-config")
    parser.add_argument("--data-config", required=True, metavar="CFG.yaml", help="data config of that network")
    parser.add_argument("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    parser.add_argument("--name", help="name of the model (default: name of the network file)")
    parser.add_argument("--particles", type=int, metavar="P", help="number of particles (default: of the data config)")
    parser.add_argument("--output", metavar="PRED.model.json", help="file to write for `report`, beside PRED.root")
    args = parser.parse_args(argv)
    if args.particles is not None and args.particles < 1:
        raise InputError(f"--particles {args.particles}: a jet has at least one particle")
    options = parse_options(args.network_option)
    result = complexity(args.network, args.data_config, options, name=args.name, particles=args.particles)
    print(
        f"{result['name']}: {si(result['parameters'])} parameters ({result['parameters']}), "
        f"{si(result['flops'])} FLOPs a jet ({result['flops']} multiply-adds, {result['particles']} particles)"
    )
    if args.output:
        write_json(args.output, result)
        print(args.output)
