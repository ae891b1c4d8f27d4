"""How calls fare under the router's own placement, next to round robin and the shortest queue. Simulated; the same calls.

The functions are the router's (`router.allotment`, `router.placement`), the world is `bench.fleet`. The same calls are also
placed by ours with all of them in one class: the longest wait of those, and the time after which a call stands beside the
first class, bound what a class may wait. Deciding is timed in this process as it runs, in processor time.

No work is lost to waiting ("work conserved") if no worker that is known to be there idles beside a call it could begin, be
that call still here or in another worker's line. A call that was sent to a worker just before that was missed waits as
well, until it is missed (`fleet.NOTICED_S`); nobody could have placed it better, and it is counted apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench import aims
from bench.fleet import CLASSES, Call, Policy, World, calls, workers
from bench.plot import Panel, svg
from router.allotment import AGEING_S, Allotment
from router.placement import Key, Need, able
from tandem.errors import Unreachable
from tandem.types import NodeInfo

FLEETS, QUICK_FLEETS = (2, 5, 20, 50, 200), (2, 20)
CALLS, QUICK_CALLS = 10_000, 1_000
SEED = 6
AIMS = {  # at most
    "decision_us_p99": 1000.0,
    "idle_while_waiting_s": 0.0,
    "idle_while_in_a_line_s": 0.0,
    "passed_after_ageing": 0,
    "longest_wait_of_bound": 1.0,
}
OURS, ROUND, SHORTEST = "ours", "round robin", "shortest queue"


class Ours:
    """The router's books."""

    def __init__(self, keys: Sequence[Key], ageing_s: float = AGEING_S) -> None:
        self.books = Allotment(waiting_max=1_000_000, ageing_s=ageing_s)
        self.books.keep(keys)
        self.took_us: list[float] = []

    def arrive(self, ticket: int, need: Need, now_s: float) -> Key | None:
        """Return where a call goes, None where it waits."""
        began = time.thread_time_ns()
        choice = self.books.arrive(ticket, need, now_s)
        self.took_us.append((time.thread_time_ns() - began) / 1000)
        return choice and choice.key

    def ready(self, now_s: float) -> list[tuple[int, Key]]:
        """Return the waiting calls that go now, and where."""
        began = time.thread_time_ns()
        placed = self.books.ready(now_s)
        if placed:
            each_us = (time.thread_time_ns() - began) / 1000 / len(placed)
            self.took_us += [each_us] * len(placed)
        return [(ticket, choice.key) for ticket, choice in placed]

    def hopeless(self) -> list[int]:
        """Return the waiting calls that nobody can serve now."""
        return [ticket for ticket, _ in self.books.hopeless()]

    def leave(self, ticket: int, now_s: float) -> None:
        """Take note of a call's end."""
        self.books.leave(ticket, now_s)

    def heard(self, key: Key, info: NodeInfo, now_s: float) -> None:
        """Take what a worker says."""
        self.books.heard(key, info, asked_s=now_s, here=False)

    def lost(self, key: Key) -> None:
        """Take note that a worker is away."""
        self.books.lost(key)

    def served(self, key: Key, need: Need, token_s: float) -> None:
        """Take note of who answered, and at what pace."""
        self.books.served(key, need, token_s)


class Peer(Ours):
    """A policy that sends each call at once to some worker's own line. Knows who is there, and nothing of the rest."""

    def __init__(self, keys: Sequence[Key], pick: Callable[[list[Key], dict[Key, float]], Key]) -> None:
        super().__init__(keys)
        self._pick = pick
        self._at: dict[int, Key] = {}
        self._count = dict.fromkeys(keys, 0)
        self._places = dict.fromkeys(keys, 1)

    def arrive(self, ticket: int, need: Need, now_s: float) -> Key | None:
        """Return the worker whose turn it is."""
        began = time.thread_time_ns()
        fit = [node.key for node in able(need, self.books.nodes)]
        if not fit:
            raise Unreachable(f"nobody who answers has {need.model}")
        key = self._pick(fit, {key: self._count[key] / self._places[key] for key in fit})
        self.took_us.append((time.thread_time_ns() - began) / 1000)
        self._at[ticket] = key
        self._count[key] += 1
        return key

    def ready(self, now_s: float) -> list[tuple[int, Key]]:
        """Return nothing: nobody waits here."""
        return []

    def leave(self, ticket: int, now_s: float) -> None:
        """Take note of a call's end."""
        if ticket in self._at:
            self._count[self._at.pop(ticket)] -= 1

    def heard(self, key: Key, info: NodeInfo, now_s: float) -> None:
        """Take which models a worker has, and how many places."""
        super().heard(key, info, now_s)
        self._places[key] = info.calls.places if info.calls else 1


def _round_robin() -> Callable[[list[Key], dict[Key, float]], Key]:
    last = -1

    def pick(fit: list[Key], counts: dict[Key, float]) -> Key:
        nonlocal last
        del counts
        last = next((key for key in fit if key > last), fit[0])
        return last

    return pick


def _policies(keys: Sequence[Key]) -> dict[str, Ours]:
    return {
        OURS: Ours(keys),
        ROUND: Peer(keys, _round_robin()),
        SHORTEST: Peer(keys, lambda fit, counts: min(fit, key=lambda key: (counts[key], key))),
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Play and return plain JSON: by fleet and policy what calls waited (simulated seconds) and deciding took (µs)."""
    count = QUICK_CALLS if quick else CALLS
    fleets = {str(size): _fleet(size, count) for size in (QUICK_FLEETS if quick else FLEETS)}
    ours = [fleet[OURS] for fleet in fleets.values()]
    found = {
        "decision_us_p99": max(one["decision_us"]["p99"] for one in ours),
        "idle_while_waiting_s": max(one["idle_while_waiting_s"] for one in ours),
        "idle_while_in_a_line_s": max(one["idle_while_in_a_line_s"] for one in ours),
        "passed_after_ageing": sum(one["passed_after_ageing"] for one in ours),
        "longest_wait_of_bound": max(one["longest_wait_of_bound"] for one in ours),
    }
    return {
        "calls": count,
        "seed": SEED,
        "ageing_s": AGEING_S,
        "fleets": fleets,
        **found,
        "aims": {name: aims.judged("at_most", aim, found[name]) for name, aim in AIMS.items()},
    }


def _fleet(size: int, count: int) -> dict[str, Any]:
    keys = range(size)
    one_class_s = max(_waits(_played(size, count, Ours(keys), one_class=True).asked))
    return {name: _told(_played(size, count, policy), policy, one_class_s) for name, policy in _policies(keys).items()}


def _played(size: int, count: int, policy: Policy, *, one_class: bool = False) -> World:
    fleet = workers(size, SEED)
    asked = calls(count, fleet, SEED)
    for call in asked if one_class else ():
        call.need = replace(call.need, priority=1)
    world = World(fleet, asked, policy, SEED)
    world.run()
    return world


def _told(world: World, policy: Ours, one_class_s: float) -> dict[str, Any]:
    bounds = {priority: one_class_s + (priority - 1) * AGEING_S for priority in CLASSES}
    longest = {priority: max(_waits(_of(world.asked, priority)), default=0.0) for priority in CLASSES}
    return {
        "answered": sum(call.ended_s is not None for call in world.asked),
        "answered_twice": world.twice,
        "moved": world.moved,
        "late_refused": world.late,
        "wait_s": {str(priority): _quantiles(_waits(_of(world.asked, priority))) for priority in CLASSES},
        "longest_wait_s": {str(priority): round(wait_s, 1) for priority, wait_s in longest.items()},
        "bound_s": {str(priority): round(bound_s, 1) for priority, bound_s in bounds.items()},
        "longest_wait_of_bound": round(max(longest[priority] / bounds[priority] for priority in CLASSES), 3),
        "passed_after_ageing": _passed(world.asked),
        "answer_s": _quantiles([(call.ended_s or 0.0) - call.came_s for call in world.asked]),
        "idle_while_waiting_s": round(world.idle_s, 3),
        "idle_while_in_a_line_s": round(world.queued_idle_s, 3),
        "idle_while_at_a_gone_worker_s": round(world.gone_idle_s, 3),
        "all_s": round(world.now_s, 1),
        "decision_us": _quantiles(policy.took_us) | {"longest": round(max(policy.took_us), 1)},
    }


def _of(asked: Sequence[Call], priority: int) -> list[Call]:
    return [call for call in asked if call.need.priority == priority]


def _waits(asked: Sequence[Call]) -> list[float]:
    """Return how long each call waited for its last place, from when it was last asked for."""
    return [call.began_s - call.tried_s for call in asked if call.began_s is not None]


def _passed(asked: Sequence[Call]) -> int:
    """Return how many calls were passed by one that came for the same model once they stood beside the first class."""
    passed = 0
    for model in {call.need.model for call in asked}:
        alike = sorted((call for call in asked if call.need.model == model), key=lambda call: call.began_s or 0.0)
        latest_s = float("-inf")  # when the latest comer among those that began later came; looked at from the end
        for call in alike:
            due_s = call.tried_s + (call.need.priority - 1) * AGEING_S
            passed += latest_s > due_s
            latest_s = max(latest_s, call.tried_s if call.began_s != call.tried_s else float("-inf"))
    return passed


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"p50": 0.0, "p99": 0.0}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def lines(found: dict[str, Any], width: int) -> list[str]:
    """Return the figures for a person."""
    del width
    head = (
        f"{found['calls']:,} calls by each way, the same ones; waits in simulated seconds, median and 99th percentile"
    )
    told = [head]
    for size, fleet in found["fleets"].items():
        told.append(f"{size} workers")
        for name, one in fleet.items():
            waits = "  ".join(f"class {p}: {w['p50']:g} / {w['p99']:g}" for p, w in one["wait_s"].items())
            decision = one["decision_us"]
            told.append(f"  {name:<18} {waits}")
            told.append(
                f"  {'':<18} answered in {one['answer_s']['p50']:g} / {one['answer_s']['p99']:g}; decided in"
                f" {decision['p50']:g} / {decision['p99']:g} µs"
            )
            told.append(
                f"  {'':<18} idle beside a call at the router {one['idle_while_waiting_s']:.0f} s, in another's line"
                f" {one['idle_while_in_a_line_s']:.0f}, at one just gone {one['idle_while_at_a_gone_worker_s']:.0f},"
                f" of {one['all_s']:.0f}"
            )
        ours = fleet[OURS]
        bounds = ", ".join(f"{ours['longest_wait_s'][p]:g} of {ours['bound_s'][p]:g}" for p in ours["bound_s"])
        told.append(f"  longest waits of ours against their bounds: {bounds}")
    return [*told, *aims.lines(found["aims"])]


def plot(found: dict[str, Any]) -> str:
    """Return the picture: what calls waited and were answered in, over the number of workers, by each way."""
    fleets: dict[str, Any] = found["fleets"]
    names = (OURS, ROUND, SHORTEST)

    def drawn(value: Callable[[dict[str, Any]], float]) -> dict[str, list[tuple[float, float]]]:
        return {name: [(float(size), value(fleet[name])) for size, fleet in fleets.items()] for name in names}

    panels = [
        Panel(title=f"class {priority} waits, p99", unit="s", series=drawn(_wait_of(priority)), log=True)
        for priority in CLASSES
    ]
    panels += [
        Panel(title="answered within, p50", unit="s", series=drawn(lambda one: one["answer_s"]["p50"]), log=True),
        Panel(title="answered within, p99", unit="s", series=drawn(lambda one: one["answer_s"]["p99"]), log=True),
        Panel(title="deciding, p99", unit="µs", series=drawn(lambda one: one["decision_us"]["p99"]), log=True),
    ]
    title = f"Placing {found['calls']:,} calls on 2 to 200 workers (simulated; tandem bench placement)"
    return svg(title, panels, x_label="workers")


def _wait_of(priority: int) -> Callable[[dict[str, Any]], float]:
    return lambda one: one["wait_s"][str(priority)]["p99"]
