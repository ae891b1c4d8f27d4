"""What the judge costs over the bare test command: sandbox, the tester's files held against the commit, controls, twins.

One small project, its tests run by the framework's own command in a folder (bare), and by the worker's checker: plainly,
held against the tester's commit (as each draft is), and sealed (as what is merged is). Rounds of all of them alternate,
so that a busy moment falls on all. The sealed runs' copies and twins are tests too: what they cost by themselves is the
same files run bare, and is set apart.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from cli import stage
from tandem.errors import NoSandbox
from tandem.types import Adapter, CheckReport, CheckRequest, CommitId, Limits, RequestId, RunId, Seal
from worker import sandbox
from worker.adapters import FRAMEWORKS
from worker.check import Checker
from worker.environments import Environments
from worker.fence import Fence
from worker.judge.sealed import Sealed, copies, twins
from worker.sandbox.toolchains import base_python

AIM_MS = 150.0  # the judge over the bare command, beside the twins' own time
_REPO = "bench"
_NAMES: tuple[Adapter, ...] = ("pytest", "unittest", "node")
_TESTS = 12  # in the tester's file
_Side = Callable[[], Awaitable[float]]


def run(quick: bool = False) -> dict[str, Any]:
    """Measure and return plain JSON; times in milliseconds, each figure over the bare command of the same round."""
    return {"aim_ms": AIM_MS, **{name: _measured(name, 5 if quick else 25) for name in _NAMES}}


def lines(found: Mapping[str, Any], width: int) -> list[str]:
    """Return what was measured, for a person."""
    del width
    told = [
        f"what the judge costs over the bare command (aim: under {found['aim_ms']:.0f} ms beside the twins' own time)"
    ]
    for name in _NAMES:
        one = found[name]
        if "not_run" in one:
            told.append(f"  {name:9} not run: {one['not_run']}")
            continue
        told.append(
            f"  {name:9} bare {one['bare_ms']:.0f} ms; a draft {one['draft_ms']:+.0f}; sealed {one['sealed_ms']:+.0f} "
            f"and the twins' own {one['twins_ms']:.0f} ({one['rounds']} rounds)"
        )
    return told


def _measured(name: Adapter, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        try:
            return _Bench(Path(folder), name).run(rounds)
        except (NoSandbox, FileNotFoundError) as error:
            return {"not_run": str(error)}


class _Bench:
    """One project, as a worker has it and as files in a folder."""

    def __init__(self, folder: Path, name: Adapter) -> None:
        rung = sandbox.select()
        if not rung.name:
            raise NoSandbox(rung.remedy)
        self._adapter: Adapter = name
        self._command, base, self._tests, head = _project(name)
        self._argv = [base_python(), *self._command[1:]] if self._command[0] == "python" else list(self._command)
        subprocess.run([*self._argv[:1], "--version"], check=True, capture_output=True)
        repo, state = folder / "repo", folder / "worker"
        repo.mkdir()
        stage.git(repo, "init", "-q", "-b", "main")
        self._base, self._red, self._head = (_commit(repo, files) for files in (base, self._tests, head))
        (state / "git").mkdir(parents=True, mode=0o700)
        subprocess.run(["git", "clone", "-q", "--bare", str(repo), str(state / "git" / f"{_REPO}.git")], check=True)
        self._repo = repo
        self._checker = Checker(state, "here", rung, Environments(state, rung, Fence.take(state)))
        framework = FRAMEWORKS[name]
        self._varied = [
            self._written(folder / what, run)
            for what, run in (
                ("copies", copies(framework, self._tests, Random(7))),
                ("twins", twins(framework, self._tests, Random(7))),
            )
            if run is not None
        ]

    def _written(self, folder: Path, run: Sealed) -> Path:
        """Write what a sealed run is over, for the bare command."""
        subprocess.run(["git", "clone", "-q", str(self._repo), str(folder)], check=True)
        for path in run.removed:
            (folder / path).unlink()
        for path, text in run.files.items():
            (folder / path).write_text(text, "utf-8")
        return folder

    def run(self, rounds: int) -> dict[str, Any]:
        """Return the medians of differences within a round."""
        tests = Seal(tests=self._red, files=tuple(self._tests))
        sides: dict[str, _Side] = {
            "bare": lambda: self._bare(self._repo),
            "plain": lambda: self._check(None),
            "draft": lambda: self._check(tests),
            "sealed": lambda: self._check(dataclasses.replace(tests, twins=True)),
            "twins": self._sealed_bare,
        }
        found = asyncio.run(_alternate(sides, rounds))
        return {
            "rounds": rounds,
            "bare_ms": _median(found["bare"]),
            "sandbox_ms": _over(found["plain"], found["bare"]),
            "draft_ms": _over(found["draft"], found["bare"]),
            "sealed_ms": _over(found["sealed"], found["bare"], found["twins"]),
            "twins_ms": _median(found["twins"]),
        }

    async def _sealed_bare(self) -> float:
        return sum([await self._bare(folder) for folder in self._varied])

    async def _bare(self, folder: Path) -> float:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *self._argv, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await process.wait()
        return (time.perf_counter() - started) * 1000

    async def _check(self, sealed: Seal | None) -> float:
        request = CheckRequest(
            request_id=RequestId("bench"),
            run_id=RunId("bench"),
            repo_id=_REPO,
            commit=self._head,
            command=self._command,
            adapter=self._adapter,
            limits=Limits(),
            seal=sealed,
        )
        started = time.perf_counter()
        report = await self._checker.check(request, lambda stage, message: None)
        taken = (time.perf_counter() - started) * 1000
        _must_pass(report, sealed)
        return taken


def _must_pass(report: CheckReport, sealed: Seal | None) -> None:
    held = not (sealed and sealed.twins) or (report.controls == "held" and report.twins == _TESTS)
    if report.verdict != "passed" or not held:
        raise NoSandbox(f"the bench's own tests ended {report.verdict} ({report.reason}), {report.twins} twins")


async def _alternate(sides: Mapping[str, _Side], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):  # the first warms caches and is not counted
        for name, side in sides.items():
            took = await side()
            if number >= 0:
                found[name].append(took)
    return found


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 1)


def _over(whole: list[float], *parts: list[float]) -> float:
    """Return the median of what a side took beyond the others of its round."""
    return _median([taken - sum(less) for taken, *less in zip(whole, *parts, strict=True)])


def _commit(repo: Path, files: Mapping[str, str]) -> CommitId:
    for path, text in files.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text, "utf-8")
    stage.git(repo, "add", "-A")
    stage.git(repo, "commit", "-q", "-m", "A step")
    return CommitId(stage.git(repo, "rev-parse", "HEAD").strip())


def _project(name: Adapter) -> tuple[tuple[str, ...], dict[str, str], dict[str, str], dict[str, str]]:
    """Return command, base, the tester's file with a dozen tests, and the head."""
    cases = range(_TESTS)
    if name == "node":
        tests = "".join(f"test('case {n}', () => {{ assert.strictEqual(twice({n}), {2 * n}); }});\n" for n in cases)
        load = "const test = require('node:test');\nconst assert = require('node:assert');\n"
        text = f"{load}const {{ twice }} = require('../twice.js');\n{tests}"
        return (
            ("node", "--test"),
            {"package.json": "{}\n", "twice.js": "exports.twice = () => 0;\n"},
            {"test/twice.test.js": text},
            {"twice.js": "exports.twice = (n) => 2 * n;\n"},
        )
    base = {"twice.py": "def twice(n):\n    raise NotImplementedError\n"}
    head = {"twice.py": "def twice(n):\n    return 2 * n\n"}
    if name == "pytest":
        tests = "".join(f"def test_case_{n}():\n    assert twice({n}) == {2 * n}\n\n\n" for n in cases)
        return (
            ("python", "-m", "pytest", "-q"),
            base,
            {"test_twice.py": f"from twice import twice\n\n\n{tests}"},
            head,
        )
    tests = "".join(f"    def test_case_{n}(self):\n        self.assertEqual(twice({n}), {2 * n})\n\n" for n in cases)
    text = f"import unittest\nfrom twice import twice\n\n\nclass Twice(unittest.TestCase):\n{tests}"
    return ("python", "-m", "unittest"), base, {"test_twice.py": text}, head
