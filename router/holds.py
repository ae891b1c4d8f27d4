"""When a run waits for something that is neither a person nor an answer: a machine that is away, a disk that is full.

Pure. The run is not over and nothing is lost; it is tried again until the wait is over, and says meanwhile what it waits
for. Time it waits is not counted as work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tandem.errors import DiskFull, TandemError, Unreachable
from tandem.types import Json

HoldKind = Literal["waiting-for-worker", "paused-disk-full", "retrying"]
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)  # from noticing to trying again; a cable is back within the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a run waits for, in words, and since when (wall time; for eyes)."""

    kind: HoldKind
    text: str
    since_s: float

    def told(self) -> dict[str, Json]:
        """Return it as plain JSON."""
        return {"kind": self.kind, "text": self.text, "since_s": self.since_s}


def kind_of(error: TandemError) -> HoldKind | None:
    """Return what an error makes a run wait for, None where waiting would not help."""
    if isinstance(error, Unreachable):
        return "waiting-for-worker"
    if isinstance(error, DiskFull):
        return "paused-disk-full"
    return None


def pause_s(tries: int) -> float:
    """Return how long to wait before trying again, after so many tries (from 0)."""
    return _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]


def given_up(error: TandemError, waited_s: float) -> TandemError:
    """Return the error with which a run ends that waited for too long."""
    return type(error)(
        f"{error.message} (waited {waited_s / 60:.0f} minutes, router.wait_s); `tandem resume` goes on with the run"
    )
