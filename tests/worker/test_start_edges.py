import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.errors import BadConfig
from tandem.paths import private_dir
from tests.support.machine import ROOT, Machine

REPLIES = [{"persona": "coder", "text": "x"}]


def test_a_lifeline_that_cannot_end_is_refused_in_words(tmp_path: Path) -> None:
    machine = Machine(tmp_path, REPLIES)
    done = subprocess.run(
        [sys.executable, "-m", "tandem", "worker", *machine.argv, "--lifeline"],
        env=machine.env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--lifeline needs a pipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_that_ships_is_called_demo(tmp_path: Path) -> None:
    with Machine(tmp_path, REPLIES, TANDEM_REHEARSAL_SCRIPT="demo"):
        pass  # it says that it is ready


def test_a_folder_shared_by_everybody_is_never_closed_to_them(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(BadConfig, match="shared with others"):
        private_dir(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert stat.S_IMODE(private_dir(shared / f"own-{os.getuid()}").stat().st_mode) == 0o700
