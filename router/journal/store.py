"""The open database: appended to and read, by one process and one thread of its own.

Nothing is changed, which triggers in the database enforce; only whole runs are ever taken out (`forget`). A write is on
disk (`synchronous=FULL`, on macOS `fullfsync`) before it returns. What a person was told of, a run that was accepted or an
answer, is moved from the write-ahead log into the database at once, so that whoever copies that file alone has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from router.journal import formats
from router.journal.entries import Entry, Row, RunRow, dump, entry_of, first_link, first_odd, link, standing
from tandem import disk
from tandem.errors import BadConfig, BrokenJournal, Conflict, Unavailable
from tandem.faults import failpoint
from tandem.types import Json, RunId

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_BUSY_MS = 10_000  # another program may look at the file: a backup, a curious person
_SETTLED = frozenset(("answered", "delivery", "state", "undone"))
_LINKS_MAX = 1000  # runs whose last link is remembered
_RUNS = "SELECT run, created_s, stamp, task FROM runs ORDER BY created_s, run"
_ENTRIES_OF = (
    "SELECT id, step, ordinal, attempt, kind, question, value, at_s, link FROM entries WHERE run=? ORDER BY id"
)
_NEWEST_OF_KIND = (  # with its run, and the link before it
    "SELECT id, step, ordinal, attempt, kind, question, value, at_s, link, run,"
    " (SELECT link FROM entries b WHERE b.run=e.run AND b.id<e.id ORDER BY b.id DESC LIMIT 1)"
    " FROM entries e WHERE id IN (SELECT max(id) FROM entries WHERE kind=? GROUP BY run)"
)
_SIZE_MIN = 512  # bytes of the smallest database there is
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
        mark = self._path.with_name(f"{self._path.name}.made")  # tells an empty file from a new one
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == 0 and mark.exists():
            raise BrokenJournal(
                f"the journal {self._path} is {'empty' if self._path.exists() else 'gone'}, and there was one; restore it "
                f"from a backup, or remove {mark} to start anew without the runs it held"
            )
        if 0 < size < _SIZE_MIN:  # SQLite takes a part of its first page for an empty database
            raise self._damaged(BrokenJournal(f"of it, {size} bytes are left"))
        disk.must_have_room("the journal needs to be written", self._path.parent, 1 << 20)
        self._path.touch(mode=0o600, exist_ok=True)
        db = self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db)
            if not int(db.execute("PRAGMA user_version").fetchone()[0]) and not _tables(db):
                if mark.exists():
                    raise sqlite3.DatabaseError("its tables are gone")
                formats.create(db)
                self._settle()
            elif (found := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(str(found))
            elif (kept := formats.bring_up(db, self._path)) is not None:
                log.info("journal brought up to date", extra={"format": formats.FORMAT, "backup": str(kept)})
            _must_fit(db)
            db.execute("BEGIN IMMEDIATE")  # a write that changes nothing: better now than after a model was asked
            db.execute(f"PRAGMA user_version={formats.FORMAT}")
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if not any(words in str(error) for words in ("malformed", "not a database", "no such")):
                raise
            raise self._damaged(error) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the second: SQLite's words quote what it found
            raise self._damaged(error) from error
        if not mark.exists():
            mark.touch(mode=0o600)
            disk.sync_folder(mark.parent)

    def _damaged(self, error: Exception) -> BrokenJournal:
        """Keep a copy of a damaged journal as it was found, and return the error that says so."""
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        copied = ""
        with contextlib.suppress(OSError):
            if not any(self._path.parent.glob(f"{self._path.name}.damaged-*")):
                shutil.copyfile(self._path, kept)
                kept.chmod(0o600)
                copied = f"; a copy of it as it was found is {kept.name}"
        return BrokenJournal(
            f"the journal {self._path} is damaged ({error}){copied}; restore it from a backup, or move it and "
            f"{self._path.name}.made away to start anew"
        )

    async def _do(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with self._translated():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Turn SQLite's and the system's errors into ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            words = str(error)
            if disk.is_full(error) or ("disk I/O" in words and disk.free_bytes(self._path) < 1 << 20):
                raise disk.full("the journal could not be written", self._path) from error
            if "locked" in words or "busy" in words:
                raise Unavailable(
                    f"another program has held the journal {self._path} for {_BUSY_MS / 1000:g} s; close it and try again"
                ) from error
            if "readonly" in words or "unable to open" in words:
                raise BadConfig(
                    f"the journal {self._path} may not be written ({words}); change its rights, and those of "
                    f"{self._path.name}-wal and -shm beside it"
                ) from error
            raise BrokenJournal(f"cannot use the journal {self._path}: {error}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        except OSError as error:
            found = disk.trouble(error, "the journal could not be written", self._path)
            raise (found or BrokenJournal(f"cannot use the journal {self._path}: {error}")) from error

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
            self._settle()

        await self._do(work)
        failpoint("journal.run")

    async def runs(self) -> list[RunRow]:
        """Return every run, oldest first; one whose task cannot be read has None for it."""

        def work() -> list[RunRow]:
            return [_run_row(row) for row in self._connection().execute(_RUNS)]

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
                self._settle()
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

    def _settle(self) -> None:
        """Move everything into the database and empty the log, whose older pages would hide newer ones if it broke."""
        db = self._connection()
        db.execute("PRAGMA busy_timeout=0")  # whoever reads at the moment is not waited for
        with contextlib.suppress(sqlite3.OperationalError):  # it is safe in the log; the next one moves it
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")

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
            rows = self._connection().execute(_ENTRIES_OF, (run,)).fetchall()
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

    async def last_of_kind(self, kind: str) -> dict[RunId, Json | BrokenJournal]:
        """Return each run's newest entry of a kind, or the error where it is not what was recorded."""

        def work() -> dict[RunId, Json | BrokenJournal]:
            db = self._connection()
            rows = db.execute(_NEWEST_OF_KIND, (kind,)).fetchall()
            return {RunId(row[9]): self._checked(row) for row in rows}

        return await self._do(work)

    def _checked(self, row: Row) -> Json | BrokenJournal:
        run, before = str(row[9]), row[10]
        odd = first_odd(self._start(run) if before is None else str(before), [row[:9]])
        try:
            return self._entry(run, row[:9]).value if odd is None else self._altered(run, odd)
        except BrokenJournal as error:
            return error

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
            self._settle()

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


def _prepare(db: sqlite3.Connection) -> None:
    db.text_factory = _text
    db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA trusted_schema=OFF")
    if sys.platform == "darwin":  # fsync is no barrier there
        db.execute("PRAGMA fullfsync=1")
        db.execute("PRAGMA checkpoint_fullfsync=1")


def _text(raw: bytes) -> str:
    """Return a column's text; bytes that are none stay as surrogates, and break the chain of their own run alone."""
    return raw.decode("utf-8", "surrogateescape")


def _must_fit(db: sqlite3.Connection) -> None:
    """See that what is read later can be, and that no entry is without its run.

    Raises:
        sqlite3.DatabaseError: A letter changed in the schema, or in a run's name: it would be begun anew, as if empty.
    """
    for query in (_RUNS, _ENTRIES_OF.replace("?", "''")):
        db.execute(query).close()
    lost = db.execute("SELECT run FROM entries WHERE run NOT IN (SELECT run FROM runs) LIMIT 1").fetchone()
    if lost:
        raise sqlite3.DatabaseError(f"it has entries of a run {lost[0]!r}, and not the run")


def _tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


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
