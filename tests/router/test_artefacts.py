"""What checks left, taken over a wire that breaks, kept for people, and what a worker cannot make of it."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import aio

from router import artefacts, bringing, gittunnel
from router.artefacts import Taking, packed, told
from router.dispatcher import Dispatcher
from router.node import Node
from tandem import channel, wire
from tandem.artefacts import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX
from tandem.errors import Cancelled, NotFound
from tandem.git import git
from tandem.types import (
    ArtefactPiece,
    CheckReport,
    CheckRequest,
    CommitId,
    Limits,
    Load,
    NodeInfo,
    RequestId,
    RunId,
)
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from tandem.wire.checks import artefact_out, check_out, report_out
from tandem.wire.nodes import node_out
from tests.support import smalldisk
from tests.support.faultproxy import FaultProxy
from tests.support.machine import Machine, Wire
from tests.support.smalldisk import small_disk

RUN = RunId("1120-abcdefg")
WHO = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


def request(what: str = "head.abcdef01.4", step: str = "check.1", **more: Any) -> CheckRequest:
    given: dict[str, Any] = {
        "request_id": RequestId(f"{RUN}/{step}/{what}"), "run_id": RUN, "repo_id": "repo", "commit": CommitId("c" * 40),
        "command": ("true",), "limits": Limits(wall_s=20), "artefacts": ("*.log",), **more,
    }  # fmt: skip
    return CheckRequest(**given)


def piece(name: str, data: bytes = b"x", spool: str = "s", **more: Any) -> ArtefactPiece:
    given: dict[str, Any] = {"size_bytes": len(data), "last": True, **more}
    return ArtefactPiece(spool=spool, name=name, data=data, **given)


def kept(state: Path, kind: str = "head") -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed(state, RUN, kind))) as found:
        return {one.filename: found.read(one) for one in found.infolist()}


def left_out(state: Path) -> dict[str, str]:
    (found,) = cast("Any", told(state, RUN))
    return {one["name"]: one["why"] for one in found["left_out"]}


def taken(state: Path, *pieces: ArtefactPiece, asked: CheckRequest | None = None) -> Taking:
    taking = Taking(state, asked or request())
    for one in pieces:
        taking.take(one)
    taking.keep("mini")
    return taking


# --- what is kept ---------------------------------------------------------------------------------------------


def test_what_came_is_kept_for_its_owner_alone_and_told_of(tmp_path: Path) -> None:
    left = ArtefactPiece(spool="s", name="big.log", size_bytes=20 << 20, last=True, left_out="larger than 4 MiB")
    taken(tmp_path, piece("htmlcov/i.html", b"<p>"), piece("empty.log", b""), left)
    (found,) = cast("Any", told(tmp_path, RUN))
    assert found.pop("at_s") > 0
    assert found == {
        "check": "head", "step": "check.1", "node": "mini", "trouble": "",
        "files": [{"name": "htmlcov/i.html", "bytes": 3}, {"name": "empty.log", "bytes": 0}],
        "left_out": [{"name": "big.log", "bytes": 20 << 20, "why": "larger than 4 MiB"}],
    }  # fmt: skip
    assert kept(tmp_path) == {"htmlcov/i.html": b"<p>", "empty.log": b""}
    for place in (tmp_path / "artefacts").rglob("*"):
        assert place.stat().st_mode & 0o077 == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_newest_check_of_a_kind_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for turn, step in ((3, "code.1"), (9, "code.2")):
        taken(tmp_path, piece(f"{step}.log"), asked=request(f"draft.{turn}", step))
    taken(tmp_path, piece("head.log"))
    assert [(one["check"], one["step"]) for one in cast("Any", told(tmp_path, RUN))] == [
        ("draft", "code.2"), ("head", "check.1")
    ]  # fmt: skip
    assert list(kept(tmp_path, "draft")) == ["code.2.log"]
    taken(tmp_path, asked=request("draft.12", "code.3"))
    assert [one["check"] for one in cast("Any", told(tmp_path, RUN))] == ["head"], "what code.2 left is not code.3's"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert told(tmp_path, RUN) == []
    for kind in ("head", "base", "../head", ""):
        with pytest.raises(NotFound, match="`tandem show 1120-abcdefg` says what there is"):
            packed(tmp_path, RUN, kind)


@pytest.mark.parametrize("rest", [b"", b"not a zip", None])
def test_a_file_that_a_power_cut_tore_is_named_and_harms_nothing(tmp_path: Path, rest: bytes | None) -> None:
    taken(tmp_path, piece("a.log"))
    place = tmp_path / "artefacts" / RUN / "head.zip"
    place.write_bytes(place.read_bytes()[:-9] if rest is None else rest)
    (found,) = cast("Any", told(tmp_path, RUN))
    assert (found["check"], found["files"]) == ("head", [])
    assert "cannot be read" in found["trouble"]


# --- what a worker may send -----------------------------------------------------------------------------------


def test_names_lead_nowhere_else_whatever_a_worker_says(tmp_path: Path) -> None:
    names = ["../../up", "/etc/passwd", "a/../b", "", "new\nline", "A.log", "a.LOG", "a.log/x", "\u202ex"]
    taken(tmp_path, *(piece(name, name.encode()) for name in names))
    assert kept(tmp_path) == {"new_line": b"new\nline", "A.log": b"A.log", "_x": "\u202ex".encode()}
    assert set(left_out(tmp_path).values()) == {"its name cannot be used", "another file has that name"}


def test_more_than_may_come_is_not_kept(tmp_path: Path) -> None:
    half = b"x" * (FILE_BYTES_MAX // 2)
    many = [piece(f"{n}.log", half) for n in range(6)] + [piece(f"little{n}.log", b"") for n in range(FILES_MAX)]
    taken(tmp_path, piece("huge.log", b"x" * (FILE_BYTES_MAX + 1)), *many)
    found = kept(tmp_path)
    assert len(found) == FILES_MAX
    assert sum(map(len, found.values())) == BYTES_MAX
    assert left_out(tmp_path)["huge.log"] == "larger than 4 MiB"
    assert left_out(tmp_path)["5.log"] == "with it, it would be more than 8 MiB"


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("a.log", b"12345", size_bytes=3)],
        [piece("a.log", b"123", size_bytes=5)],
        [piece("a.log", b"123", size_bytes=6, last=False), piece("b.log", b"456", size_bytes=6)],
        [piece("a.log", b"123", size_bytes=-3)],
    ],
)
def test_a_file_that_is_not_what_it_was_said_to_be_is_left_out(tmp_path: Path, pieces: list[ArtefactPiece]) -> None:
    taken(tmp_path, *pieces, piece("fine.log", b"fine"))
    assert kept(tmp_path) == {"fine.log": b"fine"}
    assert set(left_out(tmp_path)) == {"a.log"}


def test_what_never_ends_is_bounded(tmp_path: Path) -> None:
    endless = [piece("a.log", b"x" * 1000, size_bytes=2000, last=False)] * 50
    many = [ArtefactPiece(spool="s", name=f"{n}", size_bytes=1, last=True, left_out="w" * 9999) for n in range(500)]
    taking = Taking(tmp_path, request())
    for one in [*endless, piece("a.log", b"", size_bytes=2000), *many, piece("last.log", b"here")]:
        taking.take(one)
    taking.keep("mini")
    assert kept(tmp_path) == {"last.log": b"here"}
    assert len(left_out(tmp_path)) <= 64
    assert max(map(len, left_out(tmp_path).values())) <= 200


def test_what_was_left_out_is_told_of_as_far_as_a_zip_holds_it(tmp_path: Path) -> None:
    wide = "\U00020000"  # four bytes
    long = [
        ArtefactPiece(spool="s", name=f"{n:02}{wide * 190}", size_bytes=1, last=True, left_out=wide * 200)
        for n in range(64)
    ]
    assert taken(tmp_path, piece("a.log"), *long).trouble == ""
    (found,) = cast("Any", told(tmp_path, RUN))
    assert found["trouble"] == ""
    *named, more = found["left_out"]
    assert 30 < len(named) < 64
    assert more["name"] == f"({64 - len(named)} more)"


def test_two_that_are_kept_at_once_are_each_whole(tmp_path: Path) -> None:
    large = {name: os.urandom(3 << 20) for name in ("a.log", "b.log")}

    def keep(name: str) -> str:
        return taken(tmp_path, piece(name, large[name])).trouble

    with ThreadPoolExecutor(2) as both:
        for _ in range(12):
            assert list(both.map(keep, large)) == ["", ""]
            ((name, data),) = kept(tmp_path).items()
            assert data == large[name]
    assert [one.name for one in (tmp_path / "artefacts" / RUN).iterdir()] == ["head.zip"]
    assert list((tmp_path / "tmp").iterdir()) == []


# --- where it cannot be kept ----------------------------------------------------------------------------------


def test_a_full_disk_keeps_nothing_says_so_and_leaves_what_was_there(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 48 << 20) as disk:
        taken(disk.seen, piece("before.log"))
        disk.fill(5 << 20)
        taking = taken(disk.seen, piece("after.log"))
        assert "what the tests left was not kept: the disk that holds" in taking.trouble
        disk.fill()
        taking = taken(disk.seen, *(piece(f"{n}.log", os.urandom(1 << 20)) for n in range(6)))
        assert "is full" in taking.trouble
        assert list(kept(disk.seen)) == ["before.log"]
        assert not list((disk.seen / "artefacts" / RUN).glob(".*"))
        disk.free()
        assert taken(disk.seen, piece("later.log")).trouble == ""
        assert list(kept(disk.seen)) == ["later.log"]


def test_a_zip_that_did_not_fit_leaves_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.disk.must_have_room", lambda *_: None)  # it was taken by others in the meantime
    smalldisk.require()
    with small_disk(tmp_path, 8 << 20) as disk:
        taken(disk.seen, piece("before.log"))
        taking = Taking(disk.seen, request())
        taking.take(piece("large.log", os.urandom(2 << 20)))
        disk.fill(1 << 20)
        taking.keep("mini")
        assert "is full" in taking.trouble
        assert list(kept(disk.seen)) == ["before.log"]


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "artefacts").mkdir()
    (tmp_path / "artefacts" / RUN).symlink_to(tmp_path / "elsewhere")
    assert "is a link or belongs to another user" in taken(tmp_path, piece("a.log")).trouble
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- over a wire ----------------------------------------------------------------------------------------------

SCRIPT = """
import pathlib, random
left = random.Random(7)
pathlib.Path("a.log").write_bytes(left.randbytes(900_000))
pathlib.Path("b.log").write_bytes(left.randbytes(700_000))
pathlib.Path("c.log").write_bytes(b"")
pathlib.Path("big.log").write_bytes(bytes(5 << 20))
"""


def expected() -> dict[str, bytes]:
    import random

    left = random.Random(7)
    return {"a.log": left.randbytes(900_000), "b.log": left.randbytes(700_000), "c.log": b""}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine"), [{"persona": "coder", "text": "x"}]) as machine:
        yield machine


async def committed(repo: Path, script: str) -> CommitId:
    await git("init", "-q", "--bare", "--template=", str(repo), git_dir=repo)
    blob = (await git("hash-object", "-w", "--stdin", git_dir=repo, stdin=script.encode())).text
    tree = (await git("mktree", git_dir=repo, stdin=f"100644 blob {blob}\trun.py\n".encode())).text
    made = (await git("commit-tree", tree, "-m", "x", git_dir=repo, env=WHO)).text
    await git("update-ref", "refs/heads/main", made, git_dir=repo)
    return CommitId(made)


def dispatcher(socket: Path, repo: Path, state: Path, takings: list[Taking]) -> Dispatcher:
    def take(asked: CheckRequest) -> Taking:
        takings.append(Taking(state, asked))
        return takings[-1]

    return Dispatcher([Node.at_socket(socket)], lambda repo_id: repo, artefacts=take)


@pytest.mark.parametrize("cuts", [0, 1, 3])
def test_a_connection_cut_within_a_file_is_picked_up_there_and_each_byte_comes_once(
    cuts: int, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "PAUSES_S", (0.05,))

    async def scenario() -> None:
        made = await committed(tmp_path / "r.git", SCRIPT)
        takings: list[Taking] = []
        # each connection carries less than all of it, so that only one that goes on where it broke comes to an end
        cut = Wire(lambda number: 560_000 if number <= cuts else 1 << 40)
        async with cut.to(machine.socket, tmp_path / "cut") as path:
            made_by = dispatcher(path, tmp_path / "r.git", tmp_path, takings)
            try:
                asked = request(f"head.{cuts}.1", commit=made, command=("python", "run.py"))
                report = await made_by.check(asked, lambda stage, message: None)
            finally:
                await made_by.close()
        assert report.verdict == "passed"
        assert cut.connections == cuts + 1
        (taking,) = takings
        assert taking.messages == 4 + 3 + 1 + 1, "so many pieces there are, and none was asked for twice"

    asyncio.run(scenario())
    assert kept(tmp_path) == expected()
    assert left_out(tmp_path) == {"big.log": "larger than 4 MiB"}


def test_whoever_asks_again_gets_all_of_it_again_and_it_stands_there_once(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> list[CheckReport]:
        made = await committed(tmp_path / "r.git", SCRIPT)
        takings: list[Taking] = []
        made_by = dispatcher(machine.socket, tmp_path / "r.git", tmp_path, takings)
        try:
            asked = request("head.again.1", commit=made, command=("python", "run.py"))
            both = await asyncio.gather(*(made_by.check(asked, lambda stage, message: None) for _ in range(2)))
            later = await made_by.check(asked, lambda stage, message: None)
        finally:
            await made_by.close()
        assert {taking.messages for taking in takings} == {9}
        assert len({taking.spool for taking in takings}) == 1, "joined, and then kept: the tests ran once"
        return [*both, later]

    reports = asyncio.run(scenario())
    assert reports[0] == reports[1] == reports[2]
    assert kept(tmp_path) == expected()


@pytest.mark.parametrize(
    ("spool", "messages", "sent"),
    [("its own", 0, 9), ("its own", 5, 4), ("its own", 99, 0), ("its own", -1, 9), ("another", 5, None)],
)
def test_a_worker_sends_what_is_not_held_of_its_own_spool_and_of_another_nothing(
    spool: str, messages: int, sent: int | None, machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        made = await committed(tmp_path / "r.git", SCRIPT)
        node = Node.at_socket(machine.socket)
        try:
            await gittunnel.push(tmp_path / "r.git", made, "repo", node.stub, node="worker")
            asked = request("head.held.1", commit=made, command=("python", "run.py"))
            said = [one async for one in node.stub.Check(check_out(asked), timeout=30)]
            own = said[-1].spool
            assert said[-1].HasField("report")
            assert not any(one.HasField("artefact") for one in said), "nothing stands before the report"
            all_of_it = [one async for one in node.stub.Check(check_out(asked, spool=own), timeout=30)]
            again = check_out(asked, spool=spool.replace("its own", own), spool_messages=messages)
            if sent is None:
                with pytest.raises(aio.AioRpcError, match="not kept on this worker any more"):
                    [one async for one in node.stub.Check(again, timeout=30)]
                return
            rest = [one async for one in node.stub.Check(again, timeout=30)]
        finally:
            await node.channels.calls.close()
        assert len(rest) == sent
        assert all(one.HasField("artefact") for one in rest)
        assert rest == all_of_it[len(all_of_it) - sent :]

    asyncio.run(scenario())


def test_of_a_check_that_is_not_kept_nothing_is_run_for_what_it_left(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Node.at_socket(machine.socket)
        try:
            asked = check_out(request("head.never.1", command=("touch", str(tmp_path / "ran"))), spool="s")
            with pytest.raises(aio.AioRpcError, match="not kept on this worker any more"):
                [one async for one in node.stub.Check(asked, timeout=30)]
        finally:
            await node.channels.calls.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("carried", "bring_s", "came", "why"),
    [
        pytest.param((200_000, 200_000), 60.0, set(), ": worker desk", id="no connection brings a piece"),
        pytest.param((1_200_000, 200_000), 60.0, {"a.log"}, ": worker desk", id="one brings a file"),
        pytest.param(None, 1.5, set(), " within 1.5 s", id="too slow"),
    ],
)
def test_the_report_counts_where_what_the_tests_left_does_not_come_and_it_is_told_why(
    carried: tuple[int, int] | None, bring_s: float, came: set[str], why: str, machine: Machine, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bringing, "PAUSES_S", (0.05, 0.05))
    monkeypatch.setattr(bringing, "BRING_S", bring_s)
    said: list[tuple[str, str]] = []

    async def scenario() -> str:
        made = await committed(tmp_path / "r.git", SCRIPT)
        first, later = carried or (1 << 40, 1 << 40)
        cut = Wire(lambda number: first if number == 1 else later)
        with FaultProxy(listen=tmp_path / "slow", target=tmp_path / "cut") as proxy:
            if carried is None:
                proxy.slow(40_000, "down")
            made_by = dispatcher(tmp_path / "slow", tmp_path / "r.git", tmp_path, [])
            asked = request(f"head.{carried}.9", commit=made, command=("python", "run.py"))
            try:
                async with asyncio.timeout(30), cut.to(machine.socket, tmp_path / "cut"):
                    return (await made_by.check(asked, lambda stage, words: said.append((stage, words)))).verdict
            finally:
                await made_by.close()

    assert asyncio.run(scenario()) == "passed"
    assert set(kept(tmp_path)) == came
    (found,) = cast("Any", told(tmp_path, RUN))
    assert found["trouble"].startswith(f"what the tests left did not come{why}")
    assert [words for stage, words in said if stage == "artefacts"] == [found["trouble"]]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_may_be_asked_for_again_takes_the_worker_s_disk_and_not_its_memory(
    machine: Machine, tmp_path: Path
) -> None:
    script = "import os, pathlib\nfor n in 'ab': pathlib.Path(n + '.log').write_bytes(os.urandom(4 << 20))\n"

    def in_use() -> tuple[int, int]:
        """Return the memory of the worker's process in bytes, and how many files without a name it holds."""
        assert machine.process is not None
        place = Path(f"/proc/{machine.process.pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        spools = [one for one in (place / "fd").iterdir() if one.is_symlink() and "(deleted)" in str(one.readlink())]
        return int(status["VmRSS"].split()[0]) << 10, len(spools)

    async def scenario() -> None:
        made = await committed(tmp_path / "r.git", script)
        made_by = dispatcher(machine.socket, tmp_path / "r.git", tmp_path, [])
        try:
            for number in range(10):
                asked = request(f"head.much.{number}", commit=made, command=("python", "run.py"))
                assert (await made_by.check(asked, lambda stage, message: None)).verdict == "passed"
                if number == 1:  # what comes once has come
                    before.append(in_use())
        finally:
            await made_by.close()

    before: list[tuple[int, int]] = []
    asyncio.run(scenario())
    (memory, spools), (memory_after, spools_after) = before[0], in_use()
    held = spools_after - spools  # each of them can still be asked for again
    assert held >= 4
    assert memory_after - memory < held * (8 << 20) // 2


class Desk(WorkerServiceServicer):
    """A worker whose check leaves the pieces of its plan, call after call; `None` in them breaks the connection off."""

    def __init__(self, *plan: list[ArtefactPiece | None]) -> None:
        self.plan = list(plan)
        self.asked: list[tuple[str, int]] = []
        self.wanted: list[str] = []

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        return node_out(NodeInfo(
            name="desk", boot_id="b", version="1", protocol=wire.PROTOCOL, platform="Linux", sandbox="bubblewrap",
            checks=Load(places=2),
        ))  # fmt: skip

    async def Check(self, request: Any, context: Any) -> AsyncIterator[pb.CheckResponse]:
        self.asked.append((request.spool, request.spool_messages))
        self.wanted += request.artefacts
        if not request.spool:
            yield pb.CheckResponse(report=report_out(CheckReport(verdict="passed", node="desk")), spool="s")
            return
        for one in self.plan.pop(0):
            if one is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broke off")
            yield artefact_out(one, request.header.attempt)


def from_desk(state: Path, desk: Desk, told: list[tuple[str, str]], *, taken: bool = True) -> None:
    async def main() -> None:
        server = aio.server(options=channel.SERVER_OPTIONS)
        add_WorkerServiceServicer_to_server(desk, server)
        server.add_insecure_port(f"unix:{state}/w.sock")
        await server.start()
        node = Node.at_socket(state / "w.sock")
        node.pushed("repo", "c" * 40)
        take = (lambda asked: Taking(state, asked)) if taken else None
        made = Dispatcher([node], lambda repo_id: state, artefacts=take)
        try:
            report = await made.check(request(), lambda stage, words: told.append((stage, words)))
            assert report.verdict == "passed"
        finally:
            await made.close()
            await server.stop(None)

    asyncio.run(main())


def test_each_connection_goes_on_where_the_last_one_broke_and_what_another_run_left_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "PAUSES_S", (0.01,))
    first = [piece("old.log", b"old"), piece("a.log", b"half", size_bytes=8, last=False), None]
    again = [piece("other.log", spool="t"), piece("a.log", b"rest", size_bytes=8), None]
    desk = Desk(cast("Any", first), [None], cast("Any", again), [])
    from_desk(tmp_path, desk, [])
    assert desk.asked == [("", 0), ("s", 0), ("s", 2), ("s", 2), ("s", 3)]
    assert kept(tmp_path) == {"old.log": b"old", "a.log": b"halfrest"}
    assert left_out(tmp_path) == {}


def test_what_begins_anew_forgets_what_came_before(tmp_path: Path) -> None:
    taking = Taking(tmp_path, request())
    taking.begin("s")
    taking.take(piece("coverage.xml"))
    taking.begin("t")
    taking.keep("mini")
    with pytest.raises(NotFound):
        packed(tmp_path, RUN, "head")


def test_what_cannot_be_kept_is_told_and_the_report_counts(tmp_path: Path) -> None:
    (tmp_path / "artefacts").write_text("in the way")
    said: list[tuple[str, str]] = []
    from_desk(tmp_path, Desk([piece("a.log")]), said)
    assert [stage for stage, _ in said] == ["artefacts"]
    assert "cannot make the folder" in said[0][1]


def test_where_nothing_is_taken_nothing_is_asked_for_and_what_comes_is_not_kept(tmp_path: Path) -> None:
    desk = Desk([piece("a.log")])
    from_desk(tmp_path, desk, [], taken=False)
    assert desk.wanted == []
    assert not (tmp_path / "artefacts").exists()


def test_nothing_is_kept_from_a_check_that_was_cancelled(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> None:
        script = "import pathlib, time\npathlib.Path('a.log').touch()\ntime.sleep(60)\n"
        made = await committed(tmp_path / "r.git", script)
        made_by = dispatcher(machine.socket, tmp_path / "r.git", tmp_path, [])
        asked = request("head.cancelled.1", commit=made, command=("python", "run.py"))
        try:
            checking = asyncio.create_task(made_by.check(asked, lambda stage, message: None))
            await asyncio.sleep(1.5)
            checking.cancel()
            with pytest.raises((asyncio.CancelledError, Cancelled)):
                await checking
        finally:
            await made_by.close()

    asyncio.run(scenario())
    assert artefacts.told(tmp_path, RUN) == []
