"""Move a run with its journal to another machine, and take one in.

A run that is not over is marked as moved before its file is written: killed between the two, nobody goes on with it until
it is exported again, which is allowed any number of times. The other way round, two machines might.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from router import archive, flight
from router.accept import task_in
from router.archive import Archive
from router.journal import RunRow
from router.repository import OwnRepository, inspect
from router.summary import RunInfo
from tandem import disk
from tandem.errors import BadInput, BrokenJournal, Conflict
from tandem.faults import failpoint
from tandem.types import CommitId, Json

if TYPE_CHECKING:
    from router.engine import Engine


async def export(engine: Engine, info: RunInfo, file: Path, *, move: bool) -> dict[str, Json]:
    """Write a run into a new file; with `move` it goes on only where it is taken in.

    Raises:
        Conflict: It is at work, or it was moved away before and `move` is not wanted now.
        BadInput: The file is there, or cannot be written.
    """
    if info.state in ("queued", "running"):
        raise Conflict(f"run {info.run} is {info.state}; `tandem cancel {info.run}` first, then export it")
    if file.exists():
        raise BadInput(f"{file} exists; name another file")
    if move and not info.over:
        message = "moved to another machine; `tandem import` there goes on with it"
        await engine.set_state(info, state="cancelled", message=message, moved=True)
        failpoint("export.moved")
    raw = archive.write(await _archive(engine, info))
    with disk.watched("the run could not be exported", file):
        await asyncio.to_thread(_put, file, raw)
    return {"run": info.run, "file": str(file), "bytes": len(raw), "moved": info.moved}


async def _archive(engine: Engine, info: RunInfo) -> Archive:
    row = next((row for row in await engine.journal.runs() if row.run == info.run), None)
    if row is None:
        raise BrokenJournal(f"the journal has no run {info.run}")
    repo = await engine.repository(info)
    references = await repo.references(info.run)
    return Archive(
        row=row,
        state=info.state,
        moved=info.moved,
        references=references,
        entries=await engine.journal.everything(info.run),
        pack=await repo.packed(info.run, info.task.base) if references else b"",
        calls=await asyncio.to_thread(flight.raw, engine.state, info.run),
    )


def _put(file: Path, raw: bytes) -> None:
    """Write a file that is there whole or not at all, and its owner's alone."""
    passing = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(raw)
            opened.flush()
            os.fsync(opened.fileno())
        failpoint("export.written")
        os.link(passing, file)  # unlike a rename, it takes nobody's place
        disk.sync_folder(file.parent)
    except FileExistsError:
        raise BadInput(f"{file} exists; name another file") from None
    except FileNotFoundError:
        raise BadInput(f"there is no folder {file.parent}; name a file in one that is there") from None
    finally:
        passing.unlink(missing_ok=True)


async def take_in(engine: Engine, file: Path, repo: str) -> RunInfo:
    """Take a run in from a file, for the repository in the folder `repo`, and return it as it stands here.

    Raises:
        BadInput: The file is no archive, or holds what Tandem will not take.
        BadRepository: The repository lacks the commit that the run began from.
        Conflict: The run is here already, or goes on where it came from.
    """
    found = archive.read(await asyncio.to_thread(_bytes, file))
    try:
        task = task_in(found.row.task)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the run's task in {file} cannot be read ({error}); export it again") from error
    if found.row.run in engine.infos:
        raise Conflict(f"run {found.row.run} is here already; nothing was imported")
    if found.state in ("queued", "running", "waiting") and not found.moved:
        raise Conflict(f"run {found.row.run} may still go on where it comes from; export it there with --move")
    checkout = await inspect(repo, task.base, None)
    task = replace(task, repo=str(checkout.root))
    own = await OwnRepository.open(engine.state, Path(checkout.root), CommitId(task.base))
    await own.unpack(found.row.run, found.pack, found.references)
    failpoint("import.objects")
    await asyncio.to_thread(flight.put, engine.state, found.row.run, found.calls)
    carried = cast("dict[str, Any]", found.row.task)
    row = RunRow(
        run=found.row.run,
        created_s=found.row.created_s,
        stamp=found.row.stamp,
        task=cast("Json", {**carried, "repo": str(checkout.root)}),
    )
    entries = [e for e in found.entries if not (e.kind == "state" and _marks_the_move(e.value))]
    await engine.journal.adopt(row, entries)
    return await engine.restore(row)


def _marks_the_move(value: Json) -> bool:
    """Return whether a state is the mark that a run was moved away: here it has come."""
    return isinstance(value, dict) and value.get("moved") is True


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(archive.BYTES_MAX + (2 << 20))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {str(file)!r}: {getattr(error, 'strerror', error)}") from error
