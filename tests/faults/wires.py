"""A stack with a `FaultProxy` between its router and its worker, and models that say what the demo's script says.

The router starts its worker itself and dials it when there is something to ask. The proxy takes the socket's place in
between, so that every byte ever exchanged leads through it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tandem.paths import socket_path
from tests.support import fake_openai
from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.faultproxy import FaultProxy
from tests.support.scripts import good
from tests.support.stack import Stack, git

MODELS = {"TANDEM_MODELS_ROUTER": "small", "TANDEM_MODELS_WORKER": "large"}
PERSONAS = {"assessment": "assessor", "plan": "planner", "tests": "tester", "code": "coder", "review": "reviewer"}
_LAST = {"coder": 2, "reviewer": 3}  # the turn at which the demo's persona gets it right


def persona_in(body: Mapping[str, Any]) -> str:
    """Return whose question a model server was asked, whichever of the two protocols it speaks."""
    named = body.get("response_format", {}).get("json_schema", {})
    return PERSONAS.get(persona_of({**body, "format": named["schema"]} if named else body), "documenter")


def team(body: Mapping[str, Any]) -> Say:
    """Say what the demo's script says in the end, the same for the same question."""
    persona = persona_in(body)
    return Say(json.dumps(good(persona, _LAST.get(persona, 1))))


def hosted_team(body: Mapping[str, Any]) -> fake_openai.Say:
    """Say the same in the other protocol."""
    return fake_openai.Say(team(body).text)


def asked_twice(fake: FakeOllama) -> list[str]:
    """Return the questions that a model server was asked more than once."""
    counted = Counter(json.dumps(body, sort_keys=True) for body in fake.asked)
    return [question[-300:] for question, count in counted.items() if count > 1]


def until(true: Callable[[], Any], timeout_s: float = 60.0, why: Callable[[], str] = str) -> Any:
    """Return what `true` returns once that is true.

    Raises:
        AssertionError: It was not, within `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {why()}"
        time.sleep(0.02)
    return found


@contextmanager
def proxied(stack: Stack) -> Generator[FaultProxy]:
    """Start a stack with a proxy between its router and its worker."""
    socket = socket_path(stack.state, "worker")
    real = socket.with_name("real.sock")
    stack.router = subprocess.Popen(
        [*stack.command(), "router"], env=stack.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: any(line["event"] == "worker got ready" for line in logged(stack, "router")), why=stack.log)
        socket.replace(real)
        with FaultProxy(listen=socket, target=real) as proxy:
            until(lambda: stack.call("GET", "/v1/status")[1].get("nodes"), why=stack.log)
            assert proxy.counts["connections"] == 1, "the router had dialled before"
            try:
                yield proxy
            finally:
                proxy.heal()
                stack.stop()
    finally:
        stack.stop()


def logged(stack: Stack, program: str) -> list[dict[str, Any]]:
    """Return what the router or the worker has logged."""
    file = stack.state / ("logs" if program == "router" else "worker/logs") / f"{program}.log"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def holds(stack: Stack) -> list[dict[str, Any]]:
    """Return what runs wait for, as the status tells it."""
    return stack.call("GET", "/v1/status")[1]["holds"]


def merged(stack: Stack, repo: Path, run: str) -> str:
    """Bring a run to its merge, and return the tree it made."""
    body = stack.wait(run)
    assert body["state"] == "waiting", body["message"]
    assert body["question"]["kind"] == "approve"
    stack.answer(run, "approve")
    body = stack.wait(run, until=("merged", "failed"))
    assert body["state"] == "merged", body["message"]
    assert git(repo, "rev-list", "--count", "main") == "2", "one commit"
    return git(repo, "rev-parse", "main^{tree}")
