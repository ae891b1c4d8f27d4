"""One router and two workers, one of them paired: who gets which call, and what a run is that loses its worker."""

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import Machine
from tests.support.pairs import free_port, paired
from tests.support.stack import DEMO, TASK, Stack, git, rehearsal, sample

TOKENS_S = "500"  # so that a call takes long enough to be met by another, or by a kill


class Pair:
    """A router with its own worker, called by this host's name, and a paired one, called mini; both play the demo."""

    def __init__(self, folder: Path) -> None:
        paced = {"TANDEM_REHEARSAL_TOKENS_S": TOKENS_S}
        self.book = Stack(folder / "book", {**rehearsal(), **paced})
        home, work, port = folder / "home", folder / "mini", free_port()
        self.book.state.mkdir(mode=0o700)
        for place in (home, work):
            place.mkdir(mode=0o700)
        paired(self.book.state, home, f"127.0.0.1:{port}")
        env = {**rehearsal(), **paced, "TANDEM_STATE": str(home), "TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}"}
        self.mini = Machine(work, [], **env).start()
        self.here = socket.gethostname().split(".")[0]
        self.book.start()
        while [node["name"] for node in self.book.call("GET", "/v1/status")[1]["nodes"]] != ["mini", self.here]:
            time.sleep(0.05)

    def run(self, repo: Path) -> str:
        return self.book.submit(repo, TASK, yes=True)

    def merged(self, run: str) -> None:
        """Answer whatever is asked until the run is over, which must be well."""
        while (found := self.book.wait(run))["state"] == "waiting":
            self.book.answer(run, next(c for c in found["question"]["choices"] if c in ("approve", "allow", "go on")))
        assert found["state"] == "merged", found

    def placements(self, run: str) -> list[dict[str, Any]]:
        return self.book.call("GET", f"/v1/runs/{run}/placements")[1]["placements"]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if shutil.which("git") is None or not DEMO.is_dir():
        pytest.fail("git and the demo are needed")
    made = Pair(tmp_path)
    try:
        yield made
    finally:
        made.book.stop()
        if made.mini.process is not None:
            made.mini.stop(signal.SIGKILL)


def test_two_calls_at_once_go_to_two_workers_and_one_that_dies_costs_no_run_its_tree(
    pair: Pair, tmp_path: Path
) -> None:
    repos = [sample(tmp_path / name) for name in ("one", "two")]
    runs = [pair.run(repo) for repo in repos]
    for kind, data in pair.book.events(runs[0], follow=True):
        if kind == "call.tokens" and data["tokens"] > 20 and pair.placements(runs[0])[-1]["node"] == "mini":
            break
    pair.mini.stop(signal.SIGKILL)  # in the middle of a reply
    for run in runs:
        pair.merged(run)

    rows = [row for run in runs for row in pair.placements(run)]
    assert {row["node"] for row in rows if row["kind"] == "call"} == {"mini", pair.here}
    beside = next(row for row in rows if row["node"] == pair.here and row["kind"] == "call")
    told = {other["node"]: other["why"] for other in beside["others"]}
    assert "full, 0 before it" in told["mini"] or told["mini"] == "does not answer"
    moved = [row for row in rows if row["from"]]
    assert {(row["node"], row["from"]) for row in moved} == {(pair.here, "mini")}
    again = moved[0]["request"]
    assert [row["node"] for row in rows if row["request"] == again] == ["mini", pair.here]

    trees = [git(repo, "rev-parse", "HEAD^{tree}") for repo in repos]
    alone = pair.run(sample(tmp_path / "three"))
    pair.merged(alone)
    assert {row["node"] for row in pair.placements(alone)} == {pair.here}
    assert {*trees, git(tmp_path / "three", "rev-parse", "HEAD^{tree}")} == {trees[0]}

    said = pair.book.cli("nodes", "--why", again.split("/")[0]).stdout  # whichever run's call it was that moved
    assert f"{pair.here}, taken over from mini" in said
    assert "  because: " in said
