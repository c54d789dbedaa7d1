"""Size and latency of firmware from `kd_trainer firmware`, for a report."""

from collections.abc import Iterable

from kd_trainer.errors import InputError
from kd_trainer.files import json_of

FIXED, FLOATING = "fixed point", "floating point"  # the network, and its twin, in firmware.json


def sentences(arguments: Iterable[str]) -> list[str]:
    """One sentence for each NAME=firmware.json; InputError for another form, and a missing or foreign file."""
    lines = []
    for argument in arguments:
        name, _, path = argument.rpartition("=")
        if not name:
            raise InputError(f"--firmware {argument} is not NAME=firmware.json")
        with json_of(path, "the firmware.json of kd_trainer firmware", "--firmware") as found:
            simulated, synthesis = found["simulation"], found["synthesis"]
            luts = "" if synthesis is None else f" ({synthesis['luts']:,} LUTs in {synthesis['tool']})"
            equal = "not simulated" if simulated is None else f"simulated bit by bit on {simulated['jets']} jets"
            models = (found["twin"] or {"models": {}})["models"]
            known = {k: v["accuracy"] for k, v in models.items()}
            scores = "".join(f" accuracy in {k} {a['value']:.4f} ± {a['statistical']:.4f};" for k, a in known.items())
            lines.append(
                f"Firmware of {name}: about {found['cost']:,.0f} LUTs by alkaid{luts}, {found['register_bits']:,} "
                f"register bits, {found['stages']} stages of {found['clock_ns']:g} ns, {found['latency_ns']:g} ns;"
                f"{scores} {equal}."
            )
    return lines
