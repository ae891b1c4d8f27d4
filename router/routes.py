"""Which of a worker's addresses to use: what was measured of each, and the choice among them. Pure.

The quicker one is used, by measurement: on two Macs that is the Thunderbolt bridge before Ethernet before Wi-Fi. Wi-Fi is
used only where `link.wifi` allows it, because other people are on it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tandem.media import WORDS
from tandem.types import Json, Medium

TYPICAL_BYTES = 4 << 20  # what a turn moves: a prompt is some 100 kB, a push of a change with its reports a few MB
BETTER = 0.7  # of the cost of the address in use: one measurement may be off by a quarter on a busy machine
_TRIPS = 4.0  # of a turn: a call, its first answer, a push's two questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address of a worker, and what a look at it showed. `medium` is the slower of the two machines' interfaces."""

    address: str
    medium: Medium
    rtt_s: float | None = None
    """Round trip of an empty call."""
    bytes_s: float | None = None
    """What it carries towards this machine, in bytes a second."""
    seen_s: float = 0.0
    """When it was looked at, and `carried_s` when its bytes were counted, by the monotonic clock."""
    carried_s: float = 0.0
    trouble: str = ""

    @property
    def cost_s(self) -> float | None:
        """Return how many seconds a typical turn spends on the way, or None where it is not known."""
        if self.trouble or self.rtt_s is None or not self.bytes_s:
            return None
        return _TRIPS * self.rtt_s + TYPICAL_BYTES / self.bytes_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The address to use, "" where there is none, and why it is that one."""

    address: str
    why: str


def is_allowed(medium: Medium, *, wifi: bool) -> bool:
    """Return whether an address may be used over a medium."""
    return wifi or medium != "wifi"


def combined(near: Medium, far: Medium | None) -> Medium:
    """Return the medium of a way whose ends are known: Wi-Fi at either end is Wi-Fi."""
    return "wifi" if far == "wifi" else near


def choose(routes: Iterable[Route], used: str, *, wifi: bool) -> Choice:
    """Return which address to use from now on: the one in use, unless another one is clearly better or it is of no use."""
    good = [route for route in routes if not route.trouble and is_allowed(route.medium, wifi=wifi)]
    if not good:
        return Choice(address="", why=_why_none(routes))
    best = min(good, key=_rank)
    now = next((route for route in good if route.address == used), None)
    if now is None:
        return Choice(address=best.address, why=_told(best, good))
    if best is not now and _is_better(best, now):
        return Choice(address=best.address, why=_told(best, good))
    return Choice(address=used, why=_told(now, good))


def _rank(route: Route) -> tuple[bool, float, float]:
    """Order by cost; before that is known by round trip."""
    return (route.cost_s is None, route.cost_s or 0.0, route.rtt_s or 0.0)


def _is_better(other: Route, now: Route) -> bool:
    return other.cost_s is not None and (now.cost_s is None or other.cost_s < BETTER * now.cost_s)


def _told(chosen: Route, good: Sequence[Route]) -> str:
    others = [route for route in good if route is not chosen]
    if not others:
        return "the only address that can be used"
    costs = [route.cost_s for route in others if route.cost_s is not None]
    if chosen.cost_s is None or not costs:
        return "the first that answered; not all are measured yet"
    times = min(costs) / chosen.cost_s
    if times >= 1:
        return f"the next best would take {times:.1f} times as long"
    return f"kept: the best would take {times:.2f} times as long, which is not worth a change"


def _why_none(routes: Iterable[Route]) -> str:
    barred = [route.address for route in routes if not route.trouble]
    if not barred:
        return ""
    return (
        f"only Wi-Fi leads to it ({', '.join(barred)}), which is not allowed; put the cable in, or set link.wifi = true"
    )


def told(route: Route, *, used: bool, wifi: bool, now_s: float) -> Json:
    """Return a route as `status` shows it; times in seconds."""
    return {
        "address": route.address,
        "medium": route.medium,
        "network": WORDS[route.medium],
        "rtt_s": route.rtt_s,
        "bytes_s": route.bytes_s,
        "seen_ago_s": round(now_s - route.seen_s, 1),
        "used": used,
        "allowed": is_allowed(route.medium, wifi=wifi),
        "trouble": route.trouble or None,
    }
