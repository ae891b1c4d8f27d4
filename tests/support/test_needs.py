"""What a test needs and is not there: a failure for root on Linux, a skip for others, and counted either way."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEST = "import pytest\n\n@pytest.mark.needs('strace')\ndef test_it():\n    assert True\n"


def ran(folder: Path, text: str = TEST, **env: str) -> tuple[int, str]:
    """Run pytest in a process of its own, where PATH leads to no tool."""
    (folder / "test_it.py").write_text(text)
    (folder / "bin").mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.needs", "--rootdir", str(folder), str(folder)]
    known = {
        "PATH": str(folder / "bin"),
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        argv, env={**known, **env}, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.needs("root")
def test_what_root_could_have_installed_is_a_failure_where_it_is_missing(tmp_path: Path) -> None:
    status, said = ran(tmp_path)
    assert (status, "strace is missing; install strace" in said) == (1, True), said
    assert "strace                          1 tests, 0 skipped, 1 failed" in said


def test_where_the_machine_is_not_to_be_changed_it_is_a_skip_that_is_counted(tmp_path: Path) -> None:
    status, said = ran(tmp_path, SYSTEM="no")
    assert (status, "1 skipped" in said) == (0, True), said
    assert "strace                          1 tests, 1 skipped, 0 failed" in said


def test_what_is_there_is_counted_and_runs(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "strace").symlink_to("/bin/true")
    status, said = ran(tmp_path)
    assert (status, "1 passed" in said) == (0, True), said
    assert "strace                          1 tests, 0 skipped, 0 failed" in said


def test_what_nobody_can_have_is_no_failure(tmp_path: Path) -> None:
    text = (
        "from tests.support.needs import require\ndef test_it():\n    require('luck', 'it is away', may_be_had=False)\n"
    )
    status, said = ran(tmp_path, text)
    assert (status, "1 skipped" in said) == (0, True), said


def test_a_need_nobody_can_look_for_is_refused(tmp_path: Path) -> None:
    status, said = ran(tmp_path, TEST.replace("strace", "luck"))
    assert status == pytest.ExitCode.USAGE_ERROR, said
