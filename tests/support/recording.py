"""Record journals as this version of Tandem writes them, to be replayed by all later ones.

    python -m tests.support.recording tests/data/journals/FORMAT.tar.gz

plays the demo in real processes: a run that is merged and taken back, so that the others begin where it began; one that
waits for approval; one whose rounds were spent; and one that was cancelled. Packed are the state folder and the
repository; `unpack` puts them elsewhere and mends what names the old place: the repository's path in each task, and the
name of Tandem's own Git directory.

A version that is no more is recorded by putting this file into a checkout of it.
"""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

from router.repository.transport import repo_id_of
from tests.support.stack import DEMO, TASK, Stack, git, rehearsal, sample

PLACE = "/recorded/repo"  # stands for the repository's path in what is packed
ROUNDS = {"TANDEM_ROUNDS_LOW": "2", "TANDEM_ROUNDS_MEDIUM": "2", "TANDEM_ROUNDS_HIGH": "2"}  # a replay needs the same


def record(archive: Path) -> None:
    """Play the runs and pack what they leave."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stack, repo = Stack(folder, rehearsal() | ROUNDS), sample(folder / "repo")
        _play(stack, repo, "undo", "wait")
        stack.env.update(rehearsal(DEMO / "wrong.yaml"))
        _play(stack, repo, "spent", "cancel")
        _move(stack.state / "journal.db", str(repo), PLACE)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(stack.state, "state", filter=_kept)
            packed.add(repo, "repo", filter=_kept)


def _play(stack: Stack, repo: Path, *ends: str) -> None:
    stack.start()
    try:
        for end in ends:
            run = stack.submit(repo, TASK)
            stack.wait(run)
            if end == "undo":
                stack.answer(run, "approve")
                stack.wait(run, until=("merged",))
                status, undone = stack.call("POST", f"/v1/runs/{run}/undo")
                assert status == 200, undone
            elif end == "cancel":
                stack.call("POST", f"/v1/runs/{run}/cancel")
    finally:
        stack.stop()


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what no journal needs, and who made it."""
    if "/logs" in member.name or "/worker/" in member.name or member.name.endswith((".sock", ".lock", ".sample")):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(archive: Path, folder: Path) -> tuple[Path, Path]:
    """Put a recording under `folder`, and return (state folder, repository)."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    state, repo = folder / "state", folder / "repo"
    _move(state / "journal.db", PLACE, str(repo))
    for path in state.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    state.chmod(0o700)
    (own,) = (state / "git").glob("*.git")
    own.rename(own.with_name(f"{repo_id_of(repo, git(repo, 'rev-parse', 'HEAD'))}.git"))
    return state, repo


def _move(journal: Path, old: str, new: str) -> None:
    """Change the repository's path in every task, and what is chained to it; the journal itself refuses any change."""
    db = sqlite3.connect(journal)
    try:
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE name IN ('runs_stay', 'entries_stay')"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE runs SET task = replace(task, ?, ?)", (old, new))
        if db.execute("PRAGMA user_version").fetchone()[0] > 1:
            _chain(db)
        for _, made in triggers:
            db.execute(made)
        db.commit()
        db.execute("VACUUM")
    finally:
        db.close()


def _chain(db: sqlite3.Connection) -> None:
    """Link the entries of every run anew to the run's own row."""
    from router.journal.entries import first_link, link  # not there before format 2

    for run in db.execute("SELECT run, created_s, stamp, task FROM runs").fetchall():
        before = first_link(*run)
        rows = "SELECT id, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id"
        for row in db.execute(rows, (run[0],)).fetchall():
            before = link(before, row)
            db.execute("UPDATE entries SET link=? WHERE id=?", (before, row[0]))


if __name__ == "__main__":
    record(Path(sys.argv[1]))
