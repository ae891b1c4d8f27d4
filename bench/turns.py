"""Let sides take turns, so that a busy moment of the machine falls on all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

Side = Callable[[], Awaitable[float]]


async def in_turns(
    sides: Mapping[str, Side],
    rounds: int,
    told: Callable[[], None],
    before: Callable[[int], Awaitable[None]] | None = None,
) -> dict[str, list[float]]:
    """Return what each side measured in each round, a first one that warms up left out; another side begins each time.

    Args:
        sides: What to measure, by name; each returns its figure.
        rounds: How many count.
        told: Called after each round, the first one included.
        before: Called with the round's number ahead of it, for what is not to be measured.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        if before is not None:
            await before(number)
        for shift in range(len(names)):
            name = names[(number + shift) % len(names)]
            value = await sides[name]()
            if number:
                found[name].append(value)
        told()
    return found
