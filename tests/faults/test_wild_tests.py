"""Tests that a model might write on a bad day: they hang, multiply, devour, flood, will not die, or leave something behind.

Each runs as the worker runs any test: a commit's tree, the real sandbox, the judge. What a test starts carries a mark in
its arguments, by which this machine's list of processes is searched while it runs and when it is over.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tandem.types import CheckReport, Limits
from tests.faults.matrix import Reached
from tests.support.trees import Trees, rung

MIB = 1 << 20
LOOSE = Limits(wall_s=60)
KIDS = 5
# A test's beginning: `kid` starts a process with the mark that lives on, `kids` starts five of them.
BEGIN = """import os, signal, subprocess, sys, time, unittest

def kid():
    return subprocess.Popen(["/bin/sleep", "MARK"])

kids = [kid() for _ in range(KIDS)]

class Wild(unittest.TestCase):
    def test_wild(self):
        time.sleep(0.3)
"""
DAEMON = """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["/bin/sleep", "MARK"])
            os._exit(0)
        os.wait()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wild:
    """What a test does, the limits it runs under, and what the report has to say."""

    does: str
    limits: Limits
    says: str
    seen: int = KIDS  # processes with its mark that must have been seen


WILD = {
    "hangs": Wild(
        does="        time.sleep(600)\n",
        limits=Limits(wall_s=2),
        says="it ran longer than 2 s (check.wall_s)",
    ),
    "spins in every thread": Wild(
        does="        import threading\n"
        "        def spin():\n"
        "            while True: pass\n"
        "        [threading.Thread(target=spin).start() for _ in range(8)]\n",
        limits=Limits(wall_s=2),
        says="it ran longer than 2 s (check.wall_s)",
    ),
    "ignores being asked to end": Wild(
        does="        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "            signal.signal(number, signal.SIG_IGN)\n"
        "        kid()\n"  # it inherits that nothing ends it
        "        while True: time.sleep(600)\n",
        limits=Limits(wall_s=2),
        says="it ran longer than 2 s (check.wall_s)",
        seen=KIDS + 1,
    ),
    "leaves its group and session": Wild(
        does=DAEMON + "        time.sleep(600)\n",
        limits=Limits(wall_s=2),
        says="it ran longer than 2 s (check.wall_s)",
        seen=KIDS + 1,
    ),
    "multiplies": Wild(
        does="        for _ in range(300):\n            kid()\n            time.sleep(0.002)\n        time.sleep(600)\n",
        limits=Limits(wall_s=60, processes=40),
        says="it started more than 40 processes (check.processes)",
        seen=20,
    ),
    "multiplies by forks of forks": Wild(
        does="        for _ in range(8):\n            os.fork()\n            time.sleep(0.1)\n        time.sleep(600)\n",
        limits=Limits(wall_s=60, processes=40),
        says="it started more than 40 processes (check.processes)",
    ),
    "devours memory": Wild(
        does="        eaten = []\n"
        "        for _ in range(60):\n"
        "            eaten.append(bytearray(os.urandom(1 << 20) * 10))\n"
        "            time.sleep(0.02)\n"
        "        time.sleep(600)\n",
        limits=Limits(wall_s=60, memory_bytes=200 * MIB),
        says="it used more than 0.2 GiB (check.memory_gib)",
    ),
    "floods": Wild(
        does="        for _ in range(1024): sys.stdout.write('flood ' * 174763)\n        time.sleep(600)\n",
        limits=Limits(wall_s=60, output_bytes=4 * MIB),
        says="it printed more than 4 MiB (check.output_mib)",
    ),
}


def marked(mark: str) -> int:
    """Return how many processes of this machine carry a mark in their arguments."""
    if sys.platform != "linux":
        told = subprocess.run(["/bin/ps", "-A", "-o", "command="], capture_output=True, text=True, check=False)
        return sum(mark in line for line in told.stdout.splitlines())
    return sum(mark.encode() in _arguments(entry) for entry in Path("/proc").glob("[0-9]*"))


def _arguments(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended meanwhile


async def checked(trees: Trees, limits: Limits, mark: str) -> tuple[CheckReport, int]:
    """Run a tree's tests; return their report, and the most processes with the mark that were seen meanwhile."""
    running = asyncio.create_task(trees.check("python -m unittest", "unittest", limits=limits))
    most = 0
    while not running.done():
        most = max(most, await asyncio.to_thread(marked, mark))
        await asyncio.wait((running,), timeout=0.01)
    return running.result(), most


def wild(folder: Path, does: str) -> tuple[Trees, str]:
    """Commit a test, and return its tree and its mark: a time to sleep that nobody else asks for."""
    mark = f"600.{uuid.uuid4().int % 10**15:015d}"
    code = (BEGIN + does).replace("MARK", mark).replace("KIDS", str(KIDS))
    return Trees(folder, {"test_wild.py": code}), mark


@pytest.mark.row(42)
@pytest.mark.parametrize("what", WILD)
def test_a_test_that_runs_wild_is_killed_with_all_it_started(what: str, tmp_path: Path, reached: Reached) -> None:
    rung()
    case, began = WILD[what], time.monotonic()
    trees, mark = wild(tmp_path, case.does)
    report, seen = asyncio.run(checked(trees, case.limits, mark))
    reached.add(what, seen >= case.seen)
    assert (report.verdict, report.reason, report.exit_code) == ("resource limit", case.says, None), report.output
    assert report.tests == ()
    assert marked(mark) == 0
    assert trees.leftovers() == []
    assert time.monotonic() - began < 30


@pytest.mark.row(42)
def test_what_a_test_leaves_running_is_gone_when_it_has_passed(tmp_path: Path, reached: Reached) -> None:
    rung()
    trees, mark = wild(tmp_path, DAEMON + "        time.sleep(0.3)\n")
    report, seen = asyncio.run(checked(trees, LOOSE, mark))
    reached.add("left running", seen >= KIDS + 1)
    assert (report.verdict, report.exit_code, len(report.tests)) == ("passed", 0, 1), report.output
    assert marked(mark) == 0
    assert trees.leftovers() == []


@pytest.mark.row(42)
@pytest.mark.parametrize(("lines", "verdict"), [(20_000, "passed"), (600_000, "resource limit")])
def test_what_does_not_fit_into_a_report_is_cut_with_a_note(
    lines: int, verdict: str, tmp_path: Path, reached: Reached
) -> None:
    rung()
    trees, mark = wild(tmp_path, f"        for number in range({lines}): print(number, 'of many lines')\n")
    report, _ = asyncio.run(checked(trees, Limits(wall_s=60, output_bytes=4 * MIB), mark))
    note, *rest = report.output.splitlines()
    reached.add("output cut", "0 of many lines" not in rest)
    assert report.verdict == verdict
    assert note == "[output cut here; these are its last 16384 characters]"
    assert len(report.output) == len(note) + 1 + 16384
