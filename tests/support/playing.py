"""One router and worker for many tests, each of which says what its team says.

A start costs as much processor time as two or three runs. Where a test is about the way of a run and not about a start, it
shares one; its replies come from a model server at the wire, because a rehearsal script is fixed from the start on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.scripts import good, said
from tests.support.stack import Stack

MODELS = {"TANDEM_MODELS_ROUTER": "small", "TANDEM_MODELS_WORKER": "large"}
_PERSONAS = {
    "assessment": "assessor",
    "plan": "planner",
    "tests": "tester",
    "code": "coder",
    "review": "reviewer",
    "report": "documenter",
}


class Team:
    """Says what the demo's script comes to in the end, so that one round is enough, or what the test put in its place."""

    def __init__(self) -> None:
        self._at_once: dict[str, list[Any]] = {"coder": [good("coder", 2)], "reviewer": [good("reviewer", 3)]}
        self._replies: dict[str, list[Any]] = {}
        self._turns: Counter[str] = Counter()

    def play(self, **replies: list[Any]) -> None:
        """Begin anew, with some personas' replies replaced, one a turn; the last one is said from then on."""
        self._replies = self._at_once | replies
        self._turns.clear()

    def __call__(self, body: Mapping[str, Any]) -> Say:
        persona = _PERSONAS[persona_of(body)]
        self._turns[persona] += 1
        turn, own = self._turns[persona], self._replies.get(persona)
        return Say(json.dumps(own[min(turn, len(own)) - 1] if own else said(persona, turn), ensure_ascii=False))


class Shared(Stack):
    """A stack whose `team` each test tells what to say, with `play`."""

    def __init__(self, folder: Path, fake: FakeOllama, team: Team) -> None:
        super().__init__(folder, {**MODELS, "TANDEM_OLLAMA_URL": fake.url})
        self.play = team.play


@contextmanager
def playing(folder: Path) -> Generator[Shared]:
    """Run a stack; each test has it `play` before it hands in its task."""
    team = Team()
    with FakeOllama(team) as fake:
        stack = Shared(folder, fake, team)
        stack.start()
        try:
            yield stack
        finally:
            stack.stop()
