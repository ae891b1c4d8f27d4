"""Which call has which node's place, and which calls wait: the router's books, over `placement`. Pure: no clock, no wire.

A call that finds no place waits here rather than in a node's line, because here it can still go anywhere. Waiting makes it
more urgent: after `AGEING_S` it stands beside those of the next priority, so no class starves. Whoever waits is passed by
those that wait for another model or node: a place is never kept free for a call that cannot use it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from router.placement import Candidate, Choice, Key, Kind, Need, Places, able, best, choose, others_load
from tandem.errors import ResourceExhausted, TandemError
from tandem.types import Load, NodeInfo

Ticket: TypeAlias = int
AGEING_S = 60.0  # of waiting, after which a call counts as one of the next priority [G]
WAITING_MAX = 256  # calls; a router has at most 64 runs at work, each with a call and some checks
_WARM_MAX = 1024  # personas of runs whose last node is remembered
_ENDED_MAX = 256  # calls of one node that ended lately


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    need: Need
    since_s: float
    order: Ticket

    def urgency(self, now_s: float, ageing_s: float) -> tuple[float, Ticket]:
        """Return by what calls are ordered; the smallest goes first."""
        return self.need.priority - (now_s - self.since_s) / ageing_s, self.order


@dataclass(slots=True, eq=False)
class _Page:
    """What the books have on one node. `ended` are calls of ours that ended there: when, what kind, which priority."""

    node: Candidate
    ours: Counter[tuple[Kind, int]] = field(default_factory=Counter[tuple[Kind, int]])
    ended: deque[tuple[float, Kind, int]] = field(default_factory=lambda: deque(maxlen=_ENDED_MAX))


class Allotment:
    """The books of one router. Times are seconds of whatever clock the caller has."""

    def __init__(self, *, waiting_max: int = WAITING_MAX, ageing_s: float = AGEING_S) -> None:
        self._waiting_max = waiting_max
        self._ageing_s = ageing_s
        self._pages: dict[Key, _Page] = {}
        self._nodes: list[Candidate] = []  # in the order in which they were given
        self._silent = 0
        self._held: dict[Ticket, tuple[Key, Need]] = {}
        self._waiting: dict[Ticket, _Waiting] = {}
        self._warm: OrderedDict[tuple[str, str], tuple[Key, str]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Return how many calls wait."""
        return len(self._waiting)

    @property
    def nodes(self) -> list[Candidate]:
        """Return the nodes as they stand now, in their order."""
        return self._nodes

    # --- nodes ------------------------------------------------------------------------------------------------

    def keep(self, keys: Iterable[Key]) -> None:
        """Have these nodes and no others, in this order; those not heard of yet count as silent."""
        order = list(keys)
        for key in [key for key in self._pages if key not in set(order)]:
            del self._pages[key]
        self._nodes = [self._pages[key].node for key in order if key in self._pages]
        self._silent = len(order) - len(self._nodes)

    def heard(
        self,
        key: Key,
        info: NodeInfo,
        *,
        asked_s: float,
        here: bool = True,
        commits: Collection[tuple[str, str]] = (),
    ) -> None:
        """Take what a node said of itself when it was asked at `asked_s`, and `commits`, what was pushed there so far.

        What it counted of this router's own calls is left out, so that the books can go on counting those themselves.
        """
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _Page(Candidate(key=key, info=info, here=here, commits=commits))
            self._nodes.append(page.node)
            self._silent = max(self._silent - 1, 0)
        node = page.node
        node.away = False
        node.info, node.models = info, {model.name: model for model in info.models}
        mine = page.ours + Counter((kind, priority) for at_s, kind, priority in page.ended if at_s >= asked_s)
        _count(node.calls, info.calls, {priority: count for (kind, priority), count in mine.items() if kind == "call"})
        _count(
            node.checks, info.checks, {priority: count for (kind, priority), count in mine.items() if kind == "check"}
        )

    def lost(self, key: Key) -> None:
        """Send nothing to a node that does not answer, until it is heard again."""
        if key in self._pages:
            self._pages[key].node.away = True

    # --- calls ------------------------------------------------------------------------------------------------

    def arrive(self, ticket: Ticket, need: Need, now_s: float) -> Choice | None:
        """Return the place a call has now; None where it waits, and `ready` will name it.

        Raises:
            ResourceExhausted: Too many wait.
            TandemError: As `placement.choose`.
        """
        choice = choose(need, self._nodes, self._warm_for(need), self._silent)
        if choice is not None:
            self.hold(ticket, choice.key, need)
        elif len(self._waiting) >= self._waiting_max:
            raise ResourceExhausted(f"{len(self._waiting)} calls wait for a worker already; try again in a moment")
        else:
            self._waiting[ticket] = _Waiting(need=need, since_s=now_s, order=ticket)
        return choice

    def hold(self, ticket: Ticket, key: Key, need: Need) -> None:
        """Give a call a place at a node, whatever its load."""
        self._held[ticket] = key, need
        self._book(key, need, 1)

    def leave(self, ticket: Ticket, now_s: float) -> None:
        """Take a call out, whether it has a place or still waits."""
        self._waiting.pop(ticket, None)
        if ticket not in self._held:
            return
        key, need = self._held.pop(ticket)
        self._book(key, need, -1)
        if key in self._pages:
            self._pages[key].ended.append((now_s, need.kind, need.priority))

    def ready(self, now_s: float) -> list[tuple[Ticket, Choice]]:
        """Return the waiting calls that have a place now, the most urgent first, and give it to them."""
        placed: list[tuple[Ticket, Choice]] = []
        stuck: set[tuple[Kind, str, frozenset[Key] | None, int, bool]] = set()
        rooms = [node for node in self._nodes if not node.away and (node.calls.has_room or node.checks.has_room)]
        for one in sorted(self._waiting.values(), key=lambda one: one.urgency(now_s, self._ageing_s)) if rooms else ():
            need = one.need
            alike = need.kind, need.model, need.only, need.priority, need.bare
            if alike in stuck:
                continue
            fit = able(need, rooms if need.kind == "call" else self._nodes, self._silent)
            choice = best(need, fit, self._warm_for(need), self._nodes)
            if choice is None:
                stuck.add(alike)
                continue
            del self._waiting[one.order]
            self.hold(one.order, choice.key, need)
            placed.append((one.order, choice))
        return placed

    def hopeless(self) -> list[tuple[Ticket, TandemError]]:
        """Return the waiting calls that nobody can serve any more, and why; they wait no longer."""
        found: list[tuple[Ticket, TandemError]] = []
        for one in list(self._waiting.values()):
            try:
                choose(one.need, self._nodes, None, self._silent)
            except TandemError as error:
                del self._waiting[one.order]
                found.append((one.order, error))
        return found

    def served(self, key: Key, need: Need, token_s: float | None) -> None:
        """Remember who answered a persona of a run, and how many seconds a token took there, where that was seen."""
        page = self._pages.get(key)
        if page is None:
            return
        self._warm[need.run, need.persona] = key, page.node.info.boot_id
        self._warm.move_to_end((need.run, need.persona))
        if len(self._warm) > _WARM_MAX:
            self._warm.popitem(last=False)
        if token_s is not None:
            before = page.node.token_s.get(need.model, token_s)
            page.node.token_s[need.model] = before + (token_s - before) * 0.3

    def _warm_for(self, need: Need) -> Key | None:
        key, boot = self._warm.get((need.run, need.persona), (-1, ""))
        page = self._pages.get(key)
        return key if page is not None and page.node.info.boot_id == boot else None

    def _book(self, key: Key, need: Need, change: int) -> None:
        page = self._pages.get(key)
        if page is None or need.kind == "prepare":
            return
        page.ours[need.kind, need.priority] += change
        ours = page.node.places(need.kind).ours
        ours[need.priority] = ours.get(need.priority, 0) + change


def _count(places: Places, load: Load | None, mine: dict[int, int]) -> None:
    places.total, places.theirs, places.theirs_waiting = others_load(load, mine)
