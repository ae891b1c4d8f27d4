"""Which announcements count: pure decisions for `tandem.finding`, which hears them.

Anybody in the network may announce anything, and say goodbye in another's name; who sent it, zeroconf does not tell. So a
goodbye takes nothing away that was heard a moment ago, for a hint costs nothing. One address, one name and all together
may claim so much; beyond that it is drawn who stays, so that no crowd keeps the right one out for good, however early it
came. Who bears the name that its id makes, and there is one such name for each id, does not yield to those who do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tandem.endpoints import Endpoint
from tandem.identity import NodeId

CLAIMS_MAX = 256  # that are kept; a network full of announcements is somebody's joke
ADDRESS_MAX = 4  # at one address: a machine that was set up anew once or twice, and what is left of it
NAME_MAX = 8  # addresses under one name
STAYS_S = 120.0  # after it was heard, whoever says goodbye for it
NAME_CHARS = 20  # of an id; a label has at most 63 bytes, and two machines of one name must not be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An announcement. All of it is claimed: `node` is an id, `name` is for people, `at` is where to look."""

    node: NodeId
    name: str
    at: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That the machine `node` is at one place, announced under the name `label`."""

    label: str
    node: NodeId
    name: str
    at: Endpoint
    heard_s: float
    gone: bool = False


def label_of(node: NodeId) -> str:
    """Return the name under which a machine announces itself, without its kind."""
    return node[:NAME_CHARS]


def bears(label: str, node: NodeId) -> bool:
    """Return whether that is the machine's own name; another one that wants it gets a number behind it."""
    return label.casefold() == label_of(node).casefold()


class Claims:
    """The announcements that count at a moment; times are seconds of whatever clock the caller has."""

    def __init__(self, draw: Callable[[Sequence[Claim]], Claim] = random.choice) -> None:
        self._draw = draw
        self._claims: dict[tuple[str, NodeId, Endpoint], Claim] = {}

    def seen(self, now_s: float) -> tuple[Seen, ...]:
        """Return what is announced, in the order of the ids."""
        places: dict[tuple[NodeId, str], list[Claim]] = {}
        for one in self._claims.values():
            if not one.gone or now_s - one.heard_s < STAYS_S:
                places.setdefault((one.node, one.label), []).append(one)
        return tuple(
            Seen(node=node, name=found[-1].name, at=tuple(one.at for one in found))
            for (node, _), found in sorted(places.items())
        )

    def knows(self, label: str) -> bool:
        """Return whether anything is kept under a name."""
        return any(one.label == label for one in self._claims.values())

    def hear(self, label: str, seen: Seen, now_s: float) -> None:
        """Take in an announcement; the same again makes it fresh."""
        for at in seen.at:
            claim = Claim(label=label, node=seen.node, name=seen.name, at=at, heard_s=now_s)
            self._claims.pop((label, seen.node, at), None)  # what was heard last stands last
            self._claims[label, seen.node, at] = claim
            self._bound(ADDRESS_MAX, [one for one in self._claims.values() if one.at.host == at.host])
            self._bound(NAME_MAX, [one for one in self._claims.values() if one.label == label])
        self._bound(CLAIMS_MAX, list(self._claims.values()))

    def goodbye(self, label: str) -> None:
        """Take in that a name says goodbye, or that somebody says so: what was heard lately stays for its time."""
        for key, one in self._claims.items():
            if one.label == label:
                self._claims[key] = replace(one, gone=True)

    def _bound(self, most: int, group: list[Claim]) -> None:
        """Have at most so many of a group; who goes is drawn, from those first that do not bear their own name."""
        while len(group) > most:
            others = [one for one in group if not bears(one.label, one.node)]
            out = self._draw(others or group)
            group.remove(out)
            del self._claims[out.label, out.node, out.at]
