"""The open database: appended to and read, by one process and one thread of its own.

Nothing is changed, which triggers in the database enforce; only whole runs are ever taken out (`forget`). A write is on
disk (`synchronous=FULL`, on macOS `fullfsync`) before it returns. What a person was told of, a run that was accepted or an
answer, is moved from the write-ahead log into the database at once, so that whoever copies that file alone has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

from router.journal import formats, opening
from router.journal.entries import Entry, Row, RunRow, dump, entry_of, first_link, first_odd, link, standing
from tandem.errors import BrokenJournal, Conflict
from tandem.faults import failpoint
from tandem.types import Json, RunId

_T = TypeVar("_T")
_SETTLED = frozenset(("answered", "delivery", "state", "undone"))
_LINKS_MAX = 64  # runs at work whose last link is remembered
_WITH_NEWEST = """
    SELECT r.run, r.created_s, r.stamp, r.task, e.id, e.step, e.ordinal, e.attempt, e.kind, e.question, e.value, e.at_s,
        e.link, (SELECT link FROM entries b WHERE b.run=e.run AND b.id<e.id ORDER BY b.id DESC LIMIT 1)
    FROM runs r LEFT JOIN entries e
        ON e.id=(SELECT max(id) FROM entries n WHERE n.run=r.run AND n.kind=?)
"""  # each run with its newest entry of a kind, and the link before that
Newest: TypeAlias = "Json | BrokenJournal | None"
_PAGES_LEFT = 0.25  # share of empty pages from which the file is written anew


class Journal:
    """The open database. Use `Journal.open`; one process at a time, which the router's lock sees to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._db: sqlite3.Connection | None = None
        self._links: dict[str, str] = {}

    @classmethod
    async def open(cls, path: Path) -> Journal:
        """Open or create the journal; one of an older format is copied, then brought up to date.

        Raises:
            BrokenJournal: It is damaged, of a later format, or gone though there was one; it is left as it is.
            BadConfig: It may not be written.
            DiskFull: There is no room for it.
        """
        journal = cls(path)
        try:
            await journal._do(journal._connect)
        except BaseException:
            await journal.close()
            raise
        failpoint("journal.opened")
        return journal

    def _connect(self) -> None:
        self._db = opening.connect(self._path)

    async def _do(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with opening.translated(self._path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise BrokenJournal(f"the journal {self._path} is closed")
        return self._db

    async def add_run(self, row: RunRow) -> None:
        """Record that a run was accepted. When this returns, it survives anything."""

        def work() -> None:
            self._connection().execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?)", (row.run, row.created_s, row.stamp, dump(row.task))
            )
            opening.settle(self._connection())

        await self._do(work)
        failpoint("journal.run")

    async def runs(self) -> list[RunRow]:
        """Return every run, oldest first; one whose task cannot be read has None for it."""

        def work() -> list[RunRow]:
            return [_run_row(row) for row in self._connection().execute(opening.RUNS)]

        return await self._do(work)

    async def append(
        self, run: RunId, *, step: str, ordinal: int, attempt: int, kind: str, question: str, value: Json, at_s: float
    ) -> Entry:
        """Record one entry and return it. When this returns, it survives anything."""
        row = (step, ordinal, attempt, kind, question, dump(value), float(at_s))

        def work() -> int:
            failpoint(f"journal.before.{kind}")
            number = self._next_id()
            self._remember(run, self._insert(run, (number, *row), self._last_link(run)))
            if kind in _SETTLED:
                opening.settle(self._connection())
            return number

        number = await self._do(work)
        failpoint(f"journal.after.{kind}")
        return Entry(
            id=number, step=step, ordinal=ordinal, attempt=attempt, kind=kind, question=question, value=value, at_s=at_s
        )

    def _next_id(self) -> int:
        return int(self._connection().execute("SELECT coalesce(max(id), 0) + 1 FROM entries").fetchone()[0])

    def _insert(self, run: str, row: Row, before: str) -> str:
        """Write an entry (id to at_s) that follows the link `before`, and return its own link."""
        made = link(before, row)
        self._connection().execute(
            "INSERT INTO entries (id, step, ordinal, attempt, kind, question, value, at_s, run, link)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            (*row, run, made),
        )
        return made

    def _last_link(self, run: str) -> str:
        known = self._links.get(run)
        if known is not None:
            return known
        db = self._connection()
        last = db.execute("SELECT link FROM entries WHERE run=? ORDER BY id DESC LIMIT 1", (run,)).fetchone()
        return str(last[0]) if last else self._start(run)

    def _start(self, run: str) -> str:
        found = (
            self._connection().execute("SELECT run, created_s, stamp, task FROM runs WHERE run=?", (run,)).fetchone()
        )
        if found is None:
            raise BrokenJournal(f"the journal {self._path} has no run {run}")
        return first_link(*found)

    def _remember(self, run: str, made: str) -> None:
        self._links.pop(run, None)
        self._links[run] = made
        if len(self._links) > _LINKS_MAX:
            self._links.pop(next(iter(self._links)))

    async def entries(self, run: RunId) -> list[Entry]:
        """Return what stands of a run, in order; entries that a later `cut` left behind are not in it.

        Raises:
            BrokenJournal: One of them is not what was recorded; the message names it.
        """
        return standing(await self.everything(run))

    async def everything(self, run: RunId) -> list[Entry]:
        """Return all of a run's entries, those left behind as well.

        Raises:
            BrokenJournal: One of them is not what was recorded; the message names it.
        """

        def work() -> list[Entry]:
            rows = self._connection().execute(opening.ENTRIES_OF, (run,)).fetchall()
            odd = first_odd(self._start(run), rows)
            if odd is not None:
                raise self._altered(run, odd)
            return [self._entry(run, row) for row in rows]

        return await self._do(work)

    def _entry(self, run: str, row: Row) -> Entry:
        try:
            return entry_of(row)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._altered(run, int(row[0])) from error

    def _altered(self, run: str, number: int) -> BrokenJournal:
        return BrokenJournal(
            f"entry {number} of run {run} in {self._path} is not what was recorded, and nothing of the run is used; "
            f"restore the journal from a backup, or give the run up with `tandem gc --run {run}`"
        )

    async def runs_with(self, kind: str, made: Callable[[RunRow, Newest], _T]) -> list[_T]:
        """Return what `made` makes of every run, oldest first, and its newest entry of a kind.

        That is an error where the entry is not what was recorded, None where there is none. `made` is called in the
        journal's thread, one run after another, so that never more than one such entry is in memory.
        """

        def work() -> list[_T]:
            rows = self._connection().execute(f"{_WITH_NEWEST} ORDER BY r.created_s, r.run", (kind,))
            return [made(*self._run_with(row)) for row in rows]

        return await self._do(work)

    async def run_with(self, run: RunId, kind: str) -> tuple[RunRow, Newest] | None:
        """Return a run and its newest entry of a kind, as `runs_with` does; None where there is none of that id."""

        def work() -> tuple[RunRow, Newest] | None:
            row = self._connection().execute(f"{_WITH_NEWEST} WHERE r.run=?", (kind, run)).fetchone()
            return None if row is None else self._run_with(row)

        return await self._do(work)

    async def ids(self) -> list[RunId]:
        """Return the ids of all runs, newest first."""

        def work() -> list[RunId]:
            rows = self._connection().execute("SELECT run FROM runs ORDER BY created_s DESC, run DESC")
            return [RunId(str(row[0])) for row in rows]

        return await self._do(work)

    def _run_with(self, row: Row) -> tuple[RunRow, Newest]:
        about, entry, before = row[:4], row[4:13], row[13]
        if entry[0] is None:
            return _run_row(about), None
        run = str(about[0])
        odd = first_odd(self._start(run) if before is None else str(before), [entry])
        try:
            return _run_row(about), self._entry(run, entry).value if odd is None else self._altered(run, odd)
        except BrokenJournal as error:
            return _run_row(about), error

    async def adopt(self, row: RunRow, entries: Sequence[Entry]) -> None:
        """Record a run that came from elsewhere with all its entries, or nothing of it.

        Raises:
            Conflict: The run is here already.
        """

        def work() -> None:
            db = self._connection()
            with _transaction(db):
                if db.execute("SELECT 1 FROM runs WHERE run=?", (row.run,)).fetchone():
                    raise Conflict(f"run {row.run} is here already; nothing was imported")
                db.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (row.run, row.created_s, row.stamp, dump(row.task)))
                self._copy(row.run, entries)
            opening.settle(self._connection())

        await self._do(work)
        failpoint("import.journal")

    def _copy(self, run: str, entries: Sequence[Entry]) -> None:
        """Append entries under new ids; a cut names one by its id, so it is told the new one."""
        before, ids = self._start(run), dict[int, int]()
        for number, entry in enumerate(entries, self._next_id()):
            value = (
                ids.get(entry.value, entry.value)
                if entry.kind == "cut" and isinstance(entry.value, int)
                else entry.value
            )
            about = (entry.step, entry.ordinal, entry.attempt, entry.kind, entry.question)
            before = self._insert(run, (number, *about, dump(value), float(entry.at_s)), before)
            ids[entry.id] = number

    async def forget(self, runs: Iterable[RunId]) -> int:
        """Take whole runs out, all of them or none, and return how many bytes the file lost."""
        gone = [(run,) for run in runs]

        def work() -> int:
            db, size = self._connection(), self._path.stat().st_size
            with _transaction(db):
                db.execute("DROP TRIGGER entries_remain")
                db.executemany("DELETE FROM entries WHERE run=?", gone)
                db.executemany("DELETE FROM runs WHERE run=?", gone)
                db.execute(formats.ENTRIES_REMAIN)
            for (run,) in gone:
                self._links.pop(run, None)
            self._shrink()
            return max(size - self._path.stat().st_size, 0)

        return await self._do(work)

    async def size_of(self, runs: Iterable[RunId]) -> int:
        """Return about how many bytes runs take."""

        def work() -> int:
            total = 0
            for run in runs:
                found = self._connection().execute("SELECT sum(length(value) + 200) FROM entries WHERE run=?", (run,))
                total += int(found.fetchone()[0] or 0)
            return total

        return await self._do(work)

    def _shrink(self) -> None:
        """Write the file anew where much of it is empty; where there is no room for that, it stays as large as it is."""
        db = self._connection()
        empty, pages = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count"))
        if empty >= _PAGES_LEFT * pages:
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute("VACUUM")
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Close the database; what was recorded is already on disk."""

        def work() -> None:
            if self._db is not None:
                self._db.close()
                self._db = None

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown(wait=False)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _run_row(row: Row) -> RunRow:
    """Return a run's row; one with a value of another kind than was recorded as one whose task cannot be read."""
    run, created_s, stamp, task = row
    sound = (
        isinstance(run, str) and isinstance(created_s, float) and math.isfinite(created_s) and isinstance(stamp, str)
    )
    if not sound:
        return RunRow(run=RunId(str(run)), created_s=0.0, stamp=str(stamp), task=None)
    return RunRow(run=RunId(run), created_s=created_s, stamp=stamp, task=_read(task))


def _read(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
