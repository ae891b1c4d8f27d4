"""Disks that are full, or may not be written: the router's, the worker's, the person's.

A run waits for room and goes on by itself; nothing half done is left. What may not be written stops before a model is
asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from router.repository import OwnRepository
from tandem import disk as disks
from tandem.errors import DiskFull
from tandem.types import CommitId, Delivery, Edit
from tests.faults.disks import MIB, disk_at, paused, sound
from tests.faults.matrix import Reached
from tests.faults.scene import came_to, held, merged_once, passed, quick, scene, wanted
from tests.faults.wires import until
from tests.support import smalldisk
from tests.support.needs import require, tool
from tests.support.smalldisk import SmallDisk, small_disk
from tests.support.stack import TASK, Stack, git, repository, sample

SIZE_BYTES = 40 * MIB  # two and a half times what has to be free for work to go on
# A test of the repository that writes, once it may go on: what a full disk does to it is no fault of the change.
WRITES = """import pathlib
import time
import unittest


class Writes(unittest.TestCase):
    def test_writes_a_file(self):
        pathlib.Path("begun").touch()
        end = time.monotonic() + 60
        while not pathlib.Path("go").exists():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        pathlib.Path("written").write_bytes(bytes(1 << 20))
"""


# --- row 21: the router's state -------------------------------------------------------------------------------


@pytest.mark.row(21)
def test_a_run_pauses_on_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path: Path, reached: Reached) -> None:
    """And killed while it pauses it does not start without room, and then goes on."""
    stack = scene(tmp_path / "stack")
    with disk_at(stack.state, SIZE_BYTES) as disk:
        stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(tmp_path, "slow", hold_s=1.0)))
        try:
            told = f"the disk that holds {stack.state}"
            run, repo, tree = _paused(stack, tmp_path / "first", disk)
            reached.add("paused with no byte left", disk.left() == 0)
            _says_so(stack, run, repo, told)
            disk.free()
            assert stack.wait(run)["state"] == "merged"
            merged_once(stack, run, repo, tree)
            assert [one["run"] for one in stack.call("GET", "/v1/runs")[1]["runs"]] == [run]

            run, repo, tree = _paused(stack, tmp_path / "second", disk)
            stack.stop(signal.SIGKILL)
            disk.fill()
            refused = stack.cli("runs")
            assert refused.returncode == 4
            assert f"{told} is full (0.0 MB free); free some space there" in refused.stderr
            reached.add("start refused")
            disk.free()
            stack.start()
            assert stack.wait(run)["state"] == "merged"
            merged_once(stack, run, repo, tree)
        finally:
            stack.stop()


def _paused(stack: Stack, folder: Path, disk: SmallDisk) -> tuple[str, Path, str]:
    """Fill the disk while a run's plan is written, and return the run that waits for room, its repository and its tree."""
    folder.mkdir()
    repo, calls = sample(folder / "repo"), passed(stack, "worker.call")
    tree = wanted(folder, repo)
    run = stack.submit(repo, TASK, yes=True)
    held(stack, "call", calls + 2)
    before = _entries(stack, run)
    assert disk.fill() == 0
    body = paused(stack, run)
    assert _entries(stack, run)[: len(before)] == before
    assert body["calls"], "what was recorded earlier is told"
    return run, repo, tree


def _says_so(stack: Stack, run: str, repo: Path, told: str) -> None:
    """See that a person learns of a pause wherever they look, and that no further task is taken."""
    text = stack.call("GET", f"/v1/runs/{run}")[1]["hold"]["text"]
    assert told in text
    assert "(0.0 MB free); free some space there, and the work goes on by itself" in text
    (hold,) = stack.call("GET", "/v1/status")[1]["holds"]
    assert (hold["run"], hold["kind"], told in hold["text"]) == (run, "paused-disk-full", True)
    shown = stack.cli("status")
    assert (shown.returncode, "paused, a disk is full" in shown.stdout, told in shown.stdout) == (0, True, True)
    status, refused = stack.call("POST", "/v1/runs", {"repo": str(repo), "text": TASK})
    assert (status >= 400, refused["error"]["class"]) == (True, "DiskFull")
    assert told in refused["error"]["message"]


def _entries(stack: Stack, run: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(stack.state / "journal.db")) as db:
        return db.execute("SELECT * FROM entries WHERE run=? ORDER BY id", (run,)).fetchall()


# --- row 22: the worker's state -------------------------------------------------------------------------------


@pytest.mark.row(22)
def test_a_full_disk_at_the_worker_is_no_failed_test(tmp_path: Path, reached: Reached) -> None:
    stack = scene(tmp_path / "stack")
    worker = stack.state / "worker"
    with disk_at(worker, SIZE_BYTES) as disk:
        stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(tmp_path, "slow", hold_s=0.5)))
        try:
            for when in ("before the tests", "in the tests"):
                (tmp_path / when).mkdir()
                repo, calls = sample(tmp_path / when / "repo"), passed(stack, "worker.call")
                if when == "in the tests":
                    (repo / "tests" / "test_writes.py").write_text(WRITES, "utf-8")
                    git(repo, "add", "-A")
                    git(repo, "commit", "-q", "-m", "Add a test that writes")
                tree = wanted(tmp_path / when, repo)
                run = stack.submit(repo, TASK, yes=True)
                held(stack, "call" if when == "before the tests" else "tests", calls + 2)
                disk.fill()
                for begun in worker.glob("tmp/*/tree/begun"):
                    begun.with_name("go").touch()
                body = paused(stack, run)
                reached.add(f"worker out of room {when}", disk.left() < 16 * MIB)
                assert f"the disk that holds {worker}" in body["hold"]["text"]
                assert "MB free); free some space there" in body["hold"]["text"]
                assert body["verdict"] is None
                assert _kinds(stack, run).count("report") == 0
                # what was written for the tests is gone again
                until(lambda: not list(worker.glob("tmp/*")), why=stack.log)

                disk.free()
                assert came_to(stack, run, "merged")["verdict"] == "passed"
                merged_once(stack, run, repo, tree)
                assert "failed" not in _kinds(stack, run)
        finally:
            stack.stop()


def _kinds(stack: Stack, run: str) -> list[str]:
    with closing(sqlite3.connect(stack.state / "journal.db")) as db:
        return [kind for (kind,) in db.execute("SELECT kind FROM entries WHERE run=? ORDER BY id", (run,))]


# --- row 23: in the middle of a commit, a push, a merge -------------------------------------------------------


@pytest.mark.row(23)
def test_no_room_for_a_commit_leaves_the_repository_sound(tmp_path: Path, reached: Reached) -> None:
    """With a few KiB left, another part of a commit finds no room each time: a blob, a tree, the commit or its name."""
    stack = scene(tmp_path / "stack")
    own = stack.state / "git"
    broke: list[str] = []
    with disk_at(own, SIZE_BYTES) as disk:
        stack.state.chmod(0o700)
        stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(tmp_path, "slow", hold_s=0.3)))
        try:
            for number, left in enumerate((0, 4 << 10, 16 << 10)):
                repo = sample(tmp_path / f"repo{number}")
                (tmp_path / str(number)).mkdir()
                tree, calls = wanted(tmp_path / str(number), repo), passed(stack, "worker.call")
                run = stack.submit(repo, TASK, yes=True)
                held(stack, "call", calls + 2)
                disk.fill(left)
                text = paused(stack, run)["hold"]["text"]
                assert f"the disk that holds {own}" in text
                broke.append(text.split()[1])
                reached.add(f"no room in git {broke[-1]}")
                sound(own)
                disk.free()
                assert stack.wait(run)["state"] == "merged"
                merged_once(stack, run, repo, tree)
                sound(own)
        finally:
            stack.stop()
    assert len(set(broke)) > 1, broke


@pytest.mark.row(23)
def test_no_room_for_a_push_leaves_the_workers_repository_sound(tmp_path: Path, reached: Reached) -> None:
    """At first too little is free to begin; then enough to begin, and not for all of it."""
    stack, repo = scene(tmp_path / "stack"), sample(tmp_path / "repo")
    (repo / "noise.bin").write_bytes(os.urandom(20 * MIB))  # does not pack
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add noise")
    tree, theirs = wanted(tmp_path, repo), stack.state / "worker" / "git"
    with disk_at(theirs, SIZE_BYTES) as disk:
        theirs.parent.chmod(0o700)
        stack.state.chmod(0o700)
        stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(tmp_path, "slow", hold_s=0.5)))
        try:
            run = stack.submit(repo, TASK, yes=True)
            held(stack, "call")
            disk.fill(MIB)
            text = paused(stack, run)["hold"]["text"]
            assert f"commits could not be taken: the disk that holds {theirs}" in text
            reached.add("push not begun")
            sound(theirs)
            disk.fill(17 * MIB)
            until(lambda: paused(stack, run)["hold"]["text"] != text, why=stack.log)
            assert "No space left on device" in paused(stack, run)["hold"]["text"]
            reached.add("push broken off")
            sound(theirs)
            disk.free()
            assert came_to(stack, run, "merged")["verdict"] == "passed"
            merged_once(stack, run, repo, tree)
            sound(theirs)
        finally:
            stack.stop()


@pytest.mark.row(23)
def test_a_delivery_that_finds_no_room_anywhere_is_made_once(tmp_path: Path, reached: Reached) -> None:
    points = [
        "journal.before.commit",
        "worker.received",
        "deliver.fetched",
        "effect.done.delivery",
    ]
    stack, repo = scene(tmp_path / "stack"), sample(tmp_path / "repo")
    tree = wanted(tmp_path, repo)
    stack.start(TANDEM_FAULT=",".join(f"{point}:enospc" for point in points))
    try:
        run = stack.submit(repo, TASK, yes=True)
        assert stack.wait(run)["state"] == "merged"
        for point in points:
            reached.add(point, passed(stack, f"{point}:enospc"))
        assert set(reached.counts.values()) == {1}
        merged_once(stack, run, repo, tree)
        sound(stack.state / "git", stack.state / "worker" / "git")
    finally:
        stack.stop()


@pytest.mark.row(23)
def test_on_a_persons_full_disk_nothing_is_begun_and_it_is_merged_when_there_is_room(
    tmp_path: Path, reached: Reached
) -> None:
    stack = scene(tmp_path / "stack")
    with disk_at(tmp_path / "home", SIZE_BYTES) as disk:
        repo = sample(tmp_path / "home" / "repo")
        tree = wanted(tmp_path, repo)
        stack.start()
        try:
            run = stack.submit(repo, TASK)
            stack.wait(run)
            objects = _objects(repo)
            disk.fill(256 << 10)
            stack.answer(run, "approve")
            text = paused(stack, run)["hold"]["text"]
            assert text.startswith(f"nothing was delivered: the disk that holds {repo} is full (0.3 MB free)")
            reached.add("delivery not begun")
            assert _objects(repo) == objects
            _untouched(repo)
            disk.free()
            assert stack.wait(run)["state"] == "merged"
            merged_once(stack, run, repo, tree)
        finally:
            stack.stop()


@pytest.mark.row(23)
def test_a_merge_that_breaks_off_for_want_of_room_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: Reached
) -> None:
    """Somebody else takes the last of the room after it was looked at: the files that are new by then go again."""
    monkeypatch.setattr(disks, "NEEDED_BYTES", -64 * MIB)  # as if there had been room when it was looked at
    smalldisk.require(private=False)
    with small_disk(tmp_path, 4 * MIB, private=False) as disk:
        repo = repository(disk.path / "repo", {"words/text.py": "a = 1\n" * 9000, "words/old.py": "b = 1\n"})
        base = git(repo, "rev-parse", "HEAD")
        edits = [
            Edit(path="words/text.py", content="a = 2\n" * 18_000),
            Edit(path="new/deep/file.py", content="c = 1\n" * 18_000),
            Edit(path="words/old.py", content=None),
            Edit(path="words/zoo.py", content="d = 1\n" * 18_000),
        ]
        broke: set[bool] = set()
        for left in (8 << 10, 40 << 10, 72 << 10, 160 << 10, 240 << 10):
            done = asyncio.run(_delivered(tmp_path / "state", repo, base, edits, disk, left))
            assert isinstance(done, DiskFull), done
            assert f"the disk that holds {repo} is full" in done.message
            broke.add("was not moved" in done.message)
            reached.add("merge broken off", "was not moved" in done.message)
            disk.free()
            _untouched(repo)
        assert True in broke
        done = asyncio.run(_delivered(tmp_path / "state", repo, base, edits, disk, None))
        assert isinstance(done, Delivery)
        assert done.merged
        assert git(repo, "status", "--porcelain") == ""
        assert git(repo, "rev-list", "--count", "main") == "2"
        assert (repo / "words" / "zoo.py").read_text("utf-8").count("d") == 18_000


@pytest.mark.row(23)
def test_a_file_of_the_person_s_own_is_never_taken_for_the_merge_s_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: Reached
) -> None:
    monkeypatch.setattr(disks, "NEEDED_BYTES", -64 * MIB)
    smalldisk.require(private=False)
    with small_disk(tmp_path, 4 * MIB, private=False) as disk:
        repo = repository(disk.path / "repo", {"words/text.py": "a = 1\n"})
        base = git(repo, "rev-parse", "HEAD")
        (repo / "words" / "new.py").write_text("mine = 1\n", "utf-8")
        edits = [Edit(path="words/new.py", content="b = 1\n"), Edit(path="words/text.py", content="a = 2\n" * 9000)]
        for left in range(0, 128 << 10, 8 << 10):
            done = asyncio.run(_delivered(tmp_path / "state", repo, base, edits, disk, left))
            reached.add("disk full", isinstance(done, DiskFull))
            disk.free()
            assert (repo / "words" / "new.py").read_text("utf-8") == "mine = 1\n", left
            assert git(repo, "--no-optional-locks", "status", "--porcelain") == "?? words/new.py"
            if isinstance(done, Delivery):  # there was room enough to find the file in the way
                assert not done.merged
                assert "words/new.py" in done.message
                return
    raise AssertionError("there was never enough room")


async def _delivered(
    state: Path, repo: Path, base: str, edits: Sequence[Edit], disk: SmallDisk, left: int | None
) -> Delivery | DiskFull:
    """Deliver a change to a disk on which so many bytes are left, None for all there are."""
    own = await OwnRepository.open(state, repo, base)
    made = await own.commit(parent=CommitId(base), edits=edits, persona="coder", message="Change", at_s=1)
    if left is not None:
        disk.fill(left)
    try:
        return await own.deliver(commit=made, branch="main", expected=CommitId(base), note="note")
    except DiskFull as error:
        return error


def _untouched(repo: Path) -> None:
    """See that a person finds their checkout as it was."""
    assert git(repo, "--no-optional-locks", "status", "--porcelain", "--untracked-files=all") == ""
    assert git(repo, "rev-list", "--count", "--exclude=refs/notes/*", "--all") == "1"
    assert git(repo, "branch", "--format=%(refname:short)") == "main"
    assert not (repo / "new").exists()
    sound(repo)


def _objects(repo: Path) -> int:
    return sum(1 for _ in (repo / ".git" / "objects").rglob("*"))


# --- row 24: what may not be written --------------------------------------------------------------------------


@pytest.mark.row(24)
def test_a_read_only_state_folder_is_said_at_once_and_no_model_is_asked(tmp_path: Path, reached: Reached) -> None:
    smalldisk.require(private=False)
    stack, repo = scene(tmp_path / "stack"), sample(tmp_path / "repo")
    with small_disk(tmp_path, SIZE_BYTES, private=False) as disk:
        stack.state = disk.path / "state"
        stack.env["TANDEM_STATE"] = str(stack.state)
        for made in (False, True):  # where there is no state folder yet, and where there is one
            assert disk.remount_read_only() == "whole"
            for done in (stack.cli("run", "--repo", str(repo), "--yes", TASK), _router(stack)):
                assert done.returncode == 2
                reached.add("refused", str(stack.state) in done.stderr)
                assert "Read-only file system" in done.stderr or "may not be written" in done.stderr
                assert "set TANDEM_STATE" in done.stderr
                assert "Traceback" not in done.stderr
            disk.writable()
            if not made:
                stack.start()
                stack.stop()
        assert passed(stack, "worker.call") == 0

        stack.start()
        try:
            assert disk.remount_read_only() == "new"  # what is open can be written, and the journal is
            run = stack.submit(repo, TASK, yes=True)
            body = stack.wait(run)
            disk.writable()
            assert (body["state"], str(stack.state) in body["message"]) == ("failed", True)
            assert "Read-only file system" in body["message"] or "may not be written" in body["message"]
            assert passed(stack, "worker.call") == 0
            reached.add("run refused")
            assert stack.call("POST", f"/v1/runs/{run}/resume")[0] == 200
            assert stack.wait(run)["state"] == "merged"
            assert git(repo, "rev-list", "--count", "main") == "2"
        finally:
            stack.stop()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Path]:
    """Return a stack that stands still, whose programs no right to ignore file modes helps, and a repository."""
    folder = tmp_path_factory.mktemp("plain")
    stack = scene(folder / "stack")
    stack.start()
    stack.stop()
    return stack, sample(folder / "repo")


@pytest.mark.row(24)
@pytest.mark.parametrize(
    ("closed", "told"),
    [
        (".", "the folder {state} may not be written"),
        ("logs", "the folder {state}/logs may not be written"),
        ("journal.db", "the journal {state}/journal.db may not be written"),
    ],
)
def test_without_the_right_to_write_a_router_does_not_start(
    closed: str, told: str, plain: tuple[Stack, Path], reached: Reached
) -> None:
    stack, _ = plain
    place = stack.state / closed
    place.chmod(0o500 if place.is_dir() else 0o400)
    try:
        done = _router(stack)
    finally:
        place.chmod(0o700 if place.is_dir() else 0o600)
        for beside in stack.state.glob("journal.db-*"):
            beside.chmod(0o600)
    log = stack.state / "logs" / "router.log"
    assert done.returncode == 2
    said = done.stderr + log.read_text("utf-8").splitlines()[-2]
    assert told.format(state=stack.state) in said
    assert "change its rights" in said
    reached.add(f"{closed} closed")
    assert passed(stack, "worker.call") == 0


@pytest.mark.row(24)
@pytest.mark.parametrize("closed", ["tmp", "worker"])
def test_without_the_right_to_write_below_it_a_run_asks_no_model(
    closed: str, plain: tuple[Stack, Path], reached: Reached
) -> None:
    stack, repo = plain
    place = stack.state / closed
    place.mkdir(mode=0o700, exist_ok=True)
    place.chmod(0o500)
    calls = passed(stack, "worker.call")
    router = subprocess.Popen([*_obedient(), *stack.command(), "router"], env=stack.env, stdin=subprocess.DEVNULL)
    try:
        until(lambda: _ready(stack), why=stack.log)
        run = stack.submit(repo, TASK, yes=True)
        if closed == "tmp":
            body = stack.wait(run)
            assert body["state"] == "failed"
            assert f"the folder {place} may not be written; change its rights" in body["message"]
        else:  # a worker that can not start is tried again, and the run waits for it
            log = stack.state / "logs" / "worker.log"
            told = re.compile(
                rf"left with status 2 (\d+ times in a row )?and is (not )?started again; .*{re.escape(str(log))}"
            )
            until(lambda: told.search(str(stack.call("GET", "/v1/status")[1]["trouble"])), why=stack.log)
            assert stack.call("GET", f"/v1/runs/{run}")[1]["state"] == "running"
            assert f"the folder {place} may not be written; change its rights" in log.read_text("utf-8")
        reached.add(f"{closed} closed")
        assert passed(stack, "worker.call") == calls
    finally:
        place.chmod(0o700)
        router.terminate()
        router.wait(30)


def _ready(stack: Stack) -> bool:
    try:
        return bool(stack.call("GET", "/v1/status")[1]["ready"])
    except OSError:
        return False


def _router(stack: Stack) -> subprocess.CompletedProcess[str]:
    """Run a router that leaves by itself."""
    argv = [*_obedient(), *stack.command(), "router"]
    return subprocess.run(argv, env=stack.env, capture_output=True, text=True, timeout=60, check=False)


def _obedient() -> list[str]:
    """Return what has to stand before a command so that file modes count for it, root or not."""
    if os.geteuid() != 0:
        return []
    if sys.platform != "linux":
        pytest.skip("root ignores file modes, and only Linux's setpriv takes that right away")
    require("setpriv", tool("setpriv", "util-linux"))
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
