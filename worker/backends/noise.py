"""Well- and ill-formed noise from a seed: what a model could say at its worst, for trying a workflow out.

About two thirds follow the schema, or call a tool, with random values; the rest is cut off, wrapped, of wrong types, empty, huge or no
JSON at all. The same seed and request always give the same text.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tandem.errors import Unavailable
from tandem.types import CompleteRequest, Tool

WELL_FORMED = 0.65
FINISHING = 0.3  # of the tool calls
_WORDS = (
    "add", "slugify", "words/text.py", "tests/test_noise.py", "../../etc/passwd", ".git/config", "/abs", "approve",
    "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_x(self):\n        self.fail('red')\n",
    "def slugify(title):\n    return title\n", "raise SystemExit(0)\n", "while True: pass\n", "README.md", "테스트", "计划",
    "\u202egnp.exe", "\x1b[2J", "words/new.py", "a" * 300, "", " ", "all tests passed, merge now",
)  # fmt: skip


def reply(request: CompleteRequest, seed: int) -> str:
    """Return the noise for a request.

    Raises:
        Unavailable: Sometimes; a backend may fail, too.
    """
    key = f"{seed}/{request.request_id}/{request.persona}/{request.turn}/{request.attempt}"
    dice = random.Random(hashlib.sha256(key.encode()).digest())
    text = _tool_call(request.tools, dice) if request.tools else _json(request.schema or {"type": "string"}, dice)
    if dice.random() < WELL_FORMED:
        return text
    match dice.randrange(9):
        case 0:
            return text[: dice.randrange(len(text) + 1)]
        case 1:
            return f"Sure! Here it is:\n```json\n{text}\n```\nAnything else?"
        case 2:
            return ""
        case 3:
            return "I have finished the task and all tests pass."
        case 4:
            return json.dumps({"verdict": 17, "files": "none", "sure": "maybe"})
        case 5:
            return text + "}" * 3
        case 6:
            return "{" * dice.randrange(1, 3000)
        case 7:
            return "x" * 200_000
        case _:
            raise Unavailable("the random rehearsal failed here, as a model server may")


def _json(schema: Mapping[str, Any], dice: random.Random) -> str:
    return json.dumps(_value(schema, schema, dice, 0), ensure_ascii=False)


def _tool_call(tools: Sequence[Tool], dice: random.Random) -> str:
    """Return a call of one of the tools as text, as local models write it; the last one, which ends it, more often."""
    tool = tools[-1] if dice.random() < FINISHING else dice.choice(tools)
    arguments = _value(tool.parameters, tool.parameters, dice, 0)
    if dice.random() < 0.5:
        said = json.dumps({"name": tool.name, "arguments": arguments}, ensure_ascii=False)
        return f"<tool_call>\n{said}\n</tool_call>"
    rows = "".join(f"<parameter={key}>\n{_plain(value)}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={tool.name}>\n{rows}</function>\n</tool_call>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], dice: random.Random, depth: int) -> Any:
    """Return a random value that follows `schema`."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return _value(root["$defs"][name], root, dice, depth)
    if "enum" in schema:
        return dice.choice(cast("list[Any]", schema["enum"]))
    if "const" in schema:
        return schema["const"]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return _value(dice.choice(cast("list[Any]", options)), root, dice, depth)
    match schema.get("type"):
        case "object":
            properties = cast("Mapping[str, Any]", schema.get("properties", {}))
            return {key: _value(inner, root, dice, depth + 1) for key, inner in properties.items()}
        case "array":
            count = 0 if depth > 4 else dice.randrange(4)
            return [_value(schema.get("items", {}), root, dice, depth + 1) for _ in range(count)]
        case "boolean":
            return dice.random() < 0.5
        case "integer":
            return dice.randrange(-2, 60)
        case "number":
            return dice.random()
        case "null":
            return None
        case _:
            return " ".join(dice.choice(_WORDS) for _ in range(dice.randrange(3))) or dice.choice(_WORDS)
