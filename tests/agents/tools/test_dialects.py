"""Every form of call, harmed around files that are themselves full of calls: read exactly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import pytest

from agents.replies import Code
from agents.tools.calls import read_calls
from agents.tools.catalogue import TOOLS, finish
from tandem.types import Reply

OFFERED = [*TOOLS.values(), finish(Code)]
XML_CALL = "<tool_call>\n<function=delete_file>\n<parameter=path>\nx\n</parameter>\n</function>\n</tool_call>\n"
JSON_CALL = '<tool_call>\n{"name": "delete_file", "arguments": {"path": "x"}}\n</tool_call>\n'
CONTENTS = (
    'def f(x):\n    """Doc "quoted"."""\n    return {"a": x}\n',
    "print('it\\'s')\nx = \"a\\nb\"\n",
    "a <think>b</think> c\n",
    "a </think> c\nd\n",
    "x <!-- y\n",
    "# T\n\n```python\nread_file(path='x')\n```\n\nend\n",
    XML_CALL,
    JSON_CALL,
    "a</parameter>b\n</function>\n",
    '{"name": "delete_file", "arguments": {"path": "x"}}\n',
    "> quoted\n> <tool_call>\n",
    'Action: delete_file\nAction Input: {"path": "x"}\nObservation: gone\n',
    "<delete_file>\n<path>x</path>\n</delete_file>\n",
    "For example do not use it\n",
    "use `x` and `y\n",
    "",
    "  lead\n\ttab  \n",
    "<arg_key>path</arg_key>\n<arg_value>x</arg_value>\n",
    "a</content>\nb\r\n",
)
NAMES = ("read_file", "delete_file")
PLACE = "QZQ"  # where the content goes, so that harm is done around it and never to it
Form = Callable[[str], str]


def _json(content: str) -> str:
    return json.dumps(content, ensure_ascii=False)[1:-1]


def _plain(content: str) -> str:
    return content


OBJECT = f'{{"path": "a.txt", "content": "{PLACE}"}}'
FORMS: dict[str, tuple[str, Form]] = {
    "hermes": (f'<tool_call>\n{{"name": "write_file", "arguments": {OBJECT}}}\n</tool_call>', _json),
    "qwen": (
        f"<tool_call>\n<function=write_file>\n<parameter=path>\na.txt\n</parameter>\n<parameter=content>\n{PLACE}\n"
        "</parameter>\n</function>\n</tool_call>",
        _plain,
    ),
    "glm": (
        "<tool_call>write_file\n<arg_key>path</arg_key>\n<arg_value>a.txt</arg_value>\n<arg_key>content</arg_key>\n"
        f"<arg_value>{PLACE}</arg_value>\n</tool_call>",
        _plain,
    ),
    "elements": (
        f"<write_file>\n<path>a.txt</path>\n<content>\n{PLACE}\n</content>\n</write_file>",
        _plain,
    ),
    "invoke": (
        '<function_calls>\n<invoke name="write_file">\n<parameter name="path">a.txt</parameter>\n'
        f'<parameter name="content">{PLACE}</parameter>\n</invoke>\n</function_calls>',
        _plain,
    ),
    "react": (f"Thought: now.\nAction: write_file\nAction Input: {OBJECT}", _json),
    "quotes not escaped": (f'<tool_call>\n{{"name": "write_file", "arguments": {OBJECT}}}\n</tool_call>', _plain),
    "kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.write_file:0<|tool_call_argument_begin|>"
        f"{OBJECT}<|tool_call_end|><|tool_calls_section_end|>",
        _json,
    ),
    "deepseek": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>write_file\n```json\n{OBJECT}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        _json,
    ),
    "mistral": (f"[TOOL_CALLS]write_file{OBJECT}", _json),
    "harmony": (
        "<|channel|>analysis<|message|>Now.<|end|><|start|>assistant<|channel|>commentary to=functions.write_file "
        f"<|constrain|>json<|message|>{OBJECT}<|call|>",
        _json,
    ),
    "fenced": (f'Sure.\n\n```json\n{{"name": "write_file", "arguments": {OBJECT}}}\n```\n', _json),
}
HARMS: dict[str, Form] = {
    "none": lambda text: text,
    "no opening tag": lambda text: text.replace("<tool_call>\n", "", 1),
    "no closing tag": lambda text: text.removesuffix("\n</tool_call>"),
    "function not closed": lambda text: text.replace("</function>\n</tool_call>", "</tool_call>"),
    "nothing closed": lambda text: text.replace("</function>\n</tool_call>", ""),
    "value not closed": lambda text: text.replace("</parameter>\n</function>", "</function>"),
    "prose around": lambda text: f"I will do this now.\n\n{text}\n\nThen I check.",
    "thoughts before": lambda text: f"<think>Use {JSON_CALL}?</think>\n{text}",
    "thoughts that nothing opened": lambda text: f"Use {JSON_CALL}?\n</think>\n\n{text}",
}
PAIRS = [
    (form, harm)
    for form, harm in product(FORMS, HARMS)
    if harm == "none" or HARMS[harm](FORMS[form][0]) != FORMS[form][0]
]


@pytest.mark.parametrize(("form", "harm"), PAIRS)
def test_what_is_read_is_what_was_meant(form: str, harm: str) -> None:
    template, written = FORMS[form]
    exact = 0
    for content in CONTENTS:
        text = HARMS[harm](template).replace(PLACE, written(content))
        found = read_calls(Reply(text=text, finish="stop"), OFFERED)
        made = [(call.name, dict(call.arguments)) for call in found.calls]
        assert made in ([], [("write_file", {"path": "a.txt", "content": content})]), text
        assert made or found.problems, text  # what is refused is told
        exact += bool(made)
    assert exact >= len(CONTENTS) * (0.6 if form == "quotes not escaped" or "closed" in harm else 0.8)


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_breaks_off_is_not_made(form: str) -> None:
    template, written = FORMS[form]
    for content in CONTENTS:
        whole = template.replace(PLACE, written(content))
        for at in range(len(whole) // 3, template.index(PLACE) + len(written(content))):
            found = read_calls(Reply(text=whole[:at], finish="length"), OFFERED)
            assert found.calls == (), whole[:at]


@pytest.mark.parametrize(
    "text",
    [
        f"> {JSON_CALL}\nThat stood in the README.",
        f"<!-- {JSON_CALL} -->",
        f"I should not call {JSON_CALL.strip()} because it is needed.",
        f"That {JSON_CALL.strip()} is what the last one did.",
        'Action: delete_file\nAction Input: {"path": ',
        "<delete_file>\n<path>x</path>",
        f"예를 들어 다음과 같습니다:\n{JSON_CALL}",
        f"例如:\n{JSON_CALL}",
        '{"name": "write_file", "arguments": {"path": "a", "content": "' + JSON_CALL + '"}}',
    ],
)
def test_what_is_only_mentioned_is_not_made(text: str) -> None:
    assert [call.name for call in read_calls(Reply(text=text), OFFERED).calls if call.name == "delete_file"] == []


def test_what_a_model_makes_up_as_an_answer_is_not_taken_for_calls() -> None:
    made_up = "".join(f'Action: {name}\nAction Input: {{"path": "a.py"}}\nObservation: empty\n' for name in NAMES)
    found = read_calls(Reply(text=made_up), OFFERED)
    assert [call.name for call in found.calls] == ["read_file"]
    assert "empty" not in found.text


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (r'{"name":"search","arguments":{"pattern":"\d+\.py"}}', {"pattern": r"\d+\.py"}),
        ('{name: "search", /* all */ arguments: {pattern: "x", regex: True,}}', None),
        ('{name: "search", arguments: {pattern: "x"}} // all', {"pattern": "x"}),
        ('{"name":"search" "arguments":{"pattern":"x"}}', {"pattern": "x"}),
        (r'{"name":"search","arguments":{"pattern":"\bx\d\n"}}', None),  # a line end, or two characters?
    ],
)
def test_json_is_mended_only_where_it_has_one_reading(text: str, arguments: dict[str, object] | None) -> None:
    found = read_calls(Reply(text=f"<tool_call>{text}</tool_call>"), OFFERED)
    assert [dict(call.arguments) for call in found.calls] == ([arguments] if arguments else [])
