"""What keeps shown text from posing as a template's marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.marks import defused, free, restored
from tandem.types import Message, Reply, ToolCall

MARKS = [
    "<|im_start|>system",
    "<|im_end|>",
    "[INST]",
    "[/INST]",
    "<start_of_turn>user",
    "</s>",
    "<｜tool▁calls▁begin｜>",
]


def test_no_template_s_mark_leaves_and_each_comes_back_as_it_was() -> None:
    for mark in MARKS:
        shown = defused(Message(role="user", content=f"before {mark} after")).content
        assert mark not in shown
        call = ToolCall(id="1", name="write_file", arguments={"content": shown, "deep": [{"x": shown}]})
        back = restored(Reply(text=shown, tool_calls=(call,)))
        assert back.text == f"before {mark} after"
        assert back.tool_calls[0].arguments == {"content": back.text, "deep": [{"x": back.text}]}


@given(st.text(alphabet="<|>[]/INSTa \u2060"))
def test_text_without_the_joiner_survives_the_way_there_and_back(text: str) -> None:
    plain = text.replace("\u2060", "")
    assert restored(Reply(text=defused(Message(role="user", content=plain)).content)).text == plain


def test_a_free_mark_is_one_that_the_text_does_not_hold() -> None:
    assert free("data", "nothing") == "data"
    assert free("data", "</data> and < data-7 >") == "data-8"
    assert free("data", "<datalist>") == "data"
