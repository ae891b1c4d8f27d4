"""Record journals as this version of Tandem writes them, to be replayed by all later ones.

    python -m tests.support.recording tests/data/journals/FORMAT.tar.gz

plays the demo in real processes: a run that is merged, one that waits for approval, one whose rounds were spent, and one
that was cancelled. Packed are the state folder and the repository; `unpack` puts them elsewhere and mends the one thing
that names the old place, the repository's path in each task.
"""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.support.stack import DEMO, TASK, Stack, git, rehearsal, sample

PLACE = "/recorded/repo"  # stands for the repository's path in what is packed
_ROUNDS = {"TANDEM_ROUNDS_LOW": "1", "TANDEM_ROUNDS_MEDIUM": "1", "TANDEM_ROUNDS_HIGH": "1"}


def record(archive: Path) -> None:
    """Play the runs and pack what they leave."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stack, repo = Stack(folder, rehearsal()), sample(folder / "repo")
        _play(stack, repo, "approve", "wait")
        stack.env.update(rehearsal(DEMO / "wrong.yaml") | _ROUNDS)
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
            if end == "approve":
                stack.answer(run, "approve")
                stack.wait(run, until=("merged",))
                git(repo, "reset", "-q", "--hard")
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
    return state, repo


def _move(journal: Path, old: str, new: str) -> None:
    """Change the repository's path in every task; the journal itself refuses to change anything."""
    db = sqlite3.connect(journal)
    try:
        (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name='runs_stay'").fetchone()
        db.execute("DROP TRIGGER runs_stay")
        db.execute("UPDATE runs SET task = replace(task, ?, ?)", (old, new))
        db.execute(trigger)
        db.commit()
        db.execute("VACUUM")
    finally:
        db.close()


if __name__ == "__main__":
    record(Path(sys.argv[1]))
