"""Real processes killed at random, by a Hypothesis state machine, and compared with an outside ledger.

Each machine lives with some of the failpoints armed and kills both programs besides; at its end every run is brought to a
stop, and each way a run can go is gone once more, so that every point that is armed is also passed. `make soak` runs enough
of them for at least 300 kills, spread over all points; `make test` a few.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tandem.faults import POINTS
from tests.faults import life
from tests.faults.lead import Lead
from tests.faults.ledger import Ledger, violations
from tests.faults.matrix import Reached
from tests.faults.test_points import MIGRATING, struck
from tests.support.fake_ollama import FakeOllama
from tests.support.stack import Stack, git

SOAK = bool(os.environ.get("TANDEM_SOAK"))
# Failpoints armed in one machine. `test_points` kills at each of them; few are enough beside the kills from outside.
ARMED = 8 if SOAK else 2
POINTS_HERE = [point for point in POINTS if point not in MIGRATING]
GROUPS = [POINTS_HERE[start::8] for start in range(8)]
EXAMPLES = 6 if SOAK else 1
STEPS = 12 if SOAK else 3
kills: Counter[str] = Counter()


class Killed(RuleBasedStateMachine):
    """A repository under Tandem, a lead who works with it, and what kills the programs meanwhile."""

    group: Sequence[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-kills-")
        self.folder = Path(self._folder.name)
        self.exports = self.folder / "exports"
        self.exports.mkdir()
        self.model = life.Model()
        self.fake = FakeOllama(self.model)
        self.fake.__enter__()
        self.repo, self.ledger = life.ground(self.folder / "repo"), Ledger(self.folder / "ledger")
        self.numbers: dict[str, int] = {}
        self.by_hand = 0
        self.lead: Lead | None = None

    @initialize(nths=st.lists(st.integers(1, 3), min_size=ARMED, max_size=ARMED))
    def begin(self, nths: list[int]) -> None:
        """Arm the group's points, each at one of its first passings in a process."""
        faults = ",".join(f"{point}:kill:{nth}" for point, nth in zip(self.group, nths, strict=False))
        env = {"TANDEM_FAULT": faults, "TANDEM_FAULT_LOG": str(self.folder / "faults.log")}
        self.stack = Stack(self.folder, life.settings(self.fake, self.folder / "wheels") | env)
        self.lead = Lead(self.stack, self.repo, self.ledger)
        self.model.sensible = True

    @precondition(lambda self: len(self.numbers) < 4)
    @rule()
    def submit(self) -> None:
        """Hand in a task."""
        number = len(self.numbers) + 1
        self.numbers[self._lead.submit(life.task(number))] = number

    @precondition(lambda self: self.numbers)
    @rule(data=st.data(), choice=st.sampled_from(["approve", "approve", "reject"]))
    def answer(self, data: st.DataObject, choice: str) -> None:
        """Wait for a run and answer what it asks, if it asks."""
        self._answer(self._run(data.draw(st.integers(1, len(self.numbers)))), choice)

    @precondition(lambda self: self.numbers)
    @rule(data=st.data(), after_s=st.floats(0, 0.8))
    def cancel_and_go_on(self, data: st.DataObject, after_s: float) -> None:
        """Cancel a run in the middle, and go on with it."""
        number = data.draw(st.integers(1, len(self.numbers)))
        run = self._run(number)
        time.sleep(after_s)
        self._lead.cancel(run)
        if self._lead.states()[run] == "cancelled":
            self._lead.go_on(run)

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """Move a run that waits out and in again."""
        run = self._run(data.draw(st.integers(1, len(self.numbers))))
        if self._settled(run) == "waiting":
            self._move(run)

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        """Take back a run that is merged."""
        run = self._run(data.draw(st.integers(1, len(self.numbers))))
        if self._settled(run) == "merged":
            self._lead.undo(run)

    @precondition(lambda self: self.numbers)
    @rule(after_s=st.floats(0, 0.8), whom=st.sampled_from(["router", "worker", "both"]))
    def kill(self, after_s: float, whom: str) -> None:
        """Kill from outside, anywhere."""
        router = self.stack.router
        if router is None or router.poll() is not None:
            return
        time.sleep(after_s)
        worker = None
        with contextlib.suppress(OSError, ValueError, KeyError):  # it may die by a failpoint at this very moment
            worker = self.stack.call("GET", "/v1/status")[1]["worker"]["pid"]
        if whom != "router" and worker:
            _kill(worker)
            self.by_hand += 1
        if whom != "worker" and router.poll() is None:
            _kill(router.pid)
            router.wait(20)
            self.by_hand += 1

    def teardown(self) -> None:
        """Bring everything to its end, go every way once more, and compare."""
        if self.lead is None:
            self._leave()
            return
        try:
            for run in sorted(self.numbers):
                self._answer(run, "approve")
            self.model.sensible = False
            self._every_way()
        finally:
            self.stack.stop()
            self.fake.__exit__(None, None, None)
        found = struck(self.folder / "faults.log")
        kills.update({point.partition(":")[0]: count for point, count in found.items()})
        kills["(from outside)"] += self.by_hand
        assert violations(self.ledger, self.stack.state, self.repo) == []
        assert len(self.model.twice()) <= self.by_hand  # one killed while its model spoke asks again
        wanted = {life.product(n) for run, n in self.numbers.items() if run in self._standing()}
        there = set(git(self.repo, "ls-tree", "--name-only", "main", "words/").splitlines())
        assert {path for path in there if path.startswith("words/text") and path != "words/text.py"} == wanted
        self._leave()

    def _every_way(self) -> None:
        """Go through a failure, a move, a merge, an undo, an export and a clearing up."""
        self.model.fail()
        number = len(self.numbers) + 1
        run = self._lead.submit(life.task(number))
        self.numbers[run] = number
        assert self._settled(run) == "failed"
        self.model.sensible = True
        self._lead.go_on(run)
        assert self._settled(run) == "waiting"
        self._move(run)
        self._answer(run, "approve")
        self._lead.undo(run)
        self._lead.export(run, self.exports / "last.tandem")
        self._lead.forget(run)

    def _standing(self) -> set[str]:
        """Return the runs whose change the branch should have."""
        merged = {line["run"] for line in self.ledger.lines("ended") if line["state"] == "merged"}
        return merged - self.ledger.runs("undone")

    def _settled(self, run: str) -> str:
        return str(self._lead.wait(run)["state"])

    def _answer(self, run: str, choice: str) -> None:
        state = self._settled(run)
        for _ in range(6):
            if state == "waiting":
                self._lead.answer(run, choice)
                state = str(self._lead.wait(run, until=("merged", "rejected", "failed", "cancelled"))["state"])
            elif state in ("failed", "cancelled"):
                self._lead.go_on(run)
                state = self._settled(run)
            else:
                return
        raise AssertionError(f"run {run} is {state} again and again:\n{self.stack.log()}")

    def _move(self, run: str) -> None:
        file = self.exports / f"{run}.{len(list(self.exports.iterdir()))}.tandem"
        self._lead.export(run, file, move=True)
        self._lead.forget(run)
        self._lead.take_in(run, file)

    def _run(self, number: int) -> str:
        return next(run for run, found in self.numbers.items() if found == number)

    @property
    def _lead(self) -> Lead:
        assert self.lead is not None
        return self.lead

    def _leave(self) -> None:
        self._folder.cleanup()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(3600)
@pytest.mark.row(1, 5)
@pytest.mark.parametrize("group", range(len(GROUPS)) if SOAK else [0])
def test_nothing_is_lost_and_nothing_done_twice(group: int, reached: Reached) -> None:
    machine = type(f"Killed{group}", (Killed,), {"group": GROUPS[group]})
    before = Counter(kills)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=not SOAK,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    reached.counts.update(kills - before)


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="a figure of the soak")
def test_the_kills_were_many_and_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{sum(kills.values())} kills:")
        for point, count in sorted(kills.items()):
            print(f"  {count:>4}  {point}")
    assert set(POINTS_HERE) <= set(kills)
    assert sum(kills.values()) >= 300
