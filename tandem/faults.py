"""Named points at which a test may break the program: `TANDEM_FAULT=point:kill|raise|hang|enospc[:nth]`, or several, with
commas between.

A point stands beside every effect and change of state, so that "killed just there" is a sentence a test can say. Inert
unless the variable is set, which is read once at import. With `TANDEM_FAULT_LOG=file`, every point that is passed is a line
there (process id, monotonic nanoseconds, point; with its action where it broke), and each fault strikes once for that file,
in whichever process comes first: a program that is started again goes on unharmed. `tandem faults` lists the points.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter

from tandem.errors import TandemError

ACTIONS = ("kill", "raise", "hang", "enospc")
KINDS = (
    "state", "screening", "reply", "map", "environment", "report", "commit", "opened", "answered", "clock", "tip",
    "intent", "delivery", "undone", "failed", "cut",
)  # fmt: skip
EFFECTS = ("delivery", "undone")
POINTS: dict[str, str] = {
    "journal.opened": "router: the journal is open, and nothing has been read",
    "journal.backed_up": "router: the journal of an older format was copied, and is not changed yet",
    "journal.migrated": "router: the journal has the new format",
    "journal.run": "router: a run is recorded, and nobody was told",
    **{f"journal.before.{kind}": f"router: before an entry of kind {kind} is recorded" for kind in KINDS},
    **{f"journal.after.{kind}": f"router: an entry of kind {kind} is recorded, and nobody was told" for kind in KINDS},
    **{f"effect.intended.{kind}": f"router: {kind} is intended, and not begun" for kind in EFFECTS},
    **{f"effect.done.{kind}": f"router: {kind} is done, and not recorded" for kind in EFFECTS},
    "deliver.fetched": "router: the commit is in the person's repository, and no branch leads to it",
    "deliver.annotated": "router: the commit's note is written, and no branch was moved",
    "deliver.moved": "router: the branch was moved",
    "push.done": "router: a commit was sent to the worker",
    "artefacts.kept": "router: what a check left is kept, and its report is not recorded",
    "gc.journal": "router: old runs were taken out of the journal, and their references still stand",
    "gc.references": "router: references of old runs are gone, and their files still there",
    "import.objects": "router: an imported run's objects are here, and its journal is not",
    "import.journal": "router: an imported run is recorded, and nobody was told",
    "export.written": "router: an export is written under a passing name",
    "export.moved": "router: a run that was moved away is marked so",
    "worker.ready": "worker: it listens, and nobody was told",
    "worker.call": "worker: a model is about to be asked",
    "worker.reply": "worker: a model's reply is there, and nobody was told",
    "worker.tree": "worker: the tree of a check is written, and nothing ran",
    "worker.checked": "worker: the tests ran, and nothing was read",
    "worker.report": "worker: the report of a check is there, and nobody was told",
    "worker.built": "worker: an environment is built, and not at its place",
    "worker.environment": "worker: an environment is at its place, and nobody was told",
    "worker.git": "worker: Git's stream was opened, and nothing read",
    "worker.received": "worker: Git took what was pushed, and nobody was told",
    "worker.collected": "worker: what nobody needs was removed, and nobody was told",
}

_LOG = os.environ.get("TANDEM_FAULT_LOG", "")


def _faults(text: str) -> dict[str, tuple[str, int]]:
    """Return which points break, how, and at which passing."""
    found: dict[str, tuple[str, int]] = {}
    for spec in filter(None, text.split(",")):
        point, _, rest = spec.partition(":")
        action, _, nth = rest.partition(":")
        found[point] = (action, int(nth) if nth.isdigit() else 1)
    return found


_FAULTS = _faults(os.environ.get("TANDEM_FAULT", ""))
_ACTIVE = bool(_FAULTS or _LOG)
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Break here if `TANDEM_FAULT` names this point; the nth time it is passed (first by default)."""
    if not _ACTIVE:
        return
    _write(name)
    if name in _FAULTS:
        action, nth = _FAULTS[name]
        _passed[name] += 1
        if _passed[name] == nth and _first_of_all(name):
            _write(f"{name}:{action}")
            _break(name, action)


def _first_of_all(name: str) -> bool:
    """Return whether no other process broke here before."""
    if not _LOG:
        return True
    try:
        os.close(os.open(f"{_LOG}.{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def _break(name: str, action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # the signal may take a moment, and nothing must be done in it
        case "raise":
            raise TandemError(f"failpoint {name!r} raised")
        case "hang":
            time.sleep(3600)
        case "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case _:
            raise TandemError(f"TANDEM_FAULT: {name}:{action}: the action is {', '.join(ACTIONS)}")


def _write(text: str) -> None:
    if _LOG:
        descriptor = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(descriptor, f"{os.getpid()} {time.monotonic_ns()} {text}\n".encode())
        os.close(descriptor)
