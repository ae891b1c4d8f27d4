"""The whole way of a task on this machine, with a script for a model: sandbox, Git, proof."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time

from bench.accept.figures import Figure, untaken
from bench.accept.process import said
from cli.doctor import Look, findings

WAIT_S = 120.0
_SHOWN = 6


async def figures() -> list[Figure]:
    """Return how long the demo takes to a merged and proven commit."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tandem-accept-", ignore_cleanup_errors=True) as folder:
        demo = (sys.executable, "-m", "tandem", "cli", "demo", "--json", "--keep", folder)  # with --json it stays
        try:
            status, _, err = await said(demo, WAIT_S)
        except TimeoutError:
            return untaken(f"the demo did not end within {WAIT_S:g} s", "team")
    if status:
        last = (err.strip().splitlines() or ["it said nothing"])[-1]
        return untaken(f"the demo ended with status {status}: {last[:300]}", "team")
    return [Figure(name="team", value=time.monotonic() - began)]


async def causes() -> list[Figure]:
    """Return how many causes the doctor names here."""
    found = [one for one in await asyncio.to_thread(lambda: list(findings(Look.here()))) if one.ok is False]
    named = ", ".join(f"{one.cause} ({one.text})" for one in found[:_SHOWN])
    return [Figure(name="doctor", value=len(found), note=named)]
