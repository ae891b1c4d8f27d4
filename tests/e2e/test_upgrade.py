"""An upgrade of Tandem's own checkout: real clones of it with a remote; what they are set up with is a stand-in for pip."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.upgrade import checkout
from tandem import build, interfaces, upgrades
from tandem.errors import Unavailable
from tandem.paths import private_dir, socket_path
from tandem.wire import PROTOCOL
from tests.support.pairs import free_port, paired
from tests.support.stack import PERSON, ROOT

GOOD = "setup:\n\t@echo set up >> .set-up\n"
BAD = "setup:\n\t@echo 'no such package' >&2; exit 1\n"
SLOW = "setup:\n\t@touch .begun; while [ ! -e .go-on ]; do sleep 0.1; done; echo set up >> .set-up\n"
DEADLINE_S = 60.0


class Remote:
    """A repository that checkouts of Tandem were cloned from, and how it goes on."""

    def __init__(self, folder: Path, protocol: int = PROTOCOL) -> None:
        self.path = folder / "remote"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "tests", "docs", ".set-up")
        shutil.copytree(ROOT, self.path, ignore=ignored, symlinks=True)
        self("init", "-q", "-b", "main")
        self.speak(protocol)
        self.first = self.commit("first", GOOD)

    def __call__(self, *arguments: str, where: Path | None = None) -> str:
        argv = ["git", *PERSON, "-C", str(where or self.path), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def speak(self, protocol: int) -> None:
        wire = self.path / "tandem" / "wire" / "__init__.py"
        was = wire.read_text()
        new = re.sub(r"^PROTOCOL = \d+$", f"PROTOCOL = {protocol}", was, flags=re.MULTILINE)
        assert f"\nPROTOCOL = {protocol}\n" in new
        wire.write_text(new)

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

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        argv = [sys.executable, "-m", "tandem", "cli", *arguments]
        out = subprocess.PIPE
        return subprocess.Popen(
            argv, env=self.env, cwd=self.checkout, stdout=out, stderr=out, text=True, start_new_session=True
        )

    @property
    def head(self) -> str:
        return build.commit(self.checkout)

    @property
    def setups(self) -> int:
        file = self.checkout / ".set-up"
        return len(file.read_text().splitlines()) if file.exists() else 0


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@contextlib.contextmanager
def two(folder: Path, book: Installed, remote: Remote, **env: str) -> Iterator[Installed]:
    """Pair a router with a worker that it may upgrade unless `env` says otherwise; both run, and have found each other."""
    port = free_port()
    allowed = {"TANDEM_WORKER_UPGRADE": "true", **env}
    mini = Installed(folder / "mini", remote, TANDEM_WORKER_LISTEN=f"127.0.0.1:{port}", **allowed)
    paired(book.state, mini.state, f"127.0.0.1:{port}")
    try:
        for one in (mini, book):
            assert (done := one.cli("up")).returncode == 0, done.stderr
        until(lambda: _reached(book), "the paired worker is not reached")
        yield mini
    finally:
        mini.cli("down")


def _reached(book: Installed) -> bool:
    (mini,) = json.loads(book.cli("nodes", "--json").stdout)["nodes"]
    return bool(mini.get("address")) and not mini.get("trouble")


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
    with two(tmp_path, machine, remote, TANDEM_WORKER_UPGRADE="false") as mini:
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
        assert said.index(f"mini runs {second[:12]}") < said.index("moving from")
        for one in (mini, machine):
            assert json.loads(one.cli("status", "--json").stdout)["build"] == second


def test_what_fails_on_the_worker_is_said_at_the_router(tmp_path: Path, remote: Remote, machine: Installed) -> None:
    with two(tmp_path, machine, remote) as mini:
        third = remote.commit("third", BAD)
        failed = machine.cli("upgrade", timeout=DEADLINE_S)
        assert failed.returncode == 4, failed.stdout + failed.stderr
        assert f"mini was not upgraded: setting up {third[:12]} failed: no such package" in failed.stderr
        assert str(mini.state / "worker" / "logs" / "upgrade.log") in failed.stderr
        until(lambda: not upgrades.owner(mini.state), "the upgrade on the worker did not end")
        assert (mini.head, machine.head) == (remote.first, remote.first)


def test_a_router_has_a_worker_run_nothing_that_its_remote_does_not_have(
    tmp_path: Path, remote: Remote, machine: Installed
) -> None:
    with two(tmp_path, machine, remote) as mini:
        remote("commit", "-q", "--allow-empty", "-m", "not pushed", where=mini.checkout)
        own = mini.head
        remote("branch", "-q", "mine", where=mini.checkout)
        remote("reset", "-q", "--hard", remote.first, where=mini.checkout)
        remote("fetch", "-q", str(mini.checkout), "mine:mine", where=machine.checkout)
        refused = machine.cli("upgrade", "--to", own)
        assert refused.returncode == 4, refused.stdout + refused.stderr
        assert f"{own[:12]} is not on origin/main, so no router may have it here" in refused.stderr
        assert (mini.head, mini.setups) == (remote.first, 0)


def test_a_worker_of_an_older_protocol_is_waited_for(tmp_path: Path) -> None:
    remote = Remote(tmp_path, protocol=PROTOCOL - 1)
    mini_from = remote.first
    remote.speak(PROTOCOL)
    machine = Installed(tmp_path / "book", remote)
    port = free_port()
    mini = Installed(tmp_path / "mini", remote, TANDEM_WORKER_LISTEN=f"127.0.0.1:{port}", TANDEM_WORKER_UPGRADE="true")
    second = remote.commit("second", GOOD)
    remote("pull", "-q", where=machine.checkout)
    paired(machine.state, mini.state, f"127.0.0.1:{port}")
    try:
        assert (mini.cli("up").returncode, mini.head, machine.head) == (0, mini_from, second)
        done = machine.cli("upgrade", "--to", second)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (mini.head, mini.setups) == (second, 1)
        assert json.loads(mini.cli("status", "--json").stdout)["build"] == second
    finally:
        mini.cli("down")
        machine.cli("down")


def test_a_worker_that_cannot_be_reached_is_asked_nothing(remote: Remote, machine: Installed, tmp_path: Path) -> None:
    paired(machine.state, tmp_path / "gone", f"127.0.0.1:{free_port()}")
    remote.commit("second", GOOD)
    failed = machine.cli("upgrade")
    assert (failed.returncode, machine.head) == (4, remote.first), failed.stderr
    assert failed.stderr.startswith("error: mini: nothing listens at 127.0.0.1"), failed.stderr


def test_a_worker_that_only_wifi_leads_to_is_sent_nothing_unless_it_is_allowed(
    remote: Remote, machine: Installed, tmp_path: Path
) -> None:
    machine.env["TANDEM_LINK_MEDIA"] = f"{interfaces.carrier('127.0.0.1')}=wifi"
    remote.commit("second", GOOD)
    with socket.create_server(("127.0.0.1", 0)) as there:
        there.setblocking(False)
        paired(machine.state, tmp_path / "mini", f"127.0.0.1:{there.getsockname()[1]}")
        barred = machine.cli("upgrade")
        assert (barred.returncode, machine.head) == (4, remote.first), barred.stdout
        assert "is reached over Wi-Fi, which is not allowed" in barred.stderr
        with pytest.raises(BlockingIOError):
            there.accept()
        machine.env["TANDEM_LINK_WIFI"] = "true"
        assert machine.cli("upgrade").returncode == 4, "nobody answers there"
        there.accept()[0].close()  # but it was tried


def test_an_upgrade_that_was_cut_off_is_taken_up_again(remote: Remote, machine: Installed) -> None:
    second = remote.commit("second", SLOW)
    cut = machine.begin("upgrade")
    until(lambda: (machine.checkout / ".begun").exists(), "set-up does not begin")
    os.kill(cut.pid, signal.SIGKILL)
    cut.communicate(timeout=DEADLINE_S)
    beside = machine.cli("upgrade", timeout=DEADLINE_S)
    assert (beside.returncode, machine.setups) == (5, 0), "the make that was left goes on, and no other beside it"
    left = rf"process (\d+), the set-up that process {cut.pid} began before it was ended\); wait until it is done"
    found = re.search(left, beside.stderr)
    assert found, beside.stderr
    assert _lives(int(found[1]))
    (machine.checkout / ".go-on").touch()  # the make that was left ends
    until(lambda: machine.setups == 1, "the first set-up does not end")
    until(lambda: not upgrades.owner(machine.state), "the lock is not given back")
    assert machine.head == second
    assert (machine.state / "upgrade.begun.json").stat().st_mode & 0o777 == 0o600

    again = machine.cli("upgrade")
    assert (again.returncode, machine.setups) == (0, 2), again.stderr
    assert f"an upgrade from {remote.first[:12]} to {second[:12]} was cut off" in again.stdout
    assert upgrades.begun(machine.state) is None
    assert (machine.cli("upgrade").returncode, machine.setups) == (0, 2)


def test_one_that_was_cut_off_and_cannot_be_set_up_is_taken_back(remote: Remote, machine: Installed) -> None:
    second = remote.commit("second", BAD)
    remote("pull", "-q", where=machine.checkout)
    upgrades.begin(private_dir(machine.state), upgrades.Begun(old=remote.first, new=second))
    failed = machine.cli("upgrade")
    assert (failed.returncode, machine.head, machine.setups) == (4, remote.first, 1), failed.stderr
    assert f"{remote.first[:12]} is back" in failed.stderr
    assert upgrades.begun(machine.state) is None


def test_one_upgrade_at_a_time(remote: Remote, machine: Installed) -> None:
    second = remote.commit("second", SLOW)
    first = machine.begin("upgrade")
    until(lambda: (machine.checkout / ".begun").exists(), "set-up does not begin")
    other = machine.cli("upgrade")
    assert other.returncode == 5, other.stdout + other.stderr
    assert f"an upgrade is under way (process {first.pid})" in other.stderr
    (machine.checkout / ".go-on").touch()
    _, err = first.communicate(timeout=DEADLINE_S)
    assert (first.returncode, machine.head, machine.setups) == (0, second, 1), err


def test_a_router_is_told_that_an_upgrade_is_under_way_on_the_worker(
    tmp_path: Path, remote: Remote, machine: Installed
) -> None:
    with two(tmp_path, machine, remote) as mini:
        second = remote.commit("second", SLOW)
        own = mini.begin("upgrade", "--here")
        until(lambda: (mini.checkout / ".begun").exists(), "set-up does not begin")
        refused = machine.cli("upgrade")
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert f"an upgrade is under way (process {own.pid})" in refused.stderr
        (mini.checkout / ".go-on").touch()
        _, err = own.communicate(timeout=DEADLINE_S)
        assert (own.returncode, mini.head, mini.setups, machine.head) == (0, second, 1, remote.first), err


def test_a_worker_that_runs_as_a_service_alone_is_started_anew(
    tmp_path: Path, remote: Remote, machine: Installed
) -> None:
    told, programs = tmp_path / "told", tmp_path / "bin"
    programs.mkdir()
    for name in ("launchctl", "systemctl"):
        (programs / name).write_text(f'#!/bin/sh\necho "$*" >> "{told}"\n')
        (programs / name).chmod(0o755)
    machine.env["PATH"] = f"{programs}:{machine.env['PATH']}"
    assert (done := machine.cli("install", "worker")).returncode == 0, done.stderr
    socket = socket_path(machine.state, "worker")
    argv = [sys.executable, "-m", "tandem", "worker", "--service", "--socket", str(socket)]
    with (tmp_path / "out").open("wb") as out:
        worker = subprocess.Popen(argv, env=machine.env, cwd=machine.checkout, stdout=out, stderr=out)
    try:
        until(socket.exists, "the worker does not start")
        told.unlink()
        assert machine.cli("upgrade").returncode == 0
        assert not told.exists()
        second = remote.commit("second", GOOD)
        remote("pull", "-q", where=machine.checkout)
        done = machine.cli("upgrade")
        assert (done.returncode, machine.head) == (0, second), done.stderr
        assert "the worker is started anew" in done.stdout
        assert "worker" in told.read_text()
    finally:
        worker.terminate()
        worker.wait(DEADLINE_S)


def test_a_set_up_that_takes_too_long_is_ended_as_a_whole(
    remote: Remote, machine: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = remote.commit("second", "setup:\n\t@sleep 1000 & echo $$! > .child; wait\n")
    remote("fetch", "-q", where=machine.checkout)
    monkeypatch.setattr(checkout, "SETUP_S", 3.0)
    step = checkout.Step(old=remote.first, new=second, subjects=())
    with upgrades.alone(machine.state) as lock, pytest.raises(Unavailable, match="timed out after 3"):
        checkout.carry_out(step, private_dir(machine.state), lambda words: None, lock, machine.checkout)
    child = int((machine.checkout / ".child").read_text())
    until(lambda: not _lives(child), "what make started lives on")
    assert (machine.head, machine.setups) == (remote.first, 1)


def _lives(process: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, timeout=30).stdout
    return bool(state.strip()) and not state.startswith("Z")


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
