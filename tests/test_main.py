import sys

import pytest
from helpers import kd_trainer, run

from kd_trainer.__main__ import COMMANDS


def test_help_lists_every_command():
    result = run(sys.executable, "-m", "kd_trainer", "--help")
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_unknown_command():
    result = kd_trainer("distill", check=False)
    assert result.returncode == 2
    assert result.stderr == f"kd_trainer: unknown command 'distill'; valid are: {', '.join(COMMANDS)}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    with pytest.raises(SystemExit) as stop:
        kd_trainer(command, "--help")
    assert stop.value.code == 0
