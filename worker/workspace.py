"""A tree of a commit as files, for as long as something runs over it.

Contents are written as they are in the commit: attributes, filters and line-end rules of the tree have no power. What
could lead out of the tree or pass for a Git directory is left out and named.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tandem.errors import NotFound, TandemError
from tandem.git import git

_RAW = "* -text -filter -ident -working-tree-encoding -eol\n"
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A private folder with a tree in it, and a folder beside it for reports. `left_out` names what was not written."""

    tree: Path
    out: Path
    left_out: tuple[str, ...]


@asynccontextmanager
async def workspace(state: Path, git_dir: Path, commit: str) -> AsyncGenerator[Workspace]:
    """Write a commit's tree into a fresh folder; remove it afterwards, whatever happened.

    Raises:
        NotFound: The repository or the commit is not here.
    """
    if not git_dir.is_dir():
        raise NotFound(f"this worker has no repository {git_dir.stem!r}; the router pushes it first")
    folder = state / "tmp" / uuid.uuid4().hex
    tree, out = folder / "tree", folder / "out"
    for path in (tree, out):
        path.mkdir(mode=0o700, parents=True)
    try:
        yield Workspace(tree=tree, out=out, left_out=await _write(git_dir, commit, folder, tree))
    finally:
        _remove(folder)


async def _write(git_dir: Path, commit: str, folder: Path, tree: Path) -> tuple[str, ...]:
    info = git_dir / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_RAW)
    listed = await git("ls-tree", "-rz", "--full-tree", commit, git_dir=git_dir, check=False)
    if listed.returncode:
        raise NotFound(f"commit {commit[:10]} is not on this worker; the router pushes it first")
    odd = [path for mode, path in _entries(listed.stdout) if await _is_odd(git_dir, commit, mode, path)]
    env = {"GIT_INDEX_FILE": str(folder / "index")}
    await git("read-tree", commit, git_dir=git_dir, env=env)
    if odd:
        gone = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in odd)
        await git("update-index", "-z", "--force-remove", "--stdin", git_dir=git_dir, env=env, stdin=gone)
    await git(
        "checkout-index",
        "-a",
        "-f",
        f"--prefix={tree}/",
        git_dir=git_dir,
        env={**env, "GIT_WORK_TREE": str(tree)},
        config=("core.symlinks=true", "core.autocrlf=false", "core.protectHFS=true", "core.protectNTFS=true"),
        timeout_s=300,
    )
    return tuple(odd)


def _entries(listing: bytes) -> list[tuple[str, str]]:
    lines = listing.decode("utf-8", "surrogateescape").split("\0")
    return [(line[:6], line.partition("\t")[2]) for line in lines if line]


async def _is_odd(git_dir: Path, commit: str, mode: str, path: str) -> bool:
    """Return whether an entry is a nested repository, a Git look-alike, or a link out of the tree."""
    if mode == "160000" or any(_like_git(part) for part in path.split("/")):
        return True
    if mode != "120000":
        return False
    blob = await git("cat-file", "blob", f"{commit}:{path}", git_dir=git_dir, check=False)
    return blob.returncode != 0 or _leads_out(path, blob.stdout.decode("utf-8", "replace"))


def _like_git(part: str) -> bool:
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", part)).casefold().rstrip(". ")
    return plain == ".git" or bool(re.fullmatch(r"git~\d+", plain))


def _leads_out(path: str, target: str) -> bool:
    if target.startswith("/") or "\0" in target:
        return True
    depth = len(PurePosixPath(path).parts) - 1
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return True
    return False


def _remove(folder: Path) -> None:
    """Remove a folder, also where a test took away the right to."""

    def retry(function: object, path: str, error: object) -> None:
        del function, error
        for place in (Path(path).parent, Path(path)):
            if not place.is_symlink():
                place.chmod(0o700)
        if Path(path).is_dir() and not Path(path).is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    try:
        shutil.rmtree(folder, onerror=retry)
    except OSError as error:
        raise TandemError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from error
