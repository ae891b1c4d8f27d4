"""What a run of tests left in its tree: the files that are wanted, copied into a spool before the tree goes.

The tree is the tests' own work, so nothing in it is believed: no link is followed, at no place of a path; what is neither
file nor folder is not opened; how much is looked at and taken is bounded. A file with a second name is left, too: no
rung of the sandbox lets a test link to what is outside, and of one that would, this could be the way out. What stands in
the commit with the same bytes was not left by the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tandem import artefacts, disk
from tandem.spool import LeftOut, Spool
from tandem.types import CheckRequest
from tandem.wire import DATA_BYTES
from worker.workspace import Entry, Workspace, entries

_NAMES_MAX = 250_000  # of files and folders that are looked at
_DEPTH_MAX = 48  # folders in each other; each is held open meanwhile
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that nobody writes to would be waited for
_LINK = "120000"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A name that is wanted: the pattern it fits, its path from the folder of the check, what is there."""

    place: int
    path: str
    mode: int
    size_bytes: int


@dataclass(slots=True)
class _Look:
    """A walk through a tree: what it found, and how many names it may still look at."""

    left: int
    found: list[_Seen] = field(default_factory=list[_Seen])
    too_much: bool = False


async def gather(space: Workspace, request: CheckRequest, git_dir: Path, spool: Spool) -> None:
    """Copy what the run left and is wanted into the spool, and name what is left out.

    Raises:
        DiskFull: There is so little room that the copies could be in the way of other work.
        OSError, TandemError: The tree, or the repository, cannot be read.
    """
    disk.must_have_room("what the tests left was left behind", space.tree, disk.NEEDED_BYTES + artefacts.BYTES_MAX)
    folder = request.folder.strip("/")
    seen, too_much = await asyncio.to_thread(_look, space.tree, folder, request.artefacts)
    if seen:
        prefix = f"{folder}/" if folder else ""
        wanted = {f"{prefix}{one.path}" for one in seen}
        was = {entry.path.removeprefix(prefix): entry for entry in await entries(git_dir, request.commit, wanted)}
        await asyncio.to_thread(_copy_all, space.tree, folder, seen, was, spool)
    if too_much:
        spool.leave_out("further files", 0, f"more than {_NAMES_MAX} names, or {_DEPTH_MAX} folders in each other")


def _look(tree: Path, folder: str, patterns: Sequence[str]) -> tuple[list[_Seen], bool]:
    """Return what fits a pattern, in the order of the patterns, and whether there was more than is looked at. Blocking."""
    look = _Look(_NAMES_MAX)
    with _opened(tree, folder) as top:
        _walk(top, "", artefacts.begin(patterns), look, _DEPTH_MAX)
    return sorted(look.found, key=lambda one: (one.place, one.path)), look.too_much


def _walk(folder: int, prefix: str, wanted: artefacts.Open, look: _Look, depth: int) -> None:
    with os.scandir(folder) as inside:
        for entry in inside:
            look.left -= 1
            if look.left < 0:
                look.too_much = True
                return
            rest = artefacts.below(wanted, entry.name)
            if rest:
                _see(folder, f"{prefix}{entry.name}", entry, rest, look, depth)


def _see(folder: int, path: str, entry: os.DirEntry[str], rest: artefacts.Open, look: _Look, depth: int) -> None:
    about = entry.stat(follow_symlinks=False)
    place = artefacts.fits(rest)
    if not stat.S_ISDIR(about.st_mode):
        if place is not None:
            look.found.append(_Seen(place, path, about.st_mode, about.st_size))
    elif depth == 0:
        look.too_much = True
    else:
        with contextlib.suppress(PermissionError):  # the tests closed it
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                _walk(inner, f"{path}/", rest, look, depth - 1)
            finally:
                os.close(inner)


def _copy_all(tree: Path, folder: str, seen: Sequence[_Seen], was: Mapping[str, Entry], spool: Spool) -> None:
    """Copy what was seen; of what is left out, the first are named and the others counted. Blocking."""
    left_out: list[LeftOut] = []
    for one in seen:
        name = artefacts.safe(one.path)
        try:
            why = _copy(tree, folder, one, name, was.get(one.path), spool)
        except OSError as error:
            spool.drop()
            full = error.errno in disk.FULL
            why = "there was no room for it on the worker's disk" if full else f"it cannot be read ({error.strerror})"
        if why:
            left_out.append(LeftOut(name or "(a name that cannot be used)", one.size_bytes, why))
    for file in left_out[: artefacts.LEFT_OUT_MAX]:
        spool.leave_out(file.name, file.size_bytes, file.why)
    if others := left_out[artefacts.LEFT_OUT_MAX :]:
        size = sum(file.size_bytes for file in others)
        spool.leave_out(f"{len(others)} other files", size, f"so many more were left out ({others[0].why})")


def _copy(tree: Path, folder: str, seen: _Seen, name: str, was: Entry | None, spool: Spool) -> str:
    """Copy a file into the spool, and return why it was not, "" also where the tests did not leave it."""
    if stat.S_ISLNK(seen.mode):
        return "" if was is not None and was.mode == _LINK else "it is a link, and links are not followed"
    if not stat.S_ISREG(seen.mode):
        return "it is no file"
    above, _, last = seen.path.rpartition("/")
    with _opened(tree, folder, above) as place:
        number = os.open(last, _FILE, dir_fd=place)
    try:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            return "it is no file"
        if was is not None and _is_unchanged(number, about.st_size, was):
            return ""
        if about.st_nlink != 1:
            return "it has a second name (a hard link)"
        if why := spool.refuses(name, about.st_size):
            return why
        return _spooled(number, about.st_size, name, spool)
    finally:
        os.close(number)


def _spooled(number: int, size_bytes: int, name: str, spool: Spool) -> str:
    while spool.pending_bytes <= size_bytes and (data := os.read(number, DATA_BYTES)):
        spool.add(data)
    if spool.pending_bytes != size_bytes:
        spool.drop()
        return "it changed while it was read"
    spool.keep(name)
    return ""


def _is_unchanged(number: int, size_bytes: int, was: Entry) -> bool:
    """Return whether a file has the bytes it has in the commit; of one that is too large to be taken, only their number."""
    if size_bytes != was.size_bytes or size_bytes > artefacts.FILE_BYTES_MAX:
        return size_bytes == was.size_bytes
    digest = hashlib.new("sha256" if len(was.blob) == 64 else "sha1", b"blob %d\0" % size_bytes, usedforsecurity=False)
    read = 0
    while read < size_bytes and (data := os.pread(number, DATA_BYTES, read)):
        digest.update(data)
        read += len(data)
    return digest.hexdigest() == was.blob


@contextmanager
def _opened(tree: Path, *folders: str) -> Generator[int]:
    """Yield a descriptor of a folder in the tree, reached without following a link.

    Raises:
        OSError: A link or a file is on the way, or there is no such folder.
    """
    number = os.open(tree, _FOLDER)
    try:
        for part in (part for folder in folders for part in folder.split("/") if part):
            number, outer = os.open(part, _FOLDER, dir_fd=number), number
            os.close(outer)
        yield number
    finally:
        os.close(number)
