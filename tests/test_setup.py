"""The set-up: which interpreter, which packages, one process at a time. Nothing is downloaded: pip is a stand-in."""

import subprocess
import sys

import pytest
from helpers import ROOT, run

from kd_trainer import requirements

BARE = "/usr/bin:/bin"
FAKE = """#!/usr/bin/env bash
# an interpreter of version 3.{minor}, with or without ensurepip
if [[ $1 == -c ]]; then exec "{python}" -c "import sys; sys.version_info = (3, {minor}, 0)
sys.modules['ensurepip'] = {ensurepip}
sys.argv[1:1] = []
$2" "${{@:3}}"; fi
if [[ $1 == -m ]]; then mkdir -p "${{@: -1}}/bin"; cp "$0" "${{@: -1}}/bin/python"; cp "{pip}" "${{@: -1}}/bin/pip"; fi
"""
PIP = """#!/usr/bin/env bash
echo "${@: -1}" >>"$LOG"
sleep "${PIP_TAKES:-0}"
exit "${PIP_FAILS:-0}"
"""


@pytest.fixture
def interpreters(tmp_path):
    """A function that puts interpreters {name: minor} on a PATH and returns it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "pip").write_text(PIP)
    (tmp_path / "pip").chmod(0o755)

    def add(names, ensurepip="sys"):
        for name in ("python", *(f"python3.{minor}" for minor in range(8, 16)), "python3"):
            text = "#!/bin/sh\nexit 127\n"  # as a shim of pyenv whose version is not activated
            if name in names:
                text = FAKE.format(minor=names[name], python=sys.executable, ensurepip=ensurepip, pip=tmp_path / "pip")
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return f"{folder}:{BARE}"

    return add


def source(path, *args, then="", check=True, **env):
    command = f"set -euo pipefail; source {ROOT}/train_scripts/setup.sh; {then}"
    return run("bash", "-c", command, "train_kd.sh", *args, check=check, env={"PATH": path, **env})


@pytest.mark.parametrize(
    "names, chosen",
    [
        ({"python3": 11, "python3.11": 11, "python3.13": 13}, "python3"),
        ({"python3": 10, "python3.12": 12, "python3.13": 13}, "python3.13"),
        ({"python3": 14, "python3.14": 14, "python3.11": 11}, "python3.11"),
        ({"python3": 14, "python3.14": 14}, "python3.14"),
    ],
)
def test_interpreter(interpreters, names, chosen):
    text = (ROOT / "train_scripts" / "setup.sh").read_text().partition("\nif ! {")[0]
    result = run("bash", "-c", f"{text}\nkd_python", "x", env={"PATH": interpreters(names)})
    assert result.stdout == f"{chosen}\n"


@pytest.mark.parametrize(
    "names, ensurepip, message",
    [
        ({"python3": 10, "python3.15": 15}, "sys", "there is no Python 3.11 to 3.14 on PATH: install one"),
        ({"python3": 12}, "None", "python3 has no venv module: install it (apt install python3-venv)"),
    ],
)
def test_no_interpreter(interpreters, tmp_path, names, ensurepip, message):
    result = source(interpreters(names, ensurepip), check=False, VENV=tmp_path / "venv", LOG=tmp_path / "log")
    assert result.returncode == 1 and message in result.stderr.splitlines()[-1]


def test_installed_once(interpreters, tmp_path):
    path, log = interpreters({"python3": 12}), tmp_path / "log"
    env = {"VENV": tmp_path / "venv", "LOG": log}
    assert source(path, check=False, PIP_FAILS=1, **env).returncode == 1  # and the next one tries again
    log.unlink()
    command = ["bash", "-c", f"source {ROOT}/train_scripts/setup.sh"]
    slow = {"PATH": path, "PIP_TAKES": "1", **{k: str(v) for k, v in env.items()}}
    both = [subprocess.Popen(command, env=slow) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    basic = f"{ROOT}[convert,demo,download,onnx,plot,workflow]"
    assert log.read_text() == f"{basic}\n"
    source(path, kd_more="test", **env)
    source(path, **env)  # has all that it needs
    assert log.read_text().splitlines() == [basic, basic[:-1] + ",test]"]


def test_missing_packages(monkeypatch, capsys):
    found = requirements.importlib.metadata.version

    def version(name):
        if name in ("pythia8mc", "fastjet"):
            raise requirements.importlib.metadata.PackageNotFoundError
        return "1.0" if name == "h5py" else found(name)

    monkeypatch.setattr(requirements.importlib.metadata, "version", version)
    assert requirements.missing("onnx") == []
    assert requirements.main(["convert", "demo"]) == 1
    pythia = "'pythia8mc>=8.312' " * (sys.version_info < (3, 14))
    line = capsys.readouterr().err
    assert line.endswith(f" lacks packages of weaver-kd: pip install 'h5py>=3.11' {pythia}'fastjet>=3.4.3'\n")
