"""Spans of time, as people note them."""

import re

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]+)([wdhms])\s*")


def parse(text: str) -> int:
    note = text.strip().lower()
    order, at, total = list(_SECONDS), 0, 0
    if not note:
        raise ValueError("an empty note")
    while at < len(note):
        part = _PART.match(note, at)
        if part is None:
            raise ValueError(f"{note[at:]!r} is no number with a unit")
        number, unit = part.groups()
        if unit not in order:
            raise ValueError(f"{unit!r} comes twice, or behind a smaller unit")
        order = order[order.index(unit) + 1 :]
        total += int(number) * _SECONDS[unit]
        at = part.end()
    return total


def write(seconds: int) -> str:
    if seconds < 0:
        raise ValueError(f"{seconds} seconds are less than none")
    parts: list[str] = []
    for unit, size in _SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
