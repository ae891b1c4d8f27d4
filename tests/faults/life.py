"""One life of a repository under Tandem, which passes every point a program can be killed at.

A run whose model fails once and answers nonsense once, is gone on with, merged and taken back; a second that is moved away
with its journal, forgotten, taken in again, and merged. Packages are installed on the way, tests leave a log, and the
repository is large enough for a map. The model is a server at the wire that counts what it is asked.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.lead import Lead
from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.scripts import said
from tests.support.stack import DEMO, TASK, git, repository
from tests.support.wheels import wheel

_NUMBER = re.compile(r"This is task number (\d+)\.")
_LOGS = """import unittest


class Log(unittest.TestCase):
    def test_is_left_behind(self):
        with open("tests.log", "w") as log:
            log.write("here the tests were")
"""
_PERSONAS = {
    "assessment": "assessor",
    "plan": "planner",
    "tests": "tester",
    "code": "coder",
    "review": "reviewer",
    "report": "documenter",
}


class Model:
    """Says what the demo's script says, the same for the same question; every good answer is counted.

    Asked for a review, it babbles until it is `sensible`.
    """

    def __init__(self) -> None:
        self.given: Counter[str] = Counter()  # good answers, by the question's words
        self._lock = threading.Lock()
        self._said: dict[str, Say] = {}
        self._turns: Counter[tuple[str, str]] = Counter()
        self._failures = 0
        self.sensible = False

    def __call__(self, body: Mapping[str, Any]) -> Say:
        question = json.dumps(body, sort_keys=True)
        with self._lock:
            if self._failures:
                self._failures -= 1
                return Say(status=500, error="the model fails")
            if persona_of(body) == "review" and not self.sensible:
                return Say("It looks fine to me.")
            if question not in self._said:
                self._said[question] = self._new(body)
            self.given[question] += 1
            return self._said[question]

    def _new(self, body: Mapping[str, Any]) -> Say:
        persona = _PERSONAS[persona_of(body)]
        found = _NUMBER.search(json.dumps(body["messages"]))
        number = found[1] if found else ""
        self._turns[persona, number] += 1
        reply = json.dumps(said(persona, self._turns[persona, number]))
        for name in ("words/text", "words.text", "tests/test_slugify"):  # each task has files of its own
            reply = reply.replace(name, f"{name}{number}")
        return Say(reply)

    def fail(self) -> None:
        """Answer the next two questions with an error."""
        with self._lock:
            self._failures = 2

    def twice(self) -> list[str]:
        """Return the questions that were answered well more than once."""
        return [question[-200:] for question, count in self.given.items() if count > 1]


def task(number: int) -> str:
    """Return one of many tasks, each of which has a file of its own as its end: `product`."""
    return f"{TASK}\n\nThis is task number {number}."


def product(number: int) -> str:
    """Return the file that a task leads to."""
    return f"words/text{number}.py"


def settings(model: FakeOllama, wheels: Path) -> dict[str, str]:
    """Return the environment of such a life."""
    return {
        "TANDEM_OLLAMA_URL": model.url,
        "TANDEM_MODELS_ROUTER": "small",
        "TANDEM_MODELS_WORKER": "large",
        "TANDEM_PREPARE_NETWORK": "allow",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheel(wheels)),
    }


def ground(folder: Path) -> Path:
    """Make the repository: the demo's sample, a package it needs, a test that leaves a log, and a dozen files more."""
    source = DEMO / "sample"
    files = {str(p.relative_to(source)): p.read_text("utf-8") for p in source.rglob("*") if p.suffix in (".py", ".md")}
    more = {f"words/more/part{number}.py": f"def part{number}():\n    return {number}\n" for number in range(12)}
    return repository(folder, {**files, **more, "tests/test_log.py": _LOGS, "requirements.txt": "shout==1.0\n"})


def live(lead: Lead, exports: Path, model: Model) -> list[str]:
    """Live it through, and return the trees that the branch had: at first, merged, taken back, merged."""
    trees = [_tree(lead.repo)]
    model.fail()  # twice: the first time, a kill may come before anybody hears of it
    first = lead.submit(TASK)
    assert lead.wait(first)["state"] == "failed"
    model.sensible = True
    _merge(lead, first)
    trees.append(_tree(lead.repo))
    lead.replay(first)
    lead.undo(first)
    trees.append(_tree(lead.repo))
    second = lead.submit(task(2))
    while lead.wait(second)["state"] == "failed":
        lead.go_on(second)
    lead.export(second, exports / "second.tandem", move=True)
    lead.forget(second)
    lead.take_in(second, exports / "second.tandem")
    _merge(lead, second)
    trees.append(_tree(lead.repo))
    lead.replay(second)
    lead.export(first, exports / "first.tandem")
    lead.forget(first)
    return trees


def _merge(lead: Lead, run: str) -> None:
    """Bring a run to its merge, going on with it where it failed."""
    for _ in range(12):
        state = lead.wait(run)["state"]
        if state == "merged":
            return
        if state == "waiting":
            lead.answer(run, "approve")
            lead.wait(run, until=("merged", "failed"))
        else:
            assert state == "failed", state
            lead.go_on(run)
    raise AssertionError(f"run {run} did not merge")


def _tree(repo: Path) -> str:
    return git(repo, "rev-parse", "main^{tree}")
