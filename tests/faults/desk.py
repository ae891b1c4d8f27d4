"""A worker process alone with a model server that counts, and a router's dispatcher in front of it, over a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.dispatcher import Dispatcher
from router.node import Node
from tandem.errors import Unreachable
from tandem.types import Chunk, CompleteRequest, Message, Reply
from tests.faults.wires import MODELS
from tests.support.fake_ollama import FakeOllama, Say
from tests.support.faultproxy import FaultProxy
from tests.support.machine import Machine, question


@dataclass(slots=True)
class Desk:
    """A worker process and its model server, whose answer begins with the question and is the `nth` to it."""

    machine: Machine
    fake: FakeOllama
    pause_s: float = 0.0

    def say(self, body: Mapping[str, Any]) -> Say:
        """Answer a question; asked again, otherwise."""
        words = asked_of(body)
        nth = sum(asked_of(other) == words for other in self.fake.asked)
        return Say(f"{words} answered {nth} {'and so on ' * (60 if self.pause_s else 1)}end", pause_s=self.pause_s)

    def asked(self, words: str) -> int:
        """Return how often the model server was asked that."""
        return sum(asked_of(body) == words for body in self.fake.asked)


def asked_of(body: Mapping[str, Any]) -> str:
    return str(body["messages"][0]["content"])


@contextmanager
def desk_in(folder: Path, **env: str) -> Generator[Desk]:
    with FakeOllama(lambda body: Say("")) as fake:
        more = {"TANDEM_OLLAMA_URL": fake.url, "TANDEM_WORKER_CALLS": "8", **MODELS, **env}
        with Machine(folder, [], **more) as machine:
            desk = Desk(machine, fake)
            fake.behaviour = desk.say
            yield desk


def asking(words: str, **more: Any) -> CompleteRequest:
    """Return a question called by its words."""
    return question(words, model="small", messages=(Message(role="user", content=words),), **more)


@asynccontextmanager
async def over(proxy: FaultProxy) -> AsyncIterator[Dispatcher]:
    """Yield a dispatcher whose only worker is behind a proxy, which may be a TCP port, to have something to reset."""
    address = f"{proxy.address[0]}:{proxy.address[1]}" if isinstance(proxy.address, tuple) else f"unix:{proxy.address}"
    made = Dispatcher([Node(address, "desk")], lambda repo_id: Path("/nowhere"))
    try:
        yield made
    finally:
        await made.close()


async def insisting(made: Dispatcher, request: CompleteRequest, chunks: list[Chunk], tries: int = 5) -> Reply:
    """Ask as a run does, which waits a little and asks again for the same where nobody was reached."""
    for _ in range(tries - 1):
        try:
            return await made.complete(request, chunks.append)
        except Unreachable:
            chunks.clear()
            await asyncio.sleep(0.1)
    return await made.complete(request, chunks.append)


async def come(true: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - another thread or process is looked at
            await asyncio.sleep(0.005)
