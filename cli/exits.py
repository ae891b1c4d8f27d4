"""Which exit code a run's state gets. The list is part of the interface and stands in `tandem run --help`."""

from __future__ import annotations

WAITING = 3
EXIT_OF_STATE = {
    "merged": 0,
    "delivered": 0,
    "answered": 0,
    "planned": 0,
    "queued": WAITING,
    "running": WAITING,
    "waiting": WAITING,
    "rejected": 8,
    "rounds spent": 9,
    "blocked": 6,
    "cancelled": 130,
    "failed": 1,
}
ENDED = frozenset(EXIT_OF_STATE) - {"queued", "running", "waiting"}
HELP = """\b
Exit codes:
    0  merged, delivered on a branch, answered, or planned
    1  failed
    2  bad input: task, option, repository, configuration
    3  waiting for a person: `tandem approve RUN` goes on
    4  unavailable: router, machine, model or time
    5  conflict: what was decided on is no longer there
    6  blocked by a guard
    7  the journal does not fit
    8  rejected by the lead
    9  rounds spent without green
  130  cancelled"""


def exit_code(state: str) -> int:
    """Return the exit code for a run's state; 1 for a state this version does not know."""
    return EXIT_OF_STATE.get(state, 1)
