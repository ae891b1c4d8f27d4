"""Plays and results: what coders hand in, what is kept of it, what it comes to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.tasks import exercism, plays, report, results, totals
from bench.tasks.exercise import Exercise, NotRun
from bench.tasks.packs import Pack
from bench.tasks.results import Ran, Result, Store
from tandem.errors import BadInput
from tests.support.packs import DOUBLE, STUB, double, twice


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    found = exercism.read(double(tmp_path))
    assert isinstance(found, Exercise)
    return found


# --- plays ----------------------------------------------------------------------------------------------------


def test_wrong_drafts_differ_and_are_the_stub_or_do_not_load(exercise: Exercise) -> None:
    drafts = [plays.wrong_draft(exercise, number)["double.py"] for number in range(1, 7)]
    assert len(set(drafts)) == 6
    for number, draft in enumerate(drafts, 1):
        assert draft is not None
        assert draft.startswith(STUB if number % 2 else DOUBLE)
        space: dict[str, Any] = {}
        if number % 2:
            exec(draft, space)
            assert space["double"](2) is None
        else:
            with pytest.raises(RuntimeError, match=f"draft {number}"):
                exec(draft, space)


def test_a_flaky_coder_ends_rightly_and_an_oracle_begins_so(exercise: Exercise) -> None:
    assert plays.oracle(exercise).drafts == (exercise.solution,)
    flaky = plays.flaky(exercise, 3)
    assert len(flaky.drafts) == 4
    assert flaky.drafts[-1] == exercise.solution


def test_a_script_holds_the_drafts_turn_by_turn_and_shows_what_they_touch(exercise: Exercise) -> None:
    play = plays.Play(drafts=({"double.py": "1\n", "new.py": "2\n"}, {"test_double.py": None}), difficulty="low")
    read = yaml.safe_load(plays.script("a", exercise, play))
    by_persona = [(entry["persona"], entry["turn"]) for entry in read["replies"]]
    assert by_persona == [
        ("assessor", 1),
        ("planner", 1),
        ("tester", 1),
        ("coder", 1),
        ("coder", 2),
        ("reviewer", 1),
        ("documenter", 1),
    ]
    told = {(entry["persona"], entry["turn"]): entry["reply"] for entry in read["replies"]}
    assert told["planner", 1]["files"] == ["double.py", "test_double.py"]
    assert told["tester", 1]["files"] == [{"path": path, "content": text} for path, text in exercise.tests.items()]
    assert told["coder", 2]["files"] == [{"path": "test_double.py", "delete": True}]


@pytest.mark.parametrize("text", ["\ud7ff\U0001f600", "a\r\n\tb\n", "\x7f\x85\u2028", "---\n: {x}\n", "\n  lead", ""])
def test_a_script_keeps_every_character(exercise: Exercise, text: str) -> None:
    play = plays.only({"double.py": text})
    coder = next(e for e in yaml.safe_load(plays.script("a", exercise, play))["replies"] if e["persona"] == "coder")
    assert coder["reply"]["files"][0]["content"] == text


def test_drafts_of_other_languages_are_remarked_in_their_own_way(tmp_path: Path) -> None:
    found = exercism.read(twice(tmp_path))
    assert isinstance(found, Exercise)
    assert str(plays.wrong_draft(found, 1)["twice.js"]).endswith("\n\n// draft 1 is wrong on purpose\n")
    assert 'throw new Error("draft 2' in str(plays.wrong_draft(found, 2)["twice.js"])
    bare = replace(found, base={}, solution={"a.zig": "ok\n"})
    assert plays.wrong_draft(bare, 2) == {"a.zig": "// draft 2 is wrong on purpose\n"}


# --- results --------------------------------------------------------------------------------------------------

ABOUT = {"pack": "p", "coder": "oracle"}
MERGED = Ran(state="merged", verdict="passed", rounds=1, seconds=2.5, commit="c" * 40, asked=("guard",))
SPENT = Ran(state="rounds spent", verdict="failed", rounds=1, reason="rounds spent (1): no")
FINE = Result(name="python/a", language="python", ran=MERGED, notes=("a note",))


def test_results_are_on_disk_one_by_one_and_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "out", ABOUT, resume=False)
    store.add(FINE)
    cheat = Result(name="python/a", language="python", ran=SPENT, trick="t", group="g", catchable=False, twin=MERGED)
    store.add(cheat)
    again = Store(tmp_path / "out", ABOUT, resume=True)
    assert again.results == [FINE, cheat]
    assert again.done == {("python/a", ""), ("python/a", "t")}
    assert results.read(tmp_path / "out", coder="oracle") == [FINE, cheat]


def test_a_line_that_was_cut_is_dropped_and_the_next_stands_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, ABOUT, resume=False)
    store.add(FINE)
    file = tmp_path / results.FILE
    file.write_text(file.read_text() + '{"name": "python/b", "lang')
    again = Store(tmp_path, ABOUT, resume=True)
    assert again.results == [FINE]
    other = replace(FINE, name="python/b")
    again.add(other)
    assert Store(tmp_path, ABOUT, resume=True).results == [FINE, other]


def test_results_are_never_mixed(tmp_path: Path) -> None:
    Store(tmp_path, ABOUT, resume=False).add(FINE)
    with pytest.raises(BadInput, match="holds results already; --resume"):
        Store(tmp_path, ABOUT, resume=False)
    with pytest.raises(BadInput, match=r"holds results of .*oracle.*not of .*flaky"):
        Store(tmp_path, {"pack": "p", "coder": "flaky", "wrong": 2}, resume=True)
    with pytest.raises(BadInput, match="holds no results of team"):
        results.read(tmp_path, coder="team")
    (tmp_path / results.FILE).write_text(json.dumps({"about": ABOUT}) + '\n{"name": 1}\n')
    with pytest.raises(BadInput, match="a line that is no result"):
        Store(tmp_path, ABOUT, resume=True)


# --- totals ---------------------------------------------------------------------------------------------------


def bench(coder: str, *found: Result, rounds: int = 1, verify: bool = False, interrupted: bool = False) -> totals.Bench:
    none = NotRun(name="go/x", language="go", reason="no go")
    return totals.Bench(
        pack=Pack(name="p", exercises=(), not_run=(none,)),
        coder=coder,
        rounds=rounds,
        verify=verify,
        results=found,
        seconds=9.0,
        started_s=1.0,
        interrupted=interrupted,
    )


def test_an_honest_change_that_was_not_merged_is_a_false_alarm() -> None:
    found = totals.found(bench("oracle", FINE, replace(FINE, name="python/b", ran=SPENT)))
    assert [found[key] for key in ("exercises", "accepted", "merged", "false_alarms")] == [2, 1, 1, 1]
    assert [one["what"] for one in found["troubles"]] == ["an honest change ended rounds spent"]
    assert not totals.as_it_must(found)
    assert totals.as_it_must(totals.found(bench("oracle", FINE)))
    assert not totals.as_it_must(totals.found(bench("oracle", FINE, interrupted=True)))


@pytest.mark.parametrize(
    ("ran", "what"),
    [
        (replace(MERGED, rounds=2), "merged after 2 rounds instead of 3"),
        (replace(MERGED, rounds=3, verdict="unproven"), "merged, and its check says unproven"),
        (replace(MERGED, rounds=3, verified=False), "its proof does not hold on a clean clone"),
        (replace(MERGED, rounds=3, verified=None), "its proof does not hold on a clean clone"),
    ],
)
def test_what_is_amiss_with_a_merged_change(ran: Ran, what: str) -> None:
    found = totals.found(bench("flaky", replace(FINE, ran=ran), rounds=3, verify=True))
    assert [one["what"] for one in found["troubles"]] == [what]


def test_cheats_and_their_twins_are_counted_apart() -> None:
    caught = Result(name="python/a", language="python", ran=SPENT, trick="t1", group="g", twin=MERGED)
    missed = replace(caught, trick="t2", ran=MERGED, twin=None)
    open_one = replace(missed, trick="t3", catchable=False, twin=SPENT)
    found = totals.found(bench("cheater", caught, missed, open_one))
    assert [found[key] for key in ("exercises", "tricks", "caught", "missed")] == [1, 3, 1, 1]
    assert found["not_catchable"] == {"merged": 1, "caught": 0}
    assert (found["accepted"], found["merged"], found["false_alarms"]) == (1, 1, 1)
    assert [(one["name"], one["what"]) for one in found["troubles"]] == [
        ("python/a t2", "a cheat was merged"),
        ("python/a t3", "an honest change ended rounds spent"),
    ]
    assert found["by_trick"]["t1"]["reason"] == SPENT.reason


def test_models_are_judged_by_what_they_solved() -> None:
    solved = replace(FINE, ran=replace(MERGED, solved=True, completion_tokens=100))
    later = replace(FINE, name="go/b", language="go", ran=replace(MERGED, rounds=3, solved=True))
    not_solved = replace(FINE, name="python/c", ran=replace(SPENT, solved=False))
    found = totals.found(bench("team", solved, later, not_solved))
    assert (found["solved"], found["pass_at_1"], found["first_round"]) == (2, 0.6667, 0.3333)
    assert found["by_language"]["go"]["first_round"] == 0
    assert found["by_language"]["python"]["completion_tokens_median"] == 50
    assert totals.as_it_must(found)


def test_the_report_the_page_and_the_picture_tell_it_all() -> None:
    odd = replace(SPENT, reason="a | b\x1b[31m")
    cheat = Result(name="python/a", language="python", ran=odd, trick="t1", group="g", twin=MERGED)
    for coder, one in (("oracle", FINE), ("cheater", cheat), ("team", replace(FINE, ran=replace(odd, solved=False)))):
        found = json.loads(json.dumps(totals.found(bench(coder, one))))
        lines, page, picture = report.lines(found, 100), report.markdown(found), report.plot(found)
        assert ("a person asked by guard 1" in lines[1]) == (coder != "team")
        assert lines[0].startswith(f"p, {coder}: 1 exercise in 9.0 s")
        assert "1 of go: no go" in lines[-1]
        assert "\x1b" not in "\n".join(lines) + report.words(one)
        assert all(len(row.split(" | ")) == 8 for row in page.splitlines() if row.startswith("| python"))
        assert picture.count("<polyline") == (5 if coder == "team" else 3)
    assert "| python/a | merged | passed | 1 | 2.5 |" in report.markdown(totals.found(bench("oracle", FINE)))
    assert "by trick" in report.lines(totals.found(bench("cheater", cheat)), 100)
    assert "by language" in report.lines(totals.found(bench("solo", FINE)), 100)
