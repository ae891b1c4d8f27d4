"""Make text safe and measurable for a terminal.

Everything that came from a model, a repository or a person passes `visible` before it is drawn: control characters,
bidirectional overrides and letters nobody can see are spelled out, so that nothing can hide in a line or move the
cursor. Widths count cells: Korean and Chinese characters take two.
"""

from __future__ import annotations

import unicodedata

# Controls, formats, surrogates, private use, unassigned, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Letters and marks that draw nothing: Hangul and Khmer fillers, the empty braille cell, the joiner of graphemes.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SPACES = frozenset(" \u3000")  # an ideographic space is seen for what it is; other odd spaces are not


def _hides(char: str) -> bool:
    if char.isascii():
        return not char.isprintable()
    if char in _BLANK or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return True
    category = unicodedata.category(char)
    return category in _HIDDEN or (category == "Zs" and char not in _SPACES)


def visible(text: str, *, keep: str = "") -> str:
    """Return `text` with every character that could hide or move something spelled out, as in `⟨U+202E⟩`.

    `keep` names control characters that stay, such as a line feed.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"⟨U+{ord(c):04X}⟩" if c not in keep and _hides(c) else c for c in text)


def one_line(text: str) -> str:
    """Return `text` as one visible line: runs of blanks and line ends become single spaces."""
    return visible(" ".join(text.split()))


def cell_width(text: str) -> int:
    """Return how many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, cells: int) -> str:
    """Return the beginning of `text` that fits into `cells`, with an ellipsis where something was cut."""
    return text if cell_width(text) <= cells else _head(text, cells - 1) + "…"


def clip_left(text: str, cells: int) -> str:
    """Return the end of `text` that fits into `cells`, with an ellipsis where something was cut."""
    return text if cell_width(text) <= cells else "…" + _head(text[::-1], cells - 1)[::-1]


def _head(text: str, cells: int) -> str:
    used = 0
    for at, char in enumerate(text):
        used += _cells(char)
        if used > cells:
            return text[:at]
    return text


def fold(text: str, cells: int) -> list[str]:
    """Return `text` cut into pieces of at most `cells` each; nothing is lost, and there is at least one."""
    pieces: list[str] = []
    while cell_width(text) > cells:
        head = _head(text, cells) or text[0]
        pieces.append(head)
        text = text[len(head) :]
    return [*pieces, text]


def wrap(text: str, cells: int) -> list[str]:
    """Return `text` cut into lines of at most `cells`, between words where there are any."""
    lines: list[str] = []
    while cell_width(text) > cells:
        head = _head(text, cells) or text[0]
        space = head.rfind(" ") if text[len(head)] != " " else len(head)
        head = head[:space] if space > 0 and head[:space].strip() else head
        lines.append(head)
        text = text[len(head) :].lstrip(" ")
    return [*lines, text] if text or not lines else lines


def pad(text: str, cells: int) -> str:
    """Return `text` with blanks behind it up to `cells`."""
    return text + " " * max(0, cells - cell_width(text))


def duration(seconds: float) -> str:
    """Return a duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Return bytes as people say them: `812 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
