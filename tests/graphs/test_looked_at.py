"""Of which checks a person is shown what they left: those whose report is shown, and no others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphs.team import Team
from router.settings import settings_of
from tandem.artefacts import DEFAULT
from tandem.config import Config
from tandem.ports import OnProgress
from tandem.types import CheckReport, CheckRequest, CommitId, Json, RunId, Task


class Straight:
    """A recorder without a journal, and checks that pass: keeps what was asked, and of whom."""

    run_id = RunId("run")

    def __init__(self) -> None:
        self.requests: list[CheckRequest] = []
        self.questions: list[Mapping[str, Json]] = []

    def emit(self, kind: str, **data: Json) -> None:
        pass

    async def ask(
        self, step: str, kind: str, question: Mapping[str, Json], live: Callable[[int], Awaitable[Json]]
    ) -> Json:
        self.questions.append(question)
        return await live(1)

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        self.requests.append(request)
        return CheckReport(verdict="passed", exit_code=0)


def asked(what: str, **check: Any) -> Straight:
    straight: Any = Straight()
    nothing: Any = None
    team = Team(
        task=Task(text="t", repo="/r", base=CommitId("b" * 40), target="main"), recorder=straight, checks=straight,
        repo=cast("Any", SimpleNamespace(repo_id="r-1")), models=nothing, guard=nothing, personas={}, flight=nothing,
        settings=settings_of(Config.model_validate({"check": check})),
    )  # fmt: skip
    state: Any = {"check": {"command": ["true"], "adapter": "plain"}}
    asyncio.run(team.check("check.1", state, "c" * 40, what))
    return straight


@pytest.mark.parametrize("what", ["draft", "head.abcdef01"])
def test_what_the_shown_checks_left_is_wanted_and_is_no_part_of_the_question(what: str) -> None:
    found, other = asked(what), asked(what, artefacts=["htmlcov/**"])
    assert found.requests[0].artefacts == DEFAULT
    assert other.requests[0].artefacts == ("htmlcov/**",)
    assert found.questions == other.questions, "else another setting would leave a run's answers behind"


@pytest.mark.parametrize("what", ["base", "base.abcdef01", "red.abcdef01", "try", "rerun1.abcdef01"])
def test_of_other_checks_nothing_is_wanted(what: str) -> None:
    assert asked(what).requests[0].artefacts == ()


def test_an_empty_list_switches_it_off() -> None:
    assert asked("head.abcdef01", artefacts=[]).requests[0].artefacts == ()
