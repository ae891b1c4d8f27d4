"""What the journal holds, and the chain that shows when a line is not what was recorded. Pure.

An entry is (run, step, ordinal, attempt, kind, question, value): the ordinal counts the questions a step asks; the
attempt counts the tries at one question; `question` is a hash that verifies an entry and never finds it, so that a
retry may get a different answer. What an upgrade makes void is left behind by a `cut` entry.

Each entry's link is a hash over it and the link before it; the first follows the run's own row. SQLite notices a broken
page, but not a changed letter in a sound one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tandem.types import Json, RunId

Row = tuple[Any, ...]  # of `entries`: id, step, ordinal, attempt, kind, question, value, at_s, link


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal. `at_s` is wall time and decides nothing."""

    id: int
    step: str
    ordinal: int
    attempt: int
    kind: str
    question: str
    value: Json
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it was accepted. `stamp` names the version of workflow and personas it was started with."""

    run: RunId
    created_s: float
    stamp: str
    task: Json


def dump(value: Json) -> str:
    """Return a value as it is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def first_link(run: str, created_s: float, stamp: str, task: str) -> str:
    """Return what the first entry of a run follows."""
    return _hashed("", run, created_s, stamp, task)


def link(before: str, row: Iterable[Any]) -> str:
    """Return the link of an entry: (id, step, ordinal, attempt, kind, question, value, at_s), after the link `before`."""
    return _hashed(before, *row)


def _hashed(*fields: Any) -> str:
    text = json.dumps(fields, ensure_ascii=False, default=repr)  # bytes are none of ours, and must only not fit
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def entry_of(row: Row) -> Entry:
    """Return the entry in a row.

    Raises:
        ValueError: Its value is not JSON.
    """
    number, step, ordinal, attempt, kind, question, value, at_s, _ = row
    return Entry(
        id=number, step=step, ordinal=ordinal, attempt=attempt, kind=kind, question=question, value=json.loads(value),
        at_s=at_s,
    )  # fmt: skip


def first_odd(start: str, rows: Iterable[Row]) -> int | None:
    """Return the id of the first entry that is not what was recorded, None where all are."""
    before = start
    for row in rows:
        before = link(before, row[:8])
        if before != row[8]:
            return int(row[0])
    return None


# A person's answer stands for the bytes it was given for, whatever an upgrade does to the steps around it. Tries that
# failed go on counting: a worker keeps how an attempt ended, and would answer the same number with the same failure.
_OUTLIVES_CUTS = frozenset(("answered", "state", "cut", "failed"))


def standing(entries: list[Entry]) -> list[Entry]:
    """Return the entries no later `cut` left behind; a cut's value is the id of the first entry it drops."""
    kept: list[Entry] = []
    for entry in entries:
        if entry.kind == "cut" and isinstance(entry.value, int):
            first = entry.value
            kept = [e for e in kept if e.id < first or e.kind in _OUTLIVES_CUTS]
        kept.append(entry)
    return kept
