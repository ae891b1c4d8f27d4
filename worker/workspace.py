"""A tree of a commit as files, for as long as something runs over it.

Contents are written as they are in the commit: attributes, filters and line-end rules of the tree have no power. What
could lead out of the tree or pass for a Git directory is left out and named. A folder belongs to whoever holds the lock
in it; what a killed worker left is removed at the next start.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import AsyncGenerator, Container, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tandem.errors import NotFound, ResourceExhausted, TandemError
from tandem.git import git

_RAW = "* -text -filter -ident -working-tree-encoding -eol\n"
FILES_MAX = 200_000
TREE_BYTES_MAX = 4 << 30
_LOCK = "lock"
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
    with scratch(state / "tmp") as folder:
        tree, out = folder / "tree", folder / "out"
        for path in (tree, out):
            path.mkdir(mode=0o700)
        yield Workspace(tree=tree, out=out, left_out=await _write(git_dir, commit, folder, tree))


@contextmanager
def scratch(parent: Path) -> Generator[Path]:
    """Make a private folder under `parent`, locked as long as it is used, and remove it afterwards."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = parent / uuid.uuid4().hex
    lock = _made(folder)
    try:
        yield folder
    finally:
        try:
            remove(folder)
        finally:
            os.close(lock)


def _made(folder: Path) -> int:
    """Make a folder, and return the lock that says it is in use for as long as this process lives."""
    folder.mkdir(mode=0o700)
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def sweep(parent: Path) -> int:
    """Remove the folders under `parent` that nobody holds, and return how many there were; blocking."""
    swept = 0
    for folder in list(parent.iterdir()) if parent.is_dir() else []:
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # being made, or removed, by another
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
            swept += 1
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
    return swept


async def _write(git_dir: Path, commit: str, folder: Path, tree: Path) -> tuple[str, ...]:
    _disarm(git_dir)
    found = await entries(git_dir, commit)
    _fits(found)
    odd = {entry.path: None for entry in found if await _is_odd(git_dir, commit, entry)}
    env = {"GIT_INDEX_FILE": str(folder / "index")}
    # not read-tree: it refuses a whole tree for one odd path
    index = "".join(f"{e.mode} {e.blob}\t{e.path}\0" for e in found if e.path not in odd)
    stdin = index.encode("utf-8", "surrogateescape")
    await git("update-index", "-z", "--index-info", git_dir=git_dir, env=env, stdin=stdin)
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
    links = [entry.path for entry in found if entry.mode == "120000" and entry.path not in odd]
    return (*odd, *await asyncio.to_thread(_cut_chains, tree, links))


def _disarm(git_dir: Path) -> None:
    """Overrule what the tree's own `.gitattributes` say; whole at any moment, for others read it meanwhile."""
    file = git_dir / "info" / "attributes"
    if file.is_file() and file.read_text("utf-8", "replace") == _RAW:
        return
    file.parent.mkdir(exist_ok=True)
    fresh = file.with_name(f"attributes.{uuid.uuid4().hex}")
    fresh.write_text(_RAW)
    fresh.replace(file)


def _fits(found: list[Entry]) -> None:
    size = sum(entry.size_bytes for entry in found)
    if len(found) > FILES_MAX or size > TREE_BYTES_MAX:
        raise ResourceExhausted(
            f"the tree has {len(found)} files and {size / (1 << 30):.1f} GiB; "
            f"a check takes {FILES_MAX} files and {TREE_BYTES_MAX >> 30} GiB"
        )


def _cut_chains(tree: Path, links: list[str]) -> tuple[str, ...]:
    """Remove links that lead out by way of other links, and name them."""
    root, cut = os.path.realpath(tree), list[str]()
    for path in links:
        real = os.path.realpath(tree / path)
        if real != root and not real.startswith(f"{root}/"):
            cut.append(path)
    for path in cut:
        (tree / path).unlink()
    return tuple(cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, link or nested repository in a commit: its mode, its blob's id, its path and size."""

    mode: str
    blob: str
    path: str
    size_bytes: int


async def entries(git_dir: Path, commit: str, paths: Container[str] | None = None) -> list[Entry]:
    """Return what is in a commit, or of `paths` those that are.

    Raises:
        NotFound: The commit is not here.
    """
    listed = await git("ls-tree", "-rlz", "--full-tree", commit, git_dir=git_dir, check=False)
    if listed.returncode:
        raise NotFound(f"commit {commit[:10]} is not on this worker; the router pushes it first")
    found: list[Entry] = []
    for line in listed.stdout.decode("utf-8", "surrogateescape").split("\0"):
        about, _, path = line.partition("\t")
        if line and (paths is None or path in paths):
            mode, _, blob, size = about.split()
            found.append(Entry(mode=mode, blob=blob, path=path, size_bytes=int(size) if size.isdigit() else 0))
    return found


async def _is_odd(git_dir: Path, commit: str, entry: Entry) -> bool:
    """Return whether an entry is a nested repository, a Git look-alike, or a link out of the tree."""
    if entry.mode == "160000" or any(_like_git(part) for part in re.split(r"[/\\]", entry.path)):
        return True
    if entry.mode != "120000":
        return False
    blob = await git("cat-file", "blob", f"{commit}:{entry.path}", git_dir=git_dir, check=False)
    return blob.returncode != 0 or _leads_out(entry.path, blob.stdout.decode("utf-8", "replace"))


def _like_git(part: str) -> bool:
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", part)).casefold().partition(":")[0].rstrip(". ")
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


def remove(folder: Path) -> None:
    """Remove a folder, also where a test took away the right to; blocking."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError:
        _open_up(folder)
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise TandemError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from error


def _open_up(folder: Path) -> None:
    """Give the owner every folder below back; from the top down, for a closed one cannot be listed."""
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o700)


def put(folder: Path, files: Mapping[str, str], removed: Iterable[str]) -> None:
    """Write files below a folder and take others out; never through a link; blocking."""
    for path in removed:
        place = _place(folder, path)
        if place is not None:
            place.unlink(missing_ok=True)
    for path, text in files.items():
        place = _place(folder, path)
        if place is None:
            raise TandemError(f"cannot write {path}: a folder on its way is a link")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        with place.open("x", encoding="utf-8", newline="") as file:
            file.write(text)


def read_bytes(folder: Path, path: str) -> bytes | None:
    """Return a file's bytes, or None where there is none any more, or a link stands in its way; blocking."""
    place = _place(folder, path)
    if place is None or place.is_symlink() or not place.is_file():
        return None
    try:
        return place.read_bytes()
    except OSError:
        return None


def _place(folder: Path, path: str) -> Path | None:
    """Return where a path below a folder is, or None where a folder on the way is a link."""
    place = folder
    for part in PurePosixPath(path).parts[:-1]:
        place = place / part
        if place.is_symlink():
            return None
    return place / PurePosixPath(path).name
