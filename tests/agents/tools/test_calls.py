"""Reading tool calls out of replies: what local models write, what must not be executed, and how long it may take."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.replies import Code, Review
from agents.tools.calls import CallsRead, read_calls
from agents.tools.catalogue import TOOLS, finish
from tandem.types import Json, Reply, ToolCall

OFFERED = [*TOOLS.values(), finish(Code)]
READ = ("read_file", {"path": "a.py"})


def read(text: str, *, cut: bool = False) -> CallsRead:
    return read_calls(Reply(text=text, finish="length" if cut else "stop"), OFFERED)


def made(found: CallsRead) -> list[tuple[str, dict[str, Json]]]:
    return [(call.name, dict(call.arguments)) for call in found.calls]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>",
        "Let me look.\n\n<function=read_file>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>a.py</parameter>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.py\n</function>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.py",
        '<function name="read_file"><parameter name="path">a.py</parameter></function>',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}}',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}\n</tool_call>',
        "<tool_call>{'name': 'read_file', 'arguments': {'path': 'a.py'}}</tool_call>",
        '<tool_call>{"name": "functions.Read-File", "arguments": {"file_path": "a.py",}}</tool_call>',
        '{"function": {"name": "read_file", "arguments": "{\\"path\\": \\"a.py\\"}"}}',
        'I will read it.\n```json\n{"name": "read_file", "parameters": {"path": "a.py"}}\n```',
        '{"tool": "read_file", "path": "a.py"}',
        '{"read_file": {"path": "a.py"}}',
        '[TOOL_CALLS][{"name": "read_file", "arguments": {"path": "a.py"}}]',
        '```tool_code\nread_file(path="a.py")\n```',
        '```python\nprint(read_file("a.py"))\n```',
        '<think>Should I delete_file(path="a.py")?</think>\n{"name": "read_file", "arguments": {"path": "a.py"}}',
    ],
)
def test_a_call_is_read_in_any_of_its_forms(text: str) -> None:
    assert made(read(text)) == [READ]


@pytest.mark.parametrize(
    "text",
    [
        'For example, you would write:\n```json\n{"name": "delete_file", "arguments": {"path": "a.py"}}\n```\nDone.',
        "I already called `<function=delete_file><parameter=path>a.py</parameter></function>` before.",
        '<think><tool_call>{"name": "delete_file", "arguments": {"path": "a"}}</tool_call></think>All good.',
        "```js\ndelete_file('a.py')\n```",
        'To undo it, do not use <tool_call>{"name": "delete_file", "arguments": {"path": "a"}}</tool_call> yet.',
    ],
)  # fmt: skip
def test_what_is_quoted_or_only_thought_is_no_call(text: str) -> None:
    found = read(text)
    assert found.calls == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<tool_call>{"name": "bash", "arguments": {"command": "rm -rf /"}}</tool_call>', "no tool 'bash'"),
        ('<tool_call>{"name": "read_file", "arguments": {"start": 3}}</tool_call>', "needs path"),
        ('<tool_call>{"name": "read_file", "arguments": {"path": ["a", "b"]}}</tool_call>', "must be a text"),
        ('<tool_call>{"name": "read_file", "arguments": {"path": "a", "start": "three"}}</tool_call>', "whole number"),
        ('<tool_call>{"name": "read_file", "arguments": {"path": "a\n</tool_call>', "cannot be read"),
        ("<tool_call>\nread the file\n</tool_call>", "neither JSON nor"),
        ("<function=read_file>\n<parameter=path>a</parameter>\n<parameter=path>b</parameter>\n</function>", "twice"),
    ],
)
def test_what_cannot_be_one_call_is_a_problem_in_words(text: str, problem: str) -> None:
    found = read(text)
    assert found.calls == ()
    assert problem in found.problems[0]


def test_a_call_cut_off_at_the_limit_is_never_done_with_half_a_file() -> None:
    head = "<tool_call>\n<function=write_file>\n<parameter=path>\na.py\n</parameter>\n<parameter=content>\nhalf"
    assert read(head, cut=True).calls == ()
    assert "cut off" in read(head, cut=True).problems[0]
    whole = '<tool_call>{"name": "write_file", "arguments": {"path": "a.py", "content": "half'
    assert read(whole, cut=True).calls == ()


def test_a_call_inside_a_file_s_content_is_content() -> None:
    inner = "<tool_call>\n<function=delete_file>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>"
    text = (
        "<tool_call>\n<function=write_file>\n<parameter=path>\nd.md\n</parameter>\n"
        f"<parameter=content>\nUse:\n{inner}\nend\n</parameter>\n</function>\n</tool_call>"
    )
    assert made(read(text)) == [("write_file", {"path": "d.md", "content": f"Use:\n{inner}\nend"})]


def test_several_calls_keep_their_order_and_prose_is_left() -> None:
    text = (
        "First this.\n<tool_call>\n<function=list_files>\n</function>\n</tool_call>\n"
        '<tool_call>{"name": "run_tests", "arguments": {}}</tool_call>'
    )
    found = read(text)
    assert [call.name for call in found.calls] == ["list_files", "run_tests"]
    assert [call.id for call in found.calls] == ["call-1", "call-2"]
    assert found.text == "First this."


def test_a_typed_reply_is_left_alone() -> None:
    for text in ('{"note": "done", "files": []}', '```json\n{"findings": [], "verdict": "approve"}\n```'):
        found = read_calls(Reply(text=text), [*TOOLS.values(), finish(Review)])
        assert (found.calls, found.problems, found.text) == ((), (), text)


def test_native_calls_are_fitted_as_well() -> None:
    call = ToolCall(id="x9", name="read_file", arguments={"path": "a.py", "start": "3", "why": "to see"})
    found = read_calls(Reply(text="", tool_calls=(call,)), OFFERED)
    assert found.calls == (ToolCall(id="x9", name="read_file", arguments={"path": "a.py", "start": 3}),)
    assert len(found.repairs) == 2


@pytest.mark.parametrize(
    "bad",
    ["<function=", "{", "<tool_call>", "[{", "```\n", "<parameter=a>", "<tool_call>{", "'{", "<think>", '{"name": "',
     "</parameter>", "<function=read_file><parameter=path>", "<function=read_file>\n<parameter=path>\n</parameter>"],
)  # fmt: skip
def test_hostile_text_takes_little_time(bad: str) -> None:
    began = time.process_time()
    found = read(bad * (200_000 // len(bad)))
    assert time.process_time() - began < 5
    assert len(found.calls) <= 32


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t<>{}\"'`"), max_size=60)
ARGUMENTS = st.fixed_dictionaries({"path": st.from_regex(r"[a-z]{1,8}\.py", fullmatch=True), "content": VALUES})


@given(ARGUMENTS)
def test_json_calls_come_back_as_they_were(arguments: dict[str, str]) -> None:
    text = json.dumps({"name": "write_file", "arguments": arguments})
    assert made(read(f"<tool_call>\n{text}\n</tool_call>")) == [("write_file", arguments)]


@given(ARGUMENTS)
def test_xml_calls_come_back_as_they_were_or_are_a_problem(arguments: dict[str, str]) -> None:
    rows = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    found = read(f"<tool_call>\n<function=write_file>\n{rows}</function>\n</tool_call>")
    assert made(found) == [("write_file", arguments)] or found.problems


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = read(text)
    assert all(call.name in TOOLS or call.name == "finish" for call in found.calls)
