"""Running commands as a user would."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from kd_trainer.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def run(*args, check=True, cwd=ROOT, env=None):
    """Run a command from the root of the repository; if it fails, its output is in the assertion."""
    args = [str(arg) for arg in args]
    env = {**os.environ, **{k: str(v) for k, v in (env or {}).items()}}
    result = subprocess.run(args, cwd=cwd, env=env, capture_output=True, text=True)
    assert not check or result.returncode == 0, f"{' '.join(args)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


def kd_trainer(*args, check=True):
    """python -m kd_trainer, in this process: starting Python takes longer than most commands."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    assert not check or code == 0, err.getvalue()
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


def weaver(*args, **kwargs):
    """The real weaver command, on the CPU."""
    return run(Path(sys.executable).with_name("weaver"), "--gpus", "", *args, **kwargs)
