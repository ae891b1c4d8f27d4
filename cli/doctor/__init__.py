"""The doctor's room: one file an area, each a function from what is looked at to findings.

A probe changes nothing, except that the router is started where none runs: whether it starts is the question. An area
is added by its function in `AREAS`; what needs the router's own answer stands in `router`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cli.doctor import machine, network, ollama, peers, port, router, settings, state, tools
from cli.doctor.finding import CAUSES, Finding
from cli.doctor.look import Look

Area = Callable[[Look], Iterator[Finding]]
AREAS: tuple[Area, ...] = (  # the quick ones first
    machine.findings,
    state.findings,
    settings.findings,
    tools.findings,
    ollama.findings,
    network.findings,
    peers.findings,
    router.findings,
    port.findings,  # after the router, whose start may start the worker
)

__all__ = ["AREAS", "CAUSES", "Area", "Finding", "Look", "findings"]


def findings(look: Look) -> Iterator[Finding]:
    """Yield what each area's probes saw, as they see it."""
    for area in AREAS:
        yield from area(look)
