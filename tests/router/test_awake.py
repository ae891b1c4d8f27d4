import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from router import awake
from router.awake import Awake, command, gap_s, slept_s

SLEEPER = ["sleep", "60"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "TICK_S", 0.02)


async def soon(found: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not found():  # noqa: ASYNC110 - a process outside is looked at
            await asyncio.sleep(0.005)


def watching(made: Awake, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run the watch beside a scenario, then cancel it."""

    async def main() -> None:
        task = asyncio.create_task(made.run())
        try:
            await scenario()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


# --- what is decided ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("platform", "there", "argv"), [
    ("darwin", {"caffeinate"}, ["/bin/caffeinate", "-i", "-s", "-w", "42"]),
    ("darwin", {"systemd-inhibit", "tail"}, []),
    ("linux", {"systemd-inhibit", "tail"}, [
        "/bin/systemd-inhibit", "--what=sleep:idle", "--who=Tandem", "--why=a run is at work", "--mode=block",
        "/bin/tail", "--pid=42", "-f", os.devnull,
    ]),
    ("linux", {"systemd-inhibit"}, []), ("linux", {"tail", "caffeinate"}, []), ("win32", {"caffeinate", "tail"}, []),
])  # fmt: skip
def test_each_system_has_its_own_program_or_none(platform: str, there: set[str], argv: list[str]) -> None:
    assert command(platform, 42, lambda name: f"/bin/{name}" if name in there else None) == argv


def test_a_gap_is_a_sleep_or_a_stop_and_not_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "TICK_S", 2.0)
    assert gap_s(100, 100, 2.0) == 0
    assert gap_s(100, 160, 2.0) == 60  # the machine slept: one clock stood still
    assert gap_s(100, 100, 62.0) == 60  # this process was stopped
    assert gap_s(100, 160, 62.0) == 60  # both clocks went on: it was one and the same minute
    assert gap_s(100, 99.9, 1.9) <= 0


def test_this_machine_says_how_long_it_slept() -> None:
    first = slept_s()
    assert first >= -0.001
    assert abs(slept_s() - first) < 1


# --- what is done -------------------------------------------------------------------------------------------------


def test_the_machine_is_held_awake_only_while_a_run_is_at_work() -> None:
    busy = False
    made = Awake(lambda: busy, lambda gap: None, argv=SLEEPER)

    async def scenario() -> None:
        nonlocal busy
        await asyncio.sleep(0.05)
        assert not made.held
        for _ in range(2):
            busy = True
            await soon(lambda: made.held)
            busy = False
            await soon(lambda: not made.held)

    watching(made, scenario)


def test_the_holder_and_what_it_started_end_with_the_watch(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    argv = ["sh", "-c", f'sleep 60 & echo $$ $! > "{note}"; wait']
    made = Awake(lambda: True, lambda gap: None, argv=argv)
    watching(made, lambda: soon(lambda: note.exists() and note.read_text().endswith("\n")))
    assert not made.held
    shell, sleeper = map(int, note.read_text().split())
    assert not alive(shell)
    end = time.monotonic() + 3
    while alive(sleeper):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_holder_that_will_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    note = tmp_path / "ready"
    code = f"import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen({str(note)!r}, 'w')\ntime.sleep(60)"
    made = Awake(lambda: True, lambda gap: None, argv=[sys.executable, "-S", "-c", code])
    began_s = time.monotonic()
    watching(made, lambda: soon(note.exists))
    assert not made.held
    assert time.monotonic() - began_s < 4


@pytest.mark.parametrize("argv", [["/no/such/program"], ["sh", "-c", "exit 1"]])
def test_where_it_cannot_be_held_that_is_said_once(argv: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Awake(lambda: True, lambda gap: None, argv=argv)

    async def scenario() -> None:
        await soon(lambda: caplog.records)
        await asyncio.sleep(0.1)
        assert not made.held

    watching(made, scenario)
    assert [record.message for record in caplog.records] == ["machine cannot be kept awake"]


def test_where_there_is_no_program_nothing_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Awake(lambda: True, lambda gap: None, argv=[])
    watching(made, lambda: asyncio.sleep(0.1))
    assert not made.held
    assert not caplog.records


def test_a_sleep_is_told_once_with_its_length_and_a_moment_is_not() -> None:
    slept = iter([0.0, 0.0, 4.9, 4.9, 64.9])
    told: list[float] = []
    made = Awake(lambda: False, told.append, argv=[], clock=lambda: next(slept, 64.9))

    async def scenario() -> None:
        await soon(lambda: told)
        await asyncio.sleep(0.1)

    watching(made, scenario)
    assert [round(gap, 3) for gap in told] == [60.0]


def test_a_process_that_was_stopped_notices() -> None:
    code = (
        "import asyncio, sys\nfrom router import awake\nawake.TICK_S, awake.SLEPT_S = 0.05, 0.5\n"
        "told = lambda gap: (print(round(gap, 1), flush=True), sys.exit())\n"
        "print('begun', flush=True)\nasyncio.run(awake.Awake(lambda: False, told, argv=[]).run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as stopped:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "begun\n"
        time.sleep(0.15)
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(0.9)
        stopped.send_signal(signal.SIGCONT)
        assert 0.5 <= float(stopped.stdout.readline()) < 3
