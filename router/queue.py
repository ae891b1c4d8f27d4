"""Which run works next: by priority, which grows with waiting, and not too many on one repository. Pure.

Waiting makes a run more urgent: after `ageing_s` it stands beside those of the next priority. So a batch of a hundred
tasks lets a person's own task pass, and none of the hundred waits for ever behind persons' tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tandem.types import RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run in the queue: its priority (1 goes first), its repository, since when it waits (monotonic seconds)."""

    run: RunId
    repo: str
    priority: int
    since_s: float
    created_s: float


def urgency(waiting: Waiting, now_s: float, ageing_s: float) -> tuple[float, float, str]:
    """Return by what runs are ordered; the smallest goes first."""
    return waiting.priority - (now_s - waiting.since_s) / ageing_s, waiting.created_s, waiting.run


def ordered(queue: Iterable[Waiting], now_s: float, *, ageing_s: float) -> list[Waiting]:
    """Return the queue in the order in which it would be served."""
    return sorted(queue, key=lambda waiting: urgency(waiting, now_s, ageing_s))


def choose(
    queue: Iterable[Waiting], active_repos: Collection[str], now_s: float, *, per_repo: int, ageing_s: float
) -> Waiting | None:
    """Return the run to work on next, None where none may: each repository has at most `per_repo` at work."""
    active = Counter(active_repos)
    return next((w for w in ordered(queue, now_s, ageing_s=ageing_s) if active[w.repo] < per_repo), None)
