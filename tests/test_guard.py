"""train_scripts/guard.py: no process that a command has started outlives it."""

import signal
import subprocess

import psutil
import pytest
from helpers import ROOT, wait_for

GUARD = ROOT / "train_scripts" / "guard.py"


def start(folder, command, guard=GUARD):
    return subprocess.Popen([guard, folder / "lock", "bash", "-c", command], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_all_processes_end_with_it(number, tmp_path):
    guard = start(tmp_path, f"(sleep 60 & echo $! >{tmp_path}/one; wait) & sleep 60 & echo $! >{tmp_path}/two; wait")
    files = [tmp_path / name for name in ("one", "two")]
    wait_for(lambda: all(file.is_file() and file.read_text().endswith("\n") for file in files))
    children = [psutil.Process(int(file.read_text())) for file in files]
    guard.send_signal(number)
    assert guard.wait(timeout=20) == (-number if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))


def test_a_second_command_is_refused_while_the_first_is_at_work(tmp_path):
    first = start(tmp_path, f"touch {tmp_path}/begun; sleep 60")
    wait_for((tmp_path / "begun").exists)
    second = start(tmp_path, "true")
    assert second.wait(timeout=20) == 1 and f"another run is at work (it holds {tmp_path}/lock)" in second.stderr.read()
    first.terminate()
    first.wait(timeout=20)
    assert start(tmp_path, "exit 3").wait(timeout=20) == 3


def test_what_is_deaf_to_a_signal_is_killed(tmp_path):
    impatient = tmp_path / "guard.py"
    impatient.write_text(GUARD.read_text().replace("PATIENCE = 5", "PATIENCE = 1"))
    impatient.chmod(0o755)
    guard = start(tmp_path, f"trap '' TERM; touch {tmp_path}/deaf; while true; do sleep 1; done", impatient)
    wait_for((tmp_path / "deaf").exists)
    guard.terminate()
    assert guard.wait(timeout=10) == 128 + signal.SIGTERM
