"""How files and lists are shown to a model: numbered lines, within the room there is, and what was left out is said.

Pure. `count` is the model's own tokenizer where it can be had, else a cautious estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.context import Count

_LIST_MAX = 400  # files named at most
_LINE_MAX = 2000  # characters shown of a line; longer ones are minified or data
_NOTE_TOKENS = 40  # for the words about what was cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A piece of a file; `whole` says that nothing of it is missing."""

    text: str
    whole: bool


def numbered(path: str, text: str, start: int, end: int, room_tokens: int, count: Count) -> Shown:
    """Return the lines `start` to `end` (from 1; 0 is the last) with numbers, as many as fit into `room_tokens`."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        return Shown(text=f"{path} is empty.", whole=True)
    first, last = max(1, start), min(end if end > 0 else len(lines), len(lines))
    if first > len(lines):
        return Shown(text=f"{path} has {len(lines)} lines; there is no line {first}.", whole=False)
    shown, left, clipped = list[str](), room_tokens - _NOTE_TOKENS, False
    for number in range(first, last + 1):
        line = lines[number - 1].rstrip("\r")
        clipped = clipped or len(line) > _LINE_MAX
        row = f"{number}| {line[:_LINE_MAX]}" + (" [line cut]" if len(line) > _LINE_MAX else "")
        left -= count(row) + 1
        if left < 0 and shown:
            break
        shown.append(row)
    reached = first + len(shown) - 1
    head = f"{path}, lines {first}-{reached} of {len(lines)}"
    more = f"\n[{len(lines) - reached} more lines; ask for them with start={reached + 1}]" if reached < last else ""
    whole = first == 1 and reached == len(lines) and not clipped
    return Shown(text=f"{head}\n" + "\n".join(shown) + more, whole=whole)


def listing(files: Sequence[str]) -> str:
    """Return paths, one a line; of very many, the folders with their counts instead."""
    if len(files) <= _LIST_MAX:
        return "\n".join(files)
    folders: dict[str, int] = {}
    for path in files:
        folder = "/".join(path.split("/")[:2]) if path.count("/") > 1 else path.rpartition("/")[0] or "."
        folders[folder] = folders.get(folder, 0) + 1
    rows = [f"{folder}/  ({number} files)" for folder, number in sorted(folders.items())][:_LIST_MAX]
    return f"{len(files)} files; by folder (list one of them with path=):\n" + "\n".join(rows)


def cut_to(text: str, room_tokens: int, count: Count) -> str:
    """Return `text` in at most `room_tokens`: its beginning and its end, and between them what was left out."""
    if count(text) <= room_tokens:
        return text
    keep = max(0, room_tokens - _NOTE_TOKENS)
    size = len(text)
    while size > 0 and count(text[: size * 2 // 3]) + count(text[len(text) - size // 3 :]) > keep:
        size = size * 4 // 5
    if size <= 0:
        return "[cut: no room]"
    left_out = len(text) - size * 2 // 3 - size // 3
    return f"{text[: size * 2 // 3]}\n[… {left_out} characters left out …]\n{text[len(text) - size // 3 :]}"
