"""Named points at which a test may break the program: `TANDEM_FAULT=point:kill|raise|hang|enospc[:nth]`.

Inert unless the variable is set; read once at import. A point stands beside every effect and state change, so that
"killed just there" is a sentence a test can say.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from tandem.errors import TandemError

_SPEC = os.environ.get("TANDEM_FAULT", "")
_POINT, _, _REST = _SPEC.partition(":")
_ACTION, _, _NTH = _REST.partition(":")
_passed = 0


def failpoint(name: str) -> None:
    """Break here if `TANDEM_FAULT` names this point; the nth time it is passed (first by default)."""
    if name != _POINT:
        return
    global _passed
    _passed += 1
    if _passed != int(_NTH or 1):
        return
    match _ACTION:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise TandemError(f"failpoint {name!r} raised")
        case "hang":
            time.sleep(3600)
        case "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case _:
            raise TandemError(f"TANDEM_FAULT={_SPEC!r}: the action is kill, raise, hang or enospc")
