"""Workers, calls and time as numbers: the world in which `bench placement` tries ways to place calls. Discrete events.

Workers differ in pace, memory, disk and models; some have two places. They load what is not in memory, push out what was
used least, and read a conversation anew unless they had the same one last. Some vanish: half of those die, and half are
only cut off, work on, and answer late. A router learns of either after `NOTICED_S`, and of one that is back at the next
look; a call that nobody can serve meanwhile is asked again every `AGAIN_S`, as a run does that waits for a worker.
Nothing of what placement guesses is taken over: sizes of replies, paces and disks are drawn.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.placement import Key, Need
from tandem.errors import Unreachable
from tandem.types import Load, ModelInfo, NodeInfo
from worker.scheduler import Line

GIB = 1 << 30
MODELS = {"small": 5 * GIB, "middle": 20 * GIB, "large": 42 * GIB}
PERSONAS = {"router": "small", "documenter": "small", "planner": "middle", "reviewer": "middle", "coder": "large"}
CLASSES = {1: 0.2, 5: 0.3, 10: 0.5}  # priorities and their share: persons at work, what they queued, batches
LOOK_S = 5.0  # between two looks at a worker, as `router.node.FRESH_S`
NOTICED_S = 10.0  # until a vanished worker is missed
AGAIN_S = 5.0
LOAD = 0.8  # of what the workers could do, on average; bursts go over it
_LINE_MAX = 1_000_000
_RUNS = 40  # at work at once


@dataclass(slots=True, eq=False)
class Worker:
    """One machine. `known` says whether the router believes it to be there."""

    key: Key
    places: int
    token_s: float
    disk_bytes_s: float
    memory_bytes: int
    models: tuple[str, ...]
    line: Line
    up: bool = True
    known: bool = True
    boot: int = 0
    resident: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    last: tuple[str, str] = ("", "")
    at: dict[int, int] = field(default_factory=dict[int, int])  # the line's ticket to ours
    busy: int = 0

    def info(self) -> NodeInfo:
        """Return what it says of itself now."""
        free = self.memory_bytes - sum(MODELS[name] for name in self.resident)
        models = tuple(
            ModelInfo(name=name, backend="ollama", resident=name in self.resident, size_bytes=MODELS[name])
            for name in self.models
        )
        return NodeInfo(
            name=f"node {self.key}",
            boot_id=str(self.boot),
            version="1",
            protocol=1,
            platform="Darwin arm64",
            models=models,
            calls=self.line.load(),
            checks=Load(places=1),
            free_bytes=free,
        )

    def serve_s(self, need: Need, reply_tokens: int) -> float:
        """Return how long a call takes that begins now, and have the machine be as it is afterwards."""
        load_s = 0.0
        if need.model not in self.resident:
            load_s = MODELS[need.model] / self.disk_bytes_s
            while (
                self.resident and sum(map(MODELS.__getitem__, self.resident)) + MODELS[need.model] > self.memory_bytes
            ):
                self.resident.popitem(last=False)
        self.resident[need.model] = None
        self.resident.move_to_end(need.model)
        warm = self.last == (need.run, need.persona) and not load_s
        self.last = need.run, need.persona
        read_s = 0.0 if warm else need.prompt_tokens * self.token_s / 12
        return load_s + read_s + reply_tokens * self.token_s


@dataclass(slots=True, eq=False)
class Call:
    """One call: when it came, when its present try came, began and where it is, and when it was answered."""

    need: Need
    reply_tokens: int
    came_s: float
    tried_s: float = 0.0
    began_s: float | None = None
    worker: Key | None = None
    ended_s: float | None = None
    tries: int = 0


class Policy(Protocol):
    """A way to place calls. What `arrive` and `ready` name is sent there at once; other calls wait with the policy."""

    def arrive(self, ticket: int, need: Need, now_s: float) -> Key | None:
        """Return where a call goes, None where it waits.

        Raises:
            Unreachable: Nobody can serve it now.
        """
        ...

    def ready(self, now_s: float) -> Sequence[tuple[int, Key]]:
        """Return the waiting calls that go now, and where."""
        ...

    def hopeless(self) -> Sequence[int]:
        """Return the waiting calls that nobody can serve now; they do not wait with the policy any more."""
        ...

    def leave(self, ticket: int, now_s: float) -> None:
        """Take note of a call's end."""
        ...

    def heard(self, key: Key, info: NodeInfo, now_s: float) -> None:
        """Take what a worker says."""
        ...

    def lost(self, key: Key) -> None:
        """Take note that a worker is away."""
        ...

    def served(self, key: Key, need: Need, token_s: float) -> None:
        """Take note of who answered, and at what pace."""
        ...


def workers(count: int, seed: int) -> list[Worker]:
    """Return machines drawn by `seed`; every model is on some of them."""
    chance = random.Random(seed)
    made: list[Worker] = []
    for key in range(count):
        memory = chance.choice((16, 24, 32, 64, 96)) * GIB if key else 96 * GIB
        fit = tuple(name for name, size in MODELS.items() if size * 1.2 < memory)
        kept = fit if key < 2 else tuple(name for name in fit if chance.random() < 0.8) or fit[:1]
        places = 2 if memory >= 96 * GIB and chance.random() < 0.5 else 1
        made.append(
            Worker(
                key=key,
                places=places,
                token_s=chance.uniform(0.008, 0.05),
                disk_bytes_s=chance.uniform(1e9, 5e9),
                memory_bytes=memory,
                models=kept,
                line=Line(places, _LINE_MAX),
            )
        )
    return made


def calls(count: int, fleet: Sequence[Worker], seed: int) -> list[Call]:
    """Return calls of some runs at a time, in order; now and then a batch comes at once."""
    chance = random.Random(seed + 1)
    models = _affordable(fleet)
    gap_s, now_s, made = _gap_s(fleet, models), 0.0, list[Call]()
    runs = itertools.count(_RUNS)
    active = [(number, _class(chance)) for number in range(_RUNS)]
    while len(made) < count:
        burst = chance.randrange(5, 30) if chance.random() < 0.01 else 1
        now_s += chance.expovariate(1 / gap_s) * burst
        for _ in range(min(burst, count - len(made))):
            at = chance.randrange(_RUNS)
            if chance.random() < 0.05:
                active[at] = next(runs), _class(chance)
            run, priority = active[at]
            persona = chance.choice([persona for persona, model in PERSONAS.items() if model in models])
            need = Need(
                kind="call",
                run=f"run {run}",
                model=PERSONAS[persona],
                persona=persona,
                prompt_tokens=chance.randrange(500, 8000),
                priority=priority,
            )
            made.append(Call(need=need, reply_tokens=_reply_tokens(chance), came_s=now_s))
    return made


def _class(chance: random.Random) -> int:
    return chance.choices(list(CLASSES), weights=list(CLASSES.values()))[0]


def _reply_tokens(chance: random.Random) -> int:
    return min(int(chance.lognormvariate(5.8, 0.8)) + 20, 4096)


def _affordable(fleet: Sequence[Worker]) -> set[str]:
    return {name for worker in fleet for name in worker.models}


def _gap_s(fleet: Sequence[Worker], models: set[str]) -> float:
    """Return the mean time between calls at which the busiest models' workers are `LOAD` busy."""
    shares: defaultdict[str, float] = defaultdict(float)
    for model in PERSONAS.values():
        shares[model] += 1 / len(PERSONAS) if model in models else 0.0
    slowest = 0.0
    order = sorted(shares, key=MODELS.__getitem__, reverse=True)
    for at, model in enumerate(order):  # whoever has a larger model mostly serves it and the smaller ones
        able = [worker for worker in fleet if any(name in worker.models for name in order[: at + 1])]
        rate = sum(worker.places / (worker.token_s * 800) for worker in able)  # a reply, and what it takes to begin it
        share = sum(shares[name] for name in order[: at + 1])
        slowest = max(slowest, share / max(rate, 1e-9), shares[model] / max(rate, 1e-9))
    return slowest / LOAD


class World:
    """One policy over one fleet and one list of calls; `run` plays it to its end."""

    def __init__(self, fleet: Sequence[Worker], asked: Sequence[Call], policy: Policy, seed: int) -> None:
        self.fleet, self.asked, self.policy = fleet, asked, policy
        self._chance = random.Random(seed + 2)
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()
        self._tickets = itertools.count(1)
        self._open: dict[int, Call] = {}  # the tickets that count, and their calls
        self._held: dict[int, Call] = {}  # of those, the ones that wait with the policy
        self._left = len(asked)
        self.late = self.twice = self.moved = 0
        self.idle_s = self.queued_idle_s = self.gone_idle_s = self.now_s = 0.0

    def run(self) -> None:
        """Play until every call is answered."""
        for call in self.asked:
            self._at(call.came_s, "come", call)
        for worker in self.fleet:
            self.policy.heard(worker.key, worker.info(), 0.0)
            self._at(self._chance.uniform(0, LOOK_S), "look", worker)
        end_s = self.asked[-1].came_s
        for number in range(max(len(self.fleet) // 2, 3)):
            del number
            self._at(self._chance.uniform(0.1, 0.9) * end_s, "vanish", self._chance.choice(list(self.fleet)))
        while self._left:
            at_s, _, kind, what = heapq.heappop(self._events)
            self._idle(at_s - self.now_s)
            self.now_s = at_s
            getattr(self, f"_{kind}")(what)

    def _at(self, at_s: float, kind: str, what: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), kind, what))

    # --- events -----------------------------------------------------------------------------------------------

    def _come(self, call: Call) -> None:
        ticket = next(self._tickets)
        call.tried_s, call.began_s, call.worker = self.now_s, None, None
        call.tries += 1
        self._open[ticket] = call
        try:
            key = self.policy.arrive(ticket, call.need, self.now_s)
        except Unreachable:
            self._again(ticket)
            return
        if key is None:
            self._held[ticket] = call
        else:
            self._send(ticket, key)

    def _again(self, ticket: int) -> None:
        self._held.pop(ticket, None)
        self._at(self.now_s + AGAIN_S, "come", self._open.pop(ticket))

    def _send(self, ticket: int, key: Key) -> None:
        worker, call = self.fleet[key], self._open[ticket]
        call.worker = key
        if worker.up:
            worker.at[worker.line.arrive(call.need.priority)] = ticket
            self._admit(worker)

    def _admit(self, worker: Worker) -> None:
        for place in worker.line.admit():
            worker.busy += 1
            call = self._open.get(worker.at[place])
            if call is None:  # nobody wants it any more
                self._at(self.now_s, "end", (worker, worker.boot, place))
                continue
            call.began_s = self.now_s
            took_s = worker.serve_s(call.need, call.reply_tokens)
            self._at(self.now_s + took_s, "end", (worker, worker.boot, place))

    def _end(self, what: tuple[Worker, int, int]) -> None:
        worker, boot, place = what
        if boot != worker.boot:
            return  # it died meanwhile
        worker.line.leave(place)
        worker.busy -= 1
        ticket = worker.at.pop(place)
        call = self._open.get(ticket)
        if call is None or not worker.up:
            self.late += call is None  # its number does not count any more
        else:
            self.twice += call.ended_s is not None
            call.ended_s = self.now_s
            self._left -= 1
            del self._open[ticket]
            self.policy.leave(ticket, self.now_s)
            self.policy.served(worker.key, call.need, worker.token_s)
        self._admit(worker)
        self._settle()

    def _look(self, worker: Worker) -> None:
        if worker.up:
            worker.known = True
            self.policy.heard(worker.key, worker.info(), self.now_s)
            self._settle()
        self._at(self.now_s + LOOK_S, "look", worker)

    def _vanish(self, worker: Worker) -> None:
        if not worker.up or sum(one.up for one in self.fleet) == 1:
            return
        worker.up = False
        dies = self._chance.random() < 0.5
        if dies:
            worker.boot += 1
            worker.line, worker.busy = Line(worker.places, _LINE_MAX), 0
            worker.at.clear()
            worker.resident.clear()
            worker.last = "", ""
        self._at(self.now_s + NOTICED_S, "missed", worker)
        self._at(self.now_s + NOTICED_S + self._chance.uniform(20, 300), "back", worker)

    def _missed(self, worker: Worker) -> None:
        """Have the calls of a worker that is away begin elsewhere, under another number."""
        worker.known = False
        self.policy.lost(worker.key)
        gone = [ticket for ticket, call in self._open.items() if call.worker == worker.key]
        for ticket in gone:
            self.policy.leave(ticket, self.now_s)
        for ticket in gone:
            self.moved += 1
            self._come(self._open.pop(ticket))
        for ticket in self.policy.hopeless():
            self._again(ticket)
        self._settle()

    def _back(self, worker: Worker) -> None:
        worker.up = True
        self._admit(worker)

    def _settle(self) -> None:
        for ticket, key in self.policy.ready(self.now_s):
            del self._held[ticket]
            self._send(ticket, key)

    # --- what is counted --------------------------------------------------------------------------------------

    def _idle(self, passed_s: float) -> None:
        """Count the time in which a call waits though a worker that is known to be there could begin it.

        By where the call waits: with the policy, in the line of a worker, or at a worker that is away and not yet missed.
        """
        if passed_s <= 0:
            return
        free = {
            model
            for worker in self.fleet
            if worker.up and worker.known and worker.busy < worker.places
            for model in worker.models
        }
        if not free:
            return
        sent = [
            self.fleet[call.worker].up
            for call in self._open.values()
            if call.worker is not None and call.began_s is None and call.need.model in free
        ]
        self.idle_s += passed_s * any(call.need.model in free for call in self._held.values())
        self.queued_idle_s += passed_s * any(sent)
        self.gone_idle_s += passed_s * (not all(sent))
