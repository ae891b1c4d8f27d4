"""The whole way of a task on this machine, with a script for a model: sandbox, Git, proof."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from bench.accept.figures import Figure, untaken
from cli.doctor import Look, findings

WAIT_S = 120.0
_SHOWN = 6


async def figures() -> list[Figure]:
    """Return how long the demo takes to a merged and proven commit."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tandem", "cli", "demo", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(WAIT_S):
            _, err = await process.communicate()
    except TimeoutError:
        process.terminate()
        await process.wait()
        return untaken(f"the demo did not end within {WAIT_S:g} s", "team")
    if process.returncode:
        last = (err.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        return untaken(f"the demo ended with status {process.returncode}: {last[:300]}", "team")
    return [Figure(name="team", value=time.monotonic() - began)]


async def causes() -> list[Figure]:
    """Return how many causes the doctor names here."""
    found = [one for one in await asyncio.to_thread(lambda: list(findings(Look.here()))) if one.ok is False]
    named = ", ".join(f"{one.cause} ({one.text})" for one in found[:_SHOWN])
    return [Figure(name="doctor", value=len(found), note=named)]
