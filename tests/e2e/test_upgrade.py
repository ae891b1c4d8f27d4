"""An upgrade of Tandem's own checkout: real clones of it with a remote; what they are set up with is a stand-in for pip."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem import build
from tests.support.pairs import free_port, paired
from tests.support.stack import PERSON, ROOT

GOOD = "setup:\n\t@echo set up >> .set-up\n"
BAD = "setup:\n\t@echo 'no such package' >&2; exit 1\n"


class Remote:
    """A repository that checkouts of Tandem were cloned from, and how it goes on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "remote"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "tests", "docs", ".set-up")
        shutil.copytree(ROOT, self.path, ignore=ignored, symlinks=True)
        self("init", "-q", "-b", "main")
        self.first = self.commit("first", GOOD)

    def __call__(self, *arguments: str, where: Path | None = None) -> str:
        argv = ["git", *PERSON, "-C", str(where or self.path), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def commit(self, words: str, makefile: str) -> str:
        (self.path / "Makefile").write_text(makefile)
        (self.path / "NEWS").write_text(words)
        self("add", "-A")
        self("commit", "-q", "-m", words)
        return self("rev-parse", "HEAD")


class Installed:
    """A machine that runs Tandem from a clone."""

    def __init__(self, folder: Path, remote: Remote, **env: str) -> None:
        self.checkout, self.state, self.home = folder / "tandem", folder / "state", folder / "home"
        self.home.mkdir(parents=True)
        remote("clone", "-q", str(remote.path), str(self.checkout))
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(self.checkout),
            "TANDEM_STATE": str(self.state),
            "TANDEM_CONFIG": os.devnull,
            "TANDEM_MODELS_ROUTER": "rehearsal/demo",
            "TANDEM_MODELS_WORKER": "rehearsal/demo",
            "TANDEM_REHEARSAL_SCRIPT": "demo",
            **env,
        }

    def cli(self, *arguments: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "tandem", "cli", *arguments]
        return subprocess.run(
            argv, env=self.env, cwd=self.checkout, capture_output=True, text=True, timeout=timeout, check=False
        )

    @property
    def head(self) -> str:
        return build.commit(self.checkout)

    @property
    def setups(self) -> int:
        file = self.checkout / ".set-up"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


@pytest.fixture
def machine(tmp_path: Path, remote: Remote) -> Iterator[Installed]:
    made = Installed(tmp_path / "book", remote)
    yield made
    made.cli("down")


def test_the_checkout_moves_is_set_up_and_comes_back_where_that_fails(remote: Remote, machine: Installed) -> None:
    assert machine.head == remote.first
    second = remote.commit("second: better words", GOOD)
    looked = machine.cli("upgrade", "--dry-run")
    assert (looked.returncode, machine.head, machine.setups) == (0, remote.first, 0), looked.stderr
    assert "second: better words" in looked.stdout

    done = machine.cli("upgrade")
    assert (done.returncode, machine.head, machine.setups) == (0, second, 1), done.stderr
    again = machine.cli("upgrade")
    assert (again.returncode, machine.setups) == (0, 1), again.stderr
    assert f"runs {second[:12]}, the newest" in again.stdout

    remote.commit("third", BAD)
    failed = machine.cli("upgrade")
    assert (failed.returncode, machine.head, machine.setups) == (4, second, 2), failed.stderr
    assert "no such package" in failed.stderr
    assert f"{second[:12]} is back" in failed.stderr


def test_what_would_lose_something_is_refused(remote: Remote, machine: Installed) -> None:
    second = remote.commit("second", GOOD)
    (machine.checkout / "NEWS").write_text("mine")
    dirty = machine.cli("upgrade")
    assert (dirty.returncode, "has changes of its own (NEWS)" in dirty.stderr) == (5, True), dirty.stderr
    remote("checkout", "-q", "NEWS", where=machine.checkout)
    unknown = machine.cli("upgrade", "--to", "nowhere")
    assert (unknown.returncode, "no commit 'nowhere' is known" in unknown.stderr) == (2, True), unknown.stderr
    option = machine.cli("upgrade", "--to", "--help")
    assert option.returncode == 2
    assert machine.cli("upgrade", "--to", second).returncode == 0
    back = machine.cli("upgrade", "--to", remote.first)
    assert (back.returncode, "an upgrade goes forward only" in back.stderr) == (5, True), back.stderr
    remote("remote", "set-url", "origin", "/nowhere", where=machine.checkout)
    away = machine.cli("upgrade")
    assert (away.returncode, "remote cannot be asked" in away.stderr) == (4, True), away.stderr
    assert machine.head == second


def test_both_machines_come_to_the_same_commit_the_worker_first(
    tmp_path: Path, remote: Remote, machine: Installed
) -> None:
    port = free_port()
    mini = Installed(tmp_path / "mini", remote, TANDEM_WORKER_LISTEN=f"127.0.0.1:{port}")
    paired(machine.state, mini.state, f"127.0.0.1:{port}")
    try:
        assert mini.cli("up").returncode == 0
        assert machine.cli("up").returncode == 0
        until = time.monotonic() + 30
        while "rehearsal/demo" not in machine.cli("nodes").stdout:
            assert time.monotonic() < until, machine.cli("nodes").stdout
            time.sleep(0.2)
        second = remote.commit("second", GOOD)
        refused = machine.cli("upgrade")
        assert refused.returncode == 6, refused.stderr
        assert f"run `tandem upgrade --to {second[:12]}` there" in refused.stderr
        assert (mini.head, machine.head) == (remote.first, remote.first)

        mini.cli("down")
        mini.env["TANDEM_WORKER_UPGRADE"] = "true"
        assert mini.cli("up").returncode == 0
        done = machine.cli("upgrade")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (mini.head, machine.head) == (second, second)
        assert (mini.setups, machine.setups) == (1, 1)
        said = done.stdout
        assert said.index(f"mini runs {second[:12]}") < said.index("setting up")
        for one in (mini, machine):
            assert json.loads(one.cli("status", "--json").stdout)["build"] == second
    finally:
        mini.cli("down")


def test_a_build_is_read_however_git_keeps_it(tmp_path: Path, remote: Remote) -> None:
    assert build.commit(remote.path) == remote.first
    remote("pack-refs", "--all")
    assert build.commit(remote.path) == remote.first
    remote("worktree", "add", "-q", str(tmp_path / "beside"))
    assert build.commit(tmp_path / "beside") == remote.first
    remote("checkout", "-q", "--detach")
    assert build.commit(remote.path) == remote.first
    (remote.path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert build.commit(remote.path) == build.commit(tmp_path / "nowhere") == ""
