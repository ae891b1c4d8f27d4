"""Take every figure there is time for, one area after the other, and say which."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.accept import answers, confinement, link, metal, team
from bench.accept.figures import Figure, untaken
from bench.accept.report import report
from router.dispatcher import Dispatcher
from router.node import Node
from router.paired import PairedNode
from tandem import __version__, hardware, identity
from tandem.config import Config
from tandem.errors import TandemError
from tandem.paths import socket_path
from tandem.peers import Peers

log = logging.getLogger(__name__)
BUDGET_S = 600.0
FIGURES: dict[str, tuple[str, ...]] = {  # in this order: what shows most for its time first
    "doctor": ("doctor",),
    "sandbox": ("sandbox-holes", "sandbox-real"),
    "metal": ("metal-error", "metal-speed"),
    "link": ("link-thunderbolt", "link-rtt", "link-carries"),
    "team": ("team",),
    "models": ("load", "first-answer", "text-answer", "later-answers", "image-answer", "model-size"),
}


def run(
    state: Path,
    config: Config,
    *,
    only: tuple[str, ...] = (),
    budget_s: float = BUDGET_S,
    tell: Callable[[int, str], None] = lambda done, words: None,
) -> dict[str, Any]:
    """Return the report on this machine; `only` names areas, all where it is empty."""
    return asyncio.run(_run(state, config, only or tuple(FIGURES), budget_s, tell))


async def _run(
    state: Path, config: Config, only: tuple[str, ...], budget_s: float, tell: Callable[[int, str], None]
) -> dict[str, Any]:
    began, figures = time.monotonic(), list[Figure]()
    async with _machines(state, config) as (paired, models):
        areas: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
            "doctor": team.causes,
            "sandbox": confinement.figures,
            "metal": metal.figures,
            "link": lambda: link.figures(paired),
            "team": team.figures,
            "models": lambda: answers.figures(models, config),
        }
        for done, (area, names) in enumerate(FIGURES.items()):
            tell(done, area)
            if area not in only:
                figures += untaken("not asked for", *names)
                continue
            figures += await _within(budget_s - (time.monotonic() - began), areas[area], names)
    tell(len(FIGURES), "")
    return report(figures, _about(time.monotonic() - began))


async def _within(left_s: float, area: Callable[[], Awaitable[list[Figure]]], names: tuple[str, ...]) -> list[Figure]:
    if left_s <= 0:
        return untaken("time was over", *names)
    try:
        async with asyncio.timeout(left_s):
            return await area()
    except TimeoutError:
        return untaken("time was over", *names)
    except TandemError as error:
        return untaken(error.message, *names)
    except Exception as error:  # the other areas' figures are worth their report all the same
        log.exception("area failed unforeseen")
        return untaken(f"it met an unforeseen fault: {type(error).__name__}: {error}", *names)


@contextlib.asynccontextmanager
async def _machines(state: Path, config: Config) -> AsyncGenerator[tuple[list[PairedNode], Dispatcher]]:
    """Yield the paired workers, and a dispatcher over them and this machine's own worker."""
    workers = Peers(state).read().of("worker")
    me = identity.load(state) if workers else None
    paired = [PairedNode(peer, me, config.link) for peer in workers if me]
    models = Dispatcher([*paired, Node.at_socket(socket_path(state, "worker"))], lambda repo_id: state / "nowhere")
    try:
        yield paired, models
    finally:
        await models.close()


def _about(took_s: float) -> dict[str, Any]:
    here = hardware.here()
    return {
        "tandem": __version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "chip": here.chip or "not said",
        "memory": f"{(here.memory_bytes or 0) / (1 << 30):.0f} GiB",
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "took": f"{took_s:.0f} s",
    }
