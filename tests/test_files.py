"""kd_trainer.files: complete files, and the state after a killed process."""

import subprocess
import sys

from kd_trainer.files import replacing, write_text

DYING = """
import os, signal, sys
from kd_trainer.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_has_left_is_removed_by_the_next_and_what_is_being_written_is_not(tmp_path):
    for name in ("report[1].md", "other.md"):
        subprocess.run([sys.executable, "-c", DYING, tmp_path / name], check=False)
    with replacing(tmp_path / "report[1].md") as temporary:
        temporary.write_text("slow")
        left = sorted(path.name.split(".")[1] for path in tmp_path.iterdir())
        assert left == ["other", "report[1]"]
        assert list(tmp_path.glob(".report*")) == [temporary]
    write_text(tmp_path / "other.md", "whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report[1].md": "slow", "other.md": "whole"}
