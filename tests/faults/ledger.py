"""What a person was told, kept outside of Tandem, and the comparison of it with the journal and with Git.

Acknowledged is what a client has seen as the answer to what it asked: a run accepted, a question shown, an answer taken, a
commit made, a run taken back, exported, forgotten or taken in. Each is a line on disk before the client does anything else.
What was asked for is a line, too, before it is asked: what nobody asked for must not happen.

`violations` knows nothing of Tandem's own code: it reads SQLite and Git.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

Ask = Literal["submit", "answer", "undo", "export", "forget", "import"]
Told = Literal["accepted", "shown", "answered", "ended", "undone", "exported", "forgotten", "imported"]


class Ledger:
    """A file of lines; what is written is on disk when `write` returns."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.touch(mode=0o600)

    def write(self, what: Ask | Told, **about: Any) -> None:
        """Write a line."""
        with self._file.open("a") as opened:
            opened.write(json.dumps({"what": what, **about}) + "\n")
            opened.flush()
            os.fsync(opened.fileno())

    def lines(self, *kinds: Ask | Told) -> list[dict[str, Any]]:
        """Return the lines of some kinds, in order."""
        lines = [json.loads(line) for line in self._file.read_text("utf-8").splitlines()]
        return [line for line in lines if line["what"] in kinds]

    def runs(self, what: Ask | Told) -> set[str]:
        """Return the runs that have a line of one kind."""
        return {line["run"] for line in self.lines(what)}


def violations(ledger: Ledger, state: Path, repo: Path, *, branch: str = "main") -> list[str]:
    """Return, in words, everything that was lost, done twice, or done without being asked for."""
    with closing(sqlite3.connect(state / "journal.db")) as db:
        return [*_of_runs(ledger, db), *_of_answers(ledger, db), *_of_entries(db), *_of_commits(ledger, repo, branch)]


def _of_runs(ledger: Ledger, db: sqlite3.Connection) -> Iterator[str]:
    there = {str(run) for (run,) in db.execute("SELECT run FROM runs")}
    last = {line["run"]: line["what"] for line in ledger.lines("accepted", "forget", "forgotten", "import", "imported")}
    for run in sorted(run for run, what in last.items() if what in ("accepted", "imported") and run not in there):
        yield f"run {run} was {last[run]} and is not in the journal"
    for run in sorted(run for run, what in last.items() if what == "forgotten" and run in there):
        yield f"run {run} was forgotten and is in the journal"
    if len(there) > len(ledger.lines("submit")):
        yield f"{len(there)} runs are in the journal and {len(ledger.lines('submit'))} were handed in"


def _of_answers(ledger: Ledger, db: sqlite3.Connection) -> Iterator[str]:
    there = [
        (str(run), str(step), str(json.loads(value)["choice"]))
        for run, step, value in db.execute("SELECT run, step, value FROM entries WHERE kind='answered'")
    ]
    runs = {str(run) for (run,) in db.execute("SELECT run FROM runs")}
    for answer, count in Counter(there).items():
        if count > 1:
            yield f"the answer {answer} is in the journal {count} times"
    given = {(line["run"], line["question"], line["choice"]) for line in ledger.lines("answer")}
    for answer in sorted(set(there) - given):
        yield f"the answer {answer} is in the journal and nobody gave it"
    taken = {(line["run"], line["question"], line["choice"]) for line in ledger.lines("answered")}
    for answer in sorted(taken - set(there)):
        if answer[0] in runs:
            yield f"the answer {answer} was taken and is not in the journal"


def _of_entries(db: sqlite3.Connection) -> Iterator[str]:
    """Find answers that were recorded twice, apart from those that a cut left behind."""
    cuts: dict[str, list[tuple[int, int]]] = {}
    for run, at, first in db.execute("SELECT run, id, value FROM entries WHERE kind='cut' ORDER BY id"):
        cuts.setdefault(str(run), []).append((int(first), int(at)))
    counted: Counter[tuple[str, ...]] = Counter()
    for row in db.execute(
        "SELECT run, id, step, ordinal, kind FROM entries WHERE kind NOT IN ('state', 'failed', 'cut', 'clock')"
    ):
        run, number = str(row[0]), int(row[1])
        if not any(first <= number < at for first, at in cuts.get(run, [])):
            counted[run, str(row[2]), str(row[3]), str(row[4])] += 1
    for entry, count in counted.items():
        if count > 1:
            yield f"{entry} was recorded {count} times"


def _of_commits(ledger: Ledger, repo: Path, branch: str) -> Iterator[str]:
    trailers = "%x09".join(f"%(trailers:key={key},valueonly,separator=%x2C)" for key in ("Tandem-Run", "Tandem-Undo"))
    rows = [line.split("\t") for line in _git(repo, "log", f"--format=%H%x09{trailers}", branch).splitlines()]
    made = {commit: run for commit, run, undone in rows if run and not undone}
    undoing = Counter(undone for _, _, undone in rows if undone)
    ended = {line["run"]: line["commit"] for line in ledger.lines("ended") if line["state"] == "merged"}
    for run, commit in sorted(ended.items()):
        if made.get(commit) != run:
            yield f"run {run} was merged as {commit}, which {branch} does not have"
    for run, count in Counter(made.values()).items():
        if count > 1:
            yield f"run {run} has {count} commits on {branch}"
        if run not in {line["run"] for line in ledger.lines("answer") if line["choice"] == "approve"}:
            yield f"run {run} is on {branch} and nobody approved it"
    for commit, count in undoing.items():
        if count > 1:
            yield f"{commit} was taken back {count} times"
        if made.get(commit) not in ledger.runs("undo"):
            yield f"{commit} was taken back and nobody asked for it"
    for line in ledger.lines("undone"):
        if ended.get(line["run"]) not in undoing:
            yield f"run {line['run']} was taken back, and {branch} does not show it"
    fsck = subprocess.run(["git", "-C", str(repo), "fsck", "--strict"], capture_output=True, text=True, check=False)
    if fsck.returncode:
        yield f"git fsck: {fsck.stderr.strip()}"
    yield from (f"{lock} was left behind" for lock in (repo / ".git").rglob("*.lock"))
    if dirty := _git(repo, "status", "--porcelain"):
        yield f"the checkout is not clean: {dirty!r}"


def _git(repo: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(repo), *args], capture_output=True, text=True, check=True).stdout.rstrip(
        "\n"
    )
