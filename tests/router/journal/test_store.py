"""The open journal: what it makes of a file that somebody, a disk or a kill has changed."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import stat
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.journal import Entry, Journal, RunRow, opening, store
from router.journal.formats import ENTRIES_REMAIN, ENTRIES_STAY, RUNS_STAY
from tandem.errors import BadConfig, BrokenJournal, Conflict, DiskFull, TandemError, Unavailable
from tandem.types import Json, RunId
from tests.support import smalldisk
from tests.support.smalldisk import small_disk

T = TypeVar("T")
ONE, TWO = RunId("1120-aaaaaaa"), RunId("1121-bbbbbbb")
ENTRY: dict[str, Any] = {"step": "plan.1", "attempt": 1, "kind": "reply", "question": "q" * 24, "at_s": 2.25}


def row(run: RunId, task: Json = None) -> RunRow:
    return RunRow(run=run, created_s=1.5, stamp="7.abc", task=task or {"text": "Make shout shout"})


async def put(journal: Journal, run: RunId, ordinal: int, **more: Any) -> Entry:
    return await journal.append(run, **{"ordinal": ordinal, "value": {"said": f"words {ordinal}"}, **ENTRY, **more})


def within(path: Path, work: Callable[[Journal], Awaitable[T]]) -> T:
    """Do something with the open journal, and close it."""

    async def main() -> T:
        journal = await Journal.open(path)
        try:
            return await work(journal)
        finally:
            await journal.close()

    return asyncio.run(main())


async def fill(journal: Journal) -> None:
    for run in (ONE, TWO):
        await journal.add_run(row(run))
        for ordinal in range(12):
            await put(journal, run, ordinal)


async def everything(journal: Journal) -> list[tuple[RunRow, list[Entry]]]:
    return [(one, await journal.everything(one.run)) for one in await journal.runs()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    within(tmp_path / "journal.db", fill)
    return tmp_path / "journal.db"


def change(path: Path, script: str) -> None:
    """Change the database behind its rules."""
    db = sqlite3.connect(path)
    db.executescript(f"DROP TRIGGER entries_stay; DROP TRIGGER entries_remain; DROP TRIGGER runs_stay; {script}")
    db.executescript(f"{ENTRIES_STAY}; {ENTRIES_REMAIN}; {RUNS_STAY};")
    db.close()


# --- gone, emptied, cut off ---------------------------------------------------------------------------------------


def test_a_journal_that_is_gone_is_not_taken_for_a_new_one(path: Path) -> None:
    path.unlink()
    with pytest.raises(
        BrokenJournal, match=r"journal\.db is gone, and there was one.*remove .*journal\.db\.made to start"
    ):
        asyncio.run(Journal.open(path))
    assert not path.exists()
    path.with_name("journal.db.made").unlink()
    assert within(path, everything) == []


def test_a_journal_that_was_emptied_is_not_taken_for_a_new_one(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(BrokenJournal, match="is empty, and there was one"):
        asyncio.run(Journal.open(path))
    assert path.stat().st_size == 0


def test_a_start_that_was_cut_off_before_anything_was_written_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    assert within(tmp_path / "journal.db", everything) == []
    assert stat.S_IMODE((tmp_path / "journal.db.made").stat().st_mode) == 0o600


def test_cut_off_at_any_length_it_is_refused_and_stays_as_it_is(path: Path) -> None:
    whole = path.read_bytes()
    for length in (2, 15, 16, 99, 100, 511, 512, 4095, 4096, 8192, 12_000, len(whole) - 4096):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenJournal, match="damaged"):
            asyncio.run(Journal.open(path))
        assert path.read_bytes() == whole[:length]
    path.write_bytes(whole[:-1])  # SQLite may take it for whole, and the chain does not
    with pytest.raises(BrokenJournal):
        within(path, everything)
    path.write_bytes(whole)
    assert len(within(path, everything)) == 2


def test_of_a_journal_one_byte_is_left_and_it_is_not_taken_for_a_new_one(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1])
    with pytest.raises(BrokenJournal):
        asyncio.run(Journal.open(path))


def test_what_a_person_was_told_of_is_in_the_file_alone(tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.add_run(row(ONE))
        for ordinal, kind in enumerate(("reply", "report", "answered", "reply", "delivery", "undone")):
            await put(journal, ONE, ordinal, kind=kind)
            shutil.copyfile(tmp_path / "journal.db", tmp_path / f"{kind}.db")  # without its log, as copied or lost
        await put(journal, ONE, 6)
        shutil.copyfile(tmp_path / "journal.db", tmp_path / "last.db")

    within(tmp_path / "journal.db", scenario)
    for kind, count in (("answered", 3), ("delivery", 5), ("undone", 6), ("last", 6)):
        ((_, found),) = within(tmp_path / f"{kind}.db", everything)
        assert [entry.ordinal for entry in found] == list(range(count)), "and before it nothing is missing"


def test_after_a_kill_the_log_is_read(path: Path, tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        await put(journal, ONE, 12)
        for file in tmp_path.glob("journal.db*"):
            shutil.copyfile(file, tmp_path / "killed" / file.name)

    (tmp_path / "killed").mkdir()
    within(path, scenario)
    assert [len(found) for _, found in within(tmp_path / "killed" / "journal.db", everything)] == [13, 12]


# --- damage -------------------------------------------------------------------------------------------------------


def pages(path: Path, name: str) -> range:
    """Return where a table or an index has its one page."""
    db = sqlite3.connect(path)
    size = db.execute("PRAGMA page_size").fetchone()[0]
    root = (
        1 if name == "schema" else db.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (name,)).fetchone()[0]
    )
    db.close()
    return range((root - 1) * size, root * size)


@pytest.mark.parametrize("name", ["entries", "entries_of_run", "runs", "schema"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path, name: str) -> None:
    async def small(journal: Journal) -> None:
        for run in (ONE, TWO):
            await journal.add_run(row(run))
            for ordinal in range(4):
                await put(journal, run, ordinal)

    path, rnd = tmp_path / "journal.db", random.Random(7)
    within(path, small)
    whole, recorded = path.read_bytes(), within(path, everything)
    used = [at for at in pages(path, name) if whole[at]]
    noticed = 0
    for at in rnd.sample(used, min(len(used), 80)):
        spoiled = bytearray(whole)
        spoiled[at] ^= 1 << rnd.randrange(8)
        path.write_bytes(spoiled)
        try:
            assert within(path, everything) == recorded, f"byte {at}"
        except TandemError:
            noticed += 1
        for left in tmp_path.glob("journal.db-*"):
            left.unlink()
    assert noticed > 15


def test_a_damaged_journal_is_copied_as_it_was_found_once_and_only_for_its_owner(path: Path) -> None:
    spoiled = b"not a database " * 2000
    path.write_bytes(spoiled)
    for _ in range(2):
        with pytest.raises(BrokenJournal, match=r"damaged \(file is not a database\)"):
            asyncio.run(Journal.open(path))
    (copy,) = path.parent.glob("journal.db.damaged-*")
    assert copy.read_bytes() == path.read_bytes() == spoiled
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize(("script", "number"), [
    ("UPDATE entries SET value=replace(value, 'words', 'worms') WHERE id=4", 4),
    ("UPDATE entries SET at_s=at_s+1 WHERE id=2", 2),
    ("UPDATE entries SET kind='report' WHERE id=12", 12),
    ("UPDATE entries SET attempt=2 WHERE id=1", 1),
    ("UPDATE entries SET link='' WHERE id=5", 5),
    ("DELETE FROM entries WHERE id=7", 8),
    ("UPDATE entries SET id=-id WHERE id IN (3, 4); UPDATE entries SET id=7+id WHERE id<0", 3),
    ("INSERT INTO entries SELECT 99, run, step, 12, attempt, kind, question, value, at_s, '' FROM entries WHERE id=2", 99),
    ("UPDATE runs SET task=replace(task, 'shout shout', 'shout stop') WHERE run LIKE '1120%'", 1),
    ("UPDATE runs SET created_s=1.25 WHERE run LIKE '1120%'", 1),
])  # fmt: skip
def test_a_poisoned_row_is_named_and_stops_its_own_run_alone(path: Path, script: str, number: int) -> None:
    change(path, script)

    async def scenario(journal: Journal) -> None:
        assert [one.run for one in await journal.runs()] == [ONE, TWO]
        for read in (journal.everything, journal.entries):
            with pytest.raises(BrokenJournal, match=rf"^entry {number} of run {ONE} in .*`tandem gc --run {ONE}`"):
                await read(ONE)
            assert len(await read(TWO)) == 12

    within(path, scenario)
    assert not list(path.parent.glob("*.damaged-*")), "one run's matter, and no reason to copy all"


def test_an_entry_that_was_given_another_id_is_noticed(path: Path) -> None:
    within(path, lambda journal: put(journal, TWO, 12, kind="cut", value=24))  # the last reply is left behind
    change(path, "".join(f"UPDATE entries SET id={new} WHERE id={old};" for old, new in ((25, 30), (24, 25), (23, 24))))
    with pytest.raises(BrokenJournal):  # else the reply before it is left behind, too
        within(path, lambda journal: journal.entries(TWO))


def test_the_newest_of_a_kind_is_checked_and_only_its_own_run_is_told(path: Path) -> None:
    change(path, "UPDATE entries SET value='{}' WHERE id=12")
    (one, broken), (two, newest) = within(path, lambda journal: journal.runs_with("reply", pair))
    assert (one.run, two.run, newest) == (ONE, TWO, {"said": "words 11"})
    assert isinstance(broken, BrokenJournal)
    assert [state for _, state in within(path, lambda journal: journal.runs_with("state", pair))] == [None, None]
    for run in (ONE, TWO):
        again = within(path, lambda journal, run=run: journal.run_with(run, "reply"))
        assert again is not None
        assert (again[0].run, str(again[1])) == (run, str({ONE: broken, TWO: newest}[run]))
    assert within(path, lambda journal: journal.run_with(RunId("nobody"), "reply")) is None
    assert within(path, lambda journal: journal.ids()) == [TWO, ONE]


def test_the_newest_of_a_kind_may_be_the_first_entry(tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.add_run(row(ONE))
        await put(journal, ONE, 0, kind="state", value={"state": "queued"})
        assert [state for _, state in await journal.runs_with("state", pair)] == [{"state": "queued"}]

    within(tmp_path / "j.db", scenario)


def test_a_task_that_is_no_json_reads_as_none_and_hides_no_other_run(path: Path) -> None:
    change(path, "UPDATE runs SET task='no json' WHERE run LIKE '1120%'")
    assert [one.task is None for one in within(path, lambda journal: journal.runs())] == [True, False]


# --- who else holds it --------------------------------------------------------------------------------------------


def test_a_journal_that_another_program_holds_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 50)
    other = sqlite3.connect(path, isolation_level=None)

    async def scenario(journal: Journal) -> None:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"another program has held the journal .* close it and try again"):
            await put(journal, ONE, 12)
        assert len(await journal.everything(ONE)) == 12, "it can be read meanwhile"
        with pytest.raises(Unavailable):
            await Journal.open(path)
        other.execute("ROLLBACK")
        await put(journal, ONE, 12)
        assert len(await journal.everything(ONE)) == 13

    within(path, scenario)
    other.close()


def test_a_disk_that_is_read_only_is_a_matter_of_configuration(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 4 << 20) as disk:
        path = disk.seen / "journal.db"
        within(path, fill)
        assert disk.remount_read_only() == "whole"
        with pytest.raises(BadConfig, match="may not be written"):
            asyncio.run(Journal.open(path))
        disk.writable()
        assert len(within(path, everything)) == 2


def test_a_full_disk_loses_nothing_and_the_same_line_is_taken_later(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 4 << 20) as disk:

        async def scenario(journal: Journal) -> list[Entry]:
            await fill(journal)
            disk.fill()
            for _ in range(2):
                with pytest.raises(DiskFull, match="the journal could not be written"):
                    await put(journal, ONE, 12, value="x" * 200_000)
            assert len(await journal.everything(ONE)) == 12
            disk.free()
            await put(journal, ONE, 12, value="x" * 200_000)
            return await journal.everything(ONE)

        kept = within(disk.seen / "journal.db", scenario)
        assert dict(
            zip((ONE, TWO), (found for _, found in within(disk.seen / "journal.db", everything)), strict=True)
        ) == {
            ONE: kept,
            TWO: [replace(entry, id=entry.id + 12) for entry in kept[:12]],
        }
        disk.fill((1 << 20) - 8192)
        with pytest.raises(DiskFull, match="the journal needs to be written"):
            asyncio.run(Journal.open(disk.seen / "journal.db"))


# --- taking in and taking out -------------------------------------------------------------------------------------


def test_a_run_nobody_recorded_takes_no_entries(path: Path) -> None:
    with pytest.raises(BrokenJournal, match="has no run 1122-ccccccc"):
        within(path, lambda journal: put(journal, RunId("1122-ccccccc"), 0))


def test_a_moment_may_be_a_whole_number(path: Path) -> None:
    within(path, lambda journal: put(journal, ONE, 12, at_s=2))
    assert len(within(path, everything)) == 2


@settings(max_examples=10, deadline=None)
@given(order=st.lists(st.integers(0, 4), max_size=25), forget=st.sets(st.integers(0, 4), max_size=3))
def test_runs_that_take_turns_are_each_chained_however_few_links_are_remembered(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], forget: set[int]
) -> None:
    async def scenario(journal: Journal) -> None:
        for number in range(5):
            await journal.add_run(row(RunId(f"r{number}")))
        counts: defaultdict[str, int] = defaultdict(int)
        for place, number in enumerate(order):
            await put(journal, RunId(f"r{number}"), place)
            counts[f"r{number}"] += 1
        await journal.forget(RunId(f"r{number}") for number in forget)
        found = await everything(journal)
        assert {one.run: len(entries) for one, entries in found} == {
            f"r{number}": counts[f"r{number}"] for number in range(5) if number not in forget
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_LINKS_MAX", 1)
        within(tmp_path_factory.mktemp("turns") / "j.db", scenario)


def test_forgetting_takes_whole_runs_out_and_the_rules_stay(path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        for ordinal in range(12, 60):
            await put(journal, ONE, ordinal, value="x" * 20_000)
        assert 60 * 200 + 48 * 20_000 < await journal.size_of([ONE]) < 1_100_000
        assert await journal.size_of([]) == await journal.size_of([RunId("nobody")]) == 0
        before = path.stat().st_size + path.with_name("journal.db-wal").stat().st_size
        freed = await journal.forget([ONE])
        assert before > 900_000
        assert path.stat().st_size + path.with_name("journal.db-wal").stat().st_size < 100_000
        assert 0 <= freed <= before
        assert [one.run for one, _ in await everything(journal)] == [TWO]
        with pytest.raises(BrokenJournal, match="has no run"):
            await put(journal, ONE, 60)
        await journal.add_run(row(ONE))  # and may come again
        await put(journal, ONE, 0)
        assert await journal.forget([]) >= 0

    within(path, scenario)
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute("DELETE FROM entries")
    db.close()


def test_what_is_cleared_away_is_no_longer_in_the_file(path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        await put(journal, ONE, 12, value="a secret of the person")
        await journal.forget([ONE])

    within(path, scenario)
    assert b"a secret of the person" not in path.read_bytes()


def test_a_run_from_elsewhere_gets_ids_of_its_own_and_a_cut_still_names_its_entry(path: Path) -> None:
    came = [
        Entry(id=5, ordinal=0, value={"n": 1}, **ENTRY),
        Entry(id=9, ordinal=1, value={"n": 2}, **ENTRY),
        Entry(id=12, ordinal=0, value=9, **{**ENTRY, "kind": "cut"}),
        Entry(id=13, ordinal=1, value={"n": 3}, **ENTRY),
    ]
    run = RunId("1122-ccccccc")

    async def scenario(journal: Journal) -> None:
        await journal.adopt(row(run), came)
        found = await journal.everything(run)
        assert [entry.id for entry in found] == [25, 26, 27, 28]
        assert found[2].value == 26
        assert [entry.value for entry in await journal.entries(run)] == [{"n": 1}, 26, {"n": 3}]
        await put(journal, run, 2)
        assert len(await journal.everything(run)) == 5
        with pytest.raises(Conflict, match="is here already; nothing was imported"):
            await journal.adopt(row(run), came)
        assert len(await journal.everything(run)) == 5

    within(path, scenario)
    assert len(within(path, everything)) == 3


def test_a_run_from_elsewhere_is_taken_as_a_whole_or_not_at_all(path: Path) -> None:
    good = Entry(id=1, ordinal=0, value=1, **ENTRY)
    bad = Entry(id=2, ordinal=1 << 70, value=2, **ENTRY)

    async def scenario(journal: Journal) -> None:
        with pytest.raises(OverflowError):
            await journal.adopt(row(RunId("1122-ccccccc")), [good, bad])
        assert len(await everything(journal)) == 2
        await journal.adopt(row(RunId("1122-ccccccc")), [good])

    within(path, scenario)
    assert len(within(path, everything)) == 3


def pair(row: RunRow, newest: Any) -> tuple[RunRow, Any]:
    return row, newest
