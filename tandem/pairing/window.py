"""For how long a code counts, and how often it may be got wrong. Pure but for `now`: moments come in as arguments."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

VALID_S = 120.0
TRIES = 3  # in all, from wherever: each is one guess at the code
State = Literal["open", "late", "spent", "used"]


class Moment(NamedTuple):
    """A time on both clocks: the monotonic one stops while a laptop sleeps, the other may be set."""

    monotonic_s: float
    wall_s: float


def now() -> Moment:
    """Return this moment."""
    return Moment(time.monotonic(), time.time())


class Window:
    """One code's life: it ends with the first pairing, the third wrong code, or the time, by whichever clock is first."""

    def __init__(self, opened: Moment, valid_s: float = VALID_S, tries: int = TRIES) -> None:
        self._opened = opened
        self._valid_s = valid_s
        self.tries_left = tries
        self._used = False

    def state(self, at: Moment) -> State:
        """Return whether the code still counts, or why not."""
        if self._used:
            return "used"
        if self.tries_left <= 0:
            return "spent"
        return "open" if self.left_s(at) > 0 else "late"

    def left_s(self, at: Moment) -> float:
        """Return for how much longer."""
        passed = max(at.monotonic_s - self._opened.monotonic_s, at.wall_s - self._opened.wall_s)
        return max(self._valid_s - passed, 0.0)

    def failed(self) -> None:
        """Count a wrong code."""
        self.tries_left -= 1

    def used(self) -> None:
        """End it: two machines are paired."""
        self._used = True
