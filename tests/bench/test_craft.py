"""The thresholds of the craft, over its own corpora, and recorded calls played again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.tools import edits
from agents.tools.calls import read_calls
from bench.craft import calls, recorded, transcripts
from bench.craft import edits as near_misses
from bench.craft import run as play_all
from tandem.errors import BadInput
from tandem.types import Reply


def test_malformed_calls_are_recovered_and_none_is_wrongly_executed() -> None:
    found = calls.play()
    assert (found["cases"], found["wrongly_executed"]) == (200, 0), found["wrong"]
    assert found["recovered_share"] >= 0.95, found["lost"]


def test_every_damage_to_every_call_has_one_reading() -> None:
    for name, damage in calls.DAMAGES.items():
        for call in calls.CALLS:
            text = damage(call)
            made = read_calls(Reply(text=text), calls.OFFERED).calls if text else ()
            assert text is None or [(one.name, dict(one.arguments)) for one in made] == [call], name


def test_near_miss_edits_are_applied_rightly_or_refused() -> None:
    found = near_misses.play()
    assert (found["cases"], found["wrongly_applied"]) == (100, 0), found["wrong"]
    assert found["applied_share"] >= 0.9, found["refused_though_right"]


def test_every_loop_ends_within_three_repeats_and_honest_work_is_left_alone() -> None:
    loops, honest = transcripts.play_loops(), transcripts.play_honest()
    assert (loops["cases"], loops["ended_in_time"]) == (50, 50), loops["late"]
    assert (honest["cases"], honest["false_alarms"]) == (50, 0), honest


def test_the_corpora_notice_a_parser_that_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.tools.textcalls import quoting

    monkeypatch.setattr(quoting, "announced_as_example", lambda _text, _since, _at: False)
    monkeypatch.setattr(quoting, "inline", lambda _text, _at: False)
    assert calls.play()["wrongly_executed"] >= 5


def test_the_corpora_notice_an_edit_that_takes_the_first_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(text: str, old: str, new: str, path: str) -> edits.Edited | None:
        del path
        return edits.Edited(text=text.replace(old, new, 1), how="") if old in text else None

    monkeypatch.setattr(edits, "_exact", first)
    assert near_misses.play()["wrongly_applied"] >= 1


def test_the_corpora_notice_a_detector_that_sleeps_and_one_that_panics(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents import stuck

    monkeypatch.setattr(stuck, "END_AT", 6)
    assert transcripts.play_loops()["ended_in_time"] < 50
    monkeypatch.setattr(stuck, "END_AT", 1)
    assert transcripts.play_honest()["false_alarms"] > 0


def test_all_of_it_is_one_object(tmp_path: Path) -> None:
    assert set(json.loads(json.dumps(play_all(True)))) == {"tool_calls", "edits", "loops", "honest"}


def test_recorded_calls_are_played_again(tmp_path: Path) -> None:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}}
    tool = {"name": "read_file", "description": "", "parameters": parameters}
    messages = [{"role": "system", "content": "s", "tool_calls": [], "tool_call_id": ""}]
    rows: list[str] = []
    for turn in range(1, 6):
        reply = {
            "text": '<tool_call>{"name": "read-file", "arguments": {"path": "a"}}',
            "tool_calls": [],
            "finish": "stop",
        }
        call = {
            "run": "r",
            "step": "code.1",
            "persona": "coder",
            "turn": turn,
            "messages": list(messages),
            "tools": [tool],
        }
        rows.append(json.dumps({**call, "reply": reply}))
        messages += [
            {"role": "assistant", "content": reply["text"], "tool_calls": [], "tool_call_id": ""},
            {
                "role": "user",
                "content": "<tool_response>\n1| x\n</tool_response>",
                "tool_calls": [],
                "tool_call_id": "",
            },
        ]
    file = tmp_path / "calls.jsonl"
    file.write_text("\n".join(rows) + "\n", "utf-8")
    found = recorded.play(file)["r/code.1/coder"]
    assert (found["turns"], found["tool_calls"]) == (5, 5)
    assert "turn 4: end, repetition" in found["judged"]
    assert found["repairs"]


def test_a_file_that_holds_something_else_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"messages": []}\nnothing\n', "utf-8")
    with pytest.raises(BadInput, match="line 2"):
        recorded.play(file)
