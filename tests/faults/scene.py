"""Runs that are held where a test wants them, and what every disturbed run has to leave behind.

A call is held by a delay in the rehearsal script, tests by a file they wait for; that they are held is seen from outside.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.faults.wires import until
from tests.support.machine import Machine
from tests.support.scripts import DOCS, README, good, script
from tests.support.stack import ROOT, Stack, git, rehearsal, sample
from worker.sandbox import processes

Place = Literal["call", "tests"]
HELD = """import pathlib
import time
import unittest


class Held(unittest.TestCase):
    def test_waits_until_it_may_go_on(self):
        pathlib.Path("begun").touch()
        end = time.monotonic() + 60
        while not pathlib.Path("go").exists():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
"""
GUIDE = {**README, "files": [*README["files"], {"path": "docs/guide.md", "content": "# Guide\n\nHow to.\n"}]}
EASY = {"reason": "small", "difficulty": "low", "kind": "code", "reflect": False, "sure": True}
_ONCE = "SELECT step, ordinal, kind FROM entries WHERE run=? AND kind IN ('reply', 'report', 'answered', 'delivery')"


def quick(folder: Path, name: str = "quick", *, hold_s: float = 0.0) -> Path:
    """Write the demo's script with every persona right at once; the planner's reply is held for `hold_s`."""
    file = script(folder, name, assessor=[EASY], coder=[good("coder", 2)], reviewer=[good("reviewer", 3)])
    data = yaml.safe_load(file.read_text("utf-8"))
    for entry in data["replies"]:
        entry["delay_s"] = hold_s if entry["persona"] == "planner" else 0.0
    file.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    return file


def ground(folder: Path, *, holds: bool = False) -> Path:
    """Make the sample repository; with `holds`, with a test that waits."""
    repo = sample(folder)
    if holds:
        (repo / "tests" / "test_held.py").write_text(HELD, "utf-8")
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "Add a test that waits")
    return repo


def wanted(folder: Path, repo: Path) -> str:
    """Return the tree the script makes of a repository's main when nothing disturbs it, as Git alone works it out."""
    clone = folder / "wanted"
    git(repo, "clone", "-q", str(repo), str(clone))
    for made in (*good("tester")["files"], *good("coder", 2)["files"]):
        (clone / made["path"]).write_text(made["content"], "utf-8")
    git(clone, "add", "-A")
    return git(clone, "write-tree")


def scene(folder: Path, **env: str) -> Stack:
    """Make a stack that plays `quick`, and says what it passes."""
    folder.mkdir(exist_ok=True)
    return Stack(folder, {**rehearsal(quick(folder)), "TANDEM_FAULT_LOG": str(folder / "passed.log"), **env})


def writers(folder: Path) -> Stack:
    """Make a stack whose team writes documentation; no tests, so that a run is short."""
    return Stack(
        folder, rehearsal(script(folder, "docs", assessor=[DOCS], coder=[GUIDE], reviewer=[good("reviewer", 3)]))
    )


def at_approval(stack: Stack, repo: Path) -> str:
    """Return a run that waits for approval of its change."""
    run = stack.submit(repo, "Describe the helpers")
    assert stack.wait(run)["question"]["kind"] == "approve"
    return run


def held(stack: Stack, where: Place, calls: int = 2) -> None:
    """Wait until a run is held there: in the call of that number, or in its tests."""
    found = (lambda: passed(stack, "worker.call") >= calls) if where == "call" else (lambda: waiting_tests(stack))
    until(found, why=stack.log)


def waiting_tests(stack: Stack) -> list[Path]:
    """Return the trees of tests that wait on a machine."""
    trees = [mark.parent for mark in (stack.state / "worker" / "tmp").glob("*/tree/begun")]
    return [tree for tree in trees if not (tree / "go").exists()]


def came_to(
    stack: Stack, run: str, *states: str, timeout_s: float = 60.0, held_on: Stack | None = None
) -> dict[str, Any]:
    """Let held tests go on until a run is in one of `states` or stops elsewhere, and return its details.

    They are held on the same machine, or on another.
    """

    def stopped() -> dict[str, Any] | None:
        for tree in waiting_tests(held_on or stack):
            (tree / "go").touch()
        body = stack.call("GET", f"/v1/runs/{run}")[1]
        return body if body["state"] not in ("queued", "running") else None

    body: dict[str, Any] = until(stopped, timeout_s, stack.log)
    assert body["state"] in states, body["message"]
    return body


def merged_once(stack: Stack, run: str, repo: Path, tree: str) -> None:
    """See that a run ended as if nothing had happened: one commit, the right tree, nothing twice, nothing left."""
    assert git(repo, "rev-parse", "main^{tree}") == tree
    assert git(repo, "rev-list", "--count", "main", "--not", "main~1") == "1"
    assert f"Tandem-Run: {run}" in git(repo, "log", "-1", "--format=%B", "main")
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert list((repo / ".git").rglob("*.lock")) == []
    assert twice(stack, run) == []
    status, replayed = stack.call("POST", f"/v1/runs/{run}/replay")
    assert (status, replayed["same"]) == (200, True), replayed


def twice(stack: Stack, run: str) -> list[tuple[str, int, str]]:
    """Return the answers and effects that a run's journal has more than once."""
    with closing(sqlite3.connect(stack.state / "journal.db")) as db:
        found: list[tuple[str, int, str]] = db.execute(_ONCE, (run,)).fetchall()
    return sorted({entry for entry in found if found.count(entry) > 1})


def passed(program: Stack | Machine, point: str) -> int:
    """Return how often a failpoint was passed."""
    log = Path(program.env["TANDEM_FAULT_LOG"])
    return sum(line.split()[2] == point for line in log.read_text("utf-8").splitlines()) if log.exists() else 0


def below(pid: int) -> list[processes.One]:
    """Return a process and everything it has started."""
    return [one for one in processes.tree(pid) if not one.zombie]


def stopped(pid: int) -> bool:
    """Return whether a process was stopped, and could go on."""
    if sys.platform == "linux":
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    told = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.startswith("T")


def gone(ones: Sequence[processes.One]) -> None:
    """See that none of them is left."""
    until(lambda: not processes.alive(ones), 10, lambda: f"{processes.alive(ones)} are left")


def begin(stack: Stack, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start the `tandem` command in a process group of its own, as a shell at a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-c", "from tandem.entry import cli; cli()", *arguments],
        env={**stack.env, **env},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(stack: Stack, command: subprocess.Popen[str]) -> None:
    """End a command, and the router, whoever started it."""
    command.kill()
    command.communicate()
    if stack.router is not None:
        stack.stop()
    else:
        stack.cli("down")


def only_run(stack: Stack) -> str:
    """Return the one run there is, once it is there."""

    def found() -> str | None:
        try:
            runs = stack.call("GET", "/v1/runs")[1].get("runs", [])
        except OSError:
            return None
        return str(runs[0]["run"]) if runs else None

    return until(found, why=stack.log)
