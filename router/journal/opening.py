"""Open the database file, or refuse it as it is: what is damaged, gone or of a later format is never begun anew.

Damage is looked for at the open, in what every later read relies on; each run's own lines are `store`'s to check. All of
it blocks, and belongs on the journal's thread.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from router.journal import formats
from tandem import disk
from tandem.errors import BadConfig, BrokenJournal, Unavailable

log = logging.getLogger(__name__)
BUSY_MS = 10_000  # another program may look at the file: a backup, a curious person
RUNS = "SELECT run, created_s, stamp, task FROM runs ORDER BY created_s, run"
ENTRIES_OF = "SELECT id, step, ordinal, attempt, kind, question, value, at_s, link FROM entries WHERE run=? ORDER BY id"
_SIZE_MIN = 512  # bytes of the smallest database there is


def connect(path: Path) -> sqlite3.Connection:
    """Return the database at `path`, made if there never was one, and brought up to date if it is of an older format.

    Raises:
        BrokenJournal: It is damaged, of a later format, or gone though there was one; it is left as it is.
        DiskFull: There is no room for it.
        OSError, sqlite3.Error: As `translated` reads them.
    """
    mark = path.with_name(f"{path.name}.made")  # tells an empty file from a new one
    size = path.stat().st_size if path.exists() else 0
    if size == 0 and mark.exists():
        raise BrokenJournal(
            f"the journal {path} is {'empty' if path.exists() else 'gone'}, and there was one; restore it "
            f"from a backup, or remove {mark} to start anew without the runs it held"
        )
    if 0 < size < _SIZE_MIN:  # SQLite takes a part of its first page for an empty database
        raise damaged(path, BrokenJournal(f"of it, {size} bytes are left"))
    disk.must_have_room("the journal needs to be written", path.parent, 1 << 20)
    path.touch(mode=0o600, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with contextlib.ExitStack() as undone:
        undone.callback(db.close)
        try:
            _bring_up(db, path, made=mark.exists())
        except sqlite3.OperationalError as error:
            if not any(words in str(error) for words in ("malformed", "not a database", "no such")):
                raise
            raise damaged(path, error) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the second: SQLite's words quote what it found
            raise damaged(path, error) from error
        undone.pop_all()
    if not mark.exists():
        mark.touch(mode=0o600)
        disk.sync_folder(mark.parent)
    return db


def _bring_up(db: sqlite3.Connection, path: Path, *, made: bool) -> None:
    """Have our tables in the database, in today's format; `made` says that they were there before.

    Raises:
        sqlite3.Error, UnicodeDecodeError: They are damaged, or may not be written.
    """
    _prepare(db)
    if not int(db.execute("PRAGMA user_version").fetchone()[0]) and not _tables(db):
        if made:
            raise sqlite3.DatabaseError("its tables are gone")
        formats.create(db)
        settle(db)
    elif (found := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(str(found))
    elif (kept := formats.bring_up(db, path)) is not None:
        log.info("journal brought up to date", extra={"format": formats.FORMAT, "backup": str(kept)})
    _must_fit(db)
    db.execute("BEGIN IMMEDIATE")  # a write that changes nothing: better now than after a model was asked
    db.execute(f"PRAGMA user_version={formats.FORMAT}")
    db.execute("COMMIT")


def _prepare(db: sqlite3.Connection) -> None:
    db.text_factory = _text
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA trusted_schema=OFF")
    if sys.platform == "darwin":  # fsync is no barrier there
        db.execute("PRAGMA fullfsync=1")
        db.execute("PRAGMA checkpoint_fullfsync=1")


def _text(raw: bytes) -> str:
    """Return a column's text; bytes that are none stay as surrogates, and break the chain of their own run alone."""
    return raw.decode("utf-8", "surrogateescape")


def _tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def _must_fit(db: sqlite3.Connection) -> None:
    """See that what is read later can be, and that no entry is without its run.

    Raises:
        sqlite3.DatabaseError: A letter changed in the schema, or in a run's name: it would be begun anew, as if empty.
    """
    for query in (RUNS, ENTRIES_OF.replace("?", "''")):
        db.execute(query).close()
    lost = db.execute("SELECT run FROM entries WHERE run NOT IN (SELECT run FROM runs) LIMIT 1").fetchone()
    if lost:
        raise sqlite3.DatabaseError(f"it has entries of a run {lost[0]!r}, and not the run")


def settle(db: sqlite3.Connection) -> None:
    """Move everything into the database and empty the log, whose older pages would hide newer ones if it broke."""
    db.execute("PRAGMA busy_timeout=0")  # whoever reads at the moment is not waited for
    with contextlib.suppress(sqlite3.OperationalError):  # it is safe in the log; the next one moves it
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn SQLite's and the system's errors over the journal at `path` into ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        words = str(error)
        if disk.is_full(error) or ("disk I/O" in words and disk.free_bytes(path) < 1 << 20):
            raise disk.full("the journal could not be written", path) from error
        if "locked" in words or "busy" in words:
            raise Unavailable(
                f"another program has held the journal {path} for {BUSY_MS / 1000:g} s; close it and try again"
            ) from error
        if "readonly" in words or "unable to open" in words:
            raise BadConfig(
                f"the journal {path} may not be written ({words}); change its rights, and those of "
                f"{path.name}-wal and -shm beside it"
            ) from error
        raise BrokenJournal(f"cannot use the journal {path}: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise damaged(path, error) from error
    except OSError as error:
        found = disk.trouble(error, "the journal could not be written", path)
        raise (found or BrokenJournal(f"cannot use the journal {path}: {error}")) from error


def damaged(path: Path, error: Exception) -> BrokenJournal:
    """Keep a copy of a damaged journal as it was found, and return the error that says so."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    copied = ""
    with contextlib.suppress(OSError):
        if not any(path.parent.glob(f"{path.name}.damaged-*")):
            shutil.copyfile(path, kept)
            kept.chmod(0o600)
            copied = f"; a copy of it as it was found is {kept.name}"
    return BrokenJournal(
        f"the journal {path} is damaged ({error}){copied}; restore it from a backup, or move it and "
        f"{path.name}.made away to start anew"
    )
