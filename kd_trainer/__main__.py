"""python -m kd_trainer <command>: each command is the `main` of one module."""

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from kd_trainer.arguments import trusting
from kd_trainer.errors import InputError, reason

COMMANDS = {
    "init": ("kd_trainer.init", "copy networks, data configs and scripts into a folder"),
    "pair": ("kd_trainer.pairing", "write the data configs of a distillation run"),
    "cache": ("kd_trainer.cache.command", "compute a teacher's soft targets once, for many trainings"),
    "simulate": ("kd_trainer.simulate.command", "simulate jets with Pythia 8 and FastJet"),
    "convert": ("kd_trainer.datasets.convert", "convert public jet files to parquet"),
    "download": ("kd_trainer.datasets.download", "download public datasets and checkpoints"),
    "files": ("kd_trainer.datasets.found", "list the existing files of a dataset"),
    "check": ("kd_trainer.datasets.check", "check input files before a long training"),
    "complexity": ("kd_trainer.evaluate.complexity", "count parameters and FLOPs of a network"),
    "unlabelled": ("kd_trainer.pretrain.unlabelled", "write the data config of a pre-training without labels"),
    "subset": ("kd_trainer.pretrain.subset", "write the data config of a training on a fixed fraction of the jets"),
    "efficiency": ("kd_trainer.pretrain.efficiency", "compare taggers by the number of labels they were trained on"),
    "study": ("kd_trainer.study.command", "compare the trainings of a study"),
    "bench": ("kd_trainer.bench.command", "measure speed, as ratios within one run"),
    "deploy": ("kd_trainer.deploy.command", "complete an exported model and compare it with torch"),
    "parity": ("kd_trainer.deploy.parity", "compare an exported model with torch on other jets"),
    "tag": ("kd_trainer.deploy.tag", "compute scores of jets in files with an exported model"),
    "draw": ("kd_trainer.deploy.draw", "draw single jets with the most likely classes of an exported model"),
    "variables": ("kd_trainer.deploy.variables", "write the inputs of an exported model as text, for the C++ program"),
    "quantise": ("kd_trainer.deploy.quantise", "quantise an exported model to 8 bits and measure accuracy and speed"),
    "firmware": ("kd_trainer.deploy.firmware", "write an exported fixed-point student as Verilog, with alkaid"),
    "front": ("kd_trainer.evaluate.front", "draw accuracy and rejection of firmware against its size"),
    "report": ("kd_trainer.evaluate.report", "compare taggers from weaver's prediction files"),
}
WITHOUT_CONFIGS = {"init", "simulate", "convert", "download", "files", "efficiency"}
TRUST = "--trust"
TRUST_HELP = f"{TRUST}, for all commands that read a data config: allow any expression in it, which weaver executes"


def usage() -> str:
    """The text of --help."""
    lines = [f"  {name:<12}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: python -m kd_trainer COMMAND [--help] ...", "", "commands:", *lines, "", TRUST_HELP])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; for a wrong input, print one line on stderr and return exit code 1."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    command, *rest = argv
    if command not in COMMANDS:
        print(f"kd_trainer: unknown command '{command}'; valid are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    trusts = TRUST in rest and command not in WITHOUT_CONFIGS
    if trusts:
        rest = [word for word in rest if word != TRUST]
    try:
        with trusting() if trusts else contextlib.nullcontext():
            code = importlib.import_module(COMMANDS[command][0]).main(rest) or 0
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"kd_trainer {command}: {error}", file=sys.stderr)
    except BrokenPipeError:  # for example from `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"kd_trainer {command}: {error.filename or 'the output'}: {reason(error)}", file=sys.stderr)
        with contextlib.suppress(OSError):  # stdout may have no file descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # stdout itself may be on the full disk
    return 1


if __name__ == "__main__":
    sys.exit(main())
