import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from router import gittunnel
from router.node import Node
from tandem import wire
from tandem.errors import BadInput, DeadlineExceeded, TandemError
from tandem.git import git
from tandem.v1 import worker_pb2 as pb
from tests.support.machine import Machine
from worker import gittunnel as served
from worker.sandbox import processes

WHO = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
Scenario = Callable[[Node], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine"), [{"persona": "coder", "text": "x"}]) as machine:
        yield machine


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with 100% odd names.git"
    asyncio.run(git("init", "-q", "--bare", "--template=", str(folder), git_dir=folder))
    return folder


def play(machine: Machine, scenario: Scenario) -> None:
    async def run() -> None:
        node = Node.at_socket(machine.socket)
        try:
            await scenario(node)
        finally:
            await node.channels.calls.close()

    asyncio.run(run())


async def commit(repo: Path, *lines: str, parent: str = "") -> str:
    """Write a commit of a tree as `git mktree` takes it; a line without an object gets a blob of its name."""
    entries = list[str]()
    for line in lines:
        mode, kind, name = line.split(" ", 2)
        stored = await git("hash-object", "-w", "--stdin", git_dir=repo, stdin=(name + "\n").encode() * 50)
        sub = stored.text
        if kind == "tree":
            sub = (await git("mktree", git_dir=repo, stdin=f"100644 blob {sub}\tconfig\n".encode())).text
        entries.append(f"{mode} {kind} {sub}\t{name}\n")
    tree = (await git("mktree", git_dir=repo, stdin="".join(entries).encode())).text
    parents = ("-p", parent) if parent else ()
    return (await git("commit-tree", tree, *parents, "-m", "x", git_dir=repo, env=WHO)).text


async def push(repo: Path, what: str, node: Node, name: str, **more: float) -> None:
    await gittunnel.push(repo, what, name, node.stub, node="worker desk", **more)


async def objects(there: Path) -> int:
    """Count a repository's objects, in packs and out of them; one that came twice counts twice."""
    said = (await git("count-objects", "-v", git_dir=there)).text
    counted = dict(line.split(": ") for line in said.splitlines())
    return int(counted["count"]) + int(counted["in-pack"])


def refs(machine: Machine, name: str) -> list[str]:
    folder = machine.state / "git" / f"{name}.git"
    return asyncio.run(git("for-each-ref", "--format=%(refname)", git_dir=folder)).text.split()


def test_a_commit_arrives_whole_and_the_next_one_brings_only_what_is_new(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        first = await commit(repo, "100644 blob a.txt", "040000 tree folder")
        await push(repo, first, node, "twice")
        there = machine.state / "git" / "twice.git"
        before = await objects(there)
        second = await commit(repo, "100644 blob a.txt", "040000 tree folder", "100644 blob b.txt", parent=first)
        await push(repo, second, node, "twice")
        assert before == 5  # a commit, two trees, two files
        assert await objects(there) == 8  # a commit, a tree, a file
        assert (await git("rev-list", "--count", second, git_dir=there)).text == "2"
        await git("fsck", "--strict", git_dir=there)
        await push(repo, second, node, "twice")  # already there
        assert await objects(there) == 8

    play(machine, scenario)
    assert all(ref.startswith("refs/tandem/") for ref in refs(machine, "twice"))
    assert len(refs(machine, "twice")) == 2


class Counting:
    """A worker's stub that notes how large the messages are that go to it."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.sizes: list[int] = []

    def Git(self, requests: AsyncIterator[pb.GitRequest], timeout: float) -> Any:
        async def noted() -> AsyncIterator[pb.GitRequest]:
            async for request in requests:
                self.sizes.append(len(request.data))
                yield request

        return self._stub.Git(noted(), timeout=timeout)


def test_a_large_pack_goes_in_few_messages_and_stays_a_pack(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        blob = (await git("hash-object", "-w", "--stdin", git_dir=repo, stdin=os.urandom(40 << 20))).text
        tree = (await git("mktree", git_dir=repo, stdin=f"100644 blob {blob}\ta.bin\n".encode())).text
        made = (await git("commit-tree", tree, "-m", "x", git_dir=repo, env=WHO)).text
        await git("update-ref", "refs/heads/main", made, git_dir=repo)
        await git("repack", "-adq", git_dir=repo, config=("pack.compression=0",))  # else Git is slower than the wire
        counting = Counting(node.stub)
        await gittunnel.push(repo, made, "large", counting, node="worker desk")
        assert sum(counting.sizes) > 40 << 20
        assert max(counting.sizes) <= wire.DATA_BYTES
        assert sum(counting.sizes) / len(counting.sizes) > 150_000  # Git writes 8 KiB at a time
        objects = machine.state / "git" / "large.git" / "objects"
        assert len(list((objects / "pack").glob("*.pack"))) == 1
        assert not list(objects.glob("??")), "it was taken apart"

    play(machine, scenario)


def test_a_tree_that_would_write_into_git_is_refused_with_gits_words(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        for number, name in enumerate((".git", ".GIT", "git~1")):
            bad = await commit(repo, f"040000 tree {name}")
            with pytest.raises(TandemError, match="hasDotgit") as caught:
                await push(repo, bad, node, "dotgit")
            assert "git push failed" in caught.value.message, number
        good = await commit(repo, "100644 blob a.txt")
        await push(repo, good, node, "dotgit")

    play(machine, scenario)
    assert len(refs(machine, "dotgit")) == 1


def test_other_references_are_refused(machine: Machine, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gittunnel, "REF", "refs/heads/")

    async def scenario(node: Node) -> None:
        with pytest.raises(TandemError, match="hidden ref"):
            await push(repo, await commit(repo, "100644 blob a.txt"), node, "heads")

    play(machine, scenario)
    assert refs(machine, "heads") == []


async def talk(node: Node, *messages: pb.GitRequest) -> bytes:
    async def sent() -> AsyncIterator[pb.GitRequest]:
        for message in messages:
            yield message

    return b"".join([response.data async for response in node.stub.Git(sent(), timeout=20)])


def opened(name: str, service: str = "git-receive-pack") -> pb.GitRequest:
    return pb.GitRequest(open=pb.GitOpen(repo_id=name, service=service))


def test_garbage_does_no_harm_to_a_push_beside_it(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        first = await commit(repo, "100644 blob a.txt")
        noise = [talk(node, opened("noise"), pb.GitRequest(data=data)) for data in GARBAGE]
        *ended, _ = await asyncio.gather(*noise, push(repo, first, node, "noise"), return_exceptions=True)
        assert len(ended) == len(GARBAGE)
        await push(repo, await commit(repo, "100644 blob b.txt", parent=first), node, "noise")
        await git("fsck", "--strict", git_dir=machine.state / "git" / "noise.git")

    play(machine, scenario)
    assert len(refs(machine, "noise")) == 2


ZERO = b"0" * 40
GARBAGE = (
    b"\x00\xff" * 5000,
    b"GET / HTTP/1.1\r\n\r\n",
    b"0067"
    + ZERO
    + b" "
    + b"1" * 40
    + b" refs/tandem/x\x00report-status"
    + b"0000"
    + b"PACK\x00\x00\x00\x02\xff\xff\xff\xff",
    b"fff",
    b"",
)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([opened("../up")], "no repository's id"),
        ([opened("a" * 65)], "no repository's id"),
        ([opened("fine", "git-daemon")], "no Git service 'git-daemon'"),
        ([pb.GitRequest(data=b"x")], "begins with its repository"),
        ([], "begins with its repository"),
    ],
)
def test_a_stream_that_is_not_one_is_bad_input(machine: Machine, messages: list[pb.GitRequest], words: str) -> None:
    from grpc import aio

    from tandem import channel

    async def scenario(node: Node) -> None:
        with pytest.raises(aio.AioRpcError) as caught:
            await talk(node, *messages)
        error = channel.error_in(caught.value, "worker")
        assert isinstance(error, BadInput)
        assert words in error.message

    play(machine, scenario)


def test_odd_state_at_the_worker_is_refused_and_says_what_to_do(machine: Machine, repo: Path, tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        made = await commit(repo, "100644 blob a.txt")
        folder = machine.state / "git"
        await push(repo, made, node, "borrows")
        (folder / "borrows.git" / "objects" / "info").mkdir(exist_ok=True)
        (folder / "borrows.git" / "objects" / "info" / "alternates").write_text(f"{repo}/objects\n")
        (folder / "half.git").mkdir()
        (folder / "file.git").write_text("x")
        (folder / "link.git").symlink_to(repo)
        (folder / "dangling.git").symlink_to(tmp_path / "nothing")
        for name, words in ODD.items():
            with pytest.raises(TandemError, match=f"{words}; move it away"):
                await push(repo, made, node, name)

    play(machine, scenario)


ODD = {
    "borrows": "borrows from another repository",
    "half": "is no whole repository",
    "file": "is no folder of ours",
    "link": "is no folder of ours",
    "dangling": "is no folder of ours",
}


def test_many_first_pushes_at_once_make_one_repository(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        commits = [await commit(repo, f"100644 blob {number}.txt") for number in range(5)]
        await asyncio.gather(*(push(repo, one, node, "many") for one in commits))

    play(machine, scenario)
    assert len(refs(machine, "many")) == 5
    assert not list((machine.state / "git").glob(".new-*"))


def test_a_push_that_takes_too_long_is_ended(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        made = await commit(repo, "100644 blob a.txt")
        with pytest.raises(DeadlineExceeded):
            await push(repo, made, node, "slow", timeout_s=0.001)

    play(machine, scenario)


def test_a_commit_that_is_not_there_is_gits_to_refuse(machine: Machine, repo: Path) -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(TandemError, match="git push failed"):
            await push(repo, "1" * 40, node, "missing")

    play(machine, scenario)


def test_a_push_does_not_wait_for_a_repository_that_is_packed(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "git"  # as a large repository on a slow disk would be
    real = shutil.which("git")
    slow.write_text(
        f'#!/bin/sh\ncase " $* " in *" repack "*) sleep 2; touch {tmp_path}/packed;; esac\nexec {real} "$@"\n'
    )
    slow.chmod(0o755)
    folder = tmp_path / "machine"
    folder.mkdir()
    path = f"{slow.parent}:{os.environ['PATH']}"
    with Machine(folder, [{"persona": "coder", "text": "x"}], PATH=path) as machine:

        async def scenario(node: Node) -> None:
            first = await commit(repo, "100644 blob a.txt")
            await push(repo, first, node, "many")
            there = machine.state / "git" / "many.git"
            await git("update-ref", "--stdin", git_dir=there, stdin=many(first))
            second = await commit(repo, "100644 blob b.txt", parent=first)
            await push(repo, second, node, "many")
            assert not (tmp_path / "packed").exists()
            await push(repo, await commit(repo, "100644 blob c.txt", parent=second), node, "many")
            async with asyncio.timeout(20):
                while len(loose(there)) > 1 or not (tmp_path / "packed").exists():  # noqa: ASYNC110 - git tells nobody
                    await asyncio.sleep(0.05)
            names = (await git("for-each-ref", "--format=%(refname)", git_dir=there)).text.split()
            assert len(names) == 303

        play(machine, scenario)
        assert machine.stop() == 0


def loose(there: Path) -> list[Path]:
    return list((there / "refs" / "tandem").iterdir())


def many(commit: str) -> bytes:
    return "".join(f"create refs/tandem/n{number} {commit}\n" for number in range(300)).encode()


def test_a_git_that_does_not_leave_after_its_input_has_ended_is_ended(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks ends the input; what is closed already cannot be closed by force."""
    monkeypatch.setattr(served, "_LEAVE_S", 0.2)

    async def scenario() -> None:
        broke = asyncio.Event()

        async def received() -> AsyncIterator[bytes]:
            await broke.wait()
            return
            yield b""

        before = {one.pid for one in processes.tree(os.getpid())}
        serving = served.serve(repo, "git-receive-pack", received())
        assert await anext(serving), "it says what it has"
        begun = [one for one in processes.tree(os.getpid()) if one.pid not in before]
        assert begun
        for one in begun:
            os.kill(one.pid, signal.SIGSTOP)
        broke.set()
        await asyncio.sleep(0.1)
        await serving.aclose()  # type: ignore[attr-defined]
        assert processes.alive(begun) == []

    asyncio.run(scenario())
