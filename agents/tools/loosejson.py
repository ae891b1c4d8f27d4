"""Read JSON as local models write it: Python literals, trailing commas, raw line ends, closing brackets left out.

What is tolerated changes how a value is written, never what it says. Where that is in doubt there is no value.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

_MAX = 400_000  # characters; a call with more is refused
_DEPTH = 60
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_QUOTED = re.compile(_STRING.pattern + r"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_SMART = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_CLOSERS = {"{": "}", "[": "]"}
_WORDS = {"None": "null", "True": "true", "False": "false"}
_PYTHON_WORDS = {json: python for python, json in _WORDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loose:
    """A value, where it ended in the text, and what was tolerated. `cut` says that its end was missing."""

    value: Any
    end: int
    repairs: tuple[str, ...] = ()
    cut: bool = False


def read(text: str, start: int = 0) -> Loose | None:
    """Return the object or array that begins at `start`, or None where there is none that can be trusted."""
    end, missing = _extent(text, start)
    raw = text[start:end]
    if not raw or len(raw) > _MAX or len(missing) > _DEPTH:
        return None
    for candidate, repairs in _candidates(raw + missing):
        value = _strict(candidate)
        if value is not None:
            told = (*repairs, *(("closing brackets were added",) if missing else ()))
            return Loose(value=value, end=end, repairs=told, cut=bool(missing))
    return None


def _extent(text: str, start: int) -> tuple[int, str]:
    """Return where a bracketed value ends, and the closing brackets it lacks; an open string lacks more than that."""
    stack: list[str] = []
    at, quote = start, ""
    while at < len(text) and at - start <= _MAX:
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter == '"' or (letter == "'" and _opens(text, at)):
            quote = letter
        elif letter in _CLOSERS:
            stack.append(_CLOSERS[letter])
        elif letter in "}]":
            if not stack or stack[-1] != letter:
                return (at, "".join(reversed(stack))) if stack else (start, "")
            stack.pop()
            if not stack:
                return at + 1, ""
        elif letter == "<" and text.startswith(("</tool_call", "</function_call"), at):
            return (start, "") if not stack else (at, "".join(reversed(stack)))
        at += 1
    return (start, "") if quote or not stack else (at, "".join(reversed(stack)))


def _opens(text: str, at: int) -> bool:
    """Return whether an apostrophe begins a string: in Python's way of writing, after a bracket, comma or colon."""
    at -= 1
    while at >= 0 and text[at].isspace():
        at -= 1
    return at >= 0 and text[at] in "{[,:(="


def _candidates(raw: str) -> list[tuple[str, tuple[str, ...]]]:
    commas = _outside(raw, _without_commas)
    keys = _outside(_outside(raw, _without_comments), lambda part: _quoted_keys(_without_commas(part)))
    return [
        (raw, ()),
        (commas, ("a trailing comma was dropped",)),
        (_outside(commas, _json_words), ("Python's words were taken for JSON's",)),
        (keys, ("keys without quotes, or comments, were read",)),
        (_outside(raw, _commas_between), ("a missing comma was added",)),
        (_STRING.sub(_literal_backslashes, raw), ("backslashes were taken for themselves",)),
        (raw.translate(_SMART), ("typographic quotes were taken for plain ones",)),
    ]


def _without_commas(part: str) -> str:
    return re.sub(r",(\s*[}\]])", r"\1", part)


def _without_comments(part: str) -> str:
    return re.sub(r"(?m)//[^\n]*$|/\*.*?\*/", "", part, flags=re.DOTALL)


def _quoted_keys(part: str) -> str:
    return re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', part)


def _commas_between(part: str) -> str:
    return part if part.strip() or not part else f",{part}"


def _literal_backslashes(found: re.Match[str]) -> str:
    """Return a string whose backslashes were not escaped, as in a pattern: `\\d+`; as it is where some may have been."""
    string = found.group().replace("\\'", "'")
    odd, meant = re.search(r'\\[^"\\/bfnrtu]', string), re.search(r"\\[\\nrtu]", string)
    return string if meant or not odd else re.sub(r'\\(?!")', r"\\\\", string)


def _json_words(part: str) -> str:
    return re.sub(r"\b(?:None|True|False)\b", lambda word: _WORDS[word.group()], part)


def _python_words(part: str) -> str:
    return re.sub(r"\b(?:null|true|false)\b", lambda word: _PYTHON_WORDS[word.group()], part)


def _outside(raw: str, change: Callable[[str], str]) -> str:
    """Return `raw` with `change` applied to what stands outside strings, JSON's and Python's."""
    parts: list[str] = []
    at = 0
    for string in _QUOTED.finditer(raw):
        parts += [change(raw[at : string.start()]), string.group()]
        at = string.end()
    return "".join([*parts, change(raw[at:])])


def _strict(text: str) -> Any:
    try:
        return json.loads(text, strict=False)  # line ends inside strings are what they look like
    except (ValueError, RecursionError):
        pass
    if "'" not in text:
        return None
    try:
        value: Any = ast.literal_eval(_outside(text, _python_words))
        json.dumps(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    return cast("Any", value) if isinstance(value, dict | list) else None
