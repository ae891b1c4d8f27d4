"""Environments on machines that come and go, each with keys of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from graphs.installed import TRIES, Installed
from tandem.errors import NotFound
from tandem.ports import OnProgress
from tandem.types import (
    CheckReport,
    CheckRequest,
    CommitId,
    Environment,
    PrepareRequest,
    RequestId,
    RunId,
)


class Machines:
    """Machines that take turns: each call goes to the next one named. A machine repeats what it said to a request."""

    def __init__(self, turns: Sequence[str], *, network: bool = True) -> None:
        self.turns = list(turns)
        self.network = network
        self.built: set[str] = set()
        self.said: dict[tuple[str, str], str | NotFound] = {}
        self.prepared: list[str] = []

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        machine = self.turns.pop(0)
        self.prepared.append(machine)
        if self.network:
            self.built.add(machine)
        return Environment(key=f"at {machine}", kind="python", files=("requirements.txt",), ready=machine in self.built)

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        machine = self.turns.pop(0)
        there = machine in self.built and request.environment == f"at {machine}"
        fresh = machine if there else NotFound(f"this worker has no environment {request.environment!r}")
        said = self.said.setdefault((machine, request.request_id), fresh)
        if isinstance(said, NotFound):
            raise said
        return CheckReport(verdict="passed", exit_code=0, node=said)


def checked(installed: Installed, machines: Machines, name: str = "check") -> str:
    run, commit = RunId("run"), CommitId("ab" * 20)
    request = CheckRequest(
        request_id=RequestId(name),
        run_id=run,
        repo_id="repo",
        commit=commit,
        command=("true",),
        environment="the run's",
    )
    wanted = PrepareRequest(request_id=RequestId("again"), run_id=run, repo_id="repo", commit=commit, adapter="pytest")
    return asyncio.run(installed.check(machines, request, wanted, lambda stage, message: None)).node


def test_it_is_seen_to_once_while_one_machine_does_the_work() -> None:
    installed, machines = Installed(), Machines(["mini"] * 3)
    assert [checked(installed, machines, name) for name in ("one", "two")] == ["mini"] * 2
    assert machines.prepared == ["mini"]


def test_a_check_that_goes_to_another_machine_has_its_environment_there() -> None:
    installed, machines = Installed(), Machines(["mini", "mini", "desk", "desk", "desk", "desk"])
    assert [checked(installed, machines, name) for name in ("one", "two", "three")] == ["mini", "desk", "desk"]
    assert machines.prepared == ["mini", "desk"]


def test_what_a_machine_said_before_it_was_built_there_is_not_taken_for_the_answer() -> None:
    machines = Machines(["mini", "desk", "desk", "desk"])
    assert checked(Installed(), machines) == "desk"


def test_it_is_not_installed_again_without_leave_and_not_without_end() -> None:
    with pytest.raises(NotFound, match="installing them again was not allowed"):
        checked(Installed(), Machines(["mini"], network=False))
    with pytest.raises(NotFound, match="has no environment"):
        checked(Installed(), Machines(["mini", "desk"] * TRIES))
