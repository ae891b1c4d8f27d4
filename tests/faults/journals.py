"""Journals that were damaged: small ones made by the real `Journal`, and the ways to change what refuses to be changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.journal import Entry, Journal, RunRow
from router.journal.entries import first_link, link
from router.lock import LOCK_NAME
from tandem.errors import BrokenJournal
from tandem.paths import socket_path
from tandem.types import RunId
from tests.faults.wires import until
from tests.support.stack import Stack

RUNS, ENTRIES = 4, 14
Known = Mapping[RunId, tuple[RunRow, list[Entry] | None]]  # None: refused by name
Change = Callable[[sqlite3.Connection, str], object]


def write(folder: Path) -> Path:
    """Make a journal in a new folder: a few runs, each with an answer of a person as its last entry."""

    async def scenario() -> None:
        journal = await Journal.open(folder / "journal.db")
        for number in range(RUNS):
            await add(journal, RunId(f"1121-run{number}"), number)
        await journal.close()

    folder.mkdir()
    asyncio.run(scenario())
    return folder / "journal.db"


async def add(journal: Journal, run: RunId, number: int = 0, *, entries: int = ENTRIES) -> None:
    """Record a run with its entries; the last is a person's answer."""
    await journal.add_run(RunRow(run=run, created_s=1000.5 + number, stamp="1.a", task={"text": f"one {number}"}))
    for ordinal in range(entries):
        kind = "answered" if ordinal == entries - 1 else "reply"
        await append(journal, run, ordinal, kind)


async def append(journal: Journal, run: RunId, ordinal: int, kind: str = "reply") -> Entry:
    """Record one entry; some are long enough for pages of their own."""
    value = {"said": "낱말 words " * (ordinal * 37 % 90), "ordinal": ordinal}
    return await journal.append(
        run, step=f"s.{ordinal}", ordinal=0, attempt=1, kind=kind, question=f"q{ordinal}", value=value, at_s=2000.5
    )


def read(path: Path) -> Known:
    """Return all that can be read of a journal.

    Raises:
        BrokenJournal: It is refused as a whole.
    """

    async def scenario() -> Known:
        journal = await Journal.open(path)
        found: dict[RunId, tuple[RunRow, list[Entry] | None]] = {}
        try:
            for row in await journal.runs():
                try:
                    found[row.run] = (row, await journal.entries(row.run))
                except BrokenJournal:
                    found[row.run] = (row, None)
        finally:
            await journal.close()
        return found

    return asyncio.run(scenario())


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Make a folder hold these files and nothing else; return where the journal is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "journal.db"


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of a journal as they lie on disk now, but for the index of its log, which is memory."""
    return {path.name: path.read_bytes() for path in folder.glob("journal.db*") if not path.name.endswith("-shm")}


def copies(path: Path) -> list[bytes]:
    """Return the copies that were kept of a damaged journal."""
    return [copy.read_bytes() for copy in path.parent.glob(f"{path.name}.damaged-*")]


@contextmanager
def forced(path: Path) -> Generator[sqlite3.Connection]:
    """Open a journal as somebody does who goes around its triggers; they are there again afterwards."""
    db = sqlite3.connect(path)
    try:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        yield db
        for _, sql in triggers:
            db.execute(sql)
        db.commit()
    finally:
        db.close()


def cloned(db: sqlite3.Connection, run: str, new: str) -> str:
    """Record a run a second time under a new name, soundly chained."""
    db.execute("INSERT INTO runs SELECT ?, created_s, stamp, task FROM runs WHERE run=?", (new, run))
    db.execute(
        "INSERT INTO entries (run, step, ordinal, attempt, kind, question, value, at_s)"
        " SELECT ?, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id",
        (new, run),
    )
    chain(db, new)
    return new


def chain(db: sqlite3.Connection, run: str) -> None:
    """Link a run's entries anew, as somebody does who knows how."""
    before = first_link(*db.execute("SELECT run, created_s, stamp, task FROM runs WHERE run=?", (run,)).fetchone())
    rows = "SELECT id, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id"
    for row in db.execute(rows, (run,)).fetchall():
        before = link(before, row)
        db.execute("UPDATE entries SET link=? WHERE id=?", (before, row[0]))


def value_of(kind: str, value: Any) -> Change:
    """Return the change that puts another value into a run's last entry of a kind."""
    newest = "id = (SELECT max(id) FROM entries WHERE run=? AND kind=?)"
    return lambda db, run: db.execute(f"UPDATE entries SET value=? WHERE {newest}", (value, run, kind))


def field(table: str, column: str, value: Any, where: str = "1") -> Change:
    """Return the change of a field in a run's rows."""
    return lambda db, run: db.execute(f"UPDATE {table} SET {column}=? WHERE run=? AND {where}", (value, run))


def refused(stack: Stack) -> str:
    """Return what a person is told who uses `tandem` where the router can not start; it has left again afterwards."""
    done = stack.cli("runs")
    assert done.returncode != 0, done.stdout
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):  # it stays a little, to say it again
        os.kill(int((stack.state / LOCK_NAME).read_text("utf-8")), signal.SIGTERM)
    until(lambda: not socket_path(stack.state, "router").exists(), why=stack.log)
    return f"{done.returncode} error: {done.stderr.partition('error: ')[2]}"  # it may say before that it is starting
