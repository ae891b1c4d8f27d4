"""Bring a commit to a person's repository: the one place where Tandem changes anything there.

Objects first, then the note, then one reference. Nothing is forced: a branch that moved, a checkout with changes, a
lock or a file in the way leave the commit on a branch of its own, and the message says how to go on. Each step may be
repeated after a crash; the last one decides.
"""

from __future__ import annotations

import logging
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from router.repository import room, transport
from router.repository.checkout import dirty_files
from router.repository.history import NOTES
from router.repository.objects import Store, signature
from tandem import disk
from tandem.errors import BadRepository, DeadlineExceeded, NotFound
from tandem.faults import failpoint
from tandem.git import GitResult, user_git
from tandem.types import CommitId, Delivery

log = logging.getLogger(__name__)

_MERGE_S = 300.0
_BRANCH_TRIES = 20
_AT_WORK = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")


@dataclass(frozen=True, slots=True)
class _Worktree:
    """A working tree of the repository, and the branch checked out in it ("" where detached)."""

    root: Path
    branch: str


async def tip(root: Path, branch: str) -> CommitId | None:
    """Return where a branch stands, or None where there is none."""
    said = await user_git(
        "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", checkout=root, check=False
    )
    return CommitId(said.text) if said.returncode == 0 else None


async def must_be_there(root: Path, base: CommitId) -> None:
    """Refuse to ask or write where the person's repository is no more, or another one has taken its place.

    Raises:
        BadRepository: The message says what is there instead.
    """
    said = await user_git("rev-parse", "--show-toplevel", f"{base}^{{commit}}", checkout=root, check=False)
    top = said.text.split("\n")[0]
    if said.returncode == 0 and top == str(root):
        return
    if not root.is_dir():
        what = "is not there any more"
    elif not top:
        what = "is no Git repository any more"
    elif top != str(root):
        what = f"leads to {top} now"
    else:
        what = f"is another repository now: it has no commit {base[:12]}, from which this began"
    raise BadRepository(f"{root} {what}; nothing was written there. Put it back as it was, then try again")


async def deliver(
    store: Store, root: Path, *, commit: CommitId, branch: str, expected: CommitId, note: str
) -> Delivery:
    """Move `branch` from `expected` to `commit`, or leave `commit` on a branch of its own and say why."""
    now = await tip(root, branch)
    if now is not None and await contains(root, now, commit):
        await _annotate(root, commit, note)
        return Delivery(commit=commit, branch=branch, merged=True)
    await room.must_have_room(store, root, commit)
    await transport.bring_out(store, root, commit)
    failpoint("deliver.fetched")
    await _annotate(root, commit, note)
    failpoint("deliver.annotated")
    async with transport.one_at_a_time(root):  # two merges at once in one checkout would mix what they write
        why = await _move(root, commit, branch, expected, await tip(root, branch))
    failpoint("deliver.moved")
    if why is None:
        log.info("commit delivered", extra={"commit": commit, "branch": branch})
        return Delivery(commit=commit, branch=branch, merged=True)
    return await _leave(root, commit, branch, why)


async def deliver_branch(store: Store, root: Path, *, commit: CommitId, branch: str, note: str) -> Delivery:
    """Create `branch` at `commit`, or another one where that name is taken by now."""
    await room.must_have_room(store, root, commit)
    await transport.bring_out(store, root, commit)
    failpoint("deliver.fetched")
    await _annotate(root, commit, note)
    failpoint("deliver.annotated")
    made = await _create(root, commit, branch)
    failpoint("deliver.moved")
    if made:
        return Delivery(commit=commit, branch=branch, merged=False)
    taken = "the name is taken or fits no other branch"
    left = await _own_branch(root, commit)
    message = f"branch {branch} could not be created ({taken}); the commit is on {left}. Rename it with: "
    return Delivery(
        commit=commit, branch=left, merged=False, message=message + _said(root, "branch", "-m", left, "NAME")
    )


async def contains(root: Path, branch_tip: str, commit: str) -> bool:
    """Return whether a commit is in the history of another one."""
    said = await user_git("merge-base", "--is-ancestor", commit, branch_tip, checkout=root, check=False)
    return said.returncode == 0  # 1: no; 128: the commit is not even there


async def _move(
    root: Path, commit: CommitId, branch: str, expected: CommitId, now: CommitId | None
) -> tuple[str, bool] | None:
    """Move the branch and return None, or return why not and whether a fast-forward will do later."""
    if now is None:
        return f"branch {branch} is gone", False
    if now != expected:
        return f"{branch} moved to {now[:10]} meanwhile", False
    trees = await _worktrees(root)
    busy = await _at_work(root, trees, branch)
    if busy:
        return busy, True
    here = next((tree for tree in trees if tree.branch == branch), None)
    if here is None:
        said = await user_git(
            "update-ref", "-m", "tandem: delivered", f"refs/heads/{branch}", commit, expected,
            checkout=root, check=False,
        )  # fmt: skip
        if disk.is_full(said.stderr, root):
            raise disk.full(f"branch {branch} was not moved", root)
        return None if said.returncode == 0 else (f"{branch} could not be moved ({_short(said.stderr)})", True)
    return await _fast_forward(here, commit, branch, expected)


async def _fast_forward(tree: _Worktree, commit: CommitId, branch: str, expected: CommitId) -> tuple[str, bool] | None:
    dirty = await dirty_files(tree.root)
    if dirty:
        more = f" and {len(dirty) - 3} more" if len(dirty) > 3 else ""
        return f"{tree.root} has uncommitted changes in {', '.join(dirty[:3])}{more}", True
    written = await room.to_be_written(tree.root, expected, commit)
    # A merge fills the checkout before it learns that the branch is locked, so that is asked first.
    asked = f"start\nverify HEAD {expected}\nprepare\nabort\n".encode()
    said = await user_git("update-ref", "--stdin", checkout=tree.root, stdin=asked, check=False)
    if said.returncode == 0:
        head = await user_git("symbolic-ref", "--quiet", "HEAD", checkout=tree.root, check=False)
        if head.text.strip() != f"refs/heads/{branch}":
            return f"another branch was checked out in {tree.root} meanwhile", True
        said = await _merged(tree.root, commit, written)
        if said.returncode == 0:
            now = await tip(tree.root, branch)
            return None if now and await contains(tree.root, now, commit) else (f"{branch} was not moved by it", True)
        if disk.is_full(said.stderr, tree.root):
            await room.put_back(tree.root, written)
    if disk.is_full(said.stderr, tree.root):
        raise disk.full(f"branch {branch} was not moved", tree.root)
    lock = re.search(r"'([^']+\.lock)': File exists", said.stderr)
    if lock:
        return f"{tree.root} is locked by another git ({lock[1]})", True
    if "would be overwritten" in said.stderr:
        return f"files that Git does not track are in the way: {_in_the_way(said.stderr)}", True
    return f"{branch} could not be moved ({_short(said.stderr)})", True


async def _merged(root: Path, commit: CommitId, written: room.Written) -> GitResult:
    """Fast-forward; stopped in the middle, by a router that leaves or a time limit, leave the checkout as it was."""
    try:
        return await user_git(
            "merge", "--ff-only", "--commit", "--no-squash", "--quiet", "--no-stat", "--no-autostash",
            "--no-verify-signatures", "--no-overwrite-ignore", commit,
            checkout=root, timeout_s=_MERGE_S, check=False,
        )  # fmt: skip
    except BaseException:
        await room.put_back(root, written, killed=True)
        raise


async def _worktrees(root: Path) -> list[_Worktree]:
    said = await user_git("worktree", "list", "--porcelain", "-z", checkout=root)
    found: list[_Worktree] = []
    for block in said.stdout.decode("utf-8", "surrogateescape").split("\0\0"):
        fields = {line.partition(" ")[0]: line.partition(" ")[2] for line in block.split("\0")}
        if "worktree" in fields and "bare" not in fields and "prunable" not in fields:
            place = Path(fields["worktree"])
            if not found and not (place / ".git").exists():  # a Git directory that stands elsewhere is listed itself
                place = root
            found.append(_Worktree(place, fields.get("branch", "").removeprefix("refs/heads/")))
    return found


async def _at_work(root: Path, trees: list[_Worktree], branch: str) -> str:
    """Return what is being done with the branch in a working tree that only seems not to have it checked out."""
    for tree in [tree for tree in trees if not tree.branch and tree.root.is_dir()]:
        said = await user_git(
            "rev-parse", *(part for name in _AT_WORK for part in ("--git-path", name)), checkout=tree.root, check=False
        )
        for line in said.text.split("\n") if said.returncode == 0 else ():
            if _names(tree.root / line, branch):
                return (
                    f"a {'bisection' if line.endswith('START') else 'rebase'} of {branch} is under way in {tree.root}"
                )
    return ""


def _names(file: Path, branch: str) -> bool:
    try:
        return file.read_text("utf-8", "replace").strip().removeprefix("refs/heads/") == branch
    except OSError:
        return False


# --- leaving it on a branch -----------------------------------------------------------------------------------


async def _leave(root: Path, commit: CommitId, branch: str, why: tuple[str, bool]) -> Delivery:
    words, forward = why
    left = await _own_branch(root, commit)
    how = ("merge", "--ff-only", left) if forward else ("merge", left)
    then = "once that is settled" if forward else f"with {branch} checked out"
    message = f"{words}; nothing there was touched. The commit is on branch {left}; {then}, run: {_said(root, *how)}"
    log.info("commit left on a branch", extra={"commit": commit, "branch": left, "why": words})
    return Delivery(commit=commit, branch=left, merged=False, message=message)


async def _own_branch(root: Path, commit: CommitId) -> str:
    for number in range(_BRANCH_TRIES):
        suffix = f"-{number}" if number else ""
        for name in (f"tandem/{commit[:12]}{suffix}", f"tandem-{commit[:12]}{suffix}"):
            if await _create(root, commit, name):
                return name
    raise NotFound(
        f"no branch could be created at {commit} in {root}; see `git -C {root} branch` for what stands there"
    )


async def _create(root: Path, commit: CommitId, branch: str) -> bool:
    """Create a branch and return True, also where it stands there already."""
    if await tip(root, branch) == commit:
        return True
    said = await user_git(
        "update-ref", "-m", "tandem: created", f"refs/heads/{branch}", commit, "0" * len(commit),
        checkout=root, check=False,
    )  # fmt: skip
    if disk.is_full(said.stderr, root):
        raise disk.full(f"branch {branch} was not created", root)
    return said.returncode == 0


async def _annotate(root: Path, commit: CommitId, note: str) -> None:
    """Write the note unless there is one. The proof stands in the commit; a note that fails stops nothing."""
    if not note:
        return
    notes = ("notes", f"--ref={NOTES}")
    there = await user_git(*notes, "list", commit, checkout=root, check=False)
    if there.returncode == 0:
        return
    try:
        said = await user_git(
            *notes, "add", "--file=-", commit,
            checkout=root, stdin=note.encode("utf-8", "replace"), env=signature("notes", 0), check=False,
        )  # fmt: skip
    except DeadlineExceeded as error:
        log.warning("note not written", extra={"commit": commit, "why": str(error)})
        return
    if said.returncode != 0:
        log.warning("note not written", extra={"commit": commit, "why": _short(said.stderr)})


def _in_the_way(stderr: str) -> str:
    names = [line.strip() for line in stderr.splitlines() if line.startswith("\t")]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _short(stderr: str) -> str:
    return " ".join(stderr.split())[:300]


def _said(root: Path, *args: str) -> str:
    return shlex.join(["git", "-C", str(root), *args])
