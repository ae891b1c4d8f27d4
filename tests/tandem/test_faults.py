"""Points at which a test may break the programs; each breaks a small process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.faults import ACTIONS, EFFECTS, KINDS, POINTS, failpoint

ROOT = Path(__file__).resolve().parents[2]
PASSING = """
import sys
from tandem.faults import failpoint
for name in sys.argv[1:]:
    try:
        failpoint(name)
        print(name)
    except Exception as error:
        print(type(error).__name__, error)
"""


def passing(*points: str, log: Path | None = None, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Pass points in a new process and return what it said of each."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TANDEM_FAULT": fault}
    env |= {"TANDEM_FAULT_LOG": str(log)} if log else {}
    argv = [sys.executable, "-S", "-c", PASSING, *points]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)


def lines(log: Path) -> list[str]:
    return [line.split(" ", 2)[2] for line in log.read_text().splitlines()]


def sources() -> str:
    rooms = ("agents", "cli", "graphs", "router", "tandem", "worker")
    return "\n".join(path.read_text("utf-8") for room in rooms for path in (ROOT / room).rglob("*.py"))


def test_every_point_in_the_programs_is_listed_and_every_listed_one_is_there() -> None:
    used = set(re.findall(r'failpoint\(f?"([^"]+)"\)', sources()))
    known = {re.sub(r"^((journal|effect)\.[a-z]+)\.[a-z]+$", r"\1.{kind}", point) for point in POINTS}
    assert used == known


def test_every_point_says_in_which_program_and_where() -> None:
    for point, said in POINTS.items():
        program, _, where = said.partition(": ")
        assert program in ("router", "worker")
        assert where
        assert re.fullmatch(r"[a-z_.]+", point)


def test_without_the_variable_a_point_does_nothing(tmp_path: Path) -> None:
    failpoint("deliver.moved")
    failpoint("no such point")
    assert passing("deliver.moved", "deliver.moved").stdout == "deliver.moved\ndeliver.moved\n"
    assert list(tmp_path.iterdir()) == []


def test_it_breaks_at_the_passing_it_was_told_and_only_there() -> None:
    told = passing("a", "b", "a", "a", fault="a:raise:2").stdout.splitlines()
    assert told == ["a", "b", "TandemError failpoint 'a' raised", "a"]


def test_a_full_disk_is_an_error_of_the_system() -> None:
    assert passing("a", fault="a:enospc").stdout == "OSError [Errno 28] No space left on device\n"


def test_killed_means_that_nothing_more_happens() -> None:
    done = passing("before", "a", "after", fault="a:kill")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")  # not even its buffered words


def test_a_point_that_hangs_holds_its_process(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TANDEM_FAULT": "a:hang"}
    argv = [sys.executable, "-S", "-u", "-c", PASSING, "before", "a", "after"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "before\n"
        with pytest.raises(subprocess.TimeoutExpired):
            hung.wait(0.2)
        hung.kill()


def test_several_faults_are_told_apart() -> None:
    told = passing("a", "b", "c", fault="b:enospc,a:raise").stdout.splitlines()
    assert told == ["TandemError failpoint 'a' raised", "OSError [Errno 28] No space left on device", "c"]


@pytest.mark.parametrize("fault", ["a", "a:", "a:explode"])
def test_an_action_nobody_knows_is_said_so_where_it_would_strike(fault: str) -> None:
    assert f"the action is {', '.join(ACTIONS)}" in passing("a", fault=fault).stdout


def test_the_log_has_a_line_for_every_point_and_what_broke(tmp_path: Path) -> None:
    log = tmp_path / "log"
    passing("a", "b", log=log, fault="b:raise")
    assert lines(log) == ["a", "b", "b:raise"]
    pid, at_ns, _ = log.read_text().splitlines()[0].split(" ")
    assert int(pid) > 1
    assert int(at_ns) > 0


def test_a_fault_strikes_once_for_its_log_whichever_process_comes_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert passing("a", log=log, fault="a:kill,b:raise").returncode == -signal.SIGKILL
    again = passing("a", "b", log=log, fault="a:kill,b:raise")
    assert again.stdout.splitlines() == ["a", "TandemError failpoint 'b' raised"]
    assert passing("a", "b", log=log, fault="a:kill,b:raise").stdout == "a\nb\n"
    assert lines(log) == ["a", "a:kill", "a", "b", "b:raise", "a", "b"]


def test_a_journal_entry_s_kind_is_a_point_before_and_after() -> None:
    assert {f"journal.{when}.{kind}" for when in ("before", "after") for kind in KINDS} <= POINTS.keys()
    assert {f"effect.{when}.{kind}" for when in ("intended", "done") for kind in EFFECTS} <= POINTS.keys()


def test_every_kind_of_entry_that_is_recorded_is_one_of_the_kinds() -> None:
    asked = set(re.findall(r'recorder\.(?:ask|effect|derive)\(\s*(?:self\.)?\w+, "(\w+)"', sources()))
    inside = set(re.findall(r'self\._append\((?:key|\([^)]*\)), "(\w+)"', (ROOT / "router/recorder.py").read_text()))
    assert {"reply", "report", "delivery", "intent", "cut", "opened"} <= asked | inside <= set(KINDS)


def test_the_command_lists_every_point_as_lines_and_as_one_object(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def told(*arguments: str) -> str:
        argv = [sys.executable, "-m", "tandem", "cli", "faults", *arguments]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True).stdout

    assert json.loads(told("--json")) == {"points": POINTS, "actions": list(ACTIONS)}
    rows = told().splitlines()
    assert [row.split()[0] for row in rows] == ["point", *POINTS]
    assert list(tmp_path.iterdir()) == []  # no router was started for it
