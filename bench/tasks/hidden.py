"""Judge a finished checkout by the exercise's own tests, which whoever wrote it has not seen.

The same Check as in a run: a worker's, in its sandbox, over a commit. Tests that are not the exercise's go before, with all
else that has a say in what passes, so that nobody is judged by tests of their own.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from bench.tasks.exercise import Exercise
from cli import stage
from router.dispatcher import Dispatcher
from router.node import Node
from tandem import config
from tandem.deciding import decides_what_passes
from tandem.errors import TandemError
from tandem.paths import socket_path
from tandem.types import CheckReport, CheckRequest, CommitId, Limits, PrepareRequest, RequestId, RunId


def judged(state: Path, exercise: Exercise, repo: Path) -> CheckReport:
    """Return what the exercise's tests show of a checkout, run by the worker of a router's state folder.

    Raises:
        TandemError: They could not be run.
    """
    return asyncio.run(_judged(socket_path(state, "worker"), exercise, repo))


def solved(report: CheckReport) -> bool:
    """Return whether every test passed."""
    return report.verdict == "passed"


def words(report: CheckReport) -> str:
    """Return what the tests showed, in a line."""
    failed = [test.id for test in report.tests if test.outcome in ("failed", "error")]
    named = f"; {failed[0]} does not pass" if failed else ""
    return f"{len(report.tests) - len(failed)} of {len(report.tests)} of the exercise's tests pass{named}"


async def _judged(socket_file: Path, exercise: Exercise, repo: Path) -> CheckReport:
    dispatcher = Dispatcher([Node.at_socket(socket_file)], lambda repo_id: repo / ".git")
    try:
        return await check(dispatcher, exercise, repo)
    finally:
        await dispatcher.close()


async def check(dispatcher: Dispatcher, exercise: Exercise, repo: Path) -> CheckReport:
    """Return what the exercise's tests show of the checkout `repo`, whose Git directory the dispatcher pushes from."""
    commit, name = laid(exercise, repo), f"judged-{uuid.uuid4().hex[:12]}"
    prepare = PrepareRequest(
        request_id=RequestId(f"{name}/prepare"),
        run_id=RunId(name),
        repo_id=name,
        commit=commit,
        adapter=exercise.adapter,
        allow_network=True,
    )
    environment = await dispatcher.prepare(prepare, lambda stage, message: None)
    request = CheckRequest(
        request_id=RequestId(f"{name}/check"),
        run_id=RunId(name),
        repo_id=name,
        commit=commit,
        command=exercise.command,
        adapter=exercise.adapter,
        environment=environment.key,
        limits=_limits(config.load().check),
    )
    return await dispatcher.check(request, lambda stage, message: None)


def _limits(check: config.CheckConfig) -> Limits:
    return Limits(
        wall_s=check.wall_s,
        memory_bytes=int(check.memory_gib * (1 << 30)),
        processes=check.processes,
        output_bytes=check.output_mib << 20,
    )


def laid(exercise: Exercise, repo: Path) -> CommitId:
    """Commit a checkout with the exercise's tests in the place of any others, and return the commit."""
    for path in stage.git(repo, "ls-files", "-z").split("\0"):
        if path and decides_what_passes(path, exercise.adapter):
            (repo / path).unlink(missing_ok=True)
    ours = {path: text for path, text in exercise.base.items() if decides_what_passes(path, exercise.adapter)}
    for path, text in {**ours, **exercise.tests}.items():
        place = repo / path
        if not place.parent.resolve().is_relative_to(repo.resolve()):
            raise TandemError(f"{path} leads out of the checkout by a link; it is not judged")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(text, "utf-8", newline="")
    stage.git(repo, "add", "-A", "-f")
    stage.git(repo, "commit", "-q", "--allow-empty", "-m", "The exercise's own tests")
    return CommitId(stage.git(repo, "rev-parse", "HEAD").strip())
