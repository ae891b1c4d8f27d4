"""When work goes nowhere: what is noticed, when, and what is not."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from agents.stuck import Judgement, Turn, Watch
from tandem.types import Json, ToolCall


def turn(name: str, result: str = "ok", *, failed: bool = False, tree: str = "t", **arguments: Json) -> Turn:
    call = ToolCall(id="1", name=name, arguments=arguments)
    return Turn(calls=(call,), results=(result,), failed=(failed,), tree=tree)


def played(turns: Iterable[Turn]) -> list[Judgement]:
    watch = Watch()
    return [watch.look(one) for one in turns]


def actions(turns: Iterable[Turn]) -> list[str]:
    return [judged.action for judged in played(turns)]


def test_the_same_call_with_the_same_result_is_nudged_once_and_then_ended() -> None:
    same = turn("read_file", "text", path="a.py")
    judged = played([same] * 4)
    assert [j.action for j in judged] == ["go on", "go on", "nudge", "end"]
    assert judged[-1].failure == "repetition"


def test_going_back_and_forth_is_alternation() -> None:
    judged = played([turn("read_file", path=path) for path in ("a", "b") * 4])
    assert judged[-1].failure == "alternation"
    assert judged[-1].action == "end"


def test_an_edit_that_keeps_failing_in_other_words_is_no_progress() -> None:
    tries = [turn("replace_in_file", "not found", failed=True, path="a.py", old=f"x{n}", new="y") for n in range(4)]
    judged = played(tries)
    assert [j.action for j in judged] == ["go on", "go on", "nudge", "end"]
    assert judged[-1].failure == "no progress"


def test_the_same_failing_tests_after_each_edit_are_no_progress() -> None:
    turns = [
        one
        for n in range(4)
        for one in (
            turn("replace_in_file", path="a.py", old=str(n), new="y", tree=f"t{n}"),
            turn("run_tests", f"1 failed in {n}.2s: assert 1 == 2", tree=f"t{n}"),
        )
    ]
    assert played(turns)[-1].failure == "no progress"


def test_edits_that_undo_each_other_are_alternation() -> None:
    turns = [turn("replace_in_file", f"v{n}", path="a.py", old=f"{n}", new="", tree="ab"[n % 2]) for n in range(8)]
    assert "alternation" in {judged.failure for judged in played(turns)}
    assert "end" in actions(turns)


def test_empty_replies_end_at_the_third_repeat_at_the_latest() -> None:
    assert actions([Turn()] * 4)[:3] == ["go on", "nudge", "end"]


def test_talk_and_empty_replies_together_are_no_way_round() -> None:
    assert "end" in actions([Turn(text="Sure!"), Turn(), Turn(text="I will."), Turn()])


def test_a_reply_with_a_call_clears_silence() -> None:
    turns = [
        Turn(text="hm"),
        turn("read_file", path="a"),
        Turn(text="hm"),
        turn("read_file", path="b"),
        Turn(text="hm"),
    ]
    assert set(actions(turns)) == {"go on"}


def test_paging_through_a_file_and_testing_after_each_real_change_is_honest() -> None:
    paging = [turn("read_file", f"lines {n}", path="a.py", start=n) for n in range(1, 1000, 100)]
    mending = [
        one
        for n in range(6)
        for one in (
            turn("replace_in_file", path="a.py", old=str(n), new="y", tree=f"t{n}"),
            turn("run_tests", f"{6 - n} failed: {'x' * (6 - n)}", tree=f"t{n}"),
        )
    ]
    assert set(actions([*paging, *mending])) == {"go on"}


CALLS = st.builds(
    lambda n, p, r: turn(n, r, path=p), st.sampled_from(["read_file", "search"]), st.text("ab"), st.text("xy")
)


@given(st.lists(CALLS, min_size=1, max_size=4), st.integers(1, 3))
def test_every_cycle_of_up_to_four_turns_ends_within_three_repeats(block: list[Turn], lead: int) -> None:
    before = [turn("list_files", str(n), path=str(n)) for n in range(lead)]
    assert "end" in actions([*before, *block * 4])


@given(st.lists(st.text(min_size=1), unique=True, max_size=30))
def test_looking_at_something_new_each_turn_never_alarms(paths: list[str]) -> None:
    assert set(actions(turn("read_file", f"text of {path}", path=path) for path in paths)) <= {"go on"}


def test_fewer_failures_each_time_are_progress_and_the_same_ones_slower_are_not() -> None:
    better = [
        turn("run_tests", f"{count} failed, 3 passed in 0.{count}s", tree=str(count)) for count in range(30, 20, -1)
    ]
    assert set(actions(better)) == {"go on"}
    slower = [turn("run_tests", f"a.py:1{n}: 2 failed in {n}.5 s", tree=str(n)) for n in range(8)]
    assert "end" in actions(slower)


def test_one_nudge_for_each_kind_of_trouble() -> None:
    judged = actions([turn("read_file", path=path) for path in ("a", "b", "c", "d") * 4])
    assert judged.count("nudge") == 1
    assert judged.index("nudge") < judged.index("end")
