"""The lock of a state folder, beyond what `test_lifecycle` shows of it: many at once, kills, odd files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from router.lock import LOCK_NAME, StateLock
from tandem.errors import AlreadyRunning, BadConfig

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import pathlib, sys, time
from router.lock import StateLock
lock = StateLock.take(pathlib.Path(sys.argv[1]))
print("taken", flush=True)
time.sleep(60)
"""


def holder(state: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    made = subprocess.Popen([sys.executable, "-c", HOLDER, str(state)], env=env, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "taken\n"
    return made


def test_a_killed_owner_leaves_no_lock_and_a_living_one_is_named(tmp_path: Path) -> None:
    with holder(tmp_path) as owner:
        try:
            with pytest.raises(AlreadyRunning, match=rf"process id {owner.pid} runs on .*`tandem down`"):
                StateLock.take(tmp_path)
            assert (tmp_path / LOCK_NAME).read_text() == f"{owner.pid}\n"
        finally:
            owner.kill()
    lock = StateLock.take(tmp_path)
    assert lock.path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    lock.release()


def test_of_many_that_take_and_release_at_once_never_two_have_it(tmp_path: Path) -> None:
    inside, most, turns = 0, 0, 0
    guard, end = threading.Lock(), time.monotonic() + 20

    def work() -> None:
        nonlocal inside, most, turns
        mine = 0
        while mine < 15 and time.monotonic() < end:
            try:
                lock = StateLock.take(tmp_path)
            except (AlreadyRunning, BadConfig):
                continue
            with guard:
                inside += 1
                most, turns = max(most, inside), turns + 1
            time.sleep(0.0005)
            with guard:
                inside -= 1
            lock.release()
            mine += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 90)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_somebody_removed_is_not_removed_again(tmp_path: Path) -> None:
    first = StateLock.take(tmp_path)
    first.path.unlink()
    second = StateLock.take(tmp_path)
    first.release()
    assert second.path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(AlreadyRunning):
        StateLock.take(tmp_path)
    second.release()


def test_a_number_that_is_none_is_said_as_it_is(tmp_path: Path) -> None:
    lock = StateLock.take(tmp_path)
    for words in (b"", b"\xff\xfe\n", b"9" * 100):
        lock.path.write_bytes(words)
        with pytest.raises(AlreadyRunning, match=r"a router with process id .* runs on"):
            StateLock.take(tmp_path)
    lock.release()


def test_a_folder_that_is_not_there_or_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"cannot write .*router\.lock: No such file or directory; set TANDEM_STATE"):
        StateLock.take(tmp_path / "none")
    (tmp_path / LOCK_NAME).mkdir()
    with pytest.raises(BadConfig, match="Is a directory"):
        StateLock.take(tmp_path)


def test_what_the_owner_starts_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = StateLock.take(tmp_path)
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        lock.release()
        StateLock.take(tmp_path).release()
        child.kill()
