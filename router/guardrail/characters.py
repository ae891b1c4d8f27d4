"""Find what a person who reads a task would not see: too much of it, control and invisible characters. Pure.

What is ordinary in some script stays allowed: joiners between letters or emoji, direction marks in Arabic and Hebrew
text, the tags of flag emoji, a byte order mark at the start.
"""

from __future__ import annotations

import re
import unicodedata

from router.guardrail.findings import Finding, place

ASK_CHARS = 32_000
BLOCK_CHARS = 200_000
_NAMES_MAX = 4
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e007a]{1,8}\U000e007f")
_JOINERS = "\u200c\u200d"
_DIRECTION_MARKS = "\u200e\u200f\u061c"
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # not of a format category, and yet not seen
_CONTROL_NAMES = {"\x00": "NULL", "\x07": "BELL", "\x08": "BACKSPACE", "\x1b": "ESCAPE", "\x7f": "DELETE"}


def size(text: str) -> list[Finding]:
    """Find a text longer than a person would type or a model would read."""
    if len(text) > BLOCK_CHARS:
        told = f"the task has {len(text):,} characters and may have {BLOCK_CHARS:,}; put material in the repository"
        return [Finding(rule="size", verdict="block", reason=told)]
    if len(text) > ASK_CHARS:
        told = f"the task has {len(text):,} characters, more than a person types ({ASK_CHARS:,}); is all of it meant?"
        return [Finding(rule="size", verdict="ask", reason=told)]
    return []


def characters(text: str) -> list[Finding]:
    """Find control, invisible, direction-changing and tag characters."""
    plain = _FLAG.sub(lambda m: " " * len(m.group()), text)
    found: dict[str, dict[str, int]] = {}
    right_to_left = None
    for char in sorted(set(plain)):
        kind = _kind(char)
        if kind == "direction mark":
            if right_to_left is None:
                right_to_left = any(unicodedata.bidirectional(c) in ("R", "AL") for c in set(plain))
            kind = "" if right_to_left else "invisible"
        if kind:
            at = _first(plain, char)
            if at is not None:
                found.setdefault(kind, {})[char] = at
    return [Finding(rule="characters", verdict="ask", reason=_told(text, k, chars)) for k, chars in found.items()]


def _kind(char: str) -> str:
    """Return what is hidden about a character, "" for an ordinary one."""
    category, code = unicodedata.category(char), ord(char)
    if category == "Cc":
        return "" if char in "\t\n\r" else "control"
    if category == "Cs":
        return "broken"
    if 0xE0000 <= code <= 0xE007F:
        return "tag"
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return "direction-changing"
    if char in _DIRECTION_MARKS:
        return "direction mark"
    if char in _BLANK or 0xE0100 <= code <= 0xE01EF:
        return "invisible"
    if category == "Cf":
        return "" if 0x0600 <= code < 0x0900 or code == 0x110BD else "invisible"  # signs of Arabic, Syriac, Kaithi
    return ""


def _first(text: str, char: str) -> int | None:
    """Return where a character first stands in a place where it is not ordinary."""
    at = text.find(char)
    while at >= 0:
        ordinary = (char == "\ufeff" and at == 0) or (char in _JOINERS and _joins(text, at))
        if not ordinary:
            return at
        at = text.find(char, at + 1)
    return None


def _joins(text: str, at: int) -> bool:
    sides = text[at - 1 : at] + text[at + 1 : at + 2]
    return len(sides) == 2 and all(ord(c) > 0x2FF and not c.isspace() for c in sides)


def _told(text: str, kind: str, chars: dict[str, int]) -> str:
    listed = sorted(chars.items(), key=lambda item: item[1])
    names = [f"{_name(char)} ({place(text, at)})" for char, at in listed[:_NAMES_MAX]]
    more = f" and {len(chars) - _NAMES_MAX} others" if len(chars) > _NAMES_MAX else ""
    return f"{kind} characters are in the task, which a reader does not see: {', '.join(names)}{more}"


def _name(char: str) -> str:
    code = f"U+{ord(char):04X}"
    name = unicodedata.name(char, "") or _CONTROL_NAMES.get(char, "")
    return f"{name} {code}" if name else code
