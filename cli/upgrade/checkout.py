"""Bring Tandem's own checkout forward: fetch, move, set up; back to where it was if that fails."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tandem import upgrades
from tandem.entry import APP_ROOT
from tandem.errors import BadInput, Conflict, Refused, Unavailable

GIT_S, SETUP_S = 300.0, 1800.0
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From which commit to which, and the subjects of what lies between, newest first."""

    old: str
    new: str
    subjects: tuple[str, ...]


def planned(to: str, root: Path = APP_ROOT, *, from_remote: bool = False) -> Step:
    """Fetch, and return what an upgrade to `to` would be; "" is what the checkout's branch follows.

    With `from_remote` it must be part of that branch: who names it is not this machine's person, and a checkout knows
    commits that nobody meant to run.

    Raises:
        Refused: It is not, with `from_remote`.
        Unavailable: Tandem was not installed from a checkout, or its remote cannot be asked.
        Conflict: The checkout has changes of its own, or what it would move to is not ahead of it.
        BadInput: There is no such commit.
    """
    if not (root / ".git").exists() or not (root / "Makefile").exists():
        raise Unavailable(f"Tandem runs from {root}, which is no checkout; upgrade it the way it was installed")
    if changed := _git(root, "diff", "--name-only", "HEAD"):
        names = ", ".join(changed.splitlines()[:3])
        raise Conflict(f"{root} has changes of its own ({names}); commit or stash them, then upgrade")
    _git(root, "fetch", "--quiet", "--tags", failed="the checkout's remote cannot be asked")
    wanted = to or "@{upstream}"
    new = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}", check=False)
    if not new:
        where = f"no commit {to!r} is" if to else "no upstream branch is"
        raise BadInput(f"{where} known in {root}, after a fetch; name one with --to")
    if from_remote:
        _must_be_remote(root, new)
    old = _git(root, "rev-parse", "HEAD")
    if _git(root, "merge-base", old, new, check=False) != old:
        raise Conflict(f"{new[:12]} is not ahead of {old[:12]}, which runs here; an upgrade goes forward only")
    subjects = _git(root, "log", "--format=%h %s", f"--max-count={_SHOWN}", f"{old}..{new}").splitlines()
    return Step(old=old, new=new, subjects=tuple(subjects))


def carry_out(step: Step, home: Path, tell: Callable[[str], None], lock: upgrades.Lock, root: Path = APP_ROOT) -> None:
    """Move the checkout and set it up. `upgrades.end` is the caller's, once what runs was started anew.

    Raises:
        Unavailable: Setting up failed; the checkout is where it was.
    """
    tell(f"moving from {step.old[:12]} to {step.new[:12]}")
    upgrades.begin(home, upgrades.Begun(old=step.old, new=step.new))
    _git(root, "merge", "--quiet", "--ff-only", step.new, failed="the checkout could not be moved")
    _set_up_or_back(step.old, step.new, home, tell, lock, root)


def resume(
    cut: upgrades.Begun, home: Path, tell: Callable[[str], None], lock: upgrades.Lock, root: Path = APP_ROOT
) -> None:
    """Set up what an upgrade that was cut off left, as `carry_out` does; where it had not moved yet, what is there.

    Raises:
        Unavailable: Setting up failed; the checkout is where it was before that upgrade.
    """
    tell(f"an upgrade from {cut.old[:12]} to {cut.new[:12]} was cut off; it is taken up again")
    head = _git(root, "rev-parse", "HEAD")
    if head == cut.new:
        _set_up_or_back(cut.old, cut.new, home, tell, lock, root)
        return
    tell("setting up")
    if said := _setup(root, lock):
        raise Unavailable(f"setting up {head[:12]} failed: {said}")


def _set_up_or_back(
    old: str, new: str, home: Path, tell: Callable[[str], None], lock: upgrades.Lock, root: Path
) -> None:
    tell("setting up")
    if not (said := _setup(root, lock)):
        return
    tell(f"taking {new[:12]} back")
    _git(root, "reset", "--quiet", "--keep", old, failed="and the checkout could not be moved back")
    if back := _setup(root, lock):
        raise Unavailable(f"setting up {new[:12]} failed: {said}; and so did that of {old[:12]}: {back}")
    upgrades.end(home)
    raise Unavailable(f"setting up {new[:12]} failed: {said}; {old[:12]} is back")


def _must_be_remote(root: Path, commit: str) -> None:
    branch = _git(root, "rev-parse", "--symbolic-full-name", "@{upstream}", check=False)
    if not branch.startswith("refs/remotes/"):
        raise Refused(f"{root} follows no branch of a remote, so no router may upgrade it; run `tandem upgrade` there")
    if _git(root, "merge-base", commit, branch, check=False) != commit:
        raise Refused(f"{commit[:12]} is not on {branch.removeprefix('refs/remotes/')}, so no router may have it here")


def _setup(root: Path, lock: upgrades.Lock) -> str:
    """Have the checkout's own Makefile set it up; returns "" or its last words. Nothing of it lives on after a failure.

    It holds the lock, too: where this process is killed, nobody sets up the checkout beside what goes on here.
    """
    try:
        make = subprocess.Popen(
            ["make", "setup"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=(lock.descriptor,),
        )
    except OSError as error:
        return str(error)
    with make:
        lock.shared(make.pid)
        try:
            out, err = make.communicate(timeout=SETUP_S)
        except BaseException as error:  # an interrupt too: it no longer reaches a session of its own
            os.killpg(make.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return str(error)
            raise
    said = (err or out).strip().splitlines()
    return "" if make.returncode == 0 else ("; ".join(said[-3:]) or f"status {make.returncode}")


def _git(root: Path, *arguments: str, check: bool = True, failed: str = "git failed") -> str:
    """Run the person's own git, with their settings: it is their checkout and their remote."""
    argv = ["git", "-c", "core.hooksPath=/dev/null", "-C", str(root), *arguments]
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{failed}: {error}") from error
    if done.returncode and check:
        raise Unavailable(
            f"{failed}: {done.stderr.strip()[-500:] or f'git {arguments[0]} ended with {done.returncode}'}"
        )
    return done.stdout.strip() if done.returncode == 0 else ""
