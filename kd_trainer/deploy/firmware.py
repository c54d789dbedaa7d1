"""python -m kd_trainer firmware: a student in fixed point as Verilog, exact bit by bit, with its size and latency."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.arguments import check_at_least
from kd_trainer.deploy import reference
from kd_trainer.deploy.model_dir import Exported, read, record
from kd_trainer.deploy.quantise import figures, labelled_sample, verdict
from kd_trainer.deploy.reading import read_inputs
from kd_trainer.deploy.verilog import simulate, synthesise, write_verilog
from kd_trainer.errors import InputError, one_line
from kd_trainer.evaluate.bootstrap import accuracy_statistic, bootstrap
from kd_trainer.evaluate.calibration import balanced_weights
from kd_trainer.evaluate.firmware import FIXED, FLOATING
from kd_trainer.files import write_json
from kd_trainer.jet_files import files_of

if TYPE_CHECKING:
    import torch
    from alkaid.types import CombLogic

PROJECT, REPORT = "firmware", "firmware.json"
OPTIONS: Any = {"binary_lut": False}  # alkaid 0.8 fails at six inputs of one bit of which one has but a sign
KNOWN = {"Linear", "ReLU", "BatchNorm1d", "Dropout", "Flatten", "Identity"}


def operators_outside(model: torch.nn.Module) -> str:
    """The kinds of layers of a network that cannot become firmware, in one line."""
    kinds = [(type(m).__name__, any(m.children())) for m in model.modules()]
    return ", ".join(sorted({kind for kind, whole in kinds if not whole or "Attention" in kind} - KNOWN))


def check_fixed_point(model: torch.nn.Module, network: str) -> None:
    """Raise InputError unless it is a network in fixed point, see networks/firmware.py."""
    if hasattr(model, "rounded_inputs"):
        return
    outside = operators_outside(model)
    advice = "train it with ./train_kd.sh firmware (networks/firmware.py)"
    if outside:
        advice = f"it cannot become firmware: operators outside the path: {outside}; dense, PFN and InteractionNet can"
    raise InputError(f"{network} is not in fixed point: {advice}")


def to_logic(model: Any) -> CombLogic:
    """What alkaid makes of a network in fixed point: additions, shifts and tables, see docs/howto/firmware.md.

    Parameters
    ----------
    model : FixedPoint
        Of networks/firmware.py. Its weights become what they are rounded to.

    Raises
    ------
    InputError
        If PQuantML or alkaid is not installed, or if alkaid does not know an operator.
    """
    try:
        import pquant
        from alkaid.converter import trace_model
        from alkaid.trace import FVArray, HWConfig, trace
    except ImportError:
        raise InputError("alkaid or PQuantML is not installed; pip install 'weaver-kd[fpga]'") from None
    pquant.apply_final_compression(model.network)
    hardware = HWConfig(1, 1, -1)  # costs of an adder
    inputs = tuple(
        FVArray.from_kif(*(np.broadcast_to(b, shape).astype(np.int8) for b in bits), hardware, solver_options=OPTIONS)
        for shape, bits in zip(model.input_shapes, model.bits, strict=True)
    )
    try:
        return trace(*trace_model(model.network, hardware, inputs=inputs, framework="torch"))
    except (NotImplementedError, AssertionError, KeyError, TypeError, ValueError) as error:  # what it raises
        raise InputError(f"alkaid {version('alkaid')} cannot take this network: {one_line(error)}") from None


def saturated_inputs(
    features: np.ndarray, mask: np.ndarray, bits: np.ndarray, steps: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Variables that are beyond their fixed-point range for some real particle.

    Parameters
    ----------
    features : (N, C, P)
    mask : (N, 1, P)
    bits : (3, C) sign, integer and fraction bits.
    steps : (C,) of each variable, in its own unit.
    names : (C,)

    Returns
    -------
    dict
        {name: {"jets": how many have one, "range": [lowest, highest], "found": [lowest, highest]}}
    """
    sign, integer, fraction = bits[:, None, :, None].astype(float)
    step, most = steps[None, :, None].astype(float), 2 ** (integer + fraction)
    low, high = -sign * most * step, (most - 1) * step
    real = mask > 0
    beyond = ((features < low - step / 2) | (features > high + step / 2)) & real
    found = {}
    for c in np.flatnonzero(beyond.any(axis=(0, 2))).tolist():
        values = features[:, c][real[:, 0]]
        found[names[c]] = {
            "jets": int(beyond[:, c].any(axis=1).sum()),
            "range": [float(low[0, c, 0]), float(high[0, c, 0])],
            "found": [float(values.min()), float(values.max())],
        }
    return found


@contextlib.contextmanager
def saturated_activations(model: Any) -> Iterator[dict[str, float]]:
    """{place in the network: part of its values beyond the learnt range}, of what goes through it meanwhile."""
    shares: dict[str, float] = {}

    def look(name: str) -> Any:
        def hook(module: Any, given: Any, _: Any) -> None:
            k, i, f = (b.detach().double() for b in module.get_quantization_bits())
            x = given[0].double()
            beyond = (x > 2.0**i - 2.0 ** (-f - 1)) | (x < -k * 2.0**i - 2.0 ** (-f - 1))
            alive = (k + i + f > 0).expand_as(x)  # a width of no bits is a choice
            share = float((beyond & alive).double().mean())
            if share:
                shares[name] = share

        return hook

    modules = model.network.named_modules()
    quantisers = {name: m for name, m in modules if hasattr(m, "quantizer") and m.is_data}
    hooks = [m.register_forward_hook(look(name.removesuffix(".input_quantizer"))) for name, m in quantisers.items()]
    try:
        yield shares
    finally:
        for hook in hooks:
            hook.remove()


def run(
    folder: str | Path,
    files: Sequence[str],
    *,
    jets: int,
    simulated: int,
    clock: float,
    synthesis: bool,
    twin: str | Path | None = None,
    test_jets: int = 100_000,
) -> dict[str, Any]:
    """Convert, emulate, simulate, count, write the report; returns it."""
    import torch

    exported = read(folder)
    source = exported.source
    model: Any
    model, info = reference.load(source, exported.options)
    check_fixed_point(model, source["network"])
    compared = against_twin(model, info, exported, files, twin, test_jets) if twin else None
    logic = to_logic(model)
    inputs = read_inputs(files, exported.config, jets)[1].inputs
    given = model.rounded_inputs(*(torch.from_numpy(inputs[name]) for name in info["input_names"]))
    with saturated_activations(model) as activations:
        single = model.network(*given).numpy()
    double = model.double().network(*(x.double() for x in given)).numpy()  # in which its sums are exact
    flat = np.concatenate([x.reshape(len(x), -1).numpy() for x in given], axis=1).astype(np.float64)
    found = logic.predict(flat)
    wrong = int((found != double).any(axis=1).sum())
    if wrong:
        raise InputError(f"the emulation of alkaid differs from the network in {wrong} of {len(found)} jets, "
                         f"by up to {np.abs(found - double).max():.2g}")  # fmt: skip
    project = exported.folder / PROJECT
    (exported.folder / REPORT).unlink(missing_ok=True)
    made = write_verilog(logic, project, clock)
    simulated_result = None
    if simulated:
        simulated_result = simulate(project, logic, flat[:simulated], found[:simulated], made["stages"])
    names = exported.config.input_dicts["pf_features"]
    bits, steps = model.feature_bits.numpy(), model.steps.numpy()
    result = {
        "versions": {package: version(package) for package in ("alkaid", "pquant-ml")},
        "weights_sha256": source["weights_sha256"],
        "files": [str(path) for path in files],
        "inputs": {name: {"bits": [int(b) for b in row], "step": float(step)}
                   for name, row, step in zip(names, bits.T, steps)},
        "saturated_inputs": saturated_inputs(inputs["pf_features"], inputs["pf_mask"], bits, steps, names),
        "saturated_activations": activations,
        "ebops": float(model.ebops()),
        **made,
        "unfused_cost": float(logic.cost),
        "clock_ns": clock,
        "initiation_interval": 1,
        "emulation": {"jets": len(found), "equal_in_single_precision": int((found == single).all(axis=1).sum())},
        "simulation": simulated_result,
        "synthesis": synthesise(project) if synthesis else None,
        "twin": compared,
    }  # fmt: skip
    write_json(exported.folder / REPORT, result)
    record(exported.folder, REPORT)
    return result


def against_twin(
    model: torch.nn.Module, info: dict[str, Any], exported: Exported, files: Sequence[str], twin: str | Path, jets: int
) -> dict[str, Any]:
    """Figures of merit of a network in fixed point and of the plain network with the weights `twin`, on the same jets.

    Returns
    -------
    dict
        weights, weights_sha256, jets, and the `models` and `changes` of `quantise.figures`.

    Raises
    ------
    InputError
        If the data config does not name the classes, or if the weights are not those of the plain network.
    """
    if not exported.classes:
        raise InputError("the data config does not name the classes, so that nothing can be compared with --twin")
    own = ("plain", "input_bits")
    plain = reference.describe(
        exported.source["options"]["plain"],
        {name: value for name, value in exported.source["options"].items() if name not in own},
        twin,
    )
    floating, its_info = reference.load(plain, exported.options)
    inputs, truth = labelled_sample(files, exported, jets)
    scores = {FIXED: reference.outputs(model, info, inputs), FLOATING: reference.outputs(floating, its_info, inputs)}
    found = figures(scores, truth, exported.classes, [(FIXED, FLOATING)])
    return {"weights": str(twin), "weights_sha256": plain["weights_sha256"], "jets": len(truth), **found,
            "balanced_accuracy": balanced_accuracies(scores, truth)}  # fmt: skip


def balanced_accuracies(scores: dict[str, np.ndarray], truth: np.ndarray) -> dict[str, dict[str, float]]:
    """{name, and `difference` of the two: value and statistical uncertainty} with all classes weighted alike.

    They come from the scores {name: (N, K)} of two networks and the true classes (N,).
    """
    weights = balanced_weights(truth)
    statistics = {name: accuracy_statistic(truth, of, weights) for name, of in scores.items()}
    values = {name: statistic(np.ones((1, len(truth))))[0] for name, statistic in statistics.items()}
    drawn = bootstrap(statistics, len(truth))
    one, other = scores
    values["difference"], drawn["difference"] = values[one] - values[other], drawn[one] - drawn[other]
    return {name: {"value": float(values[name]), "statistical": float(drawn[name].std(ddof=1))} for name in values}


def accuracy_of(twin: dict[str, Any], name: str) -> str:
    """Its accuracy as text."""
    found = twin["models"][name]["accuracy"]
    return f"{found['value']:.4f} ± {found['statistical']:.4f}"


def print_result(result: dict[str, Any]) -> None:
    """The table, and what saturates."""
    from tabulate import tabulate

    emulated, simulated, synthesis = (result[key] for key in ("emulation", "simulation", "synthesis"))
    rows = [
        ("size by alkaid, about LUTs", f"{result['cost']:,.0f}"),
        ("register bits", f"{result['register_bits']:,}"),
        ("EBOPs", f"{result['ebops']:,.0f}"),
        ("latency", f"{result['stages']} stages of {result['clock_ns']:g} ns, {result['latency_ns']:g} ns"),
        ("initiation interval", result["initiation_interval"]),
        ("emulation", f"equal on {emulated['jets']} jets"),
        ("simulation", "not done" if simulated is None else
         f"equal bit by bit on {simulated['jets']} jets, {simulated['cycles']} cycles ({simulated['tool']})"),
        ("synthesis", "not done" if synthesis is None else
         f"{synthesis['luts']:,} LUTs in about {synthesis['logic_cells']:,} logic cells, "
         f"{synthesis['flip_flops']:,} flip-flops ({synthesis['tool']})"),
    ]  # fmt: skip
    print(tabulate(rows, disable_numparse=True))
    if twin := result["twin"]:
        print(f"on {twin['jets']} jets:", *(f"{name}: accuracy {accuracy_of(twin, name)}" for name in twin["models"]))
        alike = [f"{k} {v['value']:.4f} ± {v['statistical']:.4f}" for k, v in twin["balanced_accuracy"].items()]
        print("accuracy with classes weighted alike:", ", ".join(alike))
        print(*verdict(twin["changes"][f"{FIXED} / {FLOATING}"], "fixed-point numbers", FLOATING), sep="\n")
    for name, found in result["saturated_inputs"].items():
        print(f"input {name} saturates for {found['jets']} of {emulated['jets']} jets: its range is "
              f"{found['range'][0]:g} to {found['range'][1]:g}, there are {found['found'][0]:.3g} to "
              f"{found['found'][1]:.3g}")  # fmt: skip
    for name, share in sorted(result["saturated_activations"].items(), key=lambda item: -item[1]):
        print(f"what goes into {name} saturates for {100 * share:.2g} % of its values")


def main(argv: Sequence[str]) -> None:
    """Convert, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer firmware",
        description="Verilog of a student in fixed point (./train_kd.sh firmware) in MODEL_DIR/firmware, emulated and "
        "simulated on jets, with estimates of size and latency; no place and route. The outputs are logits.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="folder of kd_trainer deploy")
    add("files", nargs="+", metavar="FILE", help="jets: ROOT or parquet")
    add("--jets", type=int, default=1000, metavar="N", help="about how many to emulate (default: %(default)s)")
    add("--simulate", type=int, default=100, metavar="N",
        help="how many of them in Icarus, from 500 on in Verilator if there is one (default: %(default)s)")  # fmt: skip
    add("--clock", type=float, default=2.5, metavar="NS", help="its period (default: %(default)s)")
    add("--no-synthesis", action="store_true", help="no Yosys, which takes minutes for a large network")
    add("--twin", metavar="CHECKPOINT", help="of the same network in floating point, to be compared with")
    add("--test-jets", type=int, default=100_000, metavar="N", help="for that, with labels (default: %(default)s)")
    args = parser.parse_args(argv)
    check_at_least(1, args, "jets", "test_jets")
    check_at_least(0, args, "simulate")
    if not args.clock >= 1:
        raise InputError(f"--clock is {args.clock:g}: it has to be at least 1 ns")
    result = run(args.model_dir, files_of(args.files), jets=args.jets, simulated=args.simulate, clock=args.clock,
                 synthesis=not args.no_synthesis, twin=args.twin, test_jets=args.test_jets)  # fmt: skip
    print_result(result)
    print(args.model_dir / PROJECT, args.model_dir / REPORT, sep=os.linesep)
