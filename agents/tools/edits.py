r"""Replace a piece of a file, tolerating what models get wrong when they copy it, and saying what was done.

Applied is only what has one reading. A piece that stands nowhere, in several places, or nearly in two is refused, with the
lines that come nearest, so that the next try can be right.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from agents.tools import blocks
from tandem.errors import BadReply

_PIECE_MAX = 200_000  # characters of old or new
_PLACES_MAX = 100  # where a piece stands; more are not counted
_SHOWN = 6  # lines quoted around the nearest place
_LINES_MAX = 20_000  # of a file in which the nearest line is looked for
_LETTERS_MAX = 300  # of a line that are compared
_COMPARED = 20  # lines that are compared letter by letter
_CLOSE_RATIO = 0.5
_ELIDED = re.compile(
    r"^\s*(?:#|//|/\*|<!--|--)?\s*(?:\.\.\.|…)\s*(?:\(?(?:rest|existing|unchanged|other|more|same)\b.*)?(?:\*/|-->)?\s*$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A file's whole new text, and what was done to it, in words for the model."""

    text: str
    how: str


def replace(text: str, old: str, new: str, *, path: str = "the file") -> Edited:
    """Return `text` with `old` replaced by `new`.

    Raises:
        BadReply: `old` is empty or the same as `new`, or does not stand in the file in exactly one place.
    """
    _check(text, old, new, path)
    old, new = _evened(old, new)
    exact = _exact(text, old, new, path)
    if exact is not None:
        return exact
    lines, ends = _split(text)
    for how, was, becomes in _variants(old, new):
        done = _by_lines(lines, ends, was, becomes, path)
        if done is not None:
            return Edited(text=done.text, how="; ".join(filter(None, (done.how, how))))
    raise BadReply(_nearest(lines, old, new, text, path))


def _check(text: str, old: str, new: str, path: str) -> None:
    if not old.strip():
        raise BadReply(f"old is empty; give the lines of {path} that are to change")
    if old == new:
        raise BadReply("old and new are the same; nothing would change")
    if len(old) > _PIECE_MAX or len(new) > _PIECE_MAX:
        raise BadReply(f"old or new has more than {_PIECE_MAX:,} characters; change a smaller piece")
    gone = next((line for line in old.split("\n") if _ELIDED.match(line) and line not in text.split("\n")), None)
    if gone is not None:
        raise BadReply(f"old leaves lines out ({gone.strip()!r}); give them all, or a smaller piece")


def _evened(old: str, new: str) -> tuple[str, str]:
    """Return both without a line end that only `old` has before or behind it: two lines would be drawn into one."""
    if not new:
        return old, new
    if old.endswith("\n") and not new.endswith("\n"):
        old = old[:-1].removesuffix("\r")
    if old.startswith("\n") and not new.startswith("\n"):
        old = old[1:]
    return old, new


def _exact(text: str, old: str, new: str, path: str) -> Edited | None:
    places = list(islice(_everywhere(text, old), _PLACES_MAX))
    if len(places) > 1:
        raise BadReply(_several(path, [text.count("\n", 0, at) + 1 for at in places]))
    if places:
        at = places[0]
        line = text.count("\n", 0, at) + 1
        if _cuts_a_word(text, at, at + len(old)):
            raise BadReply(f"old stands in {path} only inside a longer word, at line {line}; give the whole line")
        if "\r\n" in text and "\r\n" not in old and "\n" not in old:  # a piece of one line; new may have several
            new = re.sub(r"(?<!\r)\n", "\r\n", new) if _ending(text) == "\r\n" else new
        return Edited(text=text.replace(old, new, 1), how=f"replaced {_lines(line, old)}")
    return None


def _everywhere(text: str, piece: str) -> Iterator[int]:
    """Yield where a piece stands; places may overlap, as `a b a` does in `a b a b a`."""
    at = text.find(piece)
    while at >= 0:
        yield at
        at = text.find(piece, at + 1)


def _cuts_a_word(text: str, start: int, end: int) -> bool:
    """Return whether a piece begins or ends in the middle of a word: `x = 1` in `max = 10` is another thing."""
    return any(re.fullmatch(r"\w\w", text[max(at - 1, 0) : at + 1]) for at in (start, end))


def _several(path: str, at: list[int]) -> str:
    where = ", ".join(map(str, at[:8])) + (", …" if len(at) > 8 else "")
    return f"old stands in {path} {len(at)} times, at lines {where}; give more of the lines around the one you mean"


def _lines(first: int, block: str) -> str:
    last = first + max(block.rstrip("\n").count("\n"), 0)
    return f"line {first}" if last == first else f"lines {first}-{last}"


def _ending(text: str) -> str:
    return "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return a file's lines and, apart, how each one ends; only the last may end with nothing."""
    parts = re.findall(r"[^\n]*\n|[^\n]+\Z", text)
    ends = ["\r\n" if part.endswith("\r\n") else "\n" if part.endswith("\n") else "" for part in parts]
    return [part[: len(part) - len(end)] for part, end in zip(parts, ends, strict=True)], ends


def _variants(old: str, new: str) -> list[tuple[str, str, str]]:
    """Return what old and new may have been meant to be, the likeliest first: (how, old, new)."""
    found = [("", old, new)]
    bare = blocks.without_fence(old)
    if bare != old:
        found.append(("the fence was left away", bare, blocks.without_fence(new)))
    plain = blocks.without_numbers(bare)
    if plain != bare:
        found.append(("line numbers were left away", plain, blocks.without_numbers(blocks.without_fence(new))))
    if "\n" not in old.strip("\n") and "\\n" in old:
        found.append(("\\n was taken for a line's end", _unescaped(old), _unescaped(new)))
    elif '\\"' in old:
        found.append(('\\" was taken for a quote', old.replace('\\"', '"'), new.replace('\\"', '"')))
    return found


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')


def _by_lines(lines: list[str], ends: list[str], old: str, new: str, path: str) -> Edited | None:
    was, becomes = _trimmed(old), _body(new)
    if not was:
        return None
    places = blocks.find(lines, was)
    if len(places) > 1:
        raise BadReply(_several(path, [place.start + 1 for place in places]))
    if not places:
        return None
    place = places[0]
    made = blocks.put(lines, place, was, becomes)
    if made is None:
        return None
    first, last = place.start, place.start + len(was)
    if made == lines[first:last]:
        raise BadReply(f"{path} says that already at line {first + 1}; nothing would change")
    end = _ending("".join(line + end for line, end in zip(lines, ends, strict=True)))
    head = "".join(line + end for line, end in zip(lines[:first], ends[:first], strict=True))
    tail = "".join(line + end for line, end in zip(lines[last:], ends[last:], strict=True))
    middle = _joined(made, ends[first:last], end, last=not tail)
    told = f"replaced {_lines(first + 1, chr(10).join(was))}" + (f"; {place.how}" if place.how else "")
    return Edited(text=head + middle + tail, how=told)


def _trimmed(text: str) -> list[str]:
    """Return a piece's lines without the blank ones before and after it."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _body(text: str) -> list[str]:
    return _trimmed(text) if text.strip() else []


def _joined(made: list[str], before: list[str], end: str, *, last: bool) -> str:
    if not made:
        return ""
    final = before[-1] if last else end if before[-1] == "" else before[-1]
    return end.join(made) + final


def _nearest(lines: list[str], old: str, new: str, text: str, path: str) -> str:
    """Return why old was not found, with the lines that come nearest."""
    wanted = _trimmed(old)
    if new.strip() and f"\n{chr(10).join(_trimmed(new))}\n" in "\n" + text.replace("\r\n", "\n") + "\n":
        return f"old is not in {path}, and new is there already; look whether the change was made before"
    at = _closest(lines, max(wanted, key=lambda line: len(line.strip()))) if wanted else None
    if at is None:
        return f"old is not in {path}, nor anything like it; read it again"
    from_line = max(0, at - _SHOWN)
    quoted = "\n".join(f"{i + 1}| {lines[i][:200]}" for i in range(from_line, min(len(lines), at + _SHOWN + 1)))
    return f"old is not in {path} as it was given. The nearest lines are:\n{quoted}"


def _closest(lines: list[str], wanted: str) -> int | None:
    """Return which line is most like `wanted`: those with the most pairs of letters in common are compared in full."""
    pairs = _pairs(wanted)
    scored = [(len(pairs & _pairs(line)), -at) for at, line in enumerate(lines[:_LINES_MAX]) if line.strip()]
    near = [-at for score, at in nlargest(_COMPARED, scored) if score]
    ratios = [(difflib.SequenceMatcher(None, _start(lines[at]), _start(wanted)).ratio(), -at) for at in near]
    best, at = max(ratios, default=(0.0, 0))
    return -at if best >= _CLOSE_RATIO else None


def _start(line: str) -> str:
    return line.strip()[:_LETTERS_MAX]


def _pairs(line: str) -> set[str]:
    start = _start(line)
    return {start[i : i + 2] for i in range(len(start))}
