"""What has to be known and said to take a delivered commit back.

The commit that does it is made by `own` and brought over by `delivery`; history is never rewritten.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from router.repository.delivery import contains, tip
from router.repository.history import claimed_run, read_commit
from tandem.errors import BadInput, Conflict
from tandem.git import user_git
from tandem.types import CommitId, Delivery


async def find_undone(root: Path, commit: CommitId, branch: str) -> Delivery | None:
    """Return the delivery that took `commit` back before, or None where it stands.

    Raises:
        Conflict: The branch does not have the commit at all.
    """
    now = await tip(root, branch)
    if now is None or not await contains(root, now, commit):
        raise nothing_to_undo(commit, branch)
    said = await user_git(
        "log", "--format=%H", "--max-count=1", "--extended-regexp", f"--grep=^Tandem-Undo: {commit}$",
        f"{commit}..{now}", "--", checkout=root, config=["log.showSignature=false", "grep.patternType=default"],
    )  # fmt: skip
    if not said.text:
        return None
    made = CommitId(said.text)
    return Delivery(commit=made, branch=branch, merged=True, message=f"{commit[:10]} was taken back by {made[:10]}")


async def only_parent(root: Path, commit: CommitId) -> CommitId:
    """Return the commit's one parent.

    Raises:
        BadInput: It has none, or more than one.
    """
    parents = (await read_commit(root, commit)).parents
    if len(parents) != 1:
        remedy = (
            f"use `{_said(root, 'revert', '-m', '1', commit)}`" if parents else "a first commit cannot be taken back"
        )
        raise BadInput(f"{commit[:10]} has {len(parents)} parents, and Tandem takes back commits with one; {remedy}")
    return parents[0]


async def undo_message(root: Path, commit: CommitId) -> str:
    """Return the message of the commit that takes `commit` back; `find_undone` knows it by its trailer."""
    message = (await read_commit(root, commit)).message
    subject = message.strip().split("\n", 1)[0][:72] or commit[:10]
    run = claimed_run(message)
    trailers = [f"Tandem-Undo: {commit}"] + ([f"Tandem-Run: {run}"] if run else [])
    return f'Revert "{subject}"\n\nThis takes back commit {commit}.\n\n' + "\n".join(trailers)


def nothing_to_undo(commit: CommitId, branch: str) -> Conflict:
    """Return the error for a branch that does not have the commit."""
    return Conflict(f"{commit[:10]} is not in the history of {branch}, so there is nothing to take back there")


def undo_conflict(root: Path, commit: CommitId) -> Conflict:
    """Return the error for later work that stands on the commit."""
    how = _said(root, "revert", commit)
    return Conflict(f"later commits changed the same lines as {commit[:10]}; take it back by hand, with: {how}")


def _said(root: Path, *args: str) -> str:
    return shlex.join(["git", "-C", str(root), *args])
