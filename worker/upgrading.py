"""Upgrades of this machine that a paired router asked for: the same command a person here would give, detached.

Off unless `worker.upgrade` is set. The router names a commit and nothing else; it must be on the branch of its remote that
this checkout follows, and lead forward (`tandem upgrade` sees to both). The worker itself is replaced, so that what becomes
of it is in files (`tandem.upgrades`), and the next worker can say it too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tandem import upgrades
from tandem.entry import APP_ROOT
from tandem.errors import BadInput, Refused
from tandem.paths import private_dir
from tandem.upgrades import Outcome

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Upgrading:
    """The upgrade of one machine. `home` is its state folder, `log` is where what the command says goes."""

    def __init__(self, home: Path, log: Path, name: str, *, allowed: bool) -> None:
        self._home, self.log, self._name, self._allowed = home, log, name, allowed
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self, commit: str) -> Outcome:
        """Start the upgrade, unless the one to this commit runs already.

        Raises:
            Refused: This machine's person has not allowed it.
            BadInput: That is no commit.
            Conflict: Another one is under way.
        """
        self._must_be_allowed(commit)
        if process := self._process():
            now = upgrades.outcome(self._home)
            if now is None or now.commit != commit or now.state != "running":
                raise upgrades.under_way(process)
            return now
        now = Outcome(commit=commit, state="running", words="begun", time_s=time.time())
        upgrades.tell(private_dir(self._home), now)
        argv = [sys.executable, "-m", "tandem", "cli", "upgrade", "--to", commit, "--here", "--from-remote"]
        private_dir(self.log.parent)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as out:
            self._child = subprocess.Popen(
                [*_outlives(), *argv],
                cwd=APP_ROOT,
                env={**os.environ, "TANDEM_STATE": str(self._home)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return now

    def look(self, commit: str) -> Outcome:
        """Return what became of the upgrade to a commit; raises as `begin` does, but never Conflict."""
        self._must_be_allowed(commit)
        at_work = bool(self._process())  # before the file is read: it is written before the process ends
        now = upgrades.outcome(self._home)
        if now is None or now.commit != commit:
            return Outcome(commit=commit, state="failed", words="nothing is known of it there", time_s=time.time())
        if now.state != "running" or at_work:
            return now
        words = "it was cut off there; the next `tandem upgrade` takes it up again"
        return Outcome(commit=commit, state="failed", words=words, time_s=now.time_s)

    def _process(self) -> str:
        """Return the id of the process that upgrades this machine, be it one that has yet to take the lock."""
        if self._child is not None and self._child.poll() is None:
            return str(self._child.pid)
        return upgrades.owner(self._home)

    def _must_be_allowed(self, commit: str) -> None:
        if not _COMMIT.fullmatch(commit):
            raise BadInput(f"{commit[:80]!r} is no commit's id")
        if not self._allowed:
            raise Refused(
                f"{self._name} does not let a paired router upgrade it; run `tandem upgrade --to {commit[:12]}` there, "
                "or set worker.upgrade = true there"
            )


def _outlives() -> list[str]:
    """Return what has to stand before a command that is to live on when systemd ends this worker with all it started."""
    if os.environ.get("INVOCATION_ID") and shutil.which("systemd-run"):
        return ["systemd-run", "--user", "--scope", "--collect", "--quiet"]
    return []
