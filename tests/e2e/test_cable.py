"""Two machines and what lies between them: a cable that is cut, swallows, flaps, is slow and loses what it carries.

Whatever it does, a run ends, once, with the tree that the same task leads to on one machine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.faults.matrix import Reached
from tests.faults.wires import holds, until
from tests.support.cable import WAYS
from tests.support.cabled import BLOB_BYTES, Cabled, cabled
from worker.generations import DETACHED_S
from worker.sandbox import processes

pytestmark = pytest.mark.needs("network namespaces", "TAP devices")
NOTICED_S = 10.0  # the longest that a lost cable may be taken for a whole one
STOPPED_S = 10.0  # from hearing of a cancel to the end of a sandbox's last process
SLOW_BYTES_S = 250e3  # at which the large file takes five seconds
LOST = pytest.mark.parametrize(
    "how",
    [
        pytest.param("cut", marks=pytest.mark.row(7)),
        pytest.param("black hole", marks=(pytest.mark.row(8), pytest.mark.soak)),
    ],
)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cabled]:
    with cabled(tmp_path_factory.mktemp("cabled")) as made:
        yield made


@pytest.fixture
def two(machines: Cabled) -> Iterator[Cabled]:
    """Give a test the machines with two whole cables."""
    machines.one.heal()
    machines.two.heal()
    until(lambda: machines.peer()["address"])
    yield machines
    machines.leave_nothing()


@pytest.fixture
def single(machines: Cabled) -> Iterator[Cabled]:
    """Give a test the machines with one whole cable; the other is cut."""
    machines.two.cut()
    machines.one.heal()
    until(lambda: machines.peer()["address"] == machines.door(machines.one))
    yield machines
    machines.leave_nothing()


class Struck:
    """Three runs: one whose tests wait, one that sends its commit, and one whose reply comes. Then the cable breaks."""

    def __init__(self, machines: Cabled, folder: Path) -> None:
        self._machines = machines
        self.repos = {name: machines.repository(folder / name) for name in ("tests", "push", "call")}
        self.runs = dict[str, str]()
        self._before, self._unfinished = machines.tally(), machines.unfinished_pushes()

    def under_way(self) -> None:
        """Begin the runs, and return once each is where it is to be."""
        machines = self._machines
        self.runs["tests"] = machines.run(self.repos["tests"])
        until(machines.waiting_tests, why=machines.book.log)
        for cable in (machines.one, machines.two):
            cable.spoil(bytes_per_s=SLOW_BYTES_S)
        used, _ = machines.used()
        before = used.counts("up").passed_bytes
        self.runs["push"] = machines.run(self.repos["push"])
        until(lambda: used.counts("up").passed_bytes > before + BLOB_BYTES // 8, why=machines.book.log)
        self.runs["call"] = machines.run(self.repos["call"])
        machines.told(self.runs["call"], "planner")
        assert used.counts("up").passed_bytes < before + BLOB_BYTES

    def was_in_the_middle(self) -> None:
        """See that the cable broke where it was to."""
        machines = self._machines
        assert machines.unfinished_pushes() == self._unfinished + 1, "of a push"
        assert machines.waiting_tests(), "of tests"
        assert machines.replied(self.runs["call"]) == ["assess.1"], "of a reply, the plan's"

    def merged(self) -> None:
        """Bring all three to their end: as if nothing had happened, and no work was done twice."""
        for name, run in self.runs.items():
            self._machines.merged(run, self.repos[name])
        asked, tested = (now - before for now, before in zip(self._machines.tally(), self._before, strict=True))
        assert (asked, tested) == tuple(3 * usual for usual in self._machines.usual)


def noticed(machines: Cabled, runs: Iterable[str], lost_s: float) -> None:
    """See that runs say in time that they wait for the worker, and that this is said to be away since then."""
    until(lambda: {held["run"] for held in holds(machines.book)} == set(runs), why=machines.book.log)
    assert time.time() - lost_s < NOTICED_S
    assert all("no answer from mini" in held["text"] for held in holds(machines.book))
    assert all(lost_s < held["since_s"] < time.time() for held in holds(machines.book))
    assert lost_s < machines.peer()["away_since_s"] < time.time()


def test_a_run_is_carried_out_over_the_cable_on_the_far_side(machines: Cabled) -> None:
    placed = machines.placements(machines.first)
    assert {(row["kind"], row["node"]) for row in placed} == {(kind, "mini") for kind in ("call", "prepare", "check")}
    assert len(list((machines.mini.state / "worker" / "environments").iterdir())) == 1
    assert len(list((machines.mini.state / "worker" / "git").glob("*.git"))) == 1
    assert not list((machines.book.state / "worker").glob("environments/*"))
    assert not list((machines.book.state / "worker").glob("git/*"))


@pytest.mark.row(15)
def test_where_a_second_cable_leads_there_the_first_is_not_missed(
    two: Cabled, tmp_path: Path, reached: Reached
) -> None:
    struck = Struck(two, tmp_path)
    struck.under_way()
    lost, other = two.used()
    lost.cut()
    lost_s = time.time()
    struck.was_in_the_middle()
    other.heal()
    until(lambda: two.peer()["address"] == two.door(other), why=two.book.log)
    assert time.time() - lost_s < NOTICED_S
    reached.add("cut for good", 3)
    struck.merged()
    assert not lost.whole
    assert {row["from"] for run in struck.runs.values() for row in two.placements(run)} == {""}, "it is one worker"


@LOST
def test_a_cable_that_is_lost_in_a_call_in_tests_and_in_a_push_and_comes_back_costs_nothing(
    single: Cabled, tmp_path: Path, reached: Reached, how: str
) -> None:
    struck = Struck(single, tmp_path)
    struck.under_way()
    if how == "cut":
        single.one.cut()
    else:
        single.one.black_hole()
    lost_s = time.time()
    struck.was_in_the_middle()
    noticed(single, struck.runs.values(), lost_s)
    struck.was_in_the_middle()
    assert "waiting for the worker, since" in single.book.cli("show", struck.runs["call"]).stdout
    assert "paired worker mini: cannot be used for" in single.book.cli("status").stdout
    for tree in single.waiting_tests():
        (tree / "go").touch()  # they end, and there is nobody to tell
    until(lambda: not single.receiving(), why=single.mini.log)
    reached.add(how, 3)
    single.one.heal()
    struck.merged()


@pytest.mark.row(8)
def test_a_run_cancelled_in_a_black_hole_is_stopped_on_the_far_side_after_it_and_another_goes_on(
    single: Cabled, tmp_path: Path, reached: Reached
) -> None:
    repos = [single.repository(tmp_path / name) for name in ("cancelled", "call")]
    cancelled = single.run(repos[0])
    until(single.waiting_tests, why=single.book.log)
    testing = single.testing()
    call = single.run(repos[1])
    single.told(call, "planner")
    single.one.black_hole()
    lost_s = time.time()
    assert single.replied(call) == ["assess.1"], "in the middle of the plan"
    noticed(single, (cancelled, call), lost_s)
    assert single.book.cli("cancel", cancelled).returncode == 0
    assert processes.alive(testing) == testing
    reached.add("black hole", 2)
    single.one.heal()
    until(lambda: not processes.alive(testing), STOPPED_S)
    single.merged(call, repos[1])
    assert single.book.call("POST", f"/v1/runs/{cancelled}/resume")[0] == 200
    single.merged(cancelled, repos[0])


@pytest.mark.soak
@pytest.mark.row(7)
def test_a_run_cancelled_over_a_cut_cable_is_stopped_on_the_far_side_though_nobody_says_so(
    single: Cabled, tmp_path: Path, reached: Reached
) -> None:
    repo = single.repository(tmp_path / "repo")
    run = single.run(repo)
    until(single.waiting_tests, why=single.book.log)
    testing = single.testing()
    single.one.cut()
    assert single.book.cli("cancel", run).returncode == 0
    until(lambda: not processes.alive(testing), NOTICED_S + DETACHED_S + STOPPED_S)
    reached.add("cut")
    single.one.heal()
    assert single.book.call("POST", f"/v1/runs/{run}/resume")[0] == 200
    single.merged(run, repo)


def test_a_run_that_is_cancelled_leaves_nothing_running_on_the_far_side_and_can_be_gone_on_with(
    single: Cabled, tmp_path: Path
) -> None:
    repo = single.repository(tmp_path / "repo")
    run = single.run(repo)
    until(single.waiting_tests, why=single.book.log)
    testing = single.testing()
    assert single.book.call("POST", f"/v1/runs/{run}/cancel")[1]["state"] == "cancelled"
    assert single.book.call("POST", f"/v1/runs/{run}/resume")[0] == 200  # at once: what was stopped is not joined
    until(lambda: not processes.alive(testing), STOPPED_S)
    single.merged(run, repo)


@pytest.mark.row(9)
def test_a_run_over_a_cable_that_flaps_ends_once(single: Cabled, tmp_path: Path, reached: Reached) -> None:
    dice, flaps = random.Random(9), 0
    repo = single.repository(tmp_path / "repo")
    run = single.run(repo)
    end = time.monotonic() + 90
    while single.details(run)["state"] == "running" or flaps < 4:
        assert time.monotonic() < end, single.book.log()
        if dice.random() < 0.5:
            single.one.cut()
        else:
            single.one.black_hole()
        flaps += 1
        time.sleep(dice.uniform(0.3, 1.2))
        single.one.heal()
        for tree in single.waiting_tests():
            (tree / "go").touch()
        time.sleep(dice.uniform(0.5, 1.5))
    reached.add("flapped", flaps)
    single.merged(run, repo)


@pytest.mark.row(10)
def test_a_run_over_a_slow_cable_that_loses_frames_ends_once(single: Cabled, tmp_path: Path, reached: Reached) -> None:
    before = sum(single.one.counts(way).lost for way in WAYS)
    single.one.spoil(delay_s=0.03, loss=0.03, bytes_per_s=20e6 / 8)
    repo = single.repository(tmp_path / "repo")
    single.merged(single.run(repo), repo)
    reached.add("frames lost", sum(single.one.counts(way).lost for way in WAYS) - before)
