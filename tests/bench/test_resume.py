"""The bench of recovery: real processes and one interruption; its form, not its times."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bench import resume, resume_report
from router.journal import Journal, RunRow
from tandem.types import Json, RunId


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return resume.run(1, (0,))


def test_the_run_was_interrupted_and_went_on(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found)) == found
    (one,) = found["recovery"]
    assert (one["old_runs"], one["journal_bytes"]) == (0, 0)
    assert list(one["goes_on_by_point_ms"]) == found["points"] == [resume.POINTS[0]]


def test_old_runs_are_whole_copies_in_the_journals_own_chain(tmp_path: Path) -> None:
    async def go() -> list[list[tuple[str, Json]]]:
        journal = await Journal.open(tmp_path / "journal.db")
        await journal.add_run(RunRow(run=RunId("first"), created_s=1.0, stamp="1", task={"text": "a"}))
        for value in ("running", "merged"):
            await journal.append(
                RunId("first"), step="", ordinal=0, attempt=1, kind="state", question="", value=value, at_s=1.0
            )
        await journal.close()
        await resume._multiply(tmp_path / "journal.db", 4)
        journal = await Journal.open(tmp_path / "journal.db")
        try:
            runs = await journal.runs()
            assert len({row.run for row in runs}) == 5
            return [[(e.kind, e.value) for e in await journal.everything(row.run)] for row in runs]
        finally:
            await journal.close()

    assert asyncio.run(go()) == [[("state", "running"), ("state", "merged")]] * 5


def test_milestones_come_in_their_order(found: dict[str, Any]) -> None:
    at = {name: quantiles["p50"] for name, quantiles in found["recovery"][0]["ms"].items()}
    assert 0 < at["status"] < at["known"]
    assert at["journal"] < at["taken_up"] < at["at_work"] < at["goes_on"]
    assert at["worker"] < at["goes_on"]
    floor = {name: quantiles["p50"] for name, quantiles in found["floor_ms"].items()}
    assert 0 < floor["interpreter"] < floor["imports"]
    assert floor["ready"] == max(floor["known"], floor["worker"])


def test_the_report_says_when_the_run_goes_on(found: dict[str, Any]) -> None:
    told = "\n".join(resume.lines(found, 120))
    assert told.count("THE RUN GOES ON") == 1
    assert "journal.after.screening" in told
    assert found["per_1000_old_runs_ms"] is None  # one journal tells no growth


def test_growth_is_what_a_thousand_old_runs_add() -> None:
    early, late = dict.fromkeys(resume_report.MILESTONES, 100.0), dict.fromkeys(resume_report.MILESTONES, 110.0)
    del late["at_work"]  # as where a person is asked
    told = resume_report.growth({0: [early, early], 500: [late, late]})
    assert told is not None
    assert told["goes_on"] == 20.0
    assert "at_work" not in told


@pytest.mark.parametrize(
    ("point", "names"),
    [
        ("journal.opened", ("journal",)),
        ("journal.after.state", ("taken_up",)),
        ("journal.before.state", ()),
        ("worker.ready", ("worker",)),
        ("worker.call", ("at_work",)),
        ("journal.before.reply", ("at_work",)),
        ("journal.after.reply", ("goes_on",)),
        ("journal.after.delivery", ("goes_on",)),
        ("gc.journal", ()),
    ],
)
def test_what_it_says_that_a_point_was_passed(point: str, names: tuple[str, ...]) -> None:
    assert resume._meaning(point) == names
