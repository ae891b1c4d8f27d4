"""Whose call is being answered: this machine's own router's, over the socket, or a paired one's, over the network.

A paired router may have this machine work, and use what is shared (`tandem.shared`). Of the rest it neither sees, stops nor
clears away what others have here, and it runs no code without a sandbox. Its repositories and calls carry its mark behind
their id, which no router can write itself.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace

from tandem.errors import BadInput, NoSandbox
from tandem.identity import NodeId
from tandem.types import Kept

caller: ContextVar[NodeId | None] = ContextVar("caller", default=None)
"""The paired router whose call this task answers; None for this machine's own. `worker.gate` sets it."""
MARK_CHARS = 16  # of a node's id: 80 bits


def mark() -> str:
    """Return what stands behind the names of all that is the caller's; "" for this machine's own router."""
    node = caller.get()
    return mark_of(node) if node else ""


def mark_of(node: NodeId) -> str:
    """Return what stands behind the names of all that is a paired router's."""
    return f"@{node[:MARK_CHARS].lower()}"


def repository(repo_id: str) -> str:
    """Return what the caller's repository is called here.

    Raises:
        BadInput: The caller names one of somebody else's.
    """
    if "@" in repo_id:
        raise BadInput(f"{repo_id[:80]!r} is no repository's id")
    return f"{repo_id}{mark()}"


def work(request_id: str) -> str:
    """Return what the caller's piece of work is called here: asked again, joined or stopped by that caller alone."""
    return f"{request_id}{mark()}"


def owns(stored: str) -> bool:
    """Return whether a repository that is called so here is the caller's."""
    return stored[stored.find("@") :] == mark() if "@" in stored else not mark()


def keeps(kept: Kept) -> Kept:
    """Return what the caller wants kept, under the names it has here."""
    return replace(kept, repositories={repository(name): commits for name, commits in kept.repositories.items()})


def must_be_sandboxed(*, unsandboxed: bool) -> None:
    """Refuse code without a sandbox to everybody but this machine's own router.

    Raises:
        NoSandbox: A paired router asked for it.
    """
    if unsandboxed and caller.get() is not None:
        raise NoSandbox(
            "a paired machine runs no code without a sandbox; leave --unsandboxed out, or work on one machine"
        )
