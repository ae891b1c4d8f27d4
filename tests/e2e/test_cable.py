"""Two machines and what lies between them: a cable that is cut, swallows, flaps, is slow and loses what it carries.

Whatever it does, a run ends, once, with the tree that the same task leads to on one machine.

Needs root and Linux's network namespaces and TAP devices.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.paths import socket_path
from tandem.types import ENDED
from tests.faults import scene
from tests.faults.matrix import Reached
from tests.faults.wires import holds, until
from tests.support.cable import WAYS, Cable
from tests.support.namespaces import Net
from tests.support.stack import TASK, Stack, git, rehearsal
from tests.support.wheels import wheel
from worker.generations import DETACHED_S
from worker.sandbox import processes

pytestmark = pytest.mark.needs("network namespaces", "TAP devices")
NOTICED_S = 10.0  # the longest that a cut cable may be taken for a whole one
STOPPED_S = 10.0  # from hearing of a cancel to the last process of a sandbox
TOKENS_S = "400"  # so that a plan takes two seconds
BLOB_BYTES = 1280 << 10  # of a file that takes five seconds to send over a slow cable
SLOW_BYTES_S = 250e3


class Mini(Stack):
    """A machine that runs a worker alone, as a service manager keeps one."""

    worker: subprocess.Popen[str]

    def start(self, **env: str) -> None:
        own, socket = str(self.state / "worker"), str(socket_path(self.state, "worker"))
        self.worker = subprocess.Popen(
            [*self.inside, *self.command(), "worker", "--state", own, "--socket", socket, "--name", "mini"],
            env={**self.env, **env}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.worker.stdout is not None
        assert json.loads(self.worker.stdout.readline())["ready"]

    def stop(self, *how: Any) -> None:
        self.worker.terminate()
        self.worker.communicate(timeout=30)


class Town:
    """A router's machine without a model, a worker's with one, two cables between them, and what a run comes to."""

    def __init__(self, folder: Path, net: Net, cables: tuple[Cable, Cable]) -> None:
        self.one, self.two = cables
        self._ground = ground(folder)
        script = long_plan(folder)
        models = rehearsal(script)
        self.tree = undisturbed(folder, self._ground, models)
        del models["TANDEM_REHEARSAL_SCRIPT"]
        more = {"TANDEM_PREPARE_NETWORK": "allow", "TANDEM_ROUTER_ACTIVE_RUNS": "4", "TANDEM_WORKER_CHECKS": "0"}
        self.book = Stack(folder / "book", {**models, **more}, net.inside("book"))
        played = {"TANDEM_REHEARSAL_SCRIPT": str(script), "TANDEM_REHEARSAL_TOKENS_S": TOKENS_S}
        places = {"TANDEM_WORKER_CALLS": "4", "TANDEM_WORKER_CHECKS": "4", "TANDEM_WORKER_SHARE_REGISTRIES": "1"}
        log = {"TANDEM_FAULT_LOG": str(folder / "passed.log")}
        self.mini = Mini(folder / "mini", {**models, **played, **places, **pip(folder), **log}, net.inside("mini"))

    def pair(self) -> None:
        """Show a code on the one and enter it on the other, over the first cable."""
        argv = [*self.mini.inside, *self.mini.command(), "cli", "pair", "--name", "mini", "--json"]
        showing = subprocess.Popen(argv, env=self.mini.env, stdout=subprocess.PIPE, text=True)
        try:
            assert showing.stdout is not None
            code = json.loads(showing.stdout.readline())["code"]
            done = self.book.cli("pair", code, "--at", self.one.at["mini"], "--name", "book")
            assert done.returncode == 0, done.stderr
            assert showing.wait(30) == 0
        finally:
            showing.kill()
            showing.communicate()

    def repository(self, folder: Path) -> Path:
        git(self._ground, "clone", "-q", str(self._ground), str(folder))
        return folder

    def run(self, repo: Path) -> str:
        return self.book.submit(repo, TASK, yes=True)

    def details(self, run: str) -> dict[str, Any]:
        return self.book.call("GET", f"/v1/runs/{run}")[1]

    def peer(self) -> dict[str, Any]:
        """Return what the router says of the worker."""
        (told,) = self.book.call("GET", "/v1/status")[1]["peers"]
        return told

    def door(self, cable: Cable) -> str:
        """Return the address of the worker at the end of a cable."""
        return f"{cable.at['mini']}:7432"

    def used(self) -> Cable:
        return self.one if self.peer()["address"] == self.door(self.one) else self.two

    def other(self) -> Cable:
        return self.two if self.used() is self.one else self.one

    def told(self, run: str, persona: str) -> None:
        """Wait until a persona's reply is under way."""
        for kind, data in self.book.events(run, follow=True):
            if kind == "call.tokens" and data["persona"] == persona and data["tokens"] > 50:
                return
        raise AssertionError(f"{persona} said nothing in {run}")

    def held_tests(self) -> list[Path]:
        """Return the trees on the far side whose tests wait."""
        return scene.waiting_tests(self.mini)

    def let_go(self) -> None:
        for tree in self.held_tests():
            (tree / "go").touch()

    def sending(self) -> list[str]:
        """Return what Git does on the far side."""
        commands = [Path(f"/proc/{one.pid}/cmdline") for one in scene.below(self.mini.worker.pid)]
        texts = [file.read_text() for file in commands if file.exists()]
        return [text for text in texts if "receive-pack" in text or "index-pack" in text]

    def unfinished_pushes(self) -> int:
        return self.passed("worker.git") - self.passed("worker.received")

    def testing(self) -> list[processes.One]:
        """Return the processes on the far side that run the tests that wait."""
        found = scene.below(self.mini.worker.pid)[1:]
        time.sleep(0.3)  # whatever else was there, such as a Git, is gone then
        staying = processes.alive(found)
        assert staying
        return staying

    def tally(self) -> tuple[int, int]:
        """Return how often the model was asked and tests were run on the far side."""
        return self.passed("worker.call"), self.passed("worker.checked")

    def passed(self, point: str) -> int:
        return scene.passed(self.mini, point)

    def merged(self, run: str, repo: Path) -> None:
        """Let held tests go on until a run has ended, once and well."""
        scene.came_to(self.book, run, "merged", held_on=self.mini)
        scene.merged_once(self.book, run, repo, self.tree)

    def leave_nothing(self) -> None:
        """Cancel what a test that failed has left."""
        for run in self.book.call("GET", "/v1/runs")[1]["runs"]:
            if run["state"] not in ENDED:
                self.book.call("POST", f"/v1/runs/{run['run']}/cancel")


def ground(folder: Path) -> Path:
    """Make the repository: it needs a package, has a test that waits, and a file that is long to send."""
    repo = scene.ground(folder / "ground", holds=True)
    (repo / "requirements.txt").write_text("shout==1.0\n")
    (repo / "blob").write_bytes(random.Random(1).randbytes(BLOB_BYTES))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add a package and a large file")
    return repo


def long_plan(folder: Path) -> Path:
    """Write the script: every persona is right at once, and the plan is long; each place in it is its own."""
    file = scene.quick(folder)
    data = yaml.safe_load(file.read_text("utf-8"))
    plan = next(entry["reply"] for entry in data["replies"] if entry["persona"] == "planner")
    plan["risks"] += [" ".join(f"{line}w{word:03d}" for word in range(80)) for line in range(4)]
    file.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    return file


def pip(folder: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel(folder / "wheels"))}


def undisturbed(folder: Path, repo: Path, models: dict[str, str]) -> str:
    """Return the tree that the task leads to on one machine."""
    alone = Stack(folder / "alone", {**models, **pip(folder), "TANDEM_PREPARE_NETWORK": "allow"})
    copy = folder / "alone" / "repo"
    git(repo, "clone", "-q", str(repo), str(copy))
    alone.start()
    try:
        run = alone.submit(copy, TASK, yes=True)
        scene.came_to(alone, run, "merged")
        return git(copy, "rev-parse", "main^{tree}")
    finally:
        alone.stop()


@contextmanager
def built(folder: Path) -> Generator[Town]:
    with Net("book", "mini", switched=False) as net, ExitStack() as laid:
        one, two = (laid.enter_context(Cable(net, "book", "mini", number)) for number in (1, 2))
        town = Town(folder, net, (one, two))
        laid.callback(town.book.stop)
        town.mini.start()
        laid.callback(town.mini.stop)
        town.pair()
        town.book.start()
        until(lambda: town.peer()["address"])
        repo = town.repository(folder / "first")
        town.first = town.run(repo)
        town.merged(town.first, repo)
        town.usual = town.tally()
        yield town


@pytest.fixture(scope="module")
def whole_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with built(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture
def town(whole_town: Town) -> Iterator[Town]:
    """Give a test the town with one cable that is whole, and the other cut."""
    whole_town.two.cut()
    whole_town.one.heal()
    until(lambda: whole_town.peer()["address"] == whole_town.door(whole_town.one))
    yield whole_town
    whole_town.leave_nothing()


class Struck:
    """Three runs: one whose tests wait, one that sends its commit, and one whose reply comes. Then the cable breaks."""

    def __init__(self, town: Town, folder: Path) -> None:
        self._town = town
        self.repos = {name: town.repository(folder / name) for name in ("tests", "sync", "call")}
        self.runs = dict[str, str]()
        self._before = town.tally()
        self._opened = town.unfinished_pushes()

    def under_way(self) -> None:
        """Begin the runs, and return once each is where it is to be."""
        town, used = self._town, self._town.used()
        self.runs["tests"] = town.run(self.repos["tests"])
        until(town.held_tests, why=town.book.log)
        for cable in (town.one, town.two):
            cable.spoil(bytes_per_s=SLOW_BYTES_S)
        sent = used.counts("up").passed_bytes
        self.runs["sync"] = town.run(self.repos["sync"])
        until(lambda: used.counts("up").passed_bytes > sent + BLOB_BYTES // 8, why=town.book.log)
        self.runs["call"] = town.run(self.repos["call"])
        town.told(self.runs["call"], "planner")
        assert used.counts("up").passed_bytes < sent + BLOB_BYTES

    def at(self) -> None:
        """See that the cable broke where it was to."""
        town = self._town
        assert town.unfinished_pushes() == self._opened + 1, "in the middle of a push"
        assert [tree for tree in town.held_tests() if not (tree / "go").exists()], "in the middle of tests"
        assert steps(town, self.runs["call"]) == ["assess.1"], "in the middle of a reply, the plan's"

    def merged(self) -> None:
        """Bring all three to their end: as if nothing had happened, and no work was done twice."""
        for name, run in self.runs.items():
            self._town.merged(run, self.repos[name])
        asked, tested = (now - before for now, before in zip(self._town.tally(), self._before, strict=True))
        assert (asked, tested) == tuple(3 * usual for usual in self._town.usual)


def steps(town: Town, run: str) -> list[str]:
    """Return the steps of a run that have a reply."""
    return [call["step"] for call in town.details(run)["calls"]]


def noticed(town: Town, runs: Iterable[str], lost_s: float) -> None:
    """See that runs say in time that they wait for the worker, and that the worker is said to be away since then."""
    until(lambda: {held["run"] for held in holds(town.book)} == set(runs), why=town.book.log)
    print("noticed after", time.time() - lost_s, "away since", town.peer()["away_since_s"] - lost_s)
    assert time.time() - lost_s < NOTICED_S
    assert lost_s < town.peer()["away_since_s"] < time.time()


def test_a_run_is_carried_out_over_the_cable_on_the_far_side(town: Town) -> None:
    placed = town.book.call("GET", f"/v1/runs/{town.first}/placements")[1]["placements"]
    assert {(row["kind"], row["node"]) for row in placed} == {(kind, "mini") for kind in ("call", "prepare", "check")}
    assert len(list((town.mini.state / "worker" / "environments").iterdir())) == 1
    assert len(list((town.mini.state / "worker" / "git").glob("*.git"))) == 1
    assert not list((town.book.state / "worker").glob("environments/*"))
    assert not list((town.book.state / "worker").glob("git/*"))


@pytest.mark.row(15)
def test_where_a_second_cable_leads_there_the_first_is_not_missed(town: Town, tmp_path: Path, reached: Reached) -> None:
    town.two.heal()
    until(lambda: all(route["trouble"] is None for route in town.peer()["routes"]), why=town.book.log)
    struck = Struck(town, tmp_path)
    struck.under_way()
    lost, other = town.used(), town.other()
    lost.cut()
    lost_s = time.time()
    struck.at()
    other.heal()
    until(lambda: town.peer()["address"] == town.door(other))
    print("moved after", time.time() - lost_s)
    assert time.time() - lost_s < NOTICED_S
    reached.add("cut for good", 3)
    struck.merged()
    assert not lost.whole
    for name, run in struck.runs.items():
        placed = town.book.call("GET", f"/v1/runs/{run}/placements")[1]["placements"]
        assert {row["from"] for row in placed} == {""}, name


@pytest.mark.row(7, 8)
@pytest.mark.parametrize("how", ["cut", "black hole"])
def test_a_cable_that_is_lost_in_a_call_in_tests_and_in_a_push_and_comes_back_costs_nothing(
    town: Town, tmp_path: Path, reached: Reached, how: str
) -> None:
    struck = Struck(town, tmp_path)
    struck.under_way()
    if how == "cut":
        town.one.cut()
    else:
        town.one.black_hole()
    lost_s = time.time()
    struck.at()
    noticed(town, struck.runs.values(), lost_s)
    struck.at()
    shown = town.book.cli("show", struck.runs["call"]).stdout
    assert "waiting for the worker, since" in shown
    assert "no answer from mini" in shown
    assert "paired worker mini: cannot be used for" in town.book.cli("status").stdout
    town.let_go()  # the tests end, and there is nobody to tell
    until(lambda: not town.sending(), why=town.mini.log)
    reached.add(how, 3)
    town.one.heal()
    struck.merged()


@pytest.mark.row(9)
def test_a_run_over_a_cable_that_flaps_ends_once(town: Town, tmp_path: Path, reached: Reached) -> None:
    dice, flaps = random.Random(9), 0
    repo = town.repository(tmp_path / "repo")
    run = town.run(repo)
    end = time.monotonic() + 90
    while town.details(run)["state"] == "running" or flaps < 4:
        assert time.monotonic() < end, town.book.log()
        town.one.cut() if dice.random() < 0.5 else town.one.black_hole()
        flaps += 1
        time.sleep(dice.uniform(0.5, 1.5))
        town.one.heal()
        town.let_go()
        time.sleep(dice.uniform(0.5, 1.5))
    print("flapped", flaps)
    reached.add("flapped", flaps)
    town.merged(run, repo)


@pytest.mark.row(10)
def test_a_run_over_a_slow_cable_that_loses_frames_ends_once(town: Town, tmp_path: Path, reached: Reached) -> None:
    before = sum(town.one.counts(way).lost for way in WAYS)
    town.one.spoil(delay_s=0.03, loss=0.03, bytes_per_s=20e6 / 8)
    repo = town.repository(tmp_path / "repo")
    town.merged(town.run(repo), repo)
    lost = sum(town.one.counts(way).lost for way in WAYS) - before
    print("lost", lost)
    reached.add("frames lost", lost)


def test_a_run_that_is_cancelled_leaves_nothing_running_on_the_far_side_and_can_be_gone_on_with(
    town: Town, tmp_path: Path
) -> None:
    repo = town.repository(tmp_path / "repo")
    run = town.run(repo)
    until(town.held_tests, why=town.book.log)
    testing = town.testing()
    assert town.book.cli("cancel", run).returncode == 0
    cancelled_s = time.monotonic()
    town.book.call("POST", f"/v1/runs/{run}/resume")  # whoever was too quick is not told that it was cancelled
    until(lambda: not processes.alive(testing), STOPPED_S)
    print("gone after", time.monotonic() - cancelled_s)
    town.merged(run, repo)


@pytest.mark.row(8)
def test_a_run_cancelled_in_a_black_hole_is_stopped_on_the_far_side_after_it_and_another_goes_on(
    town: Town, tmp_path: Path, reached: Reached
) -> None:
    repos = [town.repository(tmp_path / name) for name in ("cancelled", "call")]
    cancelled = town.run(repos[0])
    until(town.held_tests, why=town.book.log)
    testing = town.testing()
    call = town.run(repos[1])
    town.told(call, "planner")
    town.one.black_hole()
    lost_s = time.time()
    assert steps(town, call) == ["assess.1"], "in the middle of a reply"
    noticed(town, (cancelled, call), lost_s)
    assert town.book.cli("cancel", cancelled).returncode == 0
    assert processes.alive(testing)
    reached.add("black hole", 2)
    town.one.heal()
    healed_s = time.monotonic()
    until(lambda: not processes.alive(testing), STOPPED_S)
    print("gone after", time.monotonic() - healed_s)
    town.merged(call, repos[1])
    town.book.call("POST", f"/v1/runs/{cancelled}/resume")
    town.merged(cancelled, repos[0])


@pytest.mark.soak
@pytest.mark.row(7)
def test_a_run_cancelled_over_a_cut_cable_is_stopped_on_the_far_side_though_nobody_says_so(
    town: Town, tmp_path: Path, reached: Reached
) -> None:
    repo = town.repository(tmp_path / "repo")
    run = town.run(repo)
    until(town.held_tests, why=town.book.log)
    testing = town.testing()
    town.one.cut()
    cut_s = time.monotonic()
    assert town.book.cli("cancel", run).returncode == 0
    until(lambda: not processes.alive(testing), NOTICED_S + DETACHED_S + STOPPED_S)
    print("gone after", time.monotonic() - cut_s)
    reached.add("cut")
    town.one.heal()
    town.book.call("POST", f"/v1/runs/{run}/resume")
    town.merged(run, repo)
