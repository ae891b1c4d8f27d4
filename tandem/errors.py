"""Every error Tandem raises on purpose, each with a gRPC status and an exit code.

A message says what failed, with which value, and what to do.

    TandemError                      INTERNAL             exit 1
    ├── BadInput                     INVALID_ARGUMENT     exit 2   the person can mend it: task, option, file
    │   ├── BadTask                                                empty, too large, a picture without a vision model
    │   ├── BadRepository                                          not one, empty, bare, detached, locked, foreign
    │   ├── BadPersona                                             a persona file that does not parse
    │   └── BadConfig                                              tandem.toml or a TANDEM_* variable
    ├── NotFound                     NOT_FOUND            exit 2   no such run, question, commit
    │   └── UnknownModel                                  exit 4   the backend does not have this model
    ├── Conflict                     FAILED_PRECONDITION  exit 5   what was decided on is no longer what is there
    │   ├── StaleApproval                                          an answer for other bytes, or given twice
    │   └── AlreadyRunning                                         a second router on the same state
    ├── VersionSkew                  FAILED_PRECONDITION  exit 4   the two programs speak different protocols
    ├── Refused                      PERMISSION_DENIED    exit 6   a guard said no; nothing was run
    │   └── NoSandbox                                              Check will not run code without a sandbox
    ├── Unavailable                  UNAVAILABLE          exit 4   a machine or model server does not answer
    │   └── Unreachable                                            no worker at all can be reached; a run waits for one
    │       └── NotPaired                                          the machine there does not know this one, or is another
    ├── DeadlineExceeded             DEADLINE_EXCEEDED    exit 4   it took longer than it may
    ├── Cancelled                    CANCELLED            exit 130 a person stopped it
    ├── ResourceExhausted            RESOURCE_EXHAUSTED   exit 4   memory, queue, disk, output
    │   ├── DiskFull                                               no room; a run waits until there is some
    │   └── NotResident                                            a model needs more memory than may be used
    ├── BadReply                     DATA_LOSS            exit 1   a model's or tool's answer that cannot be used
    └── BrokenJournal                DATA_LOSS            exit 7   the journal does not fit what is asked of it
        └── ReplayDiffers                                          replay named its first difference
"""

from __future__ import annotations

from typing import ClassVar

# grpc is imported lazily by `tandem.wire`; the names here are grpc.StatusCode's own.


class TandemError(Exception):
    """Something Tandem foresaw; its text is fit for a person."""

    status: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(TandemError):
    """The person can mend it."""

    status = "INVALID_ARGUMENT"
    exit_code = 2


class BadTask(BadInput):
    """A task that cannot be taken on."""


class BadRepository(BadInput):
    """A folder Tandem cannot work on."""


class BadPersona(BadInput):
    """A persona file that does not parse or does not fit."""


class BadConfig(BadInput):
    """A configuration value that does not parse or does not fit."""


class NotFound(TandemError):
    """Nothing by that name."""

    status = "NOT_FOUND"
    exit_code = 2


class UnknownModel(NotFound):
    """The backend does not have this model."""

    exit_code = 4


class Conflict(TandemError):
    """What was decided on is no longer what is there."""

    status = "FAILED_PRECONDITION"
    exit_code = 5


class StaleApproval(Conflict):
    """An answer to a question that is gone, answered, or about other bytes."""


class AlreadyRunning(Conflict):
    """Another router owns this state folder."""


class VersionSkew(TandemError):
    """Two programs that speak different protocols."""

    status = "FAILED_PRECONDITION"
    exit_code = 4


class Refused(TandemError):
    """A guard said no, and nothing was run."""

    status = "PERMISSION_DENIED"
    exit_code = 6


class NoSandbox(Refused):
    """Check will not run code where no sandbox works."""


class Unavailable(TandemError):
    """A machine or a model server does not answer; asking again may help."""

    status = "UNAVAILABLE"
    exit_code = 4


class Unreachable(Unavailable):
    """No worker can be reached. What was asked may be going on there; asked again, it is joined and not repeated."""


class NotPaired(Unreachable):
    """The machine at that address does not trust this one (any more), or is not the one that was paired."""


class DeadlineExceeded(TandemError):
    """It took longer than it may; the message names the limit and the setting."""

    status = "DEADLINE_EXCEEDED"
    exit_code = 4


class Cancelled(TandemError):
    """A person stopped it."""

    status = "CANCELLED"
    exit_code = 130


class ResourceExhausted(TandemError):
    """Memory, a queue, the disk or an output limit is used up."""

    status = "RESOURCE_EXHAUSTED"
    exit_code = 4


class DiskFull(ResourceExhausted):
    """A disk has no room. Nothing that was recorded is lost, and the work goes on when there is some again."""


class NotResident(ResourceExhausted):
    """A model needs more memory than the worker may use."""


class BadReply(TandemError):
    """An answer of a model or a tool that cannot be used."""

    status = "DATA_LOSS"


class BrokenJournal(TandemError):
    """The journal cannot be read, or does not fit what is asked of it."""

    status = "DATA_LOSS"
    exit_code = 7


class ReplayDiffers(BrokenJournal):
    """Replay found its first difference."""


def _tree(root: type[TandemError]) -> dict[str, type[TandemError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_NAME: dict[str, type[TandemError]] = _tree(TandemError)


def revive(name: str, message: str) -> TandemError:
    """Return the error called `name`, or the root class where this version does not know the name."""
    return BY_NAME.get(name, TandemError)(message)
