"""How long a persona's calls took lately, so that the live view can say what to expect."""

from __future__ import annotations

from collections import defaultdict, deque

_KEPT = 9


class Pace:
    """The last few durations by persona and model, in this process."""

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def add(self, persona: str, model: str, seconds: float) -> None:
        """Take note of a call's duration."""
        self._seconds[persona, model].append(seconds)

    def expected_s(self, persona: str, model: str) -> float | None:
        """Return the median of the last calls, or None before there was one."""
        seen = sorted(self._seconds.get((persona, model), ()))
        return seen[len(seen) // 2] if seen else None
