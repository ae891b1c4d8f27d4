"""Give calls to nodes, or make them wait for one; `allotment` keeps the books and `placement` decides.

Asks the nodes what they are, as often as their descriptions go stale, and tells whoever waits when its turn has come, when
nobody can serve it any more, or when its time is up. Every choice is recorded with its reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from router.allotment import Allotment
from router.node import Node
from router.placement import Choice, Key, Need
from tandem.errors import DeadlineExceeded, TandemError, Unavailable, Unreachable
from tandem.types import Json, NodeInfo, Reply

log = logging.getLogger(__name__)
LOOK_S = 0.5  # between two looks at the nodes while a call waits
_TOKENS_MIN = 32  # of a reply, for its pace to mean something
Record = Callable[[str, dict[str, Json]], None]  # run, what is to be kept


class Placer:
    """The nodes of a router and who has their places."""

    def __init__(self, nodes: Sequence[Node], record: Record = lambda run, row: None) -> None:
        self._record = record
        self._books = Allotment()
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Choice]] = {}
        self._keys: dict[Node, Key] = {}
        self._numbers = itertools.count(1)
        self._seen: dict[Key, NodeInfo] = {}
        self._looking: asyncio.Task[None] | None = None
        self.use(nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that calls may go to."""
        return tuple(self._keys)

    def use(self, nodes: Sequence[Node]) -> None:
        """Send calls to these nodes from now on; those under way stay where they are."""
        self._keys = {node: self._keys.get(node) or next(self._numbers) for node in nodes}
        self._books.keep(self._keys.values())
        self._seen = {key: info for key, info in self._seen.items() if key in self._keys.values()}

    def key(self, node: Node) -> Key:
        """Return the number of a node, -1 where it is none of these any more."""
        return self._keys.get(node, -1)

    def process(self, node: Node) -> str:
        """Return the boot id that a node named last, "" where it is none of these any more."""
        info = self._seen.get(self.key(node))
        return info.boot_id if info else ""

    async def describe(self, *, fresh: bool = False) -> list[NodeInfo]:
        """Return what every node that answers says it is, and have the books know it."""
        infos = await self._heard(fresh=fresh)
        return [info for info in infos if info is not None]

    @asynccontextmanager
    async def seat(
        self, need: Need, *, request_id: str, left_s: float, lease: Node | None = None
    ) -> AsyncGenerator[Node]:
        """Yield a node that has a place for a call, which is the call's inside the block.

        A node that holds the call's `lease`, and answers, is kept: what it has of the work is picked up there.

        Raises:
            DeadlineExceeded: No worker answered, or no place was free, within `left_s`.
            ResourceExhausted: Too many wait.
            TandemError: As `placement.choose`.
        """
        ticket, began = next(self._tickets), time.monotonic()
        try:
            choice = await self._placed(ticket, need, left_s, lease)
            node = self._at(choice)
            before = lease.name if lease not in (None, node) else ""
            self._tell(need, request_id, choice, before, time.monotonic() - began)
            yield node
        finally:
            self._waiting.pop(ticket, None)
            self._books.leave(ticket, time.monotonic())
            self._next()

    def _at(self, choice: Choice) -> Node:
        for node, key in self._keys.items():
            if key == choice.key:
                return node
        raise Unreachable(f"worker {choice.name} is not paired with this machine any more")

    def served(self, node: Node, need: Need, reply: Reply | None = None) -> None:
        """Take note of an answer: its node has read the beginning of its persona's calls, and showed its pace."""
        token_s = None
        if reply is not None and not reply.rehearsed and reply.completion_tokens >= _TOKENS_MIN:
            token_s = max(reply.total_ms - reply.first_token_ms, 1.0) / 1000 / reply.completion_tokens
        self._books.served(self.key(node), need, token_s)

    async def _placed(self, ticket: int, need: Need, left_s: float, lease: Node | None) -> Choice:
        try:
            async with asyncio.timeout(left_s):
                await self._heard()
                kept = self._kept(lease)
                if kept is not None:
                    self._books.hold(ticket, kept.key, need)
                    return kept
                choice = await self._arrive(ticket, need)
                if choice is not None:
                    return choice
                turn = self._waiting[ticket] = asyncio.get_running_loop().create_future()
                self._look()
                return await turn
        except TimeoutError as error:
            within = f"{round(left_s, 1):g} s"
            if ticket in self._waiting:
                raise DeadlineExceeded(
                    f"no place was free for this {need.kind} within its {within} (calls that wait: {self._books.waiting});"
                    " add a worker, or raise router.call_s"
                ) from error
            raise DeadlineExceeded(
                f"no worker answered within the {within} of this call; `tandem doctor` finds out why"
            ) from error

    async def _arrive(self, ticket: int, need: Need) -> Choice | None:
        try:
            return self._books.arrive(ticket, need, time.monotonic())
        except TandemError as error:
            if isinstance(error, Unreachable) or need.kind != "call":
                raise  # they were all asked just now, and waited for
            await self._heard(fresh=True)  # a model pulled a moment ago, a worker started a moment ago
            return self._books.arrive(ticket, need, time.monotonic())

    def _kept(self, lease: Node | None) -> Choice | None:
        """Return the node that has a call's lease, where it answers."""
        key = self._keys.get(lease) if lease else None
        found = next((node for node in self._books.nodes if node.key == key and not node.away), None)
        return found and Choice(key=found.key, name=found.info.name, why="has the work already, and answers again")

    # --- who waits --------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Tell those who have a place now."""
        for ticket, choice in self._books.ready(time.monotonic()):
            turn = self._waiting.pop(ticket, None)
            if turn is not None and not turn.done():
                turn.set_result(choice)
            else:  # it gave up at this very moment, and will leave
                log.debug("nobody waits for this place any more", extra={"ticket": ticket})

    def _look(self) -> None:
        """Look at the nodes now and then, as long as anybody waits: others leave places without telling."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(TandemError):  # whoever waits is told below
                await self._heard()
            self._next()
            for ticket, error in self._books.hopeless():
                turn = self._waiting.pop(ticket, None)
                if turn is not None and not turn.done():
                    turn.set_exception(error)

    # --- nodes ------------------------------------------------------------------------------------------------

    async def _heard(self, *, fresh: bool = False) -> Sequence[NodeInfo | None]:
        """Ask every node what it is, where that is not known, and have the books know it."""
        asked = dict(self._keys)
        infos = await _described(tuple(asked), fresh=fresh)
        for (node, key), info in zip(asked.items(), infos, strict=True):
            if key not in self._keys.values():
                continue  # it was unpaired meanwhile
            if info is None:
                self._books.lost(key)
                self._seen.pop(key, None)
            elif self._seen.get(key) is not info:
                self._seen[key] = info
                self._books.heard(key, info, asked_s=node.asked_s, here=node.here, commits=node.commits)
        return infos

    def _tell(self, need: Need, request_id: str, choice: Choice, before: str, waited_s: float) -> None:
        others: list[Json] = [{"node": name, "why": why} for name, why in choice.others]
        row: dict[str, Json] = {
            "request": request_id,
            "kind": need.kind,
            "persona": need.persona,
            "priority": need.priority,
            "node": choice.name,
            "from": before,
            "why": choice.why,
            "waited_s": round(waited_s, 3),
            "others": others,
            "unnamed": choice.unnamed,
        }
        self._record(need.run, row)

    async def close(self) -> None:
        """Look no more, and close all connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for node in self._keys:
            await node.close()


async def _described(nodes: Sequence[Node], *, fresh: bool = False) -> Sequence[NodeInfo | None]:
    """Return what each node says it is, or None for one that does not answer.

    Raises:
        TandemError: Another node than one that is away, where no node does the work.
    """
    known = [node.known() for node in nodes]
    if not fresh and None not in known:  # nearly every call; tasks would cost it more than the wire does
        return known
    patient = not any(known)  # a call that somebody can take waits for nobody
    found = await asyncio.gather(
        *(node.describe(fresh=fresh, patient=patient) for node in nodes), return_exceptions=True
    )
    infos = [info if isinstance(info, NodeInfo) else None for info in found]
    for error in found:
        if not isinstance(error, NodeInfo | TandemError):
            raise error
        if isinstance(error, TandemError) and not isinstance(error, Unavailable) and not any(infos):
            raise error  # a node of another version is worth a word only where no other does the work
    return infos
