"""An upgrade: what every earlier format recorded is read, replayed, and gone on with by this version.

`tests/support/recording.py` says how the recordings were made, and what is in them.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agents import personas
from graphs.state import WORKFLOW_VERSION
from router.journal import FORMAT
from tandem.types import ENDED
from tests.support.recording import ROUNDS, unpack
from tests.support.stack import ROOT, Stack, git, rehearsal

RECORDINGS = sorted((ROOT / "tests" / "data" / "journals").glob("*.tar.gz"))
ADDED, REVERTED = "Add slugify to words.text", 'Revert "Add slugify to words.text"'


def test_every_format_there_was_is_recorded() -> None:
    assert [file.name for file in RECORDINGS] == [f"{number}.tar.gz" for number in range(1, FORMAT + 1)]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda file: f"format {file.name.partition('.')[0]}")
def test_a_recorded_journal_is_read_replayed_and_gone_on_with(recording: Path, tmp_path: Path) -> None:
    number = int(recording.name.partition(".")[0])
    state, repo = unpack(recording, tmp_path)
    before = content(state / "journal.db")
    assert before["format"] == number
    assert log(repo) == [REVERTED, ADDED, "A beginning"]

    stack = Stack(tmp_path, rehearsal() | ROUNDS)
    stack.start()
    try:
        runs = sorted(stack.call("GET", "/v1/runs")[1]["runs"], key=lambda run: run["created_s"])
        assert [run["run"] for run in runs] == before["runs"]
        assert [run["state"] for run in runs] == ["merged", "waiting", "waiting", "cancelled"]
        for run in runs:
            status, replayed = stack.call("POST", f"/v1/runs/{run['run']}/replay")
            assert status == 200
            if set(before["stamps"]) == {f"{WORKFLOW_VERSION}.{personas.stamp(personas.load())}"}:
                assert (replayed["same"], replayed["difference"]) == (True, None), (run, replayed)
            else:  # the team is told other words today: the first of them is named, and nothing else is different
                assert replayed["same"] or "another question was asked" in replayed["difference"], (run, replayed)
        merged, approvable, spent = (stack.wait(run["run"]) for run in runs[:3])
        assert merged["commit"] == git(repo, "rev-parse", "main~1")
        assert approvable["question"]["kind"] == "approve"
        assert spent["question"]["kind"] == "rounds"

        stack.answer(approvable["run"], "approve")
        done = stack.wait(approvable["run"], until=tuple(ENDED), timeout=60)
        assert (done["state"], done["commit"]) == ("merged", git(repo, "rev-parse", "main"))
        status, replayed = stack.call("POST", f"/v1/runs/{approvable['run']}/replay")
        assert (replayed["same"], replayed["commit"]) == (True, done["commit"])
        stack.answer(spent["run"], "stop")
        assert stack.wait(spent["run"], until=tuple(ENDED), timeout=60)["state"] == "rounds spent"
    finally:
        stack.stop()

    assert log(repo) == [ADDED, REVERTED, ADDED, "A beginning"]
    assert git(repo, "rev-parse", "main^{tree}") == git(repo, "rev-parse", "main~2^{tree}")
    assert git(repo, "status", "--porcelain") == ""
    git(repo, "fsck", "--strict")

    after = content(state / "journal.db")
    assert after["format"] == FORMAT
    assert after["entries"][: len(before["entries"])] == before["entries"]
    backups = sorted(path.name for path in state.glob("journal.db.*") if path.name != "journal.db.made")
    assert backups == ([] if number == FORMAT else [f"journal.db.format-{number}"])
    for name in backups:
        assert content(state / name) == before


def content(journal: Path) -> dict[str, Any]:
    """Return what a journal of any format holds."""
    db = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        columns = "id, run, step, ordinal, attempt, kind, question, value, at_s"
        return {
            "format": db.execute("PRAGMA user_version").fetchone()[0],
            "stamps": [stamp for (stamp,) in db.execute("SELECT stamp FROM runs")],
            "runs": [run for (run,) in db.execute("SELECT run FROM runs ORDER BY created_s")],
            "entries": db.execute(f"SELECT {columns} FROM entries ORDER BY id").fetchall(),
        }
    finally:
        db.close()


def log(repo: Path) -> list[str]:
    """Return the subjects of the branch's commits, newest first."""
    return git(repo, "log", "--first-parent", "--format=%s", "main").splitlines()
