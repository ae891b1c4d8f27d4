"""Noise instead of a model: every run ends, in a state a person can read, and leaves nothing behind."""

import os
from pathlib import Path

import pytest

from tandem.types import ENDED
from tests.support.stack import TASK, Stack, git, rehearsal, sample

RUNS = 200 if os.environ.get("TANDEM_SOAK") else 6
# What a person would answer just to get on; the first of these that a question offers.
ANSWERS = ("go on", "code low", "allow", "approve", "the tests are right", "stop")


def to_the_end(stack: Stack, run: str) -> str:
    for _ in range(40):
        body = stack.wait(run)
        if body["state"] != "waiting":
            return body["state"]
        choices = body["question"]["choices"]
        kind = body["question"]["kind"]
        choice = "stop" if kind == "rounds" else next(answer for answer in ANSWERS if answer in choices)
        stack.answer(run, choice)
    raise AssertionError(f"run {run} asked more than 40 questions")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(pid: int) -> list[int]:
    found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in children(child)]


@pytest.mark.timeout(3000)
def test_every_noisy_run_is_bounded_and_leaves_nothing(tmp_path: Path) -> None:
    stack, repo = Stack(tmp_path, {**rehearsal(model="rehearsal/random"), "TANDEM_CHECK_WALL_S": "20"}), tmp_path / "r"
    sample(repo)
    before = git(repo, "rev-parse", "main")
    stack.start()
    assert stack.router is not None
    states: dict[str, int] = {}
    try:
        to_the_end(stack, stack.submit(repo, TASK, max_minutes=2))  # warm: imports, first connections
        files, processes = open_files(stack.router.pid), len(children(stack.router.pid))
        for number in range(RUNS):
            state = to_the_end(stack, stack.submit(repo, f"{TASK} ({number})", max_minutes=2))
            states[state] = states.get(state, 0) + 1
        print("random runs:", states)
        assert set(states) <= ENDED
        assert open_files(stack.router.pid) <= files + 2
        assert len(children(stack.router.pid)) <= processes
        assert not [p for p in stack.state.rglob("*.lock") if p.name != "router.lock"]
        left = [p for folder in ("tmp", "worker/tmp") for p in (stack.state / folder).glob("*")]
        assert left == []
    finally:
        stack.stop()
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "merge-base", "--is-ancestor", before, "main") == ""
