"""Draw ranked files as the text of a map, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LEVELS = (40, 24, 14, 8, 5, 3, 2, 1, 0)  # definition lines a file may show, the most generous first
_SURELY = 20  # files that should stand in the map before any of them is shown in more detail
_NOTE_TOKENS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A file, how much it has to do with the task, and its definitions as (1-based line, text), the likeliest first."""

    path: str
    score: float
    lines: tuple[tuple[int, str], ...]


def draw(ranked: Sequence[Ranked], budget_tokens: int, count: Callable[[str], int]) -> str:
    """Return the map: each path, under it numbered definition lines, and at the end what was left out.

    A map that would be over `budget_tokens` shows fewer lines of each file first, and then fewer files; it is empty where
    not even the note fits.
    """
    budget = budget_tokens - _NOTE_TOKENS
    chosen = list[str]()
    for level in _LEVELS:
        chosen = _fill(ranked, level, budget, count)
        if len(chosen) >= min(_SURELY, len(ranked)):
            break
    left = len(ranked) - len(chosen)
    note = [f"[{left} more files are not in this map; list_files and search find them]"] if left else []
    text = "\n".join([*chosen, *note])
    return text if count(text) <= budget_tokens else ""


def _fill(ranked: Sequence[Ranked], level: int, budget: int, count: Callable[[str], int]) -> list[str]:
    blocks, used = list[str](), 0
    for one in ranked:
        block = _block(one, level)
        used += count(block + "\n")
        if used > budget:
            break
        blocks.append(block)
    return blocks


def _block(one: Ranked, level: int) -> str:
    shown = [f"{number:>5}  {text}" for number, text in sorted(one.lines[:level])]
    left = len(one.lines) - len(shown)
    more = [f"       ({left} more definitions)"] if left and level else []
    return "\n".join([one.path, *shown, *more])
