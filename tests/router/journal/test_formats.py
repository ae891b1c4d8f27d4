"""From one format to the next: a recorded journal of format 1 is copied, changed as a whole or not at all, and chained."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from router.journal import FORMAT, Entry, Journal, RunRow
from router.journal.entries import first_link, first_odd
from router.journal.formats import ENTRIES_STAY
from tandem.errors import BrokenJournal, DiskFull
from tandem.types import RunId
from tests.support import smalldisk
from tests.support.smalldisk import small_disk

ROOT = Path(__file__).resolve().parents[3]
RECORDED = ROOT / "tests" / "data" / "journals" / "1.tar.gz"
OPEN = """
import asyncio, pathlib, sys
from router.journal import Journal
async def main():
    await (await Journal.open(pathlib.Path(sys.argv[1]))).close()
asyncio.run(main())
"""
ENTRIES = "SELECT id, run, step, ordinal, attempt, kind, question, value, at_s FROM entries ORDER BY id"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a journal of format 1 with the entries of four runs."""
    with tarfile.open(RECORDED) as packed:
        body = packed.extractfile("state/journal.db")
        assert body is not None
        (tmp_path / "journal.db").write_bytes(body.read())
    return tmp_path / "journal.db"


def rows(path: Path, query: str = ENTRIES) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def version(path: Path) -> int:
    return rows(path, "PRAGMA user_version")[0][0]


def change(path: Path, script: str) -> None:
    db = sqlite3.connect(path)
    db.executescript(script)
    db.close()


def opened(path: Path, *, fault: str = "") -> int:
    """Open the journal in a process of its own, and return its status."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TANDEM_FAULT": fault}
    argv = [sys.executable, "-c", OPEN, str(path)]
    return subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False).returncode


async def _all(path: Path) -> dict[str, list[Entry]]:
    journal = await Journal.open(path)
    try:
        return {row.run: await journal.everything(row.run) for row in await journal.runs()}
    finally:
        await journal.close()


def test_a_recorded_journal_of_format_1_becomes_one_of_the_newest_with_the_same_entries(old: Path) -> None:
    before, runs = rows(old), rows(old, "SELECT * FROM runs ORDER BY run")
    assert version(old) == 1
    found = asyncio.run(_all(old))
    assert version(old) == FORMAT == 2
    assert rows(old) == before
    assert rows(old, "SELECT * FROM runs ORDER BY run") == runs
    assert len(runs) == 4
    assert sum(map(len, found.values())) == len(before) > 100


def test_every_run_of_it_is_chained_from_its_own_row(old: Path) -> None:
    asyncio.run(_all(old))
    for run in rows(old, "SELECT run, created_s, stamp, task FROM runs"):
        fields = "id, step, ordinal, attempt, kind, question, value, at_s, link"
        found = rows(old, f"SELECT {fields} FROM entries WHERE run='{run[0]}' ORDER BY id")
        assert first_odd(first_link(*run), found) is None


def test_the_copy_is_the_old_journal_and_its_owners_alone(old: Path) -> None:
    before = rows(old)
    asyncio.run(_all(old))
    copy = old.with_name("journal.db.format-1")
    assert (version(copy), rows(copy)) == (1, before)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list(old.parent.glob("*.part"))
    written_s = copy.stat().st_mtime_ns
    asyncio.run(_all(old))
    assert copy.stat().st_mtime_ns == written_s, "it is made once"


def test_what_stood_in_the_write_ahead_log_is_in_the_copy_too(old: Path) -> None:
    db = sqlite3.connect(old, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("INSERT INTO runs VALUES ('1121-late', 9.5, '1', '{}')")
    asyncio.run(_all(old))  # while the log is still there, as after a kill
    db.close()
    assert ("1121-late",) in rows(old.with_name("journal.db.format-1"), "SELECT run FROM runs")


def test_the_append_only_rules_are_back_afterwards(old: Path) -> None:
    asyncio.run(_all(old))
    db = sqlite3.connect(old)
    for statement in ("UPDATE entries SET value='2'", "DELETE FROM entries", "UPDATE runs SET task='{}'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


@pytest.mark.parametrize(("point", "left"), [("journal.backed_up", 1), ("journal.migrated", 2), ("journal.opened", 2)])
def test_killed_on_the_way_it_is_the_old_one_or_the_new_one_and_the_next_open_ends_it(
    old: Path, point: str, left: int
) -> None:
    before = rows(old)
    assert opened(old, fault=f"{point}:kill") == -signal.SIGKILL
    assert version(old) == left
    assert rows(old) == before
    assert opened(old) == 0
    assert (version(old), version(old.with_name("journal.db.format-1"))) == (2, 1)
    assert sum(map(len, asyncio.run(_all(old)).values())) == len(before)


def test_half_a_copy_of_a_killed_process_is_made_anew(old: Path) -> None:
    before = rows(old)
    old.with_name("journal.db.format-1.part").write_bytes(b"half")
    asyncio.run(_all(old))
    assert rows(old.with_name("journal.db.format-1")) == before
    assert not list(old.parent.glob("*.part"))


def test_where_a_step_fails_the_journal_is_as_it_was(old: Path) -> None:
    change(old, "DROP TRIGGER entries_stay")  # so that the step finds something else than it expects
    before = old.read_bytes()
    with pytest.raises(BrokenJournal, match="no such trigger"):
        asyncio.run(Journal.open(old))
    assert (version(old), rows(old)) == (1, rows(old.with_name("journal.db.format-1")))
    assert "link" not in rows(old, "SELECT sql FROM sqlite_master WHERE name='entries'")[0][0]
    assert len(before) == old.stat().st_size


@pytest.mark.parametrize("number", [0, -1, FORMAT + 1, 99])
def test_another_format_is_refused_by_its_number_and_not_touched(old: Path, number: int) -> None:
    change(old, f"PRAGMA user_version={number}")
    before = rows(old)
    with pytest.raises(BrokenJournal, match=f"has format {number} and this version of Tandem knows {FORMAT}"):
        asyncio.run(Journal.open(old))
    assert (version(old), rows(old)) == (number, before)
    assert not old.with_name("journal.db.format-1").exists()


def test_without_room_for_the_copy_nothing_is_changed(tmp_path: Path, old: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 2 << 20) as disk:
        small = disk.seen / "journal.db"
        small.write_bytes(old.read_bytes())
        disk.fill((1 << 20) + small.stat().st_size)
        with pytest.raises(DiskFull, match="the journal is copied before it is changed"):
            asyncio.run(Journal.open(small))
        assert version(small) == 1
        disk.free()
        assert len(asyncio.run(_all(small))) == 4


def test_a_journal_that_went_back_to_an_older_version_is_copied_again(old: Path) -> None:
    first = old.read_bytes()
    asyncio.run(_all(old))
    old.write_bytes(first)  # the person went back to the older version, with its journal, and worked on
    change(old, "INSERT INTO runs VALUES ('1122-later', 9.5, '1', '{}')")
    asyncio.run(_all(old))
    copies = [rows(copy, "SELECT run FROM runs") for copy in old.parent.glob("journal.db.format-1*")]
    assert any(("1122-later",) in found for found in copies)


def test_a_line_that_was_no_json_before_the_chain_stops_its_own_run_and_no_other(old: Path) -> None:
    run, last = rows(old, "SELECT run, max(id) FROM entries WHERE kind='state' GROUP BY run ORDER BY run")[0]
    change(old, f"DROP TRIGGER entries_stay; UPDATE entries SET value='no json' WHERE id={last}; {ENTRIES_STAY}")
    asyncio.run(_reads_all_but(old, run, last))


async def _reads_all_but(path: Path, run: str, number: int) -> None:
    journal = await Journal.open(path)
    try:
        for row in await journal.runs():
            if row.run == run:
                with pytest.raises(BrokenJournal, match=f"entry {number} of run {run}"):
                    await journal.everything(RunId(run))
            else:
                assert await journal.everything(row.run)
        states = await journal.runs_with("state", pair)
        assert [row.run for row, state in states if isinstance(state, BrokenJournal)] == [run]
    finally:
        await journal.close()


def pair(row: RunRow, newest: Any) -> tuple[RunRow, Any]:
    return row, newest
