"""The worker killed in the middle of its work, alone and together with the router."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.matrix import Reached
from tests.faults.scene import came_to, ground, held, quick
from tests.faults.test_points import struck
from tests.faults.wires import team
from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.stack import TASK, Stack, git, rehearsal, sample


def settings(fake: FakeOllama) -> dict[str, str]:
    return {"TANDEM_OLLAMA_URL": fake.url, "TANDEM_MODELS_ROUTER": "small", "TANDEM_MODELS_WORKER": "large"}


def until(seen: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := seen()):
        assert time.monotonic() < end, f"not seen within {timeout_s:g} s: {what}"
        time.sleep(0.01)
    return found


def worker_pid(stack: Stack) -> int:
    return until(lambda: stack.call("GET", "/v1/status")[1]["worker"]["pid"], "a worker")


def recorded(stack: Stack, kind: str) -> list[tuple[str, int, Any]]:
    """Return (step, ordinal, value) of all entries of a kind."""
    with closing(sqlite3.connect(stack.state / "journal.db")) as db:
        rows = db.execute("SELECT step, ordinal, value FROM entries WHERE kind=? ORDER BY id", (kind,)).fetchall()
    return [(str(step), int(ordinal), json.loads(value)) for step, ordinal, value in rows]


def merged(stack: Stack, repo: Path, run: str) -> str:
    """Bring a run to its merge and return the tree; nothing may be recorded twice."""
    before = int(git(repo, "rev-list", "--count", "main"))
    stack.answer(run, "approve")
    came_to(stack, run, "merged")
    for kind in ("reply", "report", "answered", "delivery"):
        places = [row[:2] for row in recorded(stack, kind)]
        assert len(places) == len(set(places)), kind
    assert git(repo, "rev-list", "--count", "main") == str(before + 1)
    return git(repo, "rev-parse", "main^{tree}")


class Slow:
    """A model that says what the demo's script says in the end, and its plan word by word, slowly."""

    def __call__(self, body: Mapping[str, Any]) -> Say:
        say = team(body)
        return Say(say.text, pause_s=0.02) if persona_of(body) == "plan" else say

    def plans(self, fake: FakeOllama) -> list[dict[str, Any]]:
        """Return the questions for a plan that were asked."""
        return [body for body in fake.asked if persona_of(body) == "plan"]


@dataclass(frozen=True, slots=True)
class Unharmed:
    """What a run comes to: the branch's tree, and what its checks said."""

    tree: str
    verdicts: list[str]


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Unharmed:
    """Live through a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("unharmed")
    stack, repo = Stack(folder, rehearsal(quick(folder))), sample(folder / "repo")
    stack.start()
    try:
        tree = merged(stack, repo, stack.submit(repo, TASK))
    finally:
        stack.stop()
    return Unharmed(tree, [value["verdict"] for _, _, value in recorded(stack, "report")])


@pytest.mark.row(2)
def test_killed_in_the_middle_of_a_reply_it_is_asked_again_and_the_first_part_is_dropped(
    unharmed: Unharmed, tmp_path: Path, reached: Reached
) -> None:
    slow, repo = Slow(), sample(tmp_path / "repo")
    with FakeOllama(slow) as fake:
        stack = Stack(tmp_path, settings(fake))
        stack.start()
        try:
            run = stack.submit(repo, TASK)
            told = (data for kind, data in stack.events(run, follow=True) if kind == "call.tokens")
            heard = next(data for data in told if data["persona"] == "planner")
            assert heard["tokens"] > 0
            os.kill(worker_pid(stack), signal.SIGKILL)
            killed = time.monotonic()
            until(lambda: len(slow.plans(fake)) == 2, "the plan asked for again")
            reached.add("worker killed in a reply")
            assert time.monotonic() - killed < 10
            tree = merged(stack, repo, run)
        finally:
            stack.stop()
    first, second = slow.plans(fake)
    assert first == second
    replies = [value["text"] for _, _, value in recorded(stack, "reply")]
    assert replies.count(team(first).text) == 1  # not a letter of the first part before it
    assert tree == unharmed.tree


@pytest.mark.row(3)
def test_a_reply_nobody_was_told_is_kept_and_its_model_not_asked_again(
    unharmed: Unharmed, tmp_path: Path, reached: Reached
) -> None:
    repo, log = sample(tmp_path / "repo"), tmp_path / "faults.log"
    with FakeOllama(team) as fake:
        env = {"TANDEM_FAULT": "worker.reply:kill:4", "TANDEM_FAULT_LOG": str(log)}
        stack = Stack(tmp_path, settings(fake) | env)
        stack.start()
        try:
            tree = merged(stack, repo, stack.submit(repo, TASK))
        finally:
            stack.stop()
    reached.counts.update(struck(log))
    assert tree == unharmed.tree
    assert len(fake.asked) == len({json.dumps(body, sort_keys=True) for body in fake.asked})


@pytest.mark.row(4)
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_while_tests_run_it_leaves_no_process_and_they_run_again(
    unharmed: Unharmed, tmp_path: Path, reached: Reached
) -> None:
    repo = ground(tmp_path / "repo", holds=True)
    stack = Stack(tmp_path, rehearsal(quick(tmp_path)))
    stack.start()
    try:
        run = stack.submit(repo, TASK)
        worker = worker_pid(stack)
        held(stack, "tests")
        children = descendants(worker)
        assert children
        os.kill(worker, signal.SIGKILL)
        reached.add("worker killed while tests ran")
        until(lambda: not any(alive(child) for child in children), f"the end of {children}", 10)
        came_to(stack, run, "waiting")
        merged(stack, repo, run)
        verdicts = [value["verdict"] for _, _, value in recorded(stack, "report")]
        assert verdicts == unharmed.verdicts
    finally:
        stack.stop()


@pytest.mark.row(5)
def test_both_killed_in_the_middle_of_a_reply_the_run_goes_on_by_itself(
    unharmed: Unharmed, tmp_path: Path, reached: Reached
) -> None:
    slow, repo = Slow(), sample(tmp_path / "repo")
    with FakeOllama(slow) as fake:
        stack = Stack(tmp_path, settings(fake))
        stack.start()
        try:
            run = stack.submit(repo, TASK)
            until(lambda: slow.plans(fake), "the plan asked for")
            worker, router = worker_pid(stack), stack.router
            assert router is not None
            os.kill(worker, signal.SIGKILL)
            router.kill()
            assert router.wait(20) == -signal.SIGKILL
            reached.add("both killed")
            stack.start()
            assert stack.call("GET", "/v1/runs")[1]["runs"][0]["run"] == run
            tree = merged(stack, repo, run)
        finally:
            stack.stop()
    assert tree == unharmed.tree


def descendants(pid: int) -> set[int]:
    """Return the processes a process started, and those that these started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    left = [pid]
    while left:
        new = children.get(left.pop(), [])
        found.update(new)
        left += new
    return found


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
