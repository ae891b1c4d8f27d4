"""Begin an upgrade of this machine that a paired router asked for: the same command a person here would give, detached.

Off unless `worker.upgrade` is set. The router names a commit and nothing else; it comes from this checkout's own remote,
and leads forward (`tandem upgrade` sees to both). The worker itself is replaced, so nobody can wait for its end here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tandem.entry import APP_ROOT
from tandem.errors import BadInput, Refused

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def begin(commit: str, state: Path, name: str, *, allowed: bool) -> Path:
    """Start the upgrade, and return the log that tells of it.

    Raises:
        Refused: This machine's person has not allowed it.
        BadInput: That is no commit.
    """
    if not _COMMIT.fullmatch(commit):
        raise BadInput(f"{commit[:80]!r} is no commit's id")
    if not allowed:
        raise Refused(
            f"{name} does not let a paired router upgrade it; run `tandem upgrade --to {commit[:12]}` there, or set "
            "worker.upgrade = true there"
        )
    log = state / "logs" / "upgrade.log"
    argv = [*_outlives(), sys.executable, "-m", "tandem", "cli", "upgrade", "--to", commit, "--here"]
    with log.open("ab") as out:
        subprocess.Popen(
            argv, cwd=APP_ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    return log


def _outlives() -> list[str]:
    """Return what has to stand before a command that is to live on when systemd ends this worker with all it started."""
    if os.environ.get("INVOCATION_ID") and shutil.which("systemd-run"):
        return ["systemd-run", "--user", "--scope", "--collect", "--quiet"]
    return []
