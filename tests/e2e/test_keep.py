"""Runs are moved between two machines' state folders and cleared away, through the command and real processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import TASK, Stack, git, rehearsal, sample


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("here"), rehearsal())
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def test_a_run_that_waits_is_moved_and_merged_on_the_other_machine_and_nowhere_else(
    here: Stack, tmp_path: Path
) -> None:
    repo = sample(tmp_path / "repo")
    base, file = git(repo, "rev-parse", "main"), tmp_path / "moved.tandem"
    run = here.submit(repo, TASK)
    question = here.wait(run)["question"]
    exported = here.cli("export", run, str(file), "--move", "--json")
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["moved"] is True
    for path, body in ((f"/v1/runs/{run}/resume", {}), ("/v1/import", {"file": str(file), "repo": str(repo)})):
        status, refused = here.call("POST", path, body)
        assert (status, refused["error"]["class"]) == (409, "Conflict")

    git(tmp_path, "clone", "-q", str(repo), "clone")
    clone, there = tmp_path / "clone", Stack(tmp_path / "there", rehearsal())
    there.start()
    try:
        imported = there.cli("import", str(file), "--json", cwd=clone)
        assert imported.returncode == 0, imported.stderr
        summary = json.loads(imported.stdout)
        assert (summary["run"], summary["state"], summary["repo"]) == (run, "waiting", str(clone))
        assert summary["question"] == question
        there.answer(run, "approve")
        body = there.wait(run, until=("merged",))
        assert body["commit"] == git(clone, "rev-parse", "main") != base
        status, replayed = there.call("POST", f"/v1/runs/{run}/replay")
        assert (status, replayed["same"]) == (200, True), replayed
    finally:
        there.stop()
    assert git(repo, "rev-parse", "main") == base
    assert here.wait(run)["moved"] is True


def test_what_is_over_is_cleared_away_and_what_waits_goes_on_as_if_nothing_had_been(
    here: Stack, tmp_path: Path
) -> None:
    repo = sample(tmp_path / "repo")
    over = here.submit(repo, TASK, yes=True)
    assert here.wait(over)["state"] == "merged"
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    waits = here.submit(repo, TASK)
    here.wait(waits)
    status, refused = here.call("POST", "/v1/clear", {"run": waits})
    assert (status, refused["error"]["class"]) == (409, "Conflict")
    done = here.cli("gc", "--run", over)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" freed")
    assert here.call("GET", f"/v1/runs/{over}")[0] == 404
    db = sqlite3.connect(here.state / "journal.db")
    assert db.execute("SELECT count(*) FROM entries WHERE run=?", (over,)).fetchone() == (0,)
    db.close()
    held = "".join(git(folder, "for-each-ref") for folder in (here.state / "git").glob("*.git"))
    assert (f"runs/{over}/" in held, f"runs/{waits}/" in held) == (False, True)

    here.answer(waits, "approve")
    assert here.wait(waits, until=("merged",))["state"] == "merged"
    status, replayed = here.call("POST", f"/v1/runs/{waits}/replay")
    assert (status, replayed["same"]) == (200, True), replayed
    status, cleared = here.call("POST", "/v1/clear", {"days": 0})
    assert (status, cleared["troubles"]) == (200, [])
    assert waits not in {run["run"] for run in here.call("GET", "/v1/runs")[1]["runs"]}
