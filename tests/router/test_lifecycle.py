"""A router process from start to end, and the worker beside it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router import local_worker
from router.local_worker import LocalWorker
from router.lock import LOCK_NAME, StateLock
from tandem import identity
from tandem.errors import AlreadyRunning, BadConfig
from tandem.paths import socket_path
from tandem.peers import Peers
from tests.support.pairs import known_at

ROOT = Path(__file__).resolve().parents[2]
SOCKET_CPU_S = 1.4  # twice the aim: a busy machine, bytecode perhaps not compiled; `tandem bench run` measures it


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _call(state: Path, method: str, path: str) -> dict[str, Any]:
    connection = _UnixConnection(socket_path(state, "router"))
    try:
        connection.request(method, path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _until(found: Callable[[], object], wait_s: float, what: str) -> None:
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found():
                return
        time.sleep(0.03)
    raise AssertionError(f"{what} did not happen within {wait_s} s")


def _log(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / "logs" / "router.log").read_text().splitlines()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat_file = Path(f"/proc/{pid}/stat")
    return not (stat_file.exists() and stat_file.read_text().rpartition(")")[2].split()[0] == "Z")


@contextlib.contextmanager
def _router(state: Path, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    home = state.parent / "home"
    home.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tandem", "router", "--state", str(state), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def _ready(state: Path) -> None:
    _until(lambda: _call(state, "GET", "/v1/status")["ready"], 40, "a ready router")


# --- the whole process ----------------------------------------------------------------------------------------


def test_a_router_answers_soon_becomes_ready_and_leaves_nothing_behind(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _router(state) as process:
        _until(lambda: _call(state, "GET", "/v1/status"), 15, "an answer")
        path = socket_path(state, "router")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert (state / LOCK_NAME).read_text().strip() == str(process.pid)
        _ready(state)
        status = _call(state, "GET", "/v1/status")
        assert (status["pid"], status["state_dir"]) == (process.pid, str(state))
        _until(lambda: _call(state, "GET", "/v1/status")["worker"]["ready"], 30, "a ready worker")
        worker = _call(state, "GET", "/v1/status")["worker"]["pid"]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert not path.exists()
        assert not (state / LOCK_NAME).exists()
        _until(lambda: not _alive(worker), 2, "the worker's end")
    events = {line["event"]: line for line in _log(state)}
    assert events["socket ready"]["cpu_s"] < SOCKET_CPU_S


def test_a_second_router_on_the_same_state_names_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _router(state) as first:
        _until(lambda: _call(state, "GET", "/v1/status"), 15, "an answer")
        with _router(state) as second:
            _, told = second.communicate(timeout=20)
            assert second.returncode == AlreadyRunning.exit_code
            assert str(first.pid) in told
            assert "Traceback" not in told
        assert _call(state, "GET", "/v1/status")["pid"] == first.pid


def test_after_a_kill_the_worker_goes_too_and_the_next_router_starts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _router(state) as first:
        _ready(state)
        _until(lambda: _call(state, "GET", "/v1/status")["worker"]["ready"], 30, "a ready worker")
        worker = _call(state, "GET", "/v1/status")["worker"]["pid"]
        first.kill()
        first.wait(5)
        _until(lambda: not _alive(worker), 10, "the worker's end")
    assert socket_path(state, "router").exists()  # left over, as after any kill
    with _router(state) as second:
        _until(lambda: _call(state, "GET", "/v1/status")["pid"] == second.pid, 15, "an answer")


def test_a_lingering_router_leaves_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _router(state, "--linger", TANDEM_ROUTER_LINGER_S="1") as process:
        _ready(state)
        assert process.wait(15) == 0
    assert "nothing to do" in {line["event"] for line in _log(state)}


def test_a_router_on_a_machine_that_works_for_another_stays_until_that_is_unpaired(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    book = known_at(state, identity.load(tmp_path / "book"), "book", "router")
    with _router(state, "--linger", TANDEM_ROUTER_LINGER_S="1") as process:
        _ready(state)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
        Peers(state).remove(book.id)
        assert process.wait(15) == 0


def test_shutdown_is_a_call_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _router(state) as process:
        _ready(state)
        assert _call(state, "POST", "/v1/shutdown") == {"stopping": True}
        assert process.wait(10) == 0


def test_a_start_that_failed_is_told_with_its_exit_code(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "journal.db").write_bytes(b"this is no journal " * 100)
    with _router(state) as process:
        _until(lambda: "error" in _call(state, "GET", "/v1/status"), 40, "the reason")
        error = _call(state, "GET", "/v1/status")["error"]
        assert error["class"] == "BrokenJournal"
        assert process.wait(15) == error["exit_code"] == 7
    assert (state / "journal.db").read_bytes().startswith(b"this is no journal")


def test_a_bad_configuration_is_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "tandem.toml"
    config.write_text("[router]\nactive_runs = 0\n")
    with _router(tmp_path / "state", "--config", str(config)) as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == BadConfig.exit_code
    assert "router.active_runs = 0" in told
    assert len(told.splitlines()) == 1


# --- the lock -------------------------------------------------------------------------------------------------


def test_a_lock_is_one_process_wide_and_gone_with_its_file(tmp_path: Path) -> None:
    lock = StateLock.take(tmp_path)
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        StateLock.take(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
    StateLock.take(tmp_path).release()


def test_a_lock_file_whose_owner_died_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("999999\n")
    lock = StateLock.take(tmp_path)
    assert lock.path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / LOCK_NAME).symlink_to(victim)
    with pytest.raises(BadConfig, match="cannot write"):
        StateLock.take(tmp_path)
    assert victim.read_text() == "precious"


# --- the worker beside it -------------------------------------------------------------------------------------


def _child(tmp_path: Path, code: str) -> LocalWorker:
    return LocalWorker([sys.executable, "-c", code], tmp_path / "logs" / "worker.log")


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


READS_ITS_LIFELINE = "import json, sys; print(json.dumps({'ready': True}), flush=True); sys.stdin.read()"


def test_a_worker_that_dies_is_started_again_and_its_trouble_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        worker = _child(tmp_path, READS_ITS_LIFELINE)
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            await worker.ready.wait()
            first = worker.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            while worker.pid == first or not worker.ready.is_set():
                if not worker.ready.is_set() and worker.pid is None and worker.trouble:
                    assert "SIGKILL" in worker.trouble
                await asyncio.sleep(0.01)
        assert worker.trouble == ""
        second = worker.pid
        await _stopped(task)
        assert second is not None
        assert not _alive(second)

    asyncio.run(main())


def test_a_worker_that_always_dies_is_given_up_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_worker, "BACKOFF_S", (0.01,))
    worker = _child(tmp_path, "import sys; sys.exit('no such model')")

    async def main() -> None:
        async with asyncio.timeout(30):
            await worker.run()

    asyncio.run(main())
    assert "tandem doctor" in worker.trouble
    assert "status 1" in worker.trouble
    log = tmp_path / "logs" / "worker.log"
    assert log.read_text().count("no such model") == local_worker.TRIES
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_worker_that_does_not_listen_is_killed_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_worker, "STOP_S", 0.3)
    code = (
        "import json, os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "print(json.dumps({'ready': True}), flush=True)\n"
        "time.sleep(60)\n"
    )
    note = tmp_path / "pid"
    worker = LocalWorker([sys.executable, "-c", code, str(note)], tmp_path / "logs" / "worker.log")

    async def main() -> None:
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            await worker.ready.wait()
        await _stopped(task)

    asyncio.run(main())
    _until(lambda: not _alive(int(note.read_text())), 5, "the grandchild's end")


def test_a_worker_that_talks_without_end_does_not_stop_for_a_full_pipe(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "print(json.dumps({'ready': True}), flush=True)\n"
        "for _ in range(300): sys.stdout.write('x' * 10000)\n"
        "sys.stdout.flush(); open(sys.argv[1], 'w').close(); sys.stdin.read()\n"
    )
    done = tmp_path / "done"
    worker = LocalWorker([sys.executable, "-c", code, str(done)], tmp_path / "logs" / "worker.log")

    async def main() -> None:
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            while not done.exists():  # noqa: ASYNC110 - another process makes the file
                await asyncio.sleep(0.02)
        await _stopped(task)

    asyncio.run(main())
