import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from router.journal import Entry, Journal, RunRow, standing
from tandem.errors import BrokenJournal
from tandem.types import Json, RunId

RUN = RunId("r1")


async def filled(path: Path, *values: Json) -> Journal:
    journal = await Journal.open(path)
    await journal.add_run(RunRow(run=RUN, created_s=1.0, stamp="1", task={"text": "t"}))
    for ordinal, value in enumerate(values):
        await journal.append(
            RUN, step="plan.1", ordinal=ordinal, attempt=1, kind="reply", question="q", value=value, at_s=2.0
        )
    return journal


def test_what_was_recorded_is_there_after_opening_again(tmp_path: Path) -> None:
    async def scenario() -> list[Entry]:
        await (await filled(tmp_path / "j.db", {"한글": [1, None]})).close()
        again = await Journal.open(tmp_path / "j.db")
        try:
            return await again.entries(RUN)
        finally:
            await again.close()

    assert [entry.value for entry in asyncio.run(scenario())] == [{"한글": [1, None]}]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    asyncio.run((asyncio.run(filled(tmp_path / "j.db"))).close())
    assert stat.S_IMODE((tmp_path / "j.db").stat().st_mode) == 0o600


def test_the_database_itself_refuses_to_change_or_delete(tmp_path: Path) -> None:
    asyncio.run(asyncio.run(filled(tmp_path / "j.db", 1)).close())
    db = sqlite3.connect(tmp_path / "j.db")
    for statement in ("UPDATE entries SET value='2'", "DELETE FROM entries", "UPDATE runs SET task='{}'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


def test_a_damaged_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    asyncio.run(asyncio.run(filled(path, *range(200))).close())
    path.write_bytes(path.read_bytes()[:5000] + os.urandom(4096) + path.read_bytes()[9096:])
    before = path.read_bytes()
    with pytest.raises(BrokenJournal, match="damaged"):
        asyncio.run(Journal.open(path))
    assert path.read_bytes() == before


def test_a_format_of_another_version_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    asyncio.run(asyncio.run(filled(path)).close())
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(BrokenJournal, match="format 99"):
        asyncio.run(Journal.open(path))


def test_a_cut_leaves_later_entries_behind_but_never_a_persons_answer() -> None:
    def entry(number: int, kind: str, value: Json = None) -> Entry:
        return Entry(id=number, step="s", ordinal=0, attempt=1, kind=kind, question="", value=value, at_s=0)

    entries = [entry(1, "reply"), entry(2, "reply"), entry(3, "answered"), entry(4, "cut", 2), entry(5, "reply")]
    assert [e.id for e in standing(entries)] == [1, 3, 4, 5]
