"""A worker as a process, the port it has for paired routers, and who gets an answer there."""

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from router import gittunnel
from router.dispatcher import Dispatcher
from router.links import Links
from router.node import Node
from router.paired import PairedNode
from router.ways import LOOK_S
from tandem import __version__, channel, identity, probe, wire
from tandem.endpoints import Endpoint
from tandem.errors import BadInput, NoSandbox, NotPaired, Unreachable
from tandem.identity import TLS_NAME, Identity
from tandem.peers import Peer, Peers
from tandem.types import CheckRequest, Chunk, CommitId, Kept, RequestId, RunId
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceStub
from tandem.wire.checks import check_out
from tandem.wire.questions import complete_out
from tandem.wire.upkeep import collect_out
from tests.support.faultproxy import FaultProxy
from tests.support.machine import Machine, question, whole
from tests.support.pairs import Recorded, free_port, known_at, paired
from tests.support.stack import git, repository

PACED = " ".join(f"word{number:04d}" for number in range(400))
REPLIES = [{"persona": "coder", "text": PACED}, {"persona": "brief", "reply": {"sure": True}}]


class Pair:
    """A router's state folder, and a worker's with its process."""

    def __init__(self, folder: Path, machine: Machine, port: int) -> None:
        self.book, self.mini = folder / "book", folder / "mini"
        self.machine = machine
        self.at = Endpoint("127.0.0.1", port)
        self.me = identity.load(self.book)

    def peer(self) -> Peer:
        """Return the worker as the router knows it."""
        return Peers(self.book).read().peers[0]

    def pair(self) -> Peer:
        """Pair the two."""
        return paired(self.book, self.mini, str(self.at))

    def unpair(self) -> None:
        """Forget the router at the worker."""
        assert Peers(self.mini).remove(self.me.id)

    def look(self, me: Identity | None = None) -> str:
        """Return what a probe of the worker's port finds."""
        return probe.look(me or self.me, identity.load(self.mini).id, self.at, 2).kind


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    port = free_port()
    settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}", "TANDEM_STATE": str(folder / "mini")}
    with Machine(folder, REPLIES, TANDEM_REHEARSAL_TOKENS_S="600", **settings) as machine:
        made = Pair(folder, machine, port)
        made.pair()
        eventually(lambda: made.look() == "open")
        yield made


def eventually(true: Callable[[], bool], wait_s: float = 20) -> None:
    end = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another task or process is looked at
        await asyncio.sleep(0.02)


@asynccontextmanager
async def node_of(pair: Pair, peer: Peer | None = None, me: Identity | None = None) -> AsyncGenerator[PairedNode]:
    node = PairedNode(peer or pair.peer(), me or pair.me)
    try:
        yield node
    finally:
        await node.close()


async def ask(pair: Pair, credentials: grpc.ChannelCredentials | None) -> str:
    """Return what a first call over the network comes to."""
    options: Any = (*channel.CLIENT_OPTIONS, ("grpc.ssl_target_name_override", TLS_NAME))
    if credentials is None:
        made = aio.insecure_channel(str(pair.at), options=options)
    else:
        made = aio.secure_channel(str(pair.at), credentials, options=options)
    async with made:
        stub: Any = WorkerServiceStub(made)
        try:
            answer = await stub.Describe(pb.DescribeRequest(protocol=wire.PROTOCOL, version=__version__), timeout=5)
        except aio.AioRpcError as error:
            return error.code().name
    return answer.name


def shown(me: Identity | None, root: bytes) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(root, me and me.key, me and me.certificate)


def test_a_paired_router_is_answered_and_sees_the_worker_under_its_own_name(pair: Pair) -> None:
    async def scenario() -> None:
        async with node_of(pair) as node:
            info = await node.describe()
            assert (info.name, node.name, node.trouble, node.address) == ("mini", "mini", "", str(pair.at))
            assert "rehearsal/play" in [model.name for model in info.models]

    asyncio.run(scenario())


def test_a_proxy_for_the_internet_is_not_asked_for_a_machine_nearby(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    async def scenario() -> None:
        async with node_of(pair) as node:
            assert (await node.describe()).name == "mini"

    asyncio.run(scenario())


def test_nobody_else_is_answered(pair: Pair, tmp_path: Path) -> None:
    mini, eve = identity.load(pair.mini).certificate, identity.load(tmp_path / "eve")
    known_at(pair.mini, identity.load(tmp_path / "other worker"), "other", "worker")

    async def scenario() -> None:
        assert await ask(pair, shown(pair.me, mini)) == "desk"
        assert await ask(pair, None) == "UNAVAILABLE"  # plaintext
        assert await ask(pair, shown(None, mini)) == "UNAVAILABLE"  # no certificate
        assert await ask(pair, shown(eve, mini)) == "UNAVAILABLE"  # one it made itself
        assert await ask(pair, shown(identity.load(tmp_path / "other worker"), mini)) == "UNAVAILABLE"  # no router

    asyncio.run(scenario())
    assert [pair.look(eve), pair.look()] == ["not paired", "open"]


def test_plaintext_gets_not_one_byte(pair: Pair) -> None:
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"):
        with socket.create_connection(pair.at, 5) as wire_:
            wire_.sendall(said)
            wire_.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert wire_.recv(100) == b""


def test_the_router_talks_to_no_other_machine_than_the_one_that_was_paired(pair: Pair, tmp_path: Path) -> None:
    other = known_at(tmp_path / "home", identity.load(tmp_path / "other"), "other", "worker", str(pair.at))

    async def scenario() -> None:
        assert await ask(pair, shown(pair.me, identity.load(tmp_path / "other").certificate)) == "UNAVAILABLE"
        async with node_of(pair, other) as node:
            with pytest.raises(NotPaired, match=r"other: another machine answers at 127\.0\.0\.1"):
                await node.describe()
            with pytest.raises(NotPaired):  # the same at once, for the next call
                await asyncio.wait_for(node.describe(), 0.05)

    asyncio.run(scenario())


def test_a_call_under_way_is_cut_when_its_router_is_unpaired_and_the_open_connection_is_worth_nothing(
    pair: Pair,
) -> None:
    async def scenario() -> None:
        async with node_of(pair) as node:
            await node.describe()
            begun, cut_s = asyncio.Event(), 0.0

            async def call() -> None:
                async for _ in node.stub.Complete(complete_out(question("cut", "coder"), resume_offset=0), timeout=30):
                    begun.set()

            calling = asyncio.create_task(call())
            await asyncio.wait_for(begun.wait(), 10)
            unpaired_s = time.monotonic()
            pair.unpair()
            with pytest.raises(aio.AioRpcError) as cut:
                await node.stub.Describe(pb.DescribeRequest(protocol=wire.PROTOCOL), timeout=5)  # no connection is made
            assert isinstance(channel.error_in(cut.value, "worker"), NotPaired)
            with pytest.raises(aio.AioRpcError) as cut:
                await asyncio.wait_for(calling, 10)
            cut_s = time.monotonic() - unpaired_s
            assert isinstance(channel.error_in(cut.value, "worker"), NotPaired)
            assert cut_s < 1.5, "the whole reply takes two seconds"
            log = (pair.machine.state / "logs" / "worker.log").read_text().splitlines()
            stopped = [json.loads(line) for line in log if "work of a router stopped" in line]
            assert [line["count"] for line in stopped] == [1], "nobody is to get what it left behind"
            why: Unreachable | None = None
            async with asyncio.timeout(10):
                while not isinstance(why, NotPaired):  # for a moment the port is closed, while it is opened anew
                    node.doubt()  # as the dispatcher does when a call broke
                    with pytest.raises(Unreachable) as refused:
                        await node.look()
                    why = refused.value
            assert "does not know this one" in why.message

    asyncio.run(scenario())
    eventually(lambda: pair.look() == "not paired")
    pair.pair()
    eventually(lambda: pair.look() == "open")


def test_the_next_address_is_taken_where_one_fails_and_is_remembered(pair: Pair) -> None:
    dead = f"127.0.0.1:{free_port()}"

    async def scenario() -> None:
        known_at(pair.book, identity.load(pair.mini), "mini", "worker", dead, str(pair.at))
        told: list[list[PairedNode]] = []
        links = Links(pair.book, lambda nodes: told.append(list(nodes)))
        running = asyncio.create_task(links.run())
        try:
            async with asyncio.timeout(15):
                await until(lambda: Peers(pair.book).read().peers[0].addresses == (str(pair.at), dead))
            (node,) = told[-1]
            assert (node.address, node.trouble, len(told)) == (str(pair.at), "", 1)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    pair.pair()


@pytest.mark.parametrize("how", ["cut", "black hole"])
def test_a_cable_lost_in_the_middle_of_a_reply_is_left_for_another_and_no_word_is_lost_or_told_twice(
    pair: Pair, how: str
) -> None:
    async def scenario(cable: FaultProxy) -> float:
        known_at(pair.book, identity.load(pair.mini), "mini", "worker", f"127.0.0.1:{cable.address[1]}", str(pair.at))
        made = Dispatcher([], git_dir_of=lambda repo_id: Path("/nowhere"))
        links = Links(pair.book, made.use)
        running = asyncio.create_task(links.run())
        chunks: list[Chunk] = []
        try:
            async with asyncio.timeout(30):
                await until(lambda: len(made.nodes) == 1)
                calling = asyncio.create_task(made.complete(question(f"lost by {how}"), chunks.append))
                await until(lambda: len(chunks) > 2)
                assert made.nodes[0].address == f"127.0.0.1:{cable.address[1]}"
                if how == "cut":
                    cable.refuse()
                    cable.cut_now(reset=True)
                else:
                    cable.black_hole()
                lost_s = time.monotonic()
                reply = await calling
                whole_s = time.monotonic() - lost_s
            assert reply.text == whole(chunks) == PACED
            assert made.nodes[0].address == str(pair.at)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await made.close()
        return whole_s

    with FaultProxy(listen=("127.0.0.1", 0), target=tuple(pair.at)) as cable:
        whole_s = asyncio.run(scenario(cable))
        assert cable.counts["reset" if how == "cut" else "black_holed"] > 0
    assert whole_s < (6 if how == "cut" else 12), "two seconds of it are the reply's own"
    pair.pair()


def test_a_worker_unpaired_here_in_the_middle_of_a_call_is_left_at_once(pair: Pair) -> None:
    """What it had told is told anew by the next worker, from the first character on."""

    async def scenario() -> None:
        local = Node.at_socket(pair.machine.socket)
        made = Dispatcher([local], git_dir_of=lambda repo_id: Path("/nowhere"))
        links = Links(pair.book, lambda nodes: made.use([*nodes, local]))
        running = asyncio.create_task(links.run())
        chunks: list[Chunk] = []
        try:
            async with asyncio.timeout(15):
                await until(lambda: len(made.nodes) == 2)
                await made.nodes[0].describe()
                assert [peer["trouble"] for peer in links.told()] == [None]  # type: ignore[index,call-overload]
                calling = asyncio.create_task(made.complete(question("left", "coder"), chunks.append))
                await until(lambda: len(chunks) > 2)
                assert Peers(pair.book).remove(identity.load(pair.mini).id)
                reply = await calling
            assert reply.text == PACED
            assert whole(chunks) == PACED  # the same process answers over its socket, so it goes on where it was
            assert made.nodes == (local,)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await made.close()

    asyncio.run(scenario())
    pair.pair()


def test_no_call_waits_for_a_machine_that_is_away(pair: Pair, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:  # takes connections and never answers
        at = f"127.0.0.1:{hole.getsockname()[1]}"
        known_at(tmp_path / "home", identity.load(tmp_path / "away"), "away", "worker", at)
        identity.load(tmp_path / "home")

        async def scenario() -> None:
            local = Node.at_socket(pair.machine.socket)
            made = Dispatcher([local], git_dir_of=lambda repo_id: Path("/nowhere"))
            links = Links(tmp_path / "home", lambda nodes: made.use([*nodes, local]))
            running = asyncio.create_task(links.run())
            try:
                async with asyncio.timeout(15):
                    await until(lambda: len(made.nodes) == 2)
                    with pytest.raises(Unreachable, match="says nothing"):
                        await made.nodes[0].describe()
                began = time.monotonic()
                for number in range(5):
                    await made.complete(question(f"now {number}", "brief"), lambda chunk: None)
                assert time.monotonic() - began < 2
                assert [info.name for info in await made.describe()] == ["desk"]
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await made.close()

        asyncio.run(scenario())


def test_what_one_router_left_at_a_worker_is_not_another_ones_to_see_or_clear_away(pair: Pair, tmp_path: Path) -> None:
    async def scenario() -> None:
        repo = repository(tmp_path / "repo", {"a.txt": "1"})
        commit = CommitId(git(repo, "rev-parse", "HEAD"))
        local = Node.at_socket(pair.machine.socket)
        kept = pair.machine.state / "git"
        mark = f"@{pair.me.id[:16].lower()}"
        try:
            async with node_of(pair) as remote:
                for node in (local, remote):
                    await gittunnel.push(repo / ".git", commit, "repo-1", node.stub, node="worker")
                assert sorted(path.name for path in kept.iterdir()) == ["repo-1.git", f"repo-1{mark}.git"]
                with pytest.raises(BadInput, match="is no repository's id"):
                    await gittunnel.push(repo / ".git", commit, f"repo-1{mark}", local.stub, node="worker")
                nothing = collect_out(Kept(repositories={}, environments_s=1e9))
                await remote.stub.Collect(nothing, timeout=30)
                assert [path.name for path in kept.iterdir()] == ["repo-1.git"]
                await gittunnel.push(repo / ".git", commit, "repo-1", remote.stub, node="worker")
                await remote.stub.Collect(
                    collect_out(Kept(repositories={"repo-1": (commit,)}, environments_s=1e9)), timeout=30
                )
                await local.stub.Collect(nothing, timeout=30)
                assert [path.name for path in kept.iterdir()] == [f"repo-1{mark}.git"]
        finally:
            await local.close()

    asyncio.run(scenario())


def test_one_routers_work_is_not_another_ones_to_join_or_to_stop(pair: Pair) -> None:
    async def scenario() -> None:
        local = Node.at_socket(pair.machine.socket)
        try:
            async with node_of(pair) as remote:
                asked = complete_out(question("mine", "coder"), resume_offset=0)
                call = local.stub.Complete(asked, timeout=20)
                await call.read()
                assert not (await remote.stub.Cancel(pb.CancelRequest(request_id="mine"), timeout=5)).found
                assert (await local.stub.Cancel(pb.CancelRequest(request_id="mine"), timeout=5)).found
                call.cancel()
        finally:
            await local.close()

    asyncio.run(scenario())


def test_a_paired_router_gets_no_code_run_without_a_sandbox(pair: Pair) -> None:
    async def scenario() -> None:
        async with node_of(pair) as node:
            asked = CheckRequest(
                request_id=RequestId("bare"),
                run_id=RunId("run"),
                repo_id="repo-1",
                commit=CommitId("ab" * 20),
                command=("true",),
                unsandboxed=True,
            )
            with pytest.raises(aio.AioRpcError) as refused:
                async for _ in node.stub.Check(check_out(asked), timeout=10):
                    pass
            error = channel.error_in(refused.value, "worker")
            assert isinstance(error, NoSandbox)
            assert "paired machine" in error.message

    asyncio.run(scenario())


@contextlib.contextmanager
def answering(words: bytes) -> Iterator[Endpoint]:
    """Listen, say `words` to whoever comes, and close."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                wire_, _ = server.accept()
                with wire_:
                    wire_.recv(10)
                    wire_.sendall(words)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Endpoint("127.0.0.1", server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def test_a_probe_tells_one_reason_from_another(pair: Pair) -> None:
    def kind(at: Endpoint) -> tuple[str, str]:
        found = probe.look(pair.me, pair.peer().id, at, 0.5)
        return found.kind, found.words

    assert kind(pair.at)[0] == "open"
    refused = kind(Endpoint("127.0.0.1", free_port()))
    assert refused[0] == "refused"
    assert "tandem up" in refused[1]
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as at:
        assert kind(at)[0] == "not tls"
    with socket.create_server(("127.0.0.1", 0)) as hole:
        assert kind(Endpoint("127.0.0.1", hole.getsockname()[1]))[0] == "silent"
    assert kind(Endpoint("no-such-machine.invalid", 7432))[0] == "no way"
    assert probe.look(pair.me, pair.me.id, pair.at).kind == "other machine"


def test_a_worker_that_is_told_no_address_listens_only_while_a_router_is_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.paired import PairedPort

    monkeypatch.setattr(
        "tandem.listening.WORKER_PORT", free_port()
    )  # its own may be in use by a worker of this machine

    async def scenario() -> None:
        me = identity.load(tmp_path / "mini")
        host = Recorded()
        port = PairedPort(lambda: me, Peers(tmp_path / "mini"), (), host)
        await port.follow()
        assert port.listening == ()
        known_at(tmp_path / "mini", identity.load(tmp_path / "other"), "other", "worker")
        await port.follow()
        assert port.listening == ()
        book = known_at(tmp_path / "mini", identity.load(tmp_path / "book"), "book", "router")
        await port.follow()
        assert "127.0.0.1" in [at.host for at in port.listening]
        await port.follow()
        Peers(tmp_path / "mini").remove(book.id)
        await port.follow()
        assert port.listening == ()
        assert [[at.host for at in told][-1:] for told in host.told] == [["127.0.0.1"], []]  # once each, none before
        assert host.routers == [frozenset(), {book.id}, frozenset()]
        (tmp_path / "mini" / "peers" / f"{'A' * 52}.json").write_text("{")  # perhaps a paired router's
        await port.follow()
        assert len(host.routers) == 3

    asyncio.run(scenario())


@asynccontextmanager
async def linked(home: Path) -> AsyncGenerator[tuple[Links, list[list[PairedNode]]]]:
    """Follow who is paired; yields what is told, too."""
    told: list[list[PairedNode]] = []
    links = Links(home, lambda nodes: told.append(list(nodes)))
    running = asyncio.create_task(links.run())
    try:
        async with asyncio.timeout(20):
            yield links, told
        assert not running.done(), "it goes on until it is cancelled"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_paired_machines_that_cannot_be_read_for_a_while_stay_and_are_followed_again(pair: Pair) -> None:
    folder = pair.book / "peers"

    async def scenario() -> None:
        async with linked(pair.book) as (links, told):
            await until(lambda: bool(told) and not told[-1][0].trouble)
            folder.rename(folder.with_name("away"))
            folder.write_text("no folder")
            await until(lambda: any("Not a directory" in words for words in links.troubles))
            assert (await told[-1][0].describe()).name == "mini"
            assert [one["name"] for one in links.told()] == ["mini"]  # type: ignore[index,call-overload]
            folder.unlink()
            folder.with_name("away").rename(folder)
            await until(lambda: links.troubles == [])
            Peers(pair.book).remove(pair.peer().id)
            await until(lambda: told[-1] == [])
        assert told[-1] == []

    asyncio.run(scenario())
    pair.pair()


def test_each_return_of_a_worker_is_told_once(pair: Pair, tmp_path: Path) -> None:
    """Whoever waits for one goes on then, and not when its pause is over."""
    home = tmp_path / "home"
    me = identity.load(home)
    paired(home, pair.mini, str(pair.at))

    async def scenario() -> None:
        returns = list[float]()
        async with linked(home) as (links, told):
            links.on_return = lambda: returns.append(time.monotonic())
            await until(lambda: len(returns) == 1)
            assert Peers(pair.mini).remove(me.id)
            await until(lambda: bool(told[-1][0].trouble))
            assert links.told()[0]["away_since_s"]  # type: ignore[index,call-overload]
            known_at(pair.mini, me, "home", "router")
            await until(lambda: len(returns) == 2)
            assert (told[-1][0].trouble, told[-1][0].away_since_s) == ("", None)
            await asyncio.sleep(LOOK_S + 0.5)
            assert len(returns) == 2

    asyncio.run(scenario())


def test_nobody_is_left_with_nodes_that_are_closed(pair: Pair) -> None:
    async def scenario() -> None:
        async with linked(pair.book) as (_, told):
            await until(lambda: bool(told))
            (node,) = told[-1]
        assert node.gone
        assert told[-1] == []

    asyncio.run(scenario())


def test_an_address_that_cannot_be_stored_does_not_end_the_looking(pair: Pair) -> None:
    dead = f"127.0.0.1:{free_port()}"
    lock = pair.book / "peers" / "lock"

    async def scenario() -> None:
        known_at(pair.book, identity.load(pair.mini), "mini", "worker", dead, str(pair.at))
        lock.unlink()
        lock.mkdir()
        async with linked(pair.book) as (_, told):
            await until(lambda: bool(told) and told[-1][0].address == str(pair.at) and not told[-1][0].trouble)
            await asyncio.sleep(0.2)  # for the address to be stored, in vain
            lock.rmdir()
            await until(lambda: pair.peer().addresses == (str(pair.at), dead))

    asyncio.run(scenario())
    pair.pair()


def test_a_call_on_a_connection_that_was_moved_away_from_ends_when_the_worker_is_unpaired(pair: Pair) -> None:
    async def scenario() -> None:
        async with node_of(pair) as node:
            call = node.stub.Complete(complete_out(question("moved", "coder"), resume_offset=0), timeout=20)
            await call.read()
            taken = node.stub  # by somebody who is about to push
            node._move(str(pair.at))
            await asyncio.sleep(0.05)
            assert not call.done()
            assert (await taken.Describe(pb.DescribeRequest(protocol=wire.PROTOCOL), timeout=5)).name == "desk"
            await node.close()
            assert await asyncio.wait_for(call.code(), 0.5) == grpc.StatusCode.CANCELLED

    asyncio.run(scenario())


def test_a_connection_closed_under_a_call_is_no_persons_cancel(pair: Pair, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", {"a.txt": "1"})

    async def scenario() -> None:
        async with node_of(pair) as node:
            made = Dispatcher([node], git_dir_of=lambda repo_id: Path("/nowhere"))
            chunks: list[Chunk] = []
            calling = asyncio.create_task(made.complete(question("closed", "coder"), chunks.append))
            await until(lambda: bool(chunks))
            await node.channels.calls.close()
            with pytest.raises(Unreachable, match="no worker answers"):
                await asyncio.wait_for(calling, 20)
            with pytest.raises(Unreachable, match="was closed"):
                await gittunnel.push(
                    repo / ".git", CommitId(git(repo, "rev-parse", "HEAD")), "r", node.stub, node="worker"
                )
            node.doubt()
            with pytest.raises(Unreachable):
                await node.describe()

    asyncio.run(scenario())


def test_those_who_wait_for_one_look_at_a_machine_that_is_away_share_it(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        away = known_at(pair.book / "x", pair.me, "away", "worker", f"127.0.0.1:{hole.getsockname()[1]}")

        async def scenario() -> None:
            async with node_of(pair, away) as node:
                began = time.monotonic()
                found = await asyncio.gather(*(node.look() for _ in range(4)), return_exceptions=True)
                assert time.monotonic() - began < 6, "one look is two seconds for the call and two to find out why"
                assert all(isinstance(error, Unreachable) for error in found)

        asyncio.run(scenario())


def test_git_has_a_connection_of_its_own_and_a_slow_network_is_not_taken_for_a_cut_one(
    pair: Pair, tmp_path: Path
) -> None:
    """Beside a push that takes seven seconds, looks are answered at once, and neither connection breaks."""
    repo = repository(tmp_path / "repo", {"a.txt": "1"})
    (repo / "blob").write_bytes(random.Random(1).randbytes(3 << 20))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add a large file")
    commit = git(repo, "rev-parse", "HEAD")

    async def scenario(cable: FaultProxy) -> None:
        async with node_of(pair, known_at(tmp_path / "x", identity.load(pair.mini), "mini", "worker", at)) as node:
            await node.look()
            assert cable.counts["connections"] == 1
            cable.slow(450e3)
            pushing = asyncio.create_task(gittunnel.push(repo / ".git", commit, "slow", node.git_stub, node="worker"))
            while not pushing.done():
                node.doubt()
                async with asyncio.timeout(1.5):
                    await node.look()
                await asyncio.sleep(0.2)
            await pushing
            assert cable.counts["connections"] == 2
            assert cable.counts["slowed"] > 0

    with FaultProxy(listen=("127.0.0.1", 0), target=tuple(pair.at)) as cable:
        at = f"127.0.0.1:{cable.address[1]}"
        asyncio.run(scenario(cable))
