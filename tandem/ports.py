"""What the team's workflow needs from outside, and nothing about how it is had.

`graphs` and `agents` know these protocols; `router` implements them. Each method may raise the errors of
`tandem.errors`, and each wait behind them has a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from tandem.events import EventKind
from tandem.types import (
    CheckReport,
    CheckRequest,
    Chunk,
    CommitId,
    CompleteRequest,
    Decision,
    Delivery,
    Edit,
    Environment,
    Hit,
    Json,
    PrepareRequest,
    Question,
    Reply,
    RunId,
    Screening,
    TreeId,
)

OnChunk = Callable[[Chunk], None]
OnProgress = Callable[[str, str], None]  # stage, message


class Guardrail(Protocol):
    """The first checkpoint: looks at a task before anything else does."""

    async def screen(self, text: str) -> Screening:
        """Return allow, ask or block; a guard that cannot judge answers ask."""
        ...


class Models(Protocol):
    """Asks a model somewhere."""

    async def complete(self, request: CompleteRequest, on_chunk: OnChunk) -> Reply:
        """Return the reply to `request`; pieces of it go to `on_chunk` as they come."""
        ...


class Checks(Protocol):
    """Runs tests somewhere, in a sandbox."""

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        """Return the environment for a tree; `ready=False` where building it needs a permission not given."""
        ...

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        """Return what running the command over the tree showed."""
        ...


class Repository(Protocol):
    """Tandem's own Git directory for one checkout. Nothing here touches the checkout but `deliver` and `undo`.

    Commits are made from a parent and edits alone, so making one twice gives the same id.
    """

    @property
    def repo_id(self) -> str:
        """Return the name both machines know this repository by."""
        ...

    async def files(self, commit: CommitId) -> list[str]:
        """Return the paths in a commit, sorted; links and nested repositories left out."""
        ...

    async def read(self, commit: CommitId, path: str, limit_bytes: int = 1 << 20) -> str | None:
        """Return a file's text, or None where it is missing, too large or not UTF-8."""
        ...

    async def contents(self, commit: CommitId, paths: Sequence[str], limit_bytes: int = 1 << 18) -> Mapping[str, str]:
        """Return the texts of many files at once; what is missing, too large or not UTF-8 is left out."""
        ...

    async def grep(
        self, tree: CommitId | TreeId, pattern: str, *, path: str = "", regex: bool = False, limit: int = 100
    ) -> list[Hit]:
        """Return the lines of a tree's text files that hold `pattern`, at most `limit`.

        Raises:
            BadInput: The pattern is not a POSIX extended regular expression.
        """
        ...

    async def edited(self, parent: CommitId, edits: Sequence[Edit]) -> TreeId:
        """Return the tree of `parent` with `edits` applied.

        Raises:
            BadReply: As `commit`.
        """
        ...

    async def commit(
        self, *, parent: CommitId, edits: Sequence[Edit], persona: str, message: str, at_s: int
    ) -> CommitId:
        """Write a commit of `edits` over `parent`, by `persona`, dated `at_s`.

        Raises:
            BadReply: An edit's path leads out of the tree, through a link, or into `.git`.
        """
        ...

    async def squash(self, *, base: CommitId, head: CommitId, persona: str, message: str, at_s: int) -> CommitId:
        """Write one commit with `head`'s tree directly over `base`."""
        ...

    async def tree(self, commit: CommitId, paths: Sequence[str] | None = None) -> TreeId:
        """Return the tree of a commit, or of only those `paths` of it."""
        ...

    async def message(self, commit: CommitId) -> str:
        """Return a commit's message."""
        ...

    async def diff(self, base: CommitId, head: CommitId) -> bytes:
        """Return the unified diff, made without the tree's attributes, filters or external tools."""
        ...

    async def replant(
        self, *, base: CommitId, head: CommitId, onto: CommitId, persona: str, message: str, at_s: int
    ) -> CommitId | None:
        """Write `head`'s change since `base` as one commit over `onto`, or None where they conflict."""
        ...

    async def tip(self, branch: str) -> CommitId | None:
        """Return where the checkout's branch stands now, or None where it is gone."""
        ...

    async def keep(self, run_id: RunId, name: str, commit: CommitId) -> None:
        """Hold a commit under a reference of the run, so that Git never collects it."""
        ...

    async def deliver(self, *, commit: CommitId, branch: str, expected: CommitId, note: str) -> Delivery:
        """Move `branch` of the checkout from `expected` to `commit`, or leave it on a branch of its own and say why.

        Doing it twice is the same as doing it once.
        """
        ...

    async def deliver_branch(self, *, commit: CommitId, branch: str, note: str) -> Delivery:
        """Create `branch` at `commit` in the checkout's repository, and touch nothing else."""
        ...


class Flight(Protocol):
    """Keeps what was said to models and what they said, for people to read afterwards; nothing is decided from it."""

    def note(self, request: CompleteRequest, reply: Reply | None, error: str) -> None:
        """Keep one live call: its reply, or the error it ended with. Never raises."""
        ...


class Recorder(Protocol):
    """A run's journal as its steps see it: answers come from it while it has them, then from outside."""

    @property
    def run_id(self) -> RunId:
        """Return the run's id."""
        ...

    async def ask(
        self,
        step: str,
        kind: str,
        question: Mapping[str, Json],
        live: Callable[[int], Awaitable[Json]],
    ) -> Json:
        """Return the journal's next answer of `step`, or `live(attempt)`'s, recorded before it is returned.

        `question` is hashed and stands beside the entry to verify it.
        """
        ...

    async def effect(
        self,
        step: str,
        kind: str,
        intent: Mapping[str, Json],
        do: Callable[[], Awaitable[Json]],
    ) -> Json:
        """Do something outside once: intent recorded before, result after. `do` must bear being repeated."""
        ...

    async def derive(self, step: str, kind: str, make: Callable[[], Awaitable[Json]]) -> Json:
        """Return what follows from earlier answers alone (a commit): made anew, and compared with the record."""
        ...

    async def now(self, step: str) -> int:
        """Return the wall clock in whole seconds, the same on every replay."""
        ...

    def answer(self, question_id: str) -> Decision | None:
        """Return the recorded answer to a question, if there is one."""
        ...

    async def opened(self, question: Question) -> None:
        """Record that a question is open."""
        ...

    async def answered(self, decision: Decision) -> None:
        """Record an answer given in the person's name, by `--yes`."""
        ...

    def emit(self, kind: EventKind, **data: Json) -> None:
        """Tell whoever watches; never recorded, never waited for."""
        ...
