"""Both programs killed at every point there is: same trees, one merge, nothing done twice, no question asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tandem.faults import POINTS
from tests.faults.lead import Lead
from tests.faults.ledger import Ledger, violations
from tests.faults.life import Model, ground, live, settings
from tests.faults.matrix import Reached
from tests.support.fake_ollama import FakeOllama
from tests.support.recording import unpack
from tests.support.stack import TASK, Stack, rehearsal, sample

pytestmark = pytest.mark.timeout(600)
MIGRATING = ("journal.backed_up", "journal.migrated")
RECORDED = Path(__file__).parents[1] / "data" / "journals" / "1.tar.gz"


@dataclass(frozen=True, slots=True)
class Lived:
    """How a life went: the branch's trees, the points that struck, and what was lost or done twice."""

    trees: list[str]
    struck: Counter[str]
    violations: list[str]
    asked_twice: list[str]
    litter: list[str]


def lived(folder: Path, faults: Sequence[str]) -> Lived:
    """Live with `faults`, each of which strikes once."""
    folder.mkdir()
    exports, log, model = folder / "exports", folder / "faults.log", Model()
    exports.mkdir()
    repo, ledger = ground(folder / "repo"), Ledger(folder / "ledger")
    with FakeOllama(model) as fake:
        env = {"TANDEM_FAULT": ",".join(faults), "TANDEM_FAULT_LOG": str(log)}
        stack = Stack(folder, settings(fake, folder / "wheels") | env)
        try:
            trees = live(Lead(stack, repo, ledger), exports, model)
        finally:
            stack.stop()
    litter = sorted(p.name for p in exports.iterdir() if p.suffix != ".tandem" or p.name.startswith("."))
    return Lived(trees, struck(log), violations(ledger, stack.state, repo), model.twice(), litter)


def struck(log: Path) -> Counter[str]:
    """Return how often each fault broke its process."""
    return Counter(word for line in log.read_text().splitlines() if ":" in (word := line.split()[2]))


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lived]:
    """Live three times at once: unharmed, and with one half of the kills each."""
    folder = tmp_path_factory.mktemp("lives")
    kills = [f"{point}:kill" for point in POINTS if point not in MIGRATING]
    plans = {"unharmed": [], "even": kills[::2], "odd": kills[1::2]}
    with ThreadPoolExecutor(len(plans)) as threads:
        begun = {name: threads.submit(lived, folder / name, faults) for name, faults in plans.items()}
        return {name: life.result() for name, life in begun.items()}


@pytest.mark.row(1)
@pytest.mark.parametrize("half", ["even", "odd"])
def test_killed_everywhere_it_comes_to_the_same_trees_once(
    half: str, lives: dict[str, Lived], reached: Reached
) -> None:
    kills = [f"{point}:kill" for point in POINTS if point not in MIGRATING][("even", "odd").index(half) :: 2]
    found = lives[half]
    reached.counts.update(found.struck)
    assert found.struck == Counter(kills), f"never reached: {set(kills) - set(found.struck)}"
    assert found.violations == []
    assert found.asked_twice == []
    assert found.litter == []
    assert found.trees == lives["unharmed"].trees
    assert found.trees[0] == found.trees[2]
    assert len(set(found.trees)) == 3


def test_unharmed_the_same_is_seen(lives: dict[str, Lived]) -> None:
    found = lives["unharmed"]
    assert (found.struck, found.violations, found.asked_twice, found.litter) == (Counter(), [], [], [])


@pytest.mark.row(1, 27)
def test_killed_while_an_older_journal_is_brought_up_to_date(tmp_path: Path, reached: Reached) -> None:
    state, repo = unpack(RECORDED, tmp_path)
    log = tmp_path / "faults.log"
    faults = ",".join(f"{point}:kill" for point in MIGRATING)
    stack = Stack(tmp_path, rehearsal() | {"TANDEM_FAULT": faults, "TANDEM_FAULT_LOG": str(log)})
    lead = Lead(stack, repo, Ledger(tmp_path / "ledger"))
    try:
        runs = lead.insist(lambda: stack.call("GET", "/v1/runs")[1]["runs"])
        waiting = next(run["run"] for run in runs if run["question"] and run["question"]["kind"] == "approve")
        stack.answer(waiting, "approve")
        assert stack.wait(waiting, until=("merged", "failed"))["state"] == "merged"
    finally:
        stack.stop()
    reached.counts.update(struck(log))
    assert struck(log) == Counter(faults.split(","))
    assert sorted(run["state"] for run in runs) == ["cancelled", "merged", "waiting", "waiting"]
    assert (state / "journal.db.format-1").stat().st_mode & 0o777 == 0o600


@pytest.mark.row(21)
def test_a_disk_that_is_full_while_a_person_speaks_loses_nothing_and_leaves_nothing_half_done(
    tmp_path: Path, reached: Reached
) -> None:
    log, repo = tmp_path / "faults.log", sample(tmp_path / "repo")
    points = ("journal.before.state", "journal.before.answered", "journal.after.answered")
    faults = ",".join(f"{point}:enospc" for point in points)
    stack = Stack(tmp_path, rehearsal() | {"TANDEM_FAULT": faults, "TANDEM_FAULT_LOG": str(log)})
    stack.start()
    try:
        run = stack.submit(repo, TASK)  # that it is queued could not be written, and that it is accepted was
        question = stack.wait(run)["question"]
        body = {"question": question["id"], "digest": question["digest"], "choice": "approve"}
        answers = [stack.call("POST", f"/v1/runs/{run}/decision", body) for _ in range(3)]
        assert [status for status, _ in answers] == [503, 503, 200]
        assert all(error["error"]["class"] == "DiskFull" for _, error in answers[:2])
        assert stack.wait(run, until=("merged", "failed"))["state"] == "merged"
        assert len(stack.call("GET", f"/v1/runs/{run}")[1]["answers"]) == 1
    finally:
        stack.stop()
    reached.counts.update(struck(log))
    assert struck(log) == Counter(faults.split(","))
