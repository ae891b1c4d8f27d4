import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.dispatcher import Dispatcher, Node
from tandem.git import git
from tandem.types import CheckReport, CheckRequest, CommitId, Limits, RequestId, RunId
from tests.support.machine import ROOT, Machine, question

WHO = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine"), [{"persona": "coder", "text": "x"}]) as machine:
        yield machine


async def commit(repo: Path, size: int) -> CommitId:
    await git("init", "-q", "--bare", "--template=", str(repo), git_dir=repo)
    blob = (await git("hash-object", "-w", "--stdin", git_dir=repo, stdin=os.urandom(size))).text
    tree = (await git("mktree", git_dir=repo, stdin=f"100644 blob {blob}\ta.bin\n".encode())).text
    made = (await git("commit-tree", tree, "-m", "x", git_dir=repo, env=WHO)).text
    await git("update-ref", "refs/heads/main", made, git_dir=repo)
    await git("repack", "-adq", git_dir=repo, config=("pack.compression=0",))  # nothing to compress when it is pushed
    return CommitId(made)


def check(name: str, made: CommitId) -> CheckRequest:
    return CheckRequest(
        request_id=RequestId(name),
        run_id=RunId("run"),
        repo_id="shared",
        commit=made,
        command=("true",),
        limits=Limits(wall_s=20),
    )


def test_two_checks_of_one_new_commit_at_once_both_reach_the_worker(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> list[CheckReport]:
        repo = tmp_path / "r.git"
        made = await commit(repo, 1000)
        dispatcher = Dispatcher([Node.at_socket(machine.socket)], lambda repo_id: repo)
        try:
            asked = [check(name, made) for name in ("one", "two", "three")]
            return await asyncio.gather(*(dispatcher.check(one, lambda stage, message: None) for one in asked))
        finally:
            await dispatcher.close()

    assert len(asyncio.run(scenario())) == 3


PUSH = """
import asyncio, sys
from pathlib import Path
from router import gittunnel
from router.dispatcher import Node
async def main():
    node = Node.at_socket(Path(sys.argv[1]))
    await gittunnel.push(Path(sys.argv[2]), sys.argv[3], "broken", node.stub, node="worker")
asyncio.run(main())
"""


def test_a_push_whose_router_was_killed_leaves_no_objects_behind(machine: Machine, tmp_path: Path) -> None:
    repo = tmp_path / "r.git"
    made = asyncio.run(commit(repo, 60 << 20))
    objects = machine.state / "git" / "broken.git" / "objects"
    argv = [sys.executable, "-c", PUSH, str(machine.socket), str(repo), made]
    router = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)
    try:
        until(lambda: any(p.stat().st_size > 1 << 20 for p in objects.glob("tmp_objdir*/**/*") if p.is_file()), 30)
        assert router.poll() is None, "the push was over before it could be broken"
    finally:
        router.send_signal(signal.SIGKILL)
        router.wait()
    until(lambda: not list(objects.glob("tmp_objdir*")), 30)


def until(condition: Callable[[], bool], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            if condition():
                return
        except FileNotFoundError:  # a temporary file went away while it was looked at
            continue
        time.sleep(0.002)
    raise AssertionError(f"not so within {limit_s} s")


def test_a_dead_machine_costs_the_others_no_time(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> float:
        nodes = [Node.at_socket(tmp_path / "nobody"), Node.at_socket(machine.socket)]
        dispatcher = Dispatcher(nodes, lambda repo_id: tmp_path)
        try:
            await nodes[1].describe()
            started = time.monotonic()
            for number in range(3):
                reply = await dispatcher.complete(question(f"alive {number}"), lambda chunk: None)
                assert reply.node == "desk"
            return time.monotonic() - started
        finally:
            await dispatcher.close()

    assert asyncio.run(scenario()) < 2
