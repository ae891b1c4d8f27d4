"""Move a run with its journal to another machine, and take one in.

A run that may go on is marked as moved before its file is written: killed between the two, nobody goes on with it until
it is exported again, which is allowed any number of times. The other way round, two machines might.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pydantic import TypeAdapter

from router import archive, carried, flight
from router.accept import TASK_CHARS_MAX, task_in
from router.archive import Archive
from router.journal import Entry, RunRow, standing
from router.recorder import to_the_end
from router.repository import OwnRepository, inspect
from router.summary import RESUMABLE, RunInfo, detail, open_question, rehearsed
from tandem import disk
from tandem.errors import BadInput, BrokenJournal, Conflict
from tandem.faults import failpoint
from tandem.types import Json, RunId, Task

if TYPE_CHECKING:
    from router.engine import Engine

_NO_LINKS = frozenset((errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))
_PRIORITY_MAX, _MINUTES_MAX = 10, 7 * 24 * 60  # as the API takes them
_writing: set[Path] = set()  # files under way; this process is the only router of its state folder


async def export(engine: Engine, info: RunInfo, file: Path, *, move: bool) -> dict[str, Json]:
    """Write a run into a new file; with `move` it goes on only where it is taken in.

    Raises:
        Conflict: It is at work, it was moved away before and `move` is not wanted now, or the file is being written.
        BadInput: The file is there, or cannot be written; then the run is not marked as moved.
        DiskFull, BadConfig: The disk is full, or may not be written.
    """
    if info.state in ("queued", "running"):
        raise Conflict(f"run {info.run} is {info.state}; `tandem cancel {info.run}` first, then export it")
    if info.moved and not move:
        raise Conflict(f"run {info.run} was moved away; `tandem export --move {info.run}` writes its file once more")
    with _begun(file) as (opened, passing):
        if move and not info.moved and (not info.over or info.state in RESUMABLE):
            message = "moved to another machine; `tandem import` there goes on with it"
            await engine.set_state(info, state="cancelled", message=message, moved=True)
            failpoint("export.moved")
        raw = archive.write(await _archive(engine, info))
        await asyncio.to_thread(_put, opened, passing, raw, file)
    return {"run": info.run, "file": str(file), "bytes": len(raw), "moved": info.moved}


async def _archive(engine: Engine, info: RunInfo) -> Archive:
    found = await engine.journal.run_with(info.run, "state")
    if found is None:
        raise BrokenJournal(f"the journal has no run {info.run}")
    repo = await engine.repository(info)
    references = await repo.references(info.run)
    return Archive(
        row=found[0],
        state=info.state,
        moved=info.moved,
        references=references,
        entries=await engine.journal.everything(info.run),
        pack=await repo.packed(info.run, info.task.base) if references else b"",
        calls=await asyncio.to_thread(flight.raw, engine.state, info.run),
        artefacts=await asyncio.to_thread(carried.raw, engine.state, info.run),
    )


@contextmanager
def _begun(file: Path) -> Generator[tuple[BinaryIO, Path]]:
    """Open a passing file beside `file`, for its owner alone, and remove it afterwards; a killed one's is replaced.

    Raises:
        Conflict: The file is being written by another call.
        BadInput: The file is there, or there can be none.
    """
    if file in _writing:
        raise Conflict(f"{file} is being written; wait for that, or name another file")
    _writing.add(file)
    try:
        with _named(file):
            with suppress(FileNotFoundError):
                os.lstat(file)
                raise FileExistsError
            passing = file.with_name(f".tandem-{hashlib.sha256(os.fsencode(file.name)).hexdigest()[:16]}")
            passing.unlink(missing_ok=True)
            descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                yield opened, passing
        finally:
            passing.unlink(missing_ok=True)
    finally:
        _writing.discard(file)


@contextmanager
def _named(file: Path) -> Generator[None]:
    """Turn what the system says of a file that is to be written into our errors."""
    try:
        yield
    except FileExistsError:
        raise BadInput(f"{file} exists; name another file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"there is no folder {file.parent}; name a file in one that is there") from None
    except (OSError, ValueError) as error:
        found = disk.trouble(error, "the run could not be exported", file) if isinstance(error, OSError) else None
        why = getattr(error, "strerror", error)
        raise (found or BadInput(f"cannot write {str(file)[:200]!r}: {why}; name another file")) from error


def _put(opened: BinaryIO, passing: Path, raw: bytes, file: Path) -> None:
    """Fill the passing file and give it its name; it is there whole or not at all. Blocking."""
    with _named(file):
        opened.write(raw)
        opened.flush()
        os.fsync(opened.fileno())
        failpoint("export.written")
        try:
            os.link(passing, file)  # unlike a rename, it takes nobody's place
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # a stick's file system has no links
            passing.replace(file)
        disk.sync_folder(file.parent)


async def take_in(engine: Engine, file: Path, repo: str, order: Callable[[RunId], asyncio.Lock]) -> RunInfo:
    """Take a run in from a file, for the repository in the folder `repo`, and return it as it stands here.

    `order` returns what keeps orders about a run apart. A run that was not moved, and may be resumed where it comes from,
    can be looked at here and not gone on with.

    Raises:
        BadInput: The file is no archive, or holds what Tandem will not take.
        BadRepository: The repository lacks the commit that the run began from.
        Conflict: The run is here already, or goes on where it came from.
    """
    found = archive.read(await asyncio.to_thread(_bytes, file))
    run, task = found.row.run, _task(found.row.task)
    if run in await engine.journal.ids():
        raise Conflict(f"run {run} is here already; nothing was imported")
    if found.state in ("queued", "running", "waiting") and not found.moved:
        raise Conflict(f"run {run} may still go on where it comes from; export it there with --move")
    entries = [e for e in found.entries if not (e.kind == "state" and _marks_the_move(e.value))]
    _must_read(RunInfo(run=run, task=task, created_s=found.row.created_s), entries)
    await asyncio.to_thread(carried.must_fit, found.artefacts)
    checkout = await inspect(repo, task.base, None)
    own = await OwnRepository.open(engine.state, Path(checkout.root), task.base)
    await own.unpack(run, found.pack, found.references)
    failpoint("import.objects")
    await asyncio.to_thread(flight.put, engine.state, run, found.calls)
    with disk.watched("what the run's checks left could not be kept", engine.state):
        await asyncio.to_thread(carried.put, engine.state, run, found.artefacts)
    given = cast("dict[str, Any]", found.row.task)
    row = replace(found.row, task=cast("Json", {**given, "repo": str(checkout.root)}))
    async with order(run):
        return await to_the_end(_adopted(engine, row, entries, moved=found.moved))


async def _adopted(engine: Engine, row: RunRow, entries: Sequence[Entry], *, moved: bool) -> RunInfo:
    await engine.journal.adopt(row, entries)
    info = await engine.restore(row.run)
    if info.state in RESUMABLE and not moved:
        message = f"it may go on where it comes from; `tandem export --move` there, to go on here ({info.message})"
        await engine.set_state(info, state=info.state, message=message, moved=True)
    return info


def _task(value: Json) -> Task:
    """Return the task of an imported run, as strictly as one from the API is looked at.

    Raises:
        BadInput: It is none, or none that this machine should take from a file.
    """
    try:
        task_in(value)  # refuses what this version does not know
        task = TypeAdapter(Task).validate_json(json.dumps(value), strict=True)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the run's task cannot be read ({str(error)[:200]}); export it again") from error
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", task.base):
        raise BadInput(f"the run began from {task.base[:80]!r}, which is no commit's id; export it again")
    if task.folder and ("\0" in task.folder or {"", ".", ".."} & set(task.folder.split("/"))):
        raise BadInput(f"the run is for {task.folder[:80]!r}, which is no folder of a repository; export it again")
    if not (task.text.strip() and len(task.text) <= TASK_CHARS_MAX and 1 <= task.priority <= _PRIORITY_MAX):
        raise BadInput("the run's task has no text, too much of it, or no priority; export it again")
    if not 0 < task.max_minutes <= _MINUTES_MAX:
        raise BadInput(
            f"the run may work for {task.max_minutes} minutes, and the most is {_MINUTES_MAX}; export it again"
        )
    if task.unsandboxed:
        raise BadInput("the run's tests go without a sandbox, and nothing from a file runs so; begin it anew here")
    return task


def _must_read(info: RunInfo, entries: Sequence[Entry]) -> None:
    """Refuse a run whose entries cannot be told of: it would be refused at each look, and here for good.

    Raises:
        BadInput: An entry lacks what entries of its kind have.
    """
    kept = standing(list(entries))
    try:
        detail(info, kept)
        rehearsed(kept)
        open_question(kept)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        words = f"the run's entries do not fit ({type(error).__name__}: {str(error)[:200]}); export it again"
        raise BadInput(words) from error


def _marks_the_move(value: Json) -> bool:
    """Return whether a state is the mark that a run was moved away: here it has come."""
    return isinstance(value, dict) and value.get("moved") is True


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(archive.BYTES_MAX + (2 << 20))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {str(file)!r}: {getattr(error, 'strerror', error)}") from error
