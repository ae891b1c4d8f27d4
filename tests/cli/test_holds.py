"""What is said of a run that waits for a machine, a disk or its turn: the same words in a list, a log and on the screen."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from cli.render import lines, screen, summary
from cli.render.view import View, fold
from router.holds import HoldKind
from tests.cli.little_router import Events, Play, a_whole_run, little_router
from tests.cli.test_keep import tandem

AWAY = {"what": "waiting-for-worker", "text": "worker desk does not answer"}
OVER = {"what": "", "text": ""}


def viewed(*events: tuple[str, dict[str, Any]]) -> View:
    view = View()
    for at, (kind, data) in enumerate(events):
        view = fold(view, kind, {"run": "r", "at_s": 100.0 + at, **data})
    return view


def drawn(what: Any, cells: int = 100) -> str:
    console = Console(file=io.StringIO(), width=cells, force_terminal=False, markup=False, highlight=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def told(events: Events) -> list[str]:
    """Return the plain lines of events, as a log gets them."""
    view, found = View(), list[str]()
    for kind, data in events:
        view = fold(view, kind, data)
        found += lines.event_lines(view, kind, data, 100)
    return found


# --- words --------------------------------------------------------------------------------------------------------


def test_every_kind_of_hold_has_words_of_its_own() -> None:
    assert set(lines.HOLDS) == set(get_args(HoldKind))
    assert len(set(lines.HOLDS.values())) == 3


def test_a_hold_says_what_and_why_and_its_end_that_it_goes_on() -> None:
    assert lines.hold_line("paused-disk-full", "0.0 MB free") == "! paused, a disk is full: 0.0 MB free"
    assert lines.hold_line("", "") == "· it goes on"


def test_a_kind_of_tomorrow_is_said_as_it_is_and_hides_nothing() -> None:
    assert lines.hold_line("waiting-for-rain", "x") == "! waiting-for-rain: x"
    assert lines.hold_line("a\x1b[31m\nb", "\u202egnp") == "! a⟨U+001B⟩[31m b: ⟨U+202E⟩gnp"
    assert lines.state_words("queued\x1b", before=0) == "queued⟨U+001B⟩"


@pytest.mark.parametrize(("state", "hold", "before", "words"), [
    ("running", "waiting-for-worker", 0, "waiting for the worker"), ("running", "", 0, "running"),
    ("queued", "", 3, "queued, 3 before it"), ("queued", "", 0, "queued"), ("running", "", 3, "running"),
    ("running", "retrying", 3, "trying again"), ("merged", "", 2, "merged"),
])  # fmt: skip
def test_a_state_says_what_it_waits_for(state: str, hold: str, before: int, words: str) -> None:
    assert lines.state_words(state, hold, before) == words


# --- the view -----------------------------------------------------------------------------------------------------


def test_a_hold_stays_in_view_until_the_run_goes_on_or_is_over() -> None:
    began: Events = [("state", {"state": "running"}), ("hold", AWAY)]
    assert viewed(*began).hold == ("waiting-for-worker", "worker desk does not answer")
    assert viewed(*began, ("state", {"state": "running"})).hold[0] == "waiting-for-worker"
    assert viewed(*began, ("note", {"text": "n"})).hold[0] == "waiting-for-worker"
    assert viewed(*began, ("hold", OVER)).hold == ("", "")
    for state in ("failed", "cancelled", "queued", "waiting"):
        assert viewed(*began, ("state", {"state": state})).hold == ("", "")


def test_how_many_go_first_is_in_view_while_it_is_told() -> None:
    assert viewed(("state", {"state": "queued", "before": 2})).before == 2
    assert viewed(("state", {"state": "queued", "before": 2}), ("state", {"state": "running"})).before == 0


@pytest.mark.parametrize("data", [{}, {"what": None}, {"what": 5, "text": ["x"]}, {"what": {}, "text": None}])
def test_a_hold_of_another_shape_breaks_nothing(data: dict[str, Any]) -> None:
    view = viewed(("state", {"state": "running"}), ("hold", data))
    assert drawn(screen.under_way(view, 105.0, 60))
    assert len(lines.event_lines(view, "hold", data, 60)) == 1


# --- where it is seen ---------------------------------------------------------------------------------------------


def test_a_log_has_a_line_when_it_begins_and_one_when_it_ends() -> None:
    assert told([("state", {"state": "running"}), ("hold", AWAY), ("hold", OVER)]) == [
        "= running", "! waiting for the worker: worker desk does not answer", "· it goes on"
    ]  # fmt: skip


@pytest.mark.parametrize("cells", [20, 40, 100])
def test_the_screen_shows_it_above_the_foot_and_in_it(cells: int) -> None:
    view = viewed(
        ("state", {"state": "running"}), ("step.started", {"step": "code.1", "title": "code"}), ("hold", AWAY)
    )
    rows = drawn(screen.under_way(view, 105.0, cells), cells).rstrip("\n").split("\n")
    assert len(rows) == 3
    assert rows[1].startswith("  ! waiting for the"[:cells])
    assert "waiting for" in rows[2]
    assert all(len(row) <= cells for row in rows)
    assert "running" not in rows[2]


def test_a_queued_run_shows_its_place_on_the_screen() -> None:
    assert "queued, 4 before it" in drawn(
        screen.under_way(viewed(("state", {"state": "queued", "before": 4})), 105.0, 80)
    )


def test_how_a_run_stands_names_its_hold_and_since_when() -> None:
    since_s = time.mktime((2026, 11, 21, 21, 20, 59, 0, 0, -1))
    hold = {"kind": "paused-disk-full", "text": "free some\nspace", "since_s": since_s}
    assert summary.ending_lines({"run": "r", "state": "running", "hold": hold})[1] == (
        "  ! paused, a disk is full, since 11-21 21:20:59: free some space"
    )


def test_a_run_that_was_moved_away_is_not_said_to_go_on_here() -> None:
    moved = {"run": "r", "state": "cancelled", "moved": True, "message": "moved to another machine"}
    assert not any("tandem resume" in line for line in summary.ending_lines(moved))


class Holding(Play):
    """A run at work that waits, as the router tells of it."""

    more: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        return {**super().summary(), **self.more}


def listed(folder: Path, **more: Any) -> str:
    """Return the row of `tandem runs` for one run."""
    play = Holding(phases=a_whole_run())
    play.more = more
    with little_router(folder, play):
        return tandem(folder, "runs").stdout.splitlines()[1]


def test_the_list_of_runs_says_what_each_waits_for(tmp_path: Path) -> None:
    hold = {"kind": "waiting-for-worker", "text": "x", "since_s": 1.0}
    assert "waiting for the worker" in listed(tmp_path, state="running", hold=hold, before=None)
    assert "queued, 2 before it" in listed(tmp_path, state="queued", hold=None, before=2)


def test_a_run_that_is_followed_tells_of_its_hold_in_lines_and_as_json(tmp_path: Path) -> None:
    phases = [[("state", {"state": "running"}), ("hold", AWAY), ("hold", OVER), ("state", {"state": "merged"})]]
    with little_router(tmp_path, Play(phases=phases)):
        plain = tandem(tmp_path, "run", "x", "--repo", str(tmp_path))
        as_json = tandem(tmp_path, "run", "x", "--repo", str(tmp_path), "--json")
    said = plain.stdout + plain.stderr
    assert said.index("! waiting for the worker: worker desk does not answer") < said.index("· it goes on")
    assert '"waiting-for-worker"' in as_json.stdout


def test_how_long_it_waits_is_counted_from_its_beginning() -> None:
    from cli.commands.machines import _held

    held = {"run": "1120-a", "kind": "waiting-for-worker", "text": "away", "since_s": time.time() - 120}
    assert _held(held) == "run 1120-a, for 2 min 00 s: ! waiting for the worker: away"
    assert _held({"since_s": time.time() + 60}).startswith("run , for 0")
