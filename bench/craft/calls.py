"""Malformed tool calls: 168 valid ones, damaged, and 32 texts in which nothing may be executed."""

# ruff: noqa: E501 (the corpus is data, and a line of it is a case)
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.replies import Code
from agents.tools.calls import read_calls
from agents.tools.catalogue import TOOLS, finish
from tandem.types import Reply

Call = tuple[str, dict[str, Any]]
DAMAGED, FORBIDDEN = 168, 32
OFFERED = (*TOOLS.values(), finish(Code))
_PYTHON = 'def greet(name: str) -> str:\n    """Say "hello" to {name}."""\n    if name < "m" and name != \'\':\n        return f"hello, {name}"\n    return "hi"\n'
_HTML = '<html>\n  <body class="a &amp; b">\n    <p>1 < 2</p>\n    <parameter>none</parameter>\n  </body>\n</html>\n'
_DIFF = '--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return "a"\n+    return {"b": [1, 2]}\n'

CALLS: tuple[Call, ...] = (
    ("read_file", {"path": "src/app.py"}),
    ("read_file", {"path": "docs/my notes/plan.md", "start": 10, "end": 40}),
    ("search", {"pattern": "def add", "path": "src"}),
    ("search", {"pattern": "^class [A-Z]", "regex": True}),
    ("search", {"pattern": 'print("a, {b}")', "regex": False}),
    ("list_files", {}),
    ("list_files", {"path": "src", "pattern": "*.py"}),
    ("run_tests", {}),
    ("delete_file", {"path": "old/thing.js"}),
    ("replace_in_file", {"path": "a.py", "old": "    return a - b", "new": "    return a + b"}),
    ("replace_in_file", {"path": "a.py", "old": "x = 1\ny = 2\n\nz = x", "new": "x, y = 1, 2\nz = {'x': x}"}),
    (
        "replace_in_file",
        {"path": "re.py", "old": 'P = re.compile(r"\\d+\\.\\w*")', "new": 'P = re.compile(r"[\\d.]+")'},
    ),
    ("replace_in_file", {"path": "a.py", "old": "import os", "new": ""}),
    ("write_file", {"path": "greet.py", "content": _PYTHON}),
    ("write_file", {"path": "index.html", "content": _HTML}),
    ("write_file", {"path": "data.json", "content": '{"a": [1, {"b": null}],\n "c": "}"}'}),
    ("write_file", {"path": "인사.md", "content": "# 안녕하세요\n\n세계 — “인용”\n"}),
    ("write_file", {"path": "README.md", "content": "Use:\n\n```sh\nmake test\n```\n\nand `read_file`.\n"}),
    ("apply_patch", {"patch": _DIFF}),
    ("finish", {"note": "mean refuses an empty list, don't you think", "dispute": ""}),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A reply's text, and the calls that are in it; none where nothing may be executed."""

    name: str
    text: str
    expected: tuple[Call, ...]
    finish: str = "stop"


# --- the two forms, undamaged ---------------------------------------------------------------------------------------


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def xml(call: Call) -> str:
    """Return a call as Qwen3-Coder writes it."""
    rows = "".join(f"<parameter={key}>\n{_written(value)}\n</parameter>\n" for key, value in call[1].items())
    return f"<tool_call>\n<function={call[0]}>\n{rows}</function>\n</tool_call>"


def hermes(call: Call, key: str = "arguments") -> str:
    """Return a call as Qwen2.5 and Hermes models write it."""
    return f"<tool_call>\n{json.dumps({'name': call[0], key: call[1]}, ensure_ascii=False)}\n</tool_call>"


def _object(call: Call) -> str:
    return json.dumps({"name": call[0], "arguments": call[1]}, ensure_ascii=False)


# --- damage: a call becomes a text, or None where that damage would leave more than one reading -----------------------

Damage = Callable[[Call], str | None]
_SYNONYMS = {
    "path": "file_path",
    "old": "old_string",
    "new": "new_string",
    "content": "contents",
    "pattern": "query",
    "patch": "diff",
}


def _short(call: Call) -> bool:
    return all("\n" not in _written(value) for value in call[1].values())


def _renamed(call: Call) -> Call:
    return call[0], {_SYNONYMS.get(key, key): value for key, value in call[1].items()}


def _as_text(call: Call) -> Call:
    return call[0], {key: _written(value) for key, value in call[1].items()}


def _python(call: Call, *, positional: bool = False) -> str | None:
    given = ", ".join(repr(v) if positional else f"{k}={v!r}" for k, v in call[1].items())
    order = list(dict(TOOLS[call[0]].parameters["properties"])) if call[0] in TOOLS else []  # type: ignore[arg-type, call-overload]
    if positional and list(call[1]) != order[: len(call[1])]:
        return None
    return f"{call[0]}({given})"


def _unclosed_json(call: Call) -> str | None:
    return hermes(call).replace("}\n</tool_call>", "\n</tool_call>") if call[1] else None


def _unclosed_last(call: Call) -> str | None:
    return xml(call).rpartition("</parameter>\n")[0] + "</function>\n</tool_call>" if call[1] and _short(call) else None


def _unclosed_all(call: Call) -> str | None:
    if not call[1] or not _short(call):
        return None
    return xml(call).replace("\n</parameter>", "").replace("\n</function>\n</tool_call>", "\n</function>")


def _glm(call: Call) -> str:
    rows = "".join(f"<arg_key>{k}</arg_key>\n<arg_value>{_written(v)}</arg_value>\n" for k, v in call[1].items())
    return f"<tool_call>{call[0]}\n{rows}</tool_call>"


def _elements(call: Call) -> str:
    rows = "".join(f"<{key}>\n{_written(value)}\n</{key}>\n" for key, value in call[1].items())
    return f"<{call[0]}>\n{rows}</{call[0]}>"


def _unescaped(call: Call) -> str | None:
    values = [_written(value) for value in call[1].values()]
    if not any('"' in value for value in values) or any('": ' in value or "\\" in value for value in values):
        return None
    rows = ", ".join(f'"{key}": "{_written(value)}"' for key, value in call[1].items())
    return f'<tool_call>\n{{"name": "{call[0]}", "arguments": {{{rows}}}}}\n</tool_call>'


def _typographic(call: Call) -> str | None:
    if any('"' in _written(v) or "“" in _written(v) for v in call[1].values()):
        return None
    halves = hermes(call).split('"')
    return "".join(part + ("“" if at % 2 == 0 else "”") * (at < len(halves) - 1) for at, part in enumerate(halves))


DAMAGES: Mapping[str, Damage] = {
    "xml": xml,
    "xml without its opening tag": lambda c: xml(c).replace("<tool_call>\n", "", 1),
    "xml without its closing tag": lambda c: xml(c).removesuffix("\n</tool_call>"),
    "xml without </function>": lambda c: xml(c).replace("</function>\n</tool_call>", "</tool_call>"),
    "xml without both": lambda c: xml(c).removesuffix("</function>\n</tool_call>"),
    "xml, last value not closed": _unclosed_last,
    "xml, no value closed": _unclosed_all,
    "xml with attributes": lambda c: xml(c).replace("<function=" + c[0], f'<function name="{c[0]}"'),
    "xml with quoted names": lambda c: xml(c).replace(f"<function={c[0]}>", f'<function="{c[0]}">'),
    "xml after prose": lambda c: "I need to look at this first.\n\n" + xml(c).replace("<tool_call>\n", "", 1),
    "xml in a fence": lambda c: f"```xml\n{xml(c)}\n```" if "```" not in xml(c) else None,
    "xml, tool's name in capitals": lambda c: xml((c[0].upper(), c[1])),
    "xml, foreign parameter names": lambda c: xml(_renamed(c)),
    "json": hermes,
    "json without its closing tag": lambda c: hermes(c).removesuffix("\n</tool_call>"),
    "json without its last bracket": _unclosed_json,
    "json with a trailing comma": lambda c: hermes(c).replace("}\n</tool_call>", ",}\n</tool_call>"),
    "json with raw line ends": lambda c: hermes(c).replace("\\n", "\n") if "\\\\n" not in hermes(c) else None,
    "json as Python's repr": lambda c: f"<tool_call>\n{ {'name': c[0], 'arguments': c[1]}!r}\n</tool_call>",
    "json, arguments as text": lambda c: "<tool_call>\n" + json.dumps({"name": c[0], "arguments": json.dumps(c[1])}) + "\n</tool_call>",
    "json, parameters": lambda c: hermes(c, "parameters"),
    "json, args": lambda c: hermes(c, "args"),
    "json, input": lambda c: hermes(c, "input"),
    "json in OpenAI's shape": lambda c: json.dumps({"type": "function", "function": {"name": c[0], "arguments": json.dumps(c[1])}}),
    "json, prefixed name": lambda c: hermes(("functions." + c[0], c[1])),
    "json, name with dashes": lambda c: hermes((c[0].replace("_", "-"), c[1])),
    "json in a fence": lambda c: f"Let me do that.\n\n```json\n{_object(c)}\n```",
    "json in a bare fence": lambda c: f"```\n{_object(c)}\n```",
    "json alone": _object,
    "json after prose": lambda c: f"First I look around.\n\n{_object(c)}",
    "json in a list": lambda c: f"[{_object(c)}]",
    "json behind [TOOL_CALLS]": lambda c: f"[TOOL_CALLS] [{_object(c)}]",
    "json behind <function_call>": lambda c: f"<function_call>\n{_object(c)}\n</function_call>",
    "json, foreign parameter names": lambda c: hermes(_renamed(c)),
    "json, all values as text": lambda c: hermes(_as_text(c)),
    "json, one argument too many": lambda c: hermes((c[0], {**c[1], "reason": "to see it"})),
    "json with typographic quotes": _typographic,
    "json after thinking": lambda c: f"<think>\nI could run_tests first.\n</think>\n\n{hermes(c)}",
    "json spread over lines": lambda c: "<tool_call>\n" + json.dumps({"name": c[0], "arguments": c[1]}, indent=2) + "\n</tool_call>",
    "json, quotes not escaped": _unescaped,
    "json, keys without quotes": lambda c: hermes(c).replace('"name":', "name:").replace('"arguments":', "arguments:"),
    "json between xml tags": lambda c: f"<tool_call>\n<function={c[0]}>\n{json.dumps(c[1])}\n</function>\n</tool_call>",
    "glm": _glm,
    "one element each": _elements,
    "react": lambda c: f"Thought: I know enough.\nAction: {c[0]}\nAction Input: {json.dumps(c[1])}",
    "kimi": lambda c: f"<|tool_call_begin|>functions.{c[0]}:0<|tool_call_argument_begin|>{json.dumps(c[1])}<|tool_call_end|>",
    "mistral": lambda c: f"[TOOL_CALLS]{c[0]}{json.dumps(c[1])}",
    "python": lambda c: f"```tool_code\n{_python(c)}\n```" if "```" not in str(_python(c)) else None,
    "python in a python fence": lambda c: f"```python\n{_python(c)}\n```" if "```" not in str(_python(c)) else None,
    "python, by position": lambda c: f"```tool_code\n{found}\n```" if (found := _python(c, positional=True)) else None,
}  # fmt: skip


def damaged() -> Iterator[Case]:
    """Yield every third pair of damage and call, so that each damage meets many calls and each call many damages."""
    pairs = [(how, call) for how in DAMAGES for call in CALLS]
    made = [
        Case(f"{how} / {call[0]} {at}", text, (call,))
        for at, (how, call) in enumerate(pairs)
        if (text := DAMAGES[how](call)) is not None
    ]
    step = len(made) / (DAMAGED - 10)
    yield from (made[int(number * step)] for number in range(DAMAGED - 10))
    for number in range(10):  # several in one reply
        first, second = CALLS[number], CALLS[(number * 7 + 3) % len(CALLS)]
        write = xml if number % 2 else hermes
        yield Case(f"two calls {number}", f"{write(first)}\n{write(second)}", (first, second))


_DELETE: Call = ("delete_file", {"path": "src/app.py"})
_HALF = 'def half():\n    return "'


def forbidden() -> Iterator[Case]:
    """Yield texts in which a call is quoted, thought of, cut off, or inside another call's file."""
    quotes = (
        "For example, you could write:\n{}\nbut I will not do that.",
        "An example of a call:\n\n{}",
        "The format is:\n{}\n",
        "I would call {} if the file were unused.",
        "Earlier I made the call {} and it failed.",
        "Do not use {} here.",
        "<think>Maybe {} is the way.</think>\nI will think about it.",
        "<think>\n{}\n",
    )
    for at, words in enumerate(quotes):
        yield Case(f"quoted xml {at}", words.format(xml(_DELETE)), ())
        yield Case(f"quoted json {at}", words.format(hermes(_DELETE)), ())
    yield Case("inline code", f"Use `{_object(_DELETE)}` to delete it.", ())
    yield Case("inline xml", "Write `<function=delete_file><parameter=path>a</parameter></function>` for that.", ())
    yield Case("another language", f"```js\ntools.call({_object(_DELETE)});\n```", ())
    yield Case("a shell command", "```sh\nrm -rf src\n```", ())
    yield Case("no such tool", hermes(("run_shell", {"command": "rm -rf /"})), ())
    yield Case("no such tool, xml", xml(("bash", {"command": "curl x | sh"})), ())
    yield Case("required is missing", hermes(("delete_file", {"reason": "unused"})), ())
    yield Case("wrong type", hermes(("read_file", {"path": {"dir": "src"}})), ())
    yield Case("a list of paths", hermes(("delete_file", {"path": ["a.py", "b.py"]})), ())
    cut = xml(("write_file", {"path": "a.py", "content": _HALF})).split("\n</parameter>\n</function>")[0]
    yield Case("cut xml", cut, (), "length")
    yield Case("cut json", hermes(("write_file", {"path": "a.py", "content": _HALF}))[:70], (), "length")
    yield Case("cut before its end", hermes(("write_file", {"path": "a.py", "content": "x"})).removesuffix('"}}\n</tool_call>'), (), "length")  # fmt: skip
    yield Case("the parameter twice", xml(_DELETE).replace("</function>", "<parameter=path>\nb.py\n</parameter>\n</function>"), ())  # fmt: skip
    yield Case("in a comment", f"<!-- {hermes(_DELETE)} -->", ())
    yield Case("in a quotation", f"> {hermes(_DELETE)}\n\nThat stood in the README.", ())
    yield Case("words alone", "I have deleted src/app.py with delete_file and all tests pass.", ())


def play() -> dict[str, Any]:
    """Return how many damaged calls came back with the right arguments, and what was executed that should not be."""
    recovered, wrong, lost = 0, list[str](), list[str]()
    cases = [*damaged(), *forbidden()]
    for case in cases:
        found = read_calls(Reply(text=case.text, finish="length" if case.finish == "length" else "stop"), OFFERED)
        made = tuple((call.name, dict(call.arguments)) for call in found.calls)
        right = made == case.expected
        recovered += right and bool(case.expected)
        if any(call not in case.expected for call in made):
            wrong.append(case.name)
        elif not right:
            lost.append(case.name)
    meant = sum(bool(case.expected) for case in cases)
    return {
        "cases": len(cases),
        "recoverable": meant,
        "recovered": recovered,
        "recovered_share": round(recovered / meant, 4),
        "wrongly_executed": len(wrong),
        "lost": lost,
        "wrong": wrong,
    }
