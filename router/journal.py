"""The append-only journal: one SQLite database, one process, the truth about every run.

An entry is (run, step, ordinal, attempt, kind, question, value): the ordinal counts the questions a step asks; the
attempt counts the tries at one question; `question` is a hash that verifies an entry and never finds it, so that a
retry may get a different answer. Nothing is changed or deleted, which triggers in the database enforce; what an upgrade
makes void is left behind by a `cut` entry.

Writes go through one thread of its own and are on disk (`synchronous=FULL`, on macOS `fullfsync`) before they return.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tandem.errors import BrokenJournal, ResourceExhausted
from tandem.faults import failpoint
from tandem.types import Json, RunId

FORMAT = 1
_T = TypeVar("_T")
_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, created_s REAL NOT NULL, stamp TEXT NOT NULL, task TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(run), step TEXT NOT NULL, ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL, value TEXT NOT NULL, at_s REAL NOT NULL
);
CREATE INDEX entries_of_run ON entries(run, id);
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER runs_stay BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal. `at_s` is wall time and decides nothing."""

    id: int
    step: str
    ordinal: int
    attempt: int
    kind: str
    question: str
    value: Json
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it was accepted. `stamp` names the version of workflow and personas it was started with."""

    run: RunId
    created_s: float
    stamp: str
    task: Json


class Journal:
    """The open database. Use `Journal.open`; one process at a time, which the router's lock sees to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._db: sqlite3.Connection | None = None

    @classmethod
    async def open(cls, path: Path) -> Journal:
        """Open or create the journal.

        Raises:
            BrokenJournal: It is damaged or of another format; it is left as it is.
        """
        journal = cls(path)
        try:
            await journal._do(journal._connect)
        except BaseException:
            await journal.close()
            raise
        return journal

    def _connect(self) -> None:
        new = not self._path.exists()
        self._path.touch(mode=0o600, exist_ok=True)
        db = self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA trusted_schema=OFF")
            if sys.platform == "darwin":  # fsync is no barrier there
                db.execute("PRAGMA fullfsync=1")
                db.execute("PRAGMA checkpoint_fullfsync=1")
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if new or (version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone()):
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")
            elif version != FORMAT:
                raise BrokenJournal(
                    f"the journal {self._path} has format {version} and this version of Tandem knows {FORMAT}; use the "
                    "version that wrote it, or start with another TANDEM_STATE"
                )
            elif (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(str(found))
        except sqlite3.DatabaseError as error:
            raise BrokenJournal(
                f"the journal {self._path} is damaged ({error}); restore it from a backup, or move it away"
            ) from error

    async def _do(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise ResourceExhausted(
                    f"cannot write the journal {self._path}: {error}; free some disk space, then `tandem resume`"
                ) from error
            raise BrokenJournal(f"cannot use the journal {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise BrokenJournal(f"the journal {self._path} is damaged ({error})") from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise BrokenJournal(f"the journal {self._path} is closed")
        return self._db

    async def add_run(self, row: RunRow) -> None:
        """Record that a run was accepted. When this returns, it survives anything."""

        def work() -> None:
            self._connection().execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?)", (row.run, row.created_s, row.stamp, _dump(row.task))
            )

        await self._do(work)
        failpoint("journal.run")

    async def runs(self) -> list[RunRow]:
        """Return every run, oldest first."""

        def work() -> list[RunRow]:
            rows = self._connection().execute("SELECT run, created_s, stamp, task FROM runs ORDER BY created_s, run")
            return [RunRow(run=RunId(r[0]), created_s=r[1], stamp=r[2], task=json.loads(r[3])) for r in rows]

        return await self._do(work)

    async def append(
        self, run: RunId, *, step: str, ordinal: int, attempt: int, kind: str, question: str, value: Json, at_s: float
    ) -> Entry:
        """Record one entry and return it. When this returns, it survives anything."""

        def work() -> int:
            cursor = self._connection().execute(
                "INSERT INTO entries (run, step, ordinal, attempt, kind, question, value, at_s)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (run, step, ordinal, attempt, kind, question, _dump(value), at_s),
            )
            return cursor.lastrowid or 0

        failpoint(f"journal.before.{kind}")
        row = await self._do(work)
        failpoint(f"journal.after.{kind}")
        return Entry(
            id=row, step=step, ordinal=ordinal, attempt=attempt, kind=kind, question=question, value=value, at_s=at_s
        )

    async def entries(self, run: RunId) -> list[Entry]:
        """Return what stands of a run, in order; entries that a later `cut` left behind are not in it."""

        def work() -> list[Entry]:
            rows = self._connection().execute(
                "SELECT id, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id",
                (run,),
            )
            return [
                Entry(
                    id=r[0], step=r[1], ordinal=r[2], attempt=r[3], kind=r[4], question=r[5], value=json.loads(r[6]),
                    at_s=r[7],
                )
                for r in rows
            ]  # fmt: skip

        return standing(await self._do(work))

    async def last_of_kind(self, kind: str) -> dict[RunId, Json]:
        """Return each run's newest entry of a kind."""

        def work() -> dict[RunId, Json]:
            rows = self._connection().execute(
                "SELECT run, value FROM entries WHERE id IN (SELECT max(id) FROM entries WHERE kind=? GROUP BY run)",
                (kind,),
            )
            return {RunId(r[0]): json.loads(r[1]) for r in rows}

        return await self._do(work)

    async def close(self) -> None:
        """Close the database; what was recorded is already on disk."""

        def work() -> None:
            if self._db is not None:
                self._db.close()
                self._db = None

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown(wait=False)


# A person's answer stands for the bytes it was given for, whatever an upgrade does to the steps around it.
_OUTLIVES_CUTS = frozenset(("answered", "state", "cut"))


def standing(entries: list[Entry]) -> list[Entry]:
    """Return the entries no later `cut` left behind; a cut's value is the id of the first entry it drops."""
    kept: list[Entry] = []
    for entry in entries:
        if entry.kind == "cut" and isinstance(entry.value, int):
            first = entry.value
            kept = [e for e in kept if e.id < first or e.kind in _OUTLIVES_CUTS]
        kept.append(entry)
    return kept


def _dump(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
