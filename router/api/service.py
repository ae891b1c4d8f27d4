"""What the API needs from the rest of the router, and the gate that holds callers until it is there.

The socket answers before the workflow's libraries are imported; `Gate` is the place where the two meet. It knows when
the service is ready or why it never will be, and nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from tandem.errors import TandemError, Unavailable
from tandem.events import RunEvent
from tandem.types import Decision, Json, RunId

READY_S = 60.0  # how long a call waits for a router that is still starting


class Service(Protocol):
    """All runs of a router, as the API sees them. Methods raise the errors of `tandem.errors`."""

    @property
    def busy(self) -> bool:
        """Return whether a run works, is queued or waits for a person, or somebody watches one."""
        ...

    async def resolve(self, prefix: str) -> RunId:
        """Return the run that an id, a unique beginning of one, or `latest` means."""
        ...

    async def submit(self, body: Mapping[str, Any]) -> dict[str, Json]:
        """Accept a task; when this returns, the run survives anything."""
        ...

    async def list_runs(self) -> list[dict[str, Json]]:
        """Return a summary of every run, newest first."""
        ...

    async def get(self, run_id: RunId) -> dict[str, Json]:
        """Return everything about a run."""
        ...

    async def diff(self, run_id: RunId) -> bytes:
        """Return the diff under decision."""
        ...

    async def placements(self, run_id: RunId) -> list[dict[str, Json]]:
        """Return which node took each call of a run, and why."""
        ...

    async def artefacts(self, run_id: RunId, kind: str) -> bytes:
        """Return what a kind of check of a run left, as a ZIP."""
        ...

    async def calls(self, run_id: RunId) -> bytes:
        """Return what was said to models in a run, one JSON object a line."""
        ...

    def subscribe(self, run_id: RunId, after: int) -> AsyncIterator[RunEvent]:
        """Yield a run's events after number `after`, to the end of the run."""
        ...

    async def decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        """Record a person's answer."""
        ...

    async def cancel(self, run_id: RunId) -> dict[str, Json]:
        """Stop a run."""
        ...

    async def resume(self, run_id: RunId) -> dict[str, Json]:
        """Go on with a run that failed or was cancelled."""
        ...

    async def replay(self, run_id: RunId) -> dict[str, Json]:
        """Run the workflow offline over the journal, and compare."""
        ...

    async def undo(self, run_id: RunId) -> dict[str, Json]:
        """Revert a merged run with a commit of its own."""
        ...

    def verify(
        self, repo: str, commit: str, *, prepare: bool = False, unsandboxed: bool = False
    ) -> AsyncIterator[tuple[str, dict[str, Json]]]:
        """Establish a commit's proof anew: progress, then one result."""
        ...

    async def export(self, run_id: RunId, file: str, *, move: bool) -> dict[str, Json]:
        """Write a run into a file."""
        ...

    async def take_in(self, file: str, repo: str) -> dict[str, Json]:
        """Take a run in from a file."""
        ...

    async def clear(self, *, run: str, days: float | None, dry_run: bool) -> dict[str, Json]:
        """Clear away what is old."""
        ...

    def standing(self) -> dict[str, Json]:
        """Return `runs`, how many are not over, `holds`, what they wait for, `peers`, the paired machines as they were
        seen last, and `trouble` in lines; waits for nothing.
        """
        ...

    async def status(self) -> dict[str, Json]:
        """Return `models`, and `nodes`, which are asked."""
        ...

    async def close(self) -> None:
        """Stop all work where it stands; the next router goes on with it."""
        ...


class Gate:
    """Holds the service once it is open. Before that callers wait; where opening failed they are told why."""

    def __init__(self, ready_s: float = READY_S) -> None:
        self._ready_s = ready_s
        self._settled = asyncio.Event()
        self._service: Service | None = None
        self._error: TandemError | None = None

    @property
    def ready(self) -> bool:
        """Return whether the service is there."""
        return self._service is not None

    @property
    def error(self) -> TandemError | None:
        """Return why the service could not be opened, if it could not."""
        return self._error

    def open(self, service: Service) -> None:
        """Let callers through."""
        self._service = service
        self._settled.set()

    def fail(self, error: TandemError) -> None:
        """Tell this and every later caller why there is no service."""
        self._error = error
        self._settled.set()

    def now(self) -> Service | None:
        """Return the service if it is there, without waiting."""
        return self._service

    async def service(self) -> Service:
        """Return the service, waiting for it where the router is still starting.

        Raises:
            Unavailable: It is not there in time.
            TandemError: Why it could not be opened.
        """
        try:
            async with asyncio.timeout(self._ready_s):
                await self._settled.wait()
        except TimeoutError:
            raise Unavailable(
                f"the router is not ready after {self._ready_s:g} s; see its log with `tandem doctor`, then try again"
            ) from None
        if self._service is None:
            assert self._error is not None
            raise self._error
        return self._service
