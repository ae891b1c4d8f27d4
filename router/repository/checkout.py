"""Look at a person's checkout and say whether, from where and to where Tandem can work on it.

Reads only. What git is asked here runs no hook, no file monitor, and no filter that the repository itself configures:
a folder may have come from anywhere.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tandem.errors import BadRepository
from tandem.git import GitResult, git_version, user_git
from tandem.types import CommitId

_LOCK_OLD_S = 60.0  # no ordinary git command holds the index for so long
_SHOWN = 10  # names of changed files


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout fit for work. `branch` is what is checked out, None when detached; `notes` are for the person."""

    root: str
    head: CommitId
    branch: str | None
    dirty: bool
    dirty_files: tuple[str, ...]
    base: CommitId
    target: str
    deliver: Literal["merge", "branch"]
    notes: tuple[str, ...] = ()


async def inspect(path: str, base: str | None, branch: str | None) -> Checkout:
    """Return what a task needs to know of the checkout that `path` lies in.

    `base` is the commit to begin from (any name git knows), the tip where None; `branch` a new branch to deliver to,
    where None the one that is checked out.

    Raises:
        BadRepository: It cannot be worked on like this; the message says why and what to do.
        Unavailable: git is missing or too old.
    """
    await git_version()
    root = await _top(path)
    name, head = await _head(root)
    _refuse_lock(root, await _git_dir(root))
    if branch is None and name is None:
        raise BadRepository(
            f"{root} has no branch checked out (HEAD is detached at {head[:10]}); "
            "check one out with `git switch NAME`, or let the result go to a new one with --branch NAME"
        )
    if branch is not None:
        await _check_new_branch(root, branch)
    start = head if base is None else await _resolve(root, base)
    notes: list[str] = []
    if base is not None and branch is None and start != head:
        await _check_behind(root, start, base, name or "", head)
        notes.append(f"{name} is ahead of the base {start[:10]}; the change is put on its tip and checked again there")
    changed = await dirty_files(root)
    if changed:
        notes.append(_dirty_note(changed, start, merging=branch is None))
    return Checkout(
        root=str(root),
        head=head,
        branch=name,
        dirty=bool(changed),
        dirty_files=tuple(changed[:_SHOWN]),
        base=start,
        target=branch if branch is not None else name or "",
        deliver="merge" if branch is None else "branch",
        notes=tuple(notes),
    )


async def dirty_files(root: Path) -> list[str]:
    """Return the tracked files with uncommitted changes, sorted; what Git does not track is left out.

    Filters that the repository itself configures are not run: a file they would restore may be named too much.
    """
    env = await _without_own_filters(root)
    said = await user_git(
        "status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=all",
        checkout=root, env=env, timeout_s=120,
    )  # fmt: skip
    return sorted(record[3:] for record in said.stdout.decode("utf-8", "replace").split("\0") if record)


async def _without_own_filters(root: Path) -> dict[str, str]:
    """Return the settings that switch off each filter of the repository's own configuration."""
    said = await user_git(
        "config", "--show-scope", "-z", "--get-regexp", r"^filter\..*\.(clean|smudge|process|required)$",
        checkout=root, check=False,
    )  # fmt: skip
    parts = said.stdout.decode("utf-8", "surrogateescape").split("\0")
    keys = {item.split("\n", 1)[0] for scope, item in zip(parts[::2], parts[1::2], strict=False) if scope != "global"}
    off = {key: "false" if key.endswith(".required") else "" for key in sorted(keys)}
    env = {"GIT_CONFIG_COUNT": str(len(off))} if off else {}
    for number, (key, value) in enumerate(off.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


async def _top(path: str) -> Path:
    """Return the checkout's top folder."""
    if not path or "\0" in path or "\n" in path:
        raise BadRepository(f"{path!r} is no path of a folder; name the repository's folder with --repo")
    folder = _folder(path)
    said = await user_git("rev-parse", "--is-bare-repository", "--is-inside-work-tree", checkout=folder, check=False)
    if said.returncode != 0:
        raise _not_ours_to_read(folder, said)
    bare, inside = said.text.split("\n")
    if inside != "true":
        if bare == "true":
            remedy = f"clone it first (`git clone {shlex.quote(str(folder))} work`) and name the clone"
            raise BadRepository(f"{folder} is a bare repository without files to work on; {remedy}")
        raise BadRepository(f"{folder} lies inside a repository's own files; name the folder with the checkout")
    return Path((await user_git("rev-parse", "--show-toplevel", checkout=folder)).text)


def _folder(path: str) -> Path:
    try:
        folder = Path(path).expanduser().absolute()
        there, fits = folder.exists(), folder.is_dir()
    except (OSError, RuntimeError) as error:  # a name too long, no such user behind ~, a folder we may not enter
        raise BadRepository(f"{path[:200]!r} cannot be looked at ({error}); name another folder with --repo") from None
    if not fits:
        what = "is no folder" if there else "does not exist"
        raise BadRepository(f"{folder} {what}; name the repository's folder with --repo")
    return folder


def _not_ours_to_read(folder: Path, said: GitResult) -> BadRepository:
    if "dubious ownership" in said.stderr or "unsafe repository" in said.stderr:
        remedy = f"git config --global --add safe.directory {shlex.quote(str(folder))}"
        return BadRepository(f"{folder} belongs to another user, and git will not read it; if you trust it: {remedy}")
    if "not a git repository" in said.stderr:
        remedy = "`git init`, then `git add -A && git commit -m start`"
        return BadRepository(f"{folder} is not a Git repository; name another with --repo, or make it one: {remedy}")
    why = " ".join(said.stderr.split())[:300]
    return BadRepository(f"git cannot read {folder} ({why}); see `git -C {shlex.quote(str(folder))} status`")


async def _head(root: Path) -> tuple[str | None, CommitId]:
    """Return the branch that is checked out (None when detached) and the commit it is at."""
    name = await asyncio.to_thread(_branch_name, root)
    if name == ".invalid":  # what stands in HEAD where references are kept in tables, which GitPython cannot read
        asked = await user_git("symbolic-ref", "--quiet", "--short", "HEAD", checkout=root, check=False)
        name = asked.text or None
    said = await user_git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", checkout=root, check=False)
    if said.returncode != 0:
        remedy = "make a first one: `git add -A && git commit -m start` (or `git commit --allow-empty -m start`)"
        raise BadRepository(f"{root} has no commit to begin from; {remedy}")
    return name, CommitId(said.text)


def _branch_name(root: Path) -> str | None:
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # it looks for git when imported, and we have said it is there
    from git import Repo  # 83 ms; only where a checkout is looked at

    with Repo(root) as repo:
        return None if repo.head.is_detached else repo.active_branch.name


async def _git_dir(root: Path) -> Path:
    return Path((await user_git("rev-parse", "--absolute-git-dir", checkout=root)).text)


def _refuse_lock(root: Path, git_dir: Path) -> None:
    lock = git_dir / "index.lock"
    try:
        age_s = time.time() - lock.stat().st_mtime
    except OSError:
        return
    if age_s > _LOCK_OLD_S:
        raise BadRepository(
            f"{root} is locked: {lock} is {age_s / 60:.0f} minutes old, left by a git that is stuck or was killed; "
            f"end that one, or remove the lock with `rm {shlex.quote(str(lock))}`"
        )


async def _resolve(root: Path, base: str) -> CommitId:
    if base and base.isprintable() and not base.startswith("-"):
        said = await user_git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}", checkout=root, check=False)
        if said.returncode == 0:
            return CommitId(said.text)
    raise BadRepository(f"{root} knows no commit {base!r}; look it up with `git log`, or fetch it first")


async def _check_behind(root: Path, start: str, base: str, branch: str, head: str) -> None:
    said = await user_git("merge-base", "--is-ancestor", start, head, checkout=root, check=False)
    if said.returncode != 0:
        raise BadRepository(
            f"the base {base!r} ({start[:10]}) is not in the history of {branch}; "
            "check out the branch it belongs to, or let the result go to a new one with --branch NAME"
        )


async def _check_new_branch(root: Path, branch: str) -> None:
    fits = bool(branch) and branch.isprintable() and not branch.startswith("-") and branch != "HEAD"
    if fits:
        said = await user_git("check-ref-format", f"refs/heads/{branch}", checkout=root, check=False)
        fits = said.returncode == 0
    if not fits:
        raise BadRepository(f"{branch!r} cannot be a branch's name; use letters, digits, '-', '_' and '/'")
    said = await user_git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/", checkout=root)
    for there in said.text.split("\n"):
        # a reference is a file or a folder, never both: `a` and `a/b` cannot stand side by side
        if f"{there}/".startswith(f"{branch}/") or f"{branch}/".startswith(f"{there}/"):
            why = "" if there == branch else f", so {branch} cannot be created"
            raise BadRepository(f"branch {there} exists already in {root}{why}; choose another name for --branch")


def _dirty_note(changed: list[str], base: str, *, merging: bool) -> str:
    count = f"{len(changed)} file{'s' if len(changed) != 1 else ''}"
    names = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
    note = f"the checkout has uncommitted changes in {count} ({names}); "
    note += f"Tandem works from commit {base[:10]} and will not touch them"
    return f"{note}, and if they are still there at the end the result is left on a branch" if merging else note
