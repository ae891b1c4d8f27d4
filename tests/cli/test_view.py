import io
import runpy
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.render import lines, screen, summary
from cli.render.text import cell_width
from cli.render.view import REHEARSAL, View, fold
from tests.cli.little_router import QUESTION, Events, a_whole_run, call, check, step

KINDS = ["state", "step.started", "step.finished", "call.started", "call.tokens", "call.finished", "check.started",
         "check.progress", "check.finished", "note", "question", "answer", "of.tomorrow"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(0, 1e6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["step", "title", "persona", "model", "seconds", "tokens", "failures", "question", "command", "text", "at_s"]


def _view(events: Events) -> View:
    view = View()
    for at, (kind, data) in enumerate(events):
        view = fold(view, kind, {"run": "r", "at_s": 100.0 + at, **data})
    return view


def _drawn(what: Any, cells: int = 100) -> str:
    console = Console(file=io.StringIO(), width=cells, force_terminal=False, markup=False, highlight=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def test_a_run_folds_into_steps_with_their_calls_and_checks() -> None:
    view = _view([event for phase in a_whole_run() for event in phase])
    assert [step.name for step in view.steps] == ["plan.1", "specify.1", "code.1", "code.2", "approve.1", "merge.1"]
    planner, tests = view.steps[0].calls[0], view.steps[1].checks[0]
    assert (planner.model, planner.node, planner.tokens, planner.seconds) == ("qwen2.5:7b", "studio", 51, 2.0)
    assert (tests.passed, tests.failed, tests.red_wanted) == (5, 2, True)
    assert (view.state, view.commit, view.verdict) == ("merged", "c0ffee00" * 5, "passed")
    assert view.notes == (("warning", "the checkout has moved"),)


def test_a_call_under_way_shows_who_speaks_how_fast_and_the_time_expected() -> None:
    view = _view([("step.started", {"step": "code.1", "title": "code"}), *[
        (kind, {"step": "code.1", **data}) for kind, data in call("coder")[:2]]])  # fmt: skip
    drawn = _drawn(screen.under_way(view, 105.0, 100))
    for told in ("coder", "qwen2.5:7b", "40 tokens", "20 tokens/s", "4.0 s of about 4.0 s", "the last words"):
        assert told in drawn


def test_red_tests_are_good_when_failing_is_what_they_are_for() -> None:
    view = _view(step("specify.1", *check("red.c0ffee", "failed", 5, 2)))
    tests = view.steps[0].checks[0]
    assert lines.check_good(tests)
    assert "2 failed (red, as they must be)" in lines.check_line(tests, 0)
    assert not lines.failure_lines(tests, 80)


def test_failures_of_tests_that_should_pass_are_named() -> None:
    tests = _view(step("code.1", *check("draft", "failed", 3, 7))).steps[0].checks[0]
    told = lines.failure_lines(tests, 80)
    assert told[0] == "tests/test_words.py::test_0: AssertionError"
    assert told[-1] == "and 2 more"


def test_a_rehearsal_is_marked_wherever_a_run_is_shown() -> None:
    events = [event for phase in a_whole_run(rehearsed=True) for event in phase]
    view = _view(events[:3])
    assert view.rehearsed
    assert REHEARSAL in _drawn(screen.under_way(view, 105.0, 120))
    assert REHEARSAL in _drawn(screen.finished(_view(events).steps[0], 120))
    assert any(REHEARSAL in line for kind, data in events for line in lines.event_lines(_view(events), kind, data, 100))
    assert any(REHEARSAL in line for line in summary.ending_lines({"run": "r", "state": "merged", "rehearsed": True}))


def test_no_line_of_the_screen_is_wider_than_the_terminal() -> None:
    korean = "한국어로 쓴 아주 긴 제목과 설명 " * 6
    events: Events = [
        ("step.started", {"step": "code.1", "title": korean}),
        ("call.started", {"step": "code.1", "persona": "coder", "model": "m" * 90}),
        ("call.tokens", {"step": "code.1", "persona": "coder", "tokens": 3, "tokens_s": 2.0, "tail": korean}),
    ]
    for cells in (40, 60, 100):
        head = _drawn(screen.title({"run": "r", "title": korean, "repo": korean, "branch": "main"}, cells), 400)
        block = _drawn(screen.under_way(_view(events), 120.0, cells), 400)
        assert all(cell_width(line.rstrip()) <= cells for line in (head + block).splitlines())


def test_words_of_a_model_cannot_move_the_cursor() -> None:
    sly = "\x1b[2J\x1b]0;owned\x07\u202eevil"
    view = _view([
        ("step.started", {"step": "code.1", "title": sly}),
        ("call.started", {"step": "code.1", "persona": sly, "model": sly}),
        ("call.tokens", {"step": "code.1", "tail": sly}),
        ("note", {"text": sly}),
    ])  # fmt: skip
    drawn = _drawn(screen.under_way(view, 120.0, 200)) + lines.note_line(*view.notes[0])
    assert not any(c in drawn for c in "\x1b\x07\u202e")


def test_the_proof_is_told_red_to_green_and_loudly_when_it_is_none() -> None:
    told = lines.proof_lines(QUESTION)
    assert told[0].startswith("proof: red 2 failing on the base → green 7 passing")
    bare = {**QUESTION, "details": {**QUESTION["details"], "proven": False}}
    assert lines.proof_lines(bare)[0].startswith("NOT PROVEN")
    without = {**QUESTION, "details": {**QUESTION["details"], "sandbox": ""}}
    assert "WITHOUT A SANDBOX" in lines.proof_lines(without)[1]


def test_what_is_under_way_is_said_in_plain_words_too() -> None:
    begun = _view([("step.started", {"step": "code.1", "title": "code"})])
    assert lines.progress_line(begun, 103.0) == "    … ▸ code  3.0 s"
    assert lines.progress_line(View(), 103.0) == ""


def test_the_picture_in_the_docs_can_be_drawn_anew_and_says_what_it_is(tmp_path: Path) -> None:
    script = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "make_live_view.py"))
    script["draw"](tmp_path / "view.svg")
    drawn = (tmp_path / "view.svg").read_text("utf-8")
    assert "rehearsal:&#160;no&#160;model&#160;was&#160;asked" in drawn
    assert "url(http" not in drawn.replace('"', "")  # nothing is fetched to look at it


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON)), max_size=12))
def test_no_event_of_another_version_breaks_the_view(events: Events) -> None:
    view = View()
    for kind, data in events:
        view = fold(view, kind, data)
        lines.event_lines(view, kind, {**data, "at_s": 1.0}, 80)
    _drawn(screen.under_way(view, 10.0, 80))


@given(st.dictionaries(st.sampled_from(["kind", "text", "details", "choices", "report", "plan", "calls"]), JSON))
def test_no_summary_of_another_version_breaks_what_is_said(run: dict[str, Any]) -> None:
    summary.detail_lines({**run, "question": run}, 60)
    lines.proof_lines({**run, "kind": "approve"})
