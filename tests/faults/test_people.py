"""What people do to a run while it is at work: leave, press Ctrl-C, answer twice or late, vanish, ask for two at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from tandem.paths import socket_path
from tests.faults.matrix import Reached
from tests.faults.scene import (
    EASY,
    Place,
    at_approval,
    begin,
    below,
    came_to,
    end,
    gone,
    ground,
    held,
    merged_once,
    only_run,
    quick,
    scene,
    wanted,
    writers,
)
from tests.faults.wires import MODELS, until
from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.scripts import DOCS, good
from tests.support.stack import TASK, Stack, git, repository, sample

LEAVE_S = 10.0


# leaving


@pytest.mark.row(6)
def test_a_router_told_to_leave_leaves_and_the_next_goes_on(tmp_path: Path, reached: Reached) -> None:
    stack, repo = scene(tmp_path), ground(tmp_path / "repo", holds=True)
    tree, slow = wanted(tmp_path, repo), str(quick(tmp_path, "slow", hold_s=60))
    told: list[tuple[Place, signal.Signals]] = [("call", signal.SIGTERM), ("tests", signal.SIGINT)]
    run = ""
    try:
        for where, sign in told:
            stack.start(**({"TANDEM_REHEARSAL_SCRIPT": slow} if where == "call" else {}))
            run = run or stack.submit(repo, TASK, yes=True)
            held(stack, where)
            router = stack.router
            assert router is not None
            ones, began = below(router.pid), time.monotonic()
            assert len(ones) > 1
            router.send_signal(sign)
            assert router.wait(LEAVE_S) == 0
            reached.add(f"{sign.name} in the {where}")
            assert time.monotonic() - began < LEAVE_S
            gone(ones)
            assert not socket_path(stack.state, "router").exists()
            assert '"event": "router left", "status": 0' in stack.log()
        stack.start()
        assert came_to(stack, run, "merged")["verdict"] == "passed"
        merged_once(stack, run, repo, tree)
    finally:
        stack.stop()


@pytest.mark.row(6)
def test_ctrl_c_at_the_command_stops_its_run_and_says_how_to_go_on(tmp_path: Path, reached: Reached) -> None:
    stack, repo = scene(tmp_path), ground(tmp_path / "repo", holds=True)
    tree, slow = wanted(tmp_path, repo), str(quick(tmp_path, "slow", hold_s=60))
    command = begin(stack, "run", TASK, "--repo", str(repo), "--yes", TANDEM_REHEARSAL_SCRIPT=slow)
    try:
        run = only_run(stack)
        for where in ("call", "tests"):
            held(stack, where)
            router = stack.call("GET", "/v1/status")[1]
            kept = (router["pid"], router["worker"]["pid"])
            work = [one for one in below(router["pid"]) if one.pid not in kept]
            began = time.monotonic()
            os.killpg(command.pid, signal.SIGINT)  # as a terminal does: to the command, not to the router behind it
            _, told = command.communicate(timeout=LEAVE_S)
            reached.add(f"Ctrl-C in the {where}", command.returncode == 130)
            assert (command.returncode, time.monotonic() - began < LEAVE_S) == (130, True)
            assert f"cancelled; `tandem resume {run}` goes on with it" in told
            gone(work)
            assert stack.call("GET", "/v1/status")[1]["pid"] == router["pid"]
            assert stack.call("GET", f"/v1/runs/{run}")[1]["state"] == "cancelled"
            if where == "call":
                assert stack.cli("down").returncode == 0
                command = begin(stack, "resume", run)  # starts another router, with the quick script
        status, body = stack.call("POST", f"/v1/runs/{run}/resume")
        assert status == 200, body
        came_to(stack, run, "merged")
        merged_once(stack, run, repo, tree)
    finally:
        end(stack, command)


@pytest.mark.row(6)
def test_who_follows_a_run_follows_it_into_the_next_router(tmp_path: Path, reached: Reached) -> None:
    stack, repo = scene(tmp_path), ground(tmp_path / "repo", holds=True)
    tree = wanted(tmp_path, repo)
    stack.start()
    command = begin(stack, "run", TASK, "--repo", str(repo), "--yes")
    try:
        run, first = only_run(stack), stack.router
        held(stack, "tests")
        stack.stop()
        assert first is not None
        reached.add("SIGTERM under a command that follows", first.returncode == 0)
        only_run(stack)  # the command has started another router
        came_to(stack, run, "merged")
        command.communicate(timeout=30)
        assert command.returncode == 0
        merged_once(stack, run, repo, tree)
    finally:
        end(stack, command)


# answers


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a team at work."""
    stack = writers(tmp_path_factory.mktemp("desk"))
    stack.start()
    yield stack
    stack.stop()


def answered(stack: Stack, run: str) -> list[str]:
    """Return the answers to a run's questions, as the journal has them."""
    return [answer["choice"] for answer in stack.call("GET", f"/v1/runs/{run}")[1]["answers"]]


@pytest.mark.row(39)
def test_of_many_answers_at_once_one_counts(desk: Stack, tmp_path: Path, reached: Reached) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(desk, repo)
    question = desk.wait(run)["question"]
    choices, line = ["approve", "reject"] * 6, Barrier(12)

    def answer(choice: str) -> tuple[str, int, Any]:
        line.wait(30)
        body = {"question": question["id"], "digest": question["digest"], "choice": choice}
        return choice, *desk.call("POST", f"/v1/runs/{run}/decision", body)

    with ThreadPoolExecutor(len(choices)) as threads:
        told = list(threads.map(answer, choices))
    body = desk.wait(run)
    (counted,) = answered(desk, run)
    assert {choice for choice, status, _ in told if status == 200} == {counted}
    refused = [body["error"] for _, status, body in told if status == 409]
    reached.add("answers that came too late", len(refused))
    assert len(refused) + sum(status == 200 for _, status, _ in told) == len(told)
    assert {error["class"] for error in refused} == {"StaleApproval"}
    for error in refused:
        assert f"already answered with '{counted}'" in error["message"] or "is not open" in error["message"]
    assert body["state"] == {"approve": "merged", "reject": "rejected"}[counted]
    assert git(repo, "rev-list", "--count", "main") == {"approve": "2", "reject": "1"}[counted]


@pytest.mark.row(39)
def test_late_and_misdirected_answers_change_nothing(desk: Stack, tmp_path: Path, reached: Reached) -> None:
    repo, other = sample(tmp_path / "repo"), repository(tmp_path / "other", {"README.md": "# Other\n"})
    run, cancelled = at_approval(desk, repo), at_approval(desk, other)
    question, foreign = desk.wait(run)["question"], desk.wait(cancelled)["question"]
    assert desk.call("POST", f"/v1/runs/{cancelled}/cancel")[1]["state"] == "cancelled"

    def refused(run: str, words: str, **answer: str) -> None:
        status, body = desk.call("POST", f"/v1/runs/{run}/decision", answer)
        assert (status, body["error"]["class"], body["error"]["exit_code"]) == (409, "StaleApproval", 5)
        reached.add(words, words in body["error"]["message"])
        assert words in body["error"]["message"]

    right = {"question": question["id"], "digest": question["digest"], "choice": "approve"}
    refused(run, "the answer is about 000000000000 and the question about", **{**right, "digest": "0" * 64})
    refused(run, "look at it again with `tandem show`", **{**right, "digest": ""})
    refused(run, f"question '{foreign['id']}' is not open; open is", **{**right, "question": foreign["id"]})
    refused(run, "'yes' is no choice here; choose approve", **{**right, "choice": "yes"})
    refused(
        cancelled,
        "is not open, the run waits for nothing",
        question=foreign["id"],
        digest=foreign["digest"],
        choice="approve",
    )
    assert (answered(desk, run), answered(desk, cancelled)) == ([], [])
    assert desk.call("POST", f"/v1/runs/{run}/decision", right)[0] == 200
    assert desk.wait(run)["state"] == "merged"
    refused(run, "was already answered with 'approve'", **{**right, "choice": "reject"})
    status, body = desk.call("POST", f"/v1/runs/{run}/decision", right)  # the same once more: said, and nothing done
    assert (status, body["state"]) == (200, "merged")
    assert (answered(desk, run), git(repo, "rev-list", "--count", "main")) == (["approve"], "2")
    assert git(other, "rev-list", "--count", "--all") == "1"


@pytest.mark.row(39)
def test_an_answer_and_a_cancellation_at_once_come_to_one_of_both(
    desk: Stack, tmp_path: Path, reached: Reached
) -> None:
    for number in range(2):
        repo = sample(tmp_path / f"repo{number}")
        run, line = at_approval(desk, repo), Barrier(2)
        question = desk.wait(run)["question"]
        yes = {"question": question["id"], "digest": question["digest"], "choice": "approve"}

        def at_once(call: tuple[str, Any], run: str = run, line: Barrier = line) -> int:
            line.wait(30)
            return desk.call("POST", f"/v1/runs/{run}/{call[0]}", call[1])[0]

        with ThreadPoolExecutor(2) as threads:
            statuses = list(threads.map(at_once, [("decision", yes), ("cancel", {})]))
        assert set(statuses) <= {200, 409}
        reached.add("answered and cancelled at once")
        body = desk.wait(run)
        assert body["state"] in ("merged", "cancelled")
        commits = git(repo, "rev-list", "--count", "main")
        assert (body["state"], commits) in (("merged", "2"), ("cancelled", "1"))
        if body["state"] == "cancelled":
            desk.call("POST", f"/v1/runs/{run}/resume")
            body = desk.wait(run)
            if body["state"] == "waiting":
                desk.answer(run, "approve")
            assert desk.wait(run, until=("merged",))["commit"] == git(repo, "rev-parse", "main")
        assert answered(desk, run) == ["approve"]
        assert git(repo, "rev-list", "--count", "main") == "2"


# clients that vanish


def grips(pid: int) -> tuple[int, int]:
    """Return how many files and threads a process has, on Linux; none elsewhere."""
    kept = (Path(f"/proc/{pid}/fd"), Path(f"/proc/{pid}/task"))
    files, threads = (len(list(folder.iterdir())) if folder.exists() else 0 for folder in kept)
    return files, threads


def follow(stack: Stack, run: str, made: socket.socket, *, reads: bool) -> None:
    """Follow a run over a connection of its own; with `reads`, to its first event."""
    made.settimeout(20)
    made.connect(str(socket_path(stack.state, "router")))
    made.sendall(f"GET /v1/runs/{run}/events?after=0&follow=1 HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    said = b""
    while reads and b"event: " not in said:
        said += made.recv(1 << 16)


@pytest.mark.row(43)
def test_clients_that_vanish_leave_nothing_behind_and_the_run_goes_on(tmp_path: Path, reached: Reached) -> None:
    stack, repo = scene(tmp_path, TANDEM_ROUTER_LINGER_S="2"), ground(tmp_path / "repo", holds=True)
    tree = wanted(tmp_path, repo)
    run = stack.cli("run", TASK, "--repo", str(repo), "--yes", "--detach").stdout.strip()
    try:
        held(stack, "tests")
        router = stack.call("GET", "/v1/status")[1]["pid"]
        before = grips(router)
        with ExitStack() as held_open:
            sockets = [held_open.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(30)]
            for number, made in enumerate(sockets):
                follow(stack, run, made, reads=number % 3 > 0)
            commands = [begin(stack, "watch", run) for _ in range(2)]
            for command in commands:
                held_open.callback(command.communicate)
                held_open.callback(command.kill)
                assert command.stdout is not None
                assert command.stdout.readline()
            if sys.platform == "linux":
                until(lambda: grips(router)[0] >= before[0] + len(sockets))
            for made in sockets[::2]:
                made.shutdown(socket.SHUT_WR)
        reached.add("command killed", sum(command.returncode == -signal.SIGKILL for command in commands))
        reached.add("stream left", len(sockets))
        until(lambda: grips(router)[0] <= before[0], 20, lambda: f"{grips(router)} after, {before} before")
        assert grips(router)[1] <= before[1] + 8  # its pool of threads may have grown, to its bound
        came_to(stack, run, "merged")
        merged_once(stack, run, repo, tree)
        # A call that was still answered would keep it: this router leaves when it has nothing to do.
        until(lambda: not socket_path(stack.state, "router").exists(), 20, stack.log)
    finally:
        stack.cli("down")


# two at once


def change(name: str, *, proven: bool) -> dict[str, Any]:
    """Return what each persona says where words/NAME.py is wanted with its tests, or docs/NAME.md."""
    test = f"""import unittest

from words.{name} import {name}


class It(unittest.TestCase):
    def test_it(self):
        self.assertEqual({name}("x"), "{name} x")
"""
    code = f'def {name}(word):\n    return "{name} " + word\n'
    return {
        "assessment": EASY if proven else DOCS,
        "plan": {**good("planner"), "summary": f"Add {name}", "files": [f"words/{name}.py"]},
        "tests": {"files": [{"path": f"tests/test_{name}.py", "content": test}], "note": ""},
        "code": {
            "files": [
                {"path": f"words/{name}.py", "content": code}
                if proven
                else {"path": f"docs/{name}.md", "content": f"# {name}\n"}
            ],
            "note": "",
            "dispute": "",
        },
        "review": good("reviewer", 3),
        "report": {"title": f"{name} was added", "body": "Done."},
    }


class Two:
    """Says what is wanted of either change; the first thing each run asks waits in `begun`."""

    def __init__(self, begun: Callable[[], object], *, proven: bool) -> None:
        self._begun, self._proven = begun, proven

    def __call__(self, body: Mapping[str, Any]) -> Say:
        name = next(name for name in ("louder", "softer") if f"Add {name}" in json.dumps(body["messages"]))
        persona = persona_of(body)
        if persona == "assessment":
            self._begun()
        return Say(json.dumps(change(name, proven=self._proven)[persona]))


def states(stack: Stack) -> list[tuple[str, str]]:
    """Return every change of state of every run, in the journal's order."""
    with closing(sqlite3.connect(stack.state / "journal.db")) as db:
        rows = db.execute("SELECT run, value FROM entries WHERE kind='state' ORDER BY id").fetchall()
    return [(str(run), str(json.loads(value)["state"])) for run, value in rows]


def changed(repo: Path, commit: str) -> list[str]:
    """Return the files that a commit changed."""
    return git(repo, "show", "--format=", "--name-only", commit).split()


@pytest.mark.row(45)
def test_two_runs_on_one_repository_take_turns(tmp_path: Path, reached: Reached) -> None:
    repo, go_on = sample(tmp_path / "repo"), Event()
    with FakeOllama(Two(lambda: go_on.wait(60), proven=False)) as fake:
        stack = Stack(tmp_path, {**MODELS, "TANDEM_OLLAMA_URL": fake.url})
        stack.start()
        try:
            first, second = (stack.submit(repo, f"Add {name}", yes=True) for name in ("louder", "softer"))
            waiting = until(lambda: fake.asked and stack.call("GET", f"/v1/runs/{second}")[1])
            reached.add("second run queued", waiting["state"] == "queued")
            assert stack.call("GET", "/v1/runs")[1]["runs"][0]["before"] == 0
            go_on.set()
            done = [stack.wait(run) for run in (first, second)]
        finally:
            stack.stop()
    assert [body["state"] for body in done] == ["merged", "merged"], [body["message"] for body in done]
    told = states(stack)
    assert told.index((first, "merged")) < told.index((second, "running"))
    assert git(repo, "rev-list", "--reverse", "main").split()[1:] == [body["commit"] for body in done]
    assert [changed(repo, body["commit"]) for body in done] == [["docs/louder.md"], ["docs/softer.md"]]


@pytest.mark.row(45)
def test_two_runs_at_work_at_once_never_mix(tmp_path: Path, reached: Reached) -> None:
    repo, both = sample(tmp_path / "repo"), Barrier(2)
    with FakeOllama(Two(lambda: both.wait(60), proven=True)) as fake:
        env = {"TANDEM_ROUTER_REPO_RUNS": "2", "TANDEM_WORKER_CALLS": "2", "TANDEM_OLLAMA_URL": fake.url}
        stack = Stack(tmp_path, {**MODELS, **env})
        stack.start()
        try:
            runs = {name: stack.submit(repo, f"Add {name}") for name in ("louder", "softer")}
            for run in runs.values():
                assert stack.wait(run)["question"]["kind"] == "approve"
            told = [state for _, state in states(stack)]
            reached.add("both at work", told[: told.index("waiting")].count("running") == 2)
            with ThreadPoolExecutor(2) as threads:
                answers = [threads.submit(stack.answer, run, "approve") for run in runs.values()]
            assert [answer.result()["run"] for answer in answers] == list(runs.values())
            done = {name: stack.wait(run) for name, run in runs.items()}
            for run in runs.values():
                assert stack.call("POST", f"/v1/runs/{run}/replay")[1]["same"]
        finally:
            stack.stop()
    for name, body in done.items():
        # The other may have moved the branch between the last look and the merge: then it waits on a branch of its own.
        assert body["state"] in ("merged", "delivered"), body["message"]
        assert changed(repo, body["commit"]) == [f"tests/test_{name}.py", f"words/{name}.py"]
    merged = [body["commit"] for body in done.values() if body["state"] == "merged"]
    assert sorted(git(repo, "rev-list", "main").split()[:-1]) == sorted(merged)
    assert git(repo, "status", "--porcelain") == ""
