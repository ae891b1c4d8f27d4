"""Whether tests could get out of this machine's sandbox: every known way, inside it and, to show that it is one, not."""

from __future__ import annotations

import asyncio

from bench.accept.figures import Figure, untaken
from worker.sandbox import ladder, selftest

_NAMES = ("sandbox-holes", "sandbox-real")
_SHOWN = 5


async def figures() -> list[Figure]:
    """Return how many ways out succeed, with their names; untaken where no sandbox works here."""
    rung = await asyncio.to_thread(ladder.select)
    if not rung.name:
        return untaken(f"no sandbox works here: {rung.remedy}", *_NAMES)
    try:
        inside = await selftest.attempt(rung)
        outside = await selftest.attempt(ladder.UNSANDBOXED)
    except (OSError, ValueError) as error:
        return untaken(f"the ways out could not be tried: {error}", *_NAMES, of=rung.name)
    holes = selftest.holes(inside, rung.conceded)
    named = ", ".join(f"{one.name} ({one.reason})" for one in holes[:_SHOWN])
    tried = [one for one in inside if one.says != "does not apply"]
    note = f"of {len(tried)} that apply here" + (f": {named}" if named else "")
    if rung.conceded:
        note += f"; {len(rung.conceded)} that show something and give nothing are conceded"
    free = [one for one in outside if one.says == "hole"]
    return [
        Figure(name="sandbox-holes", value=len(holes), note=note, of=rung.name),
        Figure(name="sandbox-real", value=len(free), note=f"of {len(outside)}"),
    ]
