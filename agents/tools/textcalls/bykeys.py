"""Read a JSON call whose strings hold quotes nobody escaped: where each value ends, the tool's own parameters tell.

`{"name": "write_file", "arguments": {"path": "a.py", "content": "print("hi")"}}` is no JSON, and still has one reading,
as long as every parameter's name stands in it exactly once. With a second place for any of them there is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from agents.tools.textcalls.attempt import Attempt, parameters_of
from tandem.types import Tool

_HEAD = re.compile(
    r'\{\s*"name"\s*:\s*"(?P<name>[\w.-]{1,64})"\s*,\s*"(?:arguments|parameters|args|input)"\s*:\s*\{(?P<body>.*)\}\s*\}\s*\Z',
    re.DOTALL,
)
_BARE_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)"')
_ESCAPED = r'\1\\"'
_KEY_LIKE = re.compile(r'",\s*"[\w-]+"\s*:')


def read(raw: str, start: int, end: int, tools: Sequence[Tool]) -> Attempt | None:
    """Return the one call that `raw` can be, or None."""
    head = _HEAD.match(raw.strip().removesuffix("```").rstrip())
    keys = parameters_of(head["name"], tools) if head else []
    if head is None or not keys:
        return None
    body = head["body"]
    places = list(re.finditer(rf'(?:\A\s*|,\s*)"({"|".join(map(re.escape, keys))})"\s*:\s*', body))
    names = [place[1] for place in places]
    if not places or places[0].start() != 0 or len(set(names)) != len(names):
        return None
    ends = [*(place.start() for place in places[1:]), len(body)]
    values = [_value(body[place.end() : stop].strip()) for place, stop in zip(places, ends, strict=True)]
    if None in values:
        return None
    repairs = ("quotes inside a text were not escaped",)
    arguments = dict(zip(names, values, strict=True))
    return Attempt(name=head["name"], arguments=arguments, repairs=repairs, start=start, end=end)


def _value(raw: str) -> str | int | bool | None:
    """Return a value, None where it has none or more than one reading."""
    if raw.startswith('"""') and raw.endswith('"""') and len(raw) >= 6 and not raw.startswith('""""'):
        inner = raw[3:-3]
    elif raw.startswith('"') and raw.endswith('"') and len(raw) > 1:
        inner = raw[1:-1]
    else:
        return {"true": True, "false": False}.get(raw, int(raw) if re.fullmatch(r"\d{1,9}", raw) else None)
    if "\n" in inner and re.search(r"(?<!\\)(?:\\\\)*\\n", inner):
        return None  # are these line ends of the file, or two characters of its code?
    if _KEY_LIKE.search(inner):
        return None  # perhaps another parameter, perhaps a piece of code
    try:
        read = json.loads(f'"{_BARE_QUOTE.sub(_ESCAPED, inner)}"', strict=False)
    except ValueError:
        return None
    return str(read)
