"""Kill both programs anywhere, and start again: same tree, one merge, no answered question asked again."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.support.stack import TASK, Stack, git, rehearsal, sample

POINTS = [
    "journal.run",
    "journal.after.screening:1",
    "journal.before.reply:2",
    "journal.after.reply:2",
    "journal.after.report:1",
    "journal.before.report:3",
    "journal.after.commit:2",
    "journal.after.opened:1",
    "journal.after.answered:1",
    "effect.intended.delivery",
    "deliver.fetched",
    "deliver.moved",
    "effect.done.delivery",
    "journal.after.delivery:1",
    "journal.after.reply:9",
]
SOAK = bool(os.environ.get("TANDEM_SOAK"))


def fault(point: str) -> str:
    name, _, nth = point.partition(":")
    return f"{name}:kill:{nth or 1}"


def finish(stack: Stack, run: str) -> None:
    if stack.wait(run)["state"] == "waiting":
        stack.answer(run, "approve")
    assert stack.wait(run, until=("merged",))["state"] == "merged"


def questions_asked(stack: Stack) -> list[tuple[str, int]]:
    """Return (question's hash, times a live answer was recorded), for those recorded more than once."""
    db = sqlite3.connect(stack.state / "journal.db")
    try:
        return db.execute(
            "SELECT step || '/' || ordinal, count(*) FROM entries"
            " WHERE kind IN ('reply', 'report', 'answered', 'delivery')"
            " GROUP BY step, ordinal, kind HAVING count(*) > 1"
        ).fetchall()
    finally:
        db.close()


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tree a run comes to that nobody kills."""
    folder = tmp_path_factory.mktemp("unharmed")
    stack, repo = Stack(folder, rehearsal()), sample(folder / "repo")
    stack.start()
    try:
        run = stack.submit(repo, TASK)
        finish(stack, run)
        status, replayed = stack.call("POST", f"/v1/runs/{run}/replay")
        assert (status, replayed["same"]) == (200, True), replayed
        assert replayed["commit"] == git(repo, "rev-parse", "main")
    finally:
        stack.stop()
    return git(repo, "rev-parse", "main^{tree}")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_it_comes_to_the_same_tree_once(point: str, unharmed: str, tmp_path: Path) -> None:
    stack, repo = Stack(tmp_path, rehearsal()), sample(tmp_path / "repo")
    stack.start(TANDEM_FAULT=fault(point))
    router = stack.router
    assert router is not None
    run = ""
    try:
        try:
            run = stack.submit(repo, TASK)
            finish(stack, run)
        except (OSError, AssertionError, ValueError):
            pass  # the router died under us, which is the point
        assert router.wait(20) == -signal.SIGKILL, "the point was never reached"
        for leftover in stack.state.rglob("*checkpoint*"):
            leftover.unlink()
        stack.start()
        run = run or stack.call("GET", "/v1/runs")[1]["runs"][0]["run"]
        finish(stack, run)
        assert questions_asked(stack) == []
        status, replayed = stack.call("POST", f"/v1/runs/{run}/replay")
        assert (status, replayed["same"]) == (200, True), replayed
    finally:
        stack.stop()
    assert git(repo, "rev-parse", "main^{tree}") == unharmed
    assert git(repo, "rev-list", "--count", "main") == "2"
    assert git(repo, "status", "--porcelain") == ""
