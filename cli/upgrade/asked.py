"""An upgrade that a paired router asked for: what is done, and how it ends, is noted for it to read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator

from cli import output
from tandem import upgrades
from tandem.errors import TandemError
from tandem.paths import state_dir


@contextlib.contextmanager
def noted(commit: str) -> Generator[None]:
    """Have the router that asked for an upgrade know how it ends."""
    try:
        yield
    except TandemError as error:
        _note(commit, "failed", error.message)
        raise
    except BaseException as error:
        _note(commit, "failed", f"it was ended by {type(error).__name__}; the next `tandem upgrade` takes it up again")
        raise
    _note(commit, "done", "")


def noting(commit: str) -> Callable[[str], None]:
    """Return what says a step, and has the router that asked for it know."""

    def tell(words: str) -> None:
        output.say(words)
        _note(commit, "running", words)

    return tell


def _note(commit: str, state: upgrades.State, words: str) -> None:
    upgrades.tell(state_dir(), upgrades.Outcome(commit=commit, state=state, words=words, time_s=time.time()))
