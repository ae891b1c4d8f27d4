"""The formats the journal's database has had, and how it comes from each to the next.

    1  runs, entries
    2  entries have a link: a chain of hashes that names a line somebody or something changed

A database is copied before it is changed, and changed in one transaction. One of a later format is refused.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from router.journal.entries import first_link, link
from tandem import disk
from tandem.errors import BrokenJournal
from tandem.faults import failpoint

FORMAT = 2
RUNS_STAY = (
    "CREATE TRIGGER runs_stay BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
)
ENTRIES_STAY = (
    "CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
)
ENTRIES_REMAIN = (
    "CREATE TRIGGER entries_remain BEFORE DELETE ON entries"
    " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
)
_SCHEMA = f"""
CREATE TABLE runs (
    run TEXT PRIMARY KEY, created_s REAL NOT NULL, stamp TEXT NOT NULL, task TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(run), step TEXT NOT NULL, ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL, value TEXT NOT NULL, at_s REAL NOT NULL,
    link TEXT NOT NULL DEFAULT ''
);
CREATE INDEX entries_of_run ON entries(run, id);
{ENTRIES_STAY};
{ENTRIES_REMAIN};
{RUNS_STAY};
"""


def create(db: sqlite3.Connection) -> None:
    """Give an empty database the newest format."""
    db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")


def bring_up(db: sqlite3.Connection, path: Path) -> Path | None:
    """Bring a database to the newest format, and return where the copy of the old one is; None where it is new already.

    Raises:
        BrokenJournal: Its format is later than this program.
        DiskFull: There is no room for the copy.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version == FORMAT:
        return None
    if not 1 <= version < FORMAT:
        raise BrokenJournal(
            f"the journal {path} has format {version} and this version of Tandem knows {FORMAT}; use the version that "
            "wrote it, or start with another TANDEM_STATE"
        )
    kept = _backed_up(db, path, version)
    failpoint("journal.backed_up")
    db.execute("BEGIN IMMEDIATE")
    try:
        for old in range(version, FORMAT):
            _STEPS[old](db)
        db.execute(f"PRAGMA user_version={FORMAT}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    failpoint("journal.migrated")
    return kept


def _backed_up(db: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the database beside it, under a name that is there only once the copy is whole and on disk."""
    kept = path.with_name(f"{path.name}.format-{version}")
    number = 1
    while kept.exists():
        if _same(db, kept):  # killed between the copy and the change
            return kept
        number += 1  # of an upgrade before this one: the person went back, and worked on
        kept = path.with_name(f"{path.name}.format-{version}.{number}")
    disk.must_have_room("the journal is copied before it is changed", path, 2 * path.stat().st_size + (1 << 20))
    passing = kept.with_name(f"{kept.name}.part")
    passing.unlink(missing_ok=True)
    passing.touch(mode=0o600)
    copy = sqlite3.connect(passing)
    try:
        db.backup(copy)
    finally:
        copy.close()
    descriptor = os.open(passing, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    passing.rename(kept)
    disk.sync_folder(path.parent)
    return kept


def _same(db: sqlite3.Connection, copy: Path) -> bool:
    """Return whether a copy holds what a database does."""
    queries = ("SELECT * FROM runs ORDER BY run", "SELECT * FROM entries ORDER BY id")
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True)) as other:
            other.text_factory = db.text_factory
            return all(
                one == two for query in queries for one, two in zip_longest(db.execute(query), other.execute(query))
            )
    except sqlite3.Error:
        return False


def _chain(db: sqlite3.Connection) -> None:
    """From 1 to 2: every entry gets its link."""
    db.execute("DROP TRIGGER entries_stay")
    db.execute("ALTER TABLE entries ADD COLUMN link TEXT NOT NULL DEFAULT ''")
    for run in db.execute("SELECT run, created_s, stamp, task FROM runs").fetchall():
        before = first_link(*run)
        rows = db.execute(
            "SELECT id, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id",
            (run[0],),
        ).fetchall()
        for row in rows:
            before = link(before, row)
            db.execute("UPDATE entries SET link=? WHERE id=?", (before, row[0]))
    db.execute(ENTRIES_STAY)


_STEPS = {1: _chain}
