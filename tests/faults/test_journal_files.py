"""The journal's own file: locked, damaged, of another format, poisoned, without its log. Nothing is lost in silence."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.journal import FORMAT, Journal, opening
from tandem.errors import BrokenJournal, Unavailable
from tandem.types import RunId
from tests.faults import journals
from tests.faults.journals import ENTRIES, Change, copies, field, files, forced, put, read, refused, value_of
from tests.faults.matrix import Reached
from tests.faults.scene import at_approval, merged_once, scene, wanted, writers
from tests.support.recording import ROUNDS, unpack
from tests.support.stack import ROOT, TASK, Stack, git, rehearsal, sample

RUN = RunId("1121-run0")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Return a journal that nothing is wrong with, closed."""
    return journals.write(tmp_path / "whole")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """Yield a router that these tests only look at, or ask for runs."""
    stack = writers(tmp_path_factory.mktemp("running"))
    stack.start()
    yield stack
    stack.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A stack that stands still, its repository, and its two runs: one that is merged, and one that waits."""

    stack: Stack
    repo: Path
    merged: str
    waiting: str

    def again(self, folder: Path) -> Stack:
        """Return a stack of its own over a copy of that state."""
        stack = Stack(folder, {**self.stack.env, "TANDEM_STATE": str(folder / "state")})
        shutil.copytree(self.stack.state, stack.state, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        return stack


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    stack, repo = writers(folder), sample(folder / "repo")
    stack.start()
    merged = stack.submit(sample(folder / "other"), "Describe the helpers", yes=True)
    assert stack.wait(merged)["state"] == "merged"
    waiting = at_approval(stack, repo)
    stack.stop()
    return Stopped(stack=stack, repo=repo, merged=merged, waiting=waiting)


# --- row 25: somebody else has it -----------------------------------------------------------------------------


@pytest.mark.row(25)
def test_a_second_router_names_the_first_and_leaves_it_alone(running: Stack, reached: Reached) -> None:
    assert running.router is not None
    done = subprocess.run(
        [*running.command(), "router"], env=running.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert f"a router with process id {running.router.pid} runs on {running.state} already" in done.stderr
    assert "tandem down" in done.stderr
    reached.add("second router refused")
    status, body = running.call("GET", "/v1/status")
    assert (status, body["pid"], body["ready"]) == (200, running.router.pid, True)


@pytest.mark.row(25)
def test_a_lock_that_ends_is_waited_out(running: Stack, tmp_path: Path, reached: Reached) -> None:
    repo = sample(tmp_path / "repo")
    with ThreadPoolExecutor(1) as pool, closing(sqlite3.connect(running.state / "journal.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        accepted = pool.submit(running.submit, repo, "Describe the helpers", yes=True)
        with pytest.raises(TimeoutError):
            accepted.result(timeout=1.0)
        reached.add("accepting a task waited for the lock")
        other.rollback()
        run = accepted.result(timeout=60)
    assert running.wait(run)["state"] == "merged"
    assert git(repo, "rev-list", "--count", "main") == "2"


@pytest.mark.row(25)
def test_a_lock_that_does_not_end_is_named_and_nothing_is_lost(
    whole: Path, monkeypatch: pytest.MonkeyPatch, reached: Reached
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 200)
    named = "another program has held the journal .* for 0.2 s; close it and try again"

    async def scenario(other: sqlite3.Connection) -> None:
        journal = await Journal.open(whole)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match=named):
                await journals.append(journal, RUN, ENTRIES)
            reached.add("write refused")
            other.rollback()
            await journals.append(journal, RUN, ENTRIES)
        finally:
            await journal.close()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=named):
            await Journal.open(whole)
        reached.add("opening refused")
        other.rollback()

    with closing(sqlite3.connect(whole, check_same_thread=False)) as other:
        asyncio.run(scenario(other))
    entries = read(whole)[RUN][1]
    assert entries is not None
    assert [entry.step for entry in entries] == [f"s.{number}" for number in range(ENTRIES + 1)]


# --- row 26: damaged, or gone ---------------------------------------------------------------------------------


@pytest.mark.row(26, 27)
def test_a_person_is_told_what_to_do_and_a_backup_put_back_is_all_it_takes(
    stopped: Stopped, tmp_path: Path, reached: Reached
) -> None:
    stack, run = stopped.again(tmp_path / "stack"), stopped.waiting
    journal = stack.state / "journal.db"
    backup = journal.read_bytes()

    half = backup[: len(backup) // 2]
    journal.write_bytes(half)
    told = refused(stack)
    assert told.startswith(f"7 error: the journal {journal} is damaged (")
    assert "restore it from a backup, or move it and journal.db.made away to start anew" in told
    assert copies(journal) == [half]
    reached.add("cut in half")

    journal.unlink()
    told = refused(stack)
    assert told.startswith(f"7 error: the journal {journal} is gone, and there was one; restore it from a backup")
    assert not journal.exists()
    reached.add("gone")

    journal.write_bytes(backup)
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"PRAGMA user_version={FORMAT + 1}")
    later = journal.read_bytes()
    told = refused(stack)
    numbers = f"has format {FORMAT + 1} and this version of Tandem knows {FORMAT}; use the version that wrote it"
    assert told.startswith(f"7 error: the journal {journal} {numbers}")
    assert journal.read_bytes() == later
    reached.add("later format")

    journal.write_bytes(backup)
    stack.start()
    try:
        assert {one["run"] for one in stack.call("GET", "/v1/runs")[1]["runs"]} == {stopped.merged, run}
        assert stack.wait(run)["question"]["kind"] == "approve"
        assert stack.call("POST", f"/v1/runs/{run}/replay")[1]["same"]
    finally:
        stack.stop()


@pytest.mark.row(26)
def test_cut_anywhere_emptied_or_gone_it_is_never_taken_for_a_new_one(whole: Path, reached: Reached) -> None:
    sound, known, folder = files(whole.parent), read(whole), whole.parent.parent / "cut"
    content = sound["journal.db"]
    lengths = [1, 15, 99, 100, 511, 512, 1000, *range(4095, len(content), 4096), *range(4096, len(content), 4096)]
    for length in lengths:
        found = _judged(put(folder, {**sound, "journal.db": content[:length]}), known)
        assert found == "refused" or (found in ("one run refused", "same") and length > len(content) - 4096)
        reached.add("cut", found == "refused")
    path = put(folder, {**sound, "journal.db": b""})
    with pytest.raises(BrokenJournal, match="is empty, and there was one; restore it"):
        read(path)
    assert path.read_bytes() == b""
    path.unlink()
    with pytest.raises(BrokenJournal, match="is gone, and there was one; restore it"):
        read(path)
    assert not path.exists()
    reached.add("emptied and gone", 2)


@pytest.mark.row(26)
def test_a_changed_letter_in_a_runs_name_is_noticed_wherever_it_stands(whole: Path, reached: Reached) -> None:
    """In an entry it would do no harm; in the index the newest entries would be gone, and elsewhere the whole run."""
    sound, known, name = files(whole.parent), read(whole), b"1121-run3"
    content, start = sound["journal.db"], -1
    while (start := content.find(name, start + 1)) >= 0:
        bent = content[:start] + b"1121-run~" + content[start + len(name) :]
        found = _judged(put(whole.parent.parent / "bent", {**sound, "journal.db": bent}), known)
        assert found in ("refused", "one run refused"), f"byte {start}: {found}"
        reached.add(found)
    assert reached.total > 2 * ENTRIES


@pytest.mark.row(26)
def test_a_changed_bit_is_noticed_or_changed_nothing(whole: Path, reached: Reached) -> None:
    sound, known, chance = files(whole.parent), read(whole), random.Random(26)
    for number in range(250):
        content = bytearray(sound["journal.db"])
        start = chance.randrange(len(content))
        if number % 4:
            content[start] ^= 1 << chance.randrange(8)
        else:  # a sector of a disk
            start = start // 512 * 512
            content[start : start + 512] = chance.randbytes(512) if number % 8 else bytes(512)
        found = _judged(put(whole.parent.parent / "bent", {**sound, "journal.db": bytes(content)}), known)
        assert found in ("refused", "one run refused", "same"), f"byte {start}: {found}"
        reached.add(found, found != "same")
    assert {"refused", "one run refused"} <= reached.counts.keys()


def _judged(path: Path, known: journals.Known) -> str:
    """Return what comes of a damaged journal, in words."""
    before = path.read_bytes()
    try:
        found = read(path)
    except BrokenJournal as error:
        kept = [path.read_bytes()] if "has format" in error.message else copies(path)
        return "refused" if kept == [before] else f"no copy was kept: {error.message}"
    if found.keys() != known.keys():
        return f"other runs: {found.keys()}"
    if all(entries is None or (row, entries) == known[run] for run, (row, entries) in found.items()):
        return "same" if found == known else "one run refused"
    return "something else was read"


@pytest.mark.row(26, 29)
def test_a_broken_log_loses_nothing_a_person_was_told_of(tmp_path: Path, reached: Reached) -> None:
    """The router was killed, and its log is cut off or has a changed bit: older pages in it must not hide newer ones."""
    chance = random.Random(29)
    for entries in (3, 5, 12, 24):
        folder = tmp_path / f"killed{entries}"
        folder.mkdir()
        killed, told = asyncio.run(_killed(folder, entries))
        known = read(put(tmp_path / "sound", killed))[RUN][1]
        assert known is not None
        assert len(known) == entries
        for number in range(60 if killed["journal.db-wal"] else 0):  # empty, where the last entry was an answer
            log = bytearray(killed["journal.db-wal"])
            if number % 2:
                log[chance.randrange(len(log))] ^= 1 << chance.randrange(8)
            else:
                del log[chance.randrange(len(log)) :]
            path = put(tmp_path / "bent", {**killed, "journal.db-wal": bytes(log)})
            try:
                found = read(path)[RUN][1]
            except BrokenJournal:
                reached.add("refused")
                continue
            assert found is not None
            assert found == known[: len(found)]
            assert len(found) >= told
            reached.add("unacknowledged entries lost", len(found) < len(known))


async def _killed(folder: Path, entries: int) -> tuple[dict[str, bytes], int]:
    """Return a journal's files as a kill leaves them, and how many entries a person was told of."""
    journal = await Journal.open(folder / "journal.db")
    try:
        await journals.add(journal, RUN, entries=0)
        told = 0
        for ordinal in range(entries):
            kind = "answered" if ordinal % 5 == 2 else "reply"
            await journals.append(journal, RUN, ordinal, kind)
            told = ordinal + 1 if kind == "answered" else told
        return files(folder), told
    finally:
        await journal.close()


# --- row 27: another format -----------------------------------------------------------------------------------


@pytest.mark.row(27)
def test_an_upgrade_that_is_broken_off_anywhere_is_done_by_the_next_start(tmp_path: Path, reached: Reached) -> None:
    state, _ = unpack(ROOT / "tests" / "data" / "journals" / "1.tar.gz", tmp_path)
    stack, journal = Stack(tmp_path, rehearsal() | ROUNDS), state / "journal.db"
    backup = state / "journal.db.format-1"
    old, entries = journal.read_bytes(), _entries(journal)
    (state / "journal.db.format-1.part").write_bytes(old[:5000])  # a copy that was broken off

    told = _fails(stack, "journal.backed_up:enospc")
    assert "the disk that holds" in told
    reached.add("disk full")
    assert (_format(journal), backup.exists()) == (1, True)
    for point, now in (("journal.backed_up", 1), ("journal.migrated", FORMAT)):
        assert _fails(stack, f"{point}:kill") == ""
        reached.add(f"killed at {point}")
        assert (_format(journal), _format(backup)) == (now, 1)

    stack.start()
    try:
        runs = stack.call("GET", "/v1/runs")[1]["runs"]
        assert sorted(run["state"] for run in runs) == ["cancelled", "merged", "waiting", "waiting"]
        for run in runs:
            assert stack.call("POST", f"/v1/runs/{run['run']}/replay")[1]["same"], run
    finally:
        stack.stop()
    assert _entries(journal)[: len(entries)] == entries == _entries(backup)
    assert sorted(path.name for path in state.glob("journal.db.f*")) == [backup.name]


def _fails(stack: Stack, fault: str) -> str:
    """Start a router that breaks, and return why it left, or "" where it was killed."""
    log = stack.home / f"{fault}.log"
    env = {**stack.env, "TANDEM_FAULT": fault, "TANDEM_FAULT_LOG": str(log)}
    with subprocess.Popen([*stack.command(), "router"], env=env, stdin=subprocess.DEVNULL) as router:
        status = router.wait(60)
    assert fault in log.read_text("utf-8")
    if status == -signal.SIGKILL:
        return ""
    assert status == 4
    return (stack.state / "logs" / "router.log").read_text("utf-8").split("start failed")[-1]


def _format(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def _entries(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        columns = "id, run, step, ordinal, attempt, kind, question, value, at_s"
        return db.execute(f"SELECT {columns} FROM entries ORDER BY id").fetchall()


# --- row 28: poisoned rows ------------------------------------------------------------------------------------


class _Payload:
    """Runs a program where its pickled bytes are loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def poisons(mark: Path) -> dict[str, Change]:
    """Return ways to poison a run, by name; what would be executed leaves `mark`."""
    pickled, deep = pickle.dumps(_Payload(mark)), "[" * 100_000 + "]" * 100_000
    command = f'{{"verdict": "passed", "command": ["touch", "{mark}"]}}'
    return {
        "state: another": value_of("state", '{"state": "merged"}'),
        "state: a list": value_of("state", "[]"),
        "state: pickled": value_of("state", pickled),
        "question: no shape": value_of("opened", "5"),
        "question: pickled": value_of("opened", pickled),
        "reply: no shape": value_of("reply", "null"),
        "reply: no JSON": value_of("reply", '{"text": '),
        "reply: deep": value_of("reply", deep),
        "reply: large": value_of("reply", b"\0" * (8 << 20)),
        "report: a command": value_of("report", command),
        "entry: no text": field("entries", "step", b"\xff\xfe", "kind='reply'"),
        "entry: no number": field("entries", "ordinal", "x"),
        "entry: another time": field("entries", "at_s", "late"),
        "entry: another kind": field("entries", "kind", "answered", "kind='reply'"),
        "entry: odd bytes": lambda db, run: db.execute(
            "UPDATE entries SET question=CAST(x'ff41' AS TEXT) WHERE run=? AND kind='state'", (run,)
        ),
        "task: a list": field("runs", "task", "[]"),
        "task: pickled": field("runs", "task", pickled),
        "task: another": lambda db, run: db.execute(
            "UPDATE runs SET task=replace(task, 'helpers', 'secrets') WHERE run=?", (run,)
        ),
        "run: no time": field("runs", "created_s", "soon"),
        "run: endless time": field("runs", "created_s", float("inf")),
        "run: no stamp": field("runs", "stamp", b"\xff"),
    }


@pytest.mark.row(28)
def test_each_poisoned_run_is_refused_by_name_and_the_others_go_on(
    stopped: Stopped, tmp_path: Path, reached: Reached
) -> None:
    merged, waiting = stopped.merged, stopped.waiting
    stack, mark = stopped.again(tmp_path / "stack"), tmp_path / "executed"
    poisoned: dict[str, str] = {}
    with forced(stack.state / "journal.db") as db:
        for number, (name, poison) in enumerate(poisons(mark).items()):
            run = journals.cloned(db, waiting, f"1121-p{number:06d}")
            poison(db, run)
            poisoned[run] = name
    stack.start()
    try:
        runs = {run["run"]: run for run in stack.call("GET", "/v1/runs")[1]["runs"]}
        assert runs.keys() == {merged, waiting, *poisoned}
        for run, name in poisoned.items():
            status, body = stack.call("GET", f"/v1/runs/{run}")
            assert (status, body["error"]["class"]) == (500, "BrokenJournal"), name
            assert f"run {run}" in body["error"]["message"], name
            assert f"tandem gc --run {run}" in body["error"]["message"], name
            assert runs[run]["commit"] is None, name
            if runs[run]["state"] == "waiting":  # its question is as it was: what is refused is the answer
                assert name == "task: another"
                body = {"question": runs[run]["question"], "digest": "", "choice": "approve"}
                status, body = stack.call("POST", f"/v1/runs/{run}/decision", body)
            else:
                assert (runs[run]["state"], run in runs[run]["message"]) == ("failed", True), name
            reached.add(name)
        shown = stack.cli("show", next(iter(poisoned)))
        assert (shown.returncode, "is not what was recorded" in shown.stderr) == (7, True)

        assert (runs[merged]["state"], runs[waiting]["state"]) == ("merged", "waiting")
        assert stack.call("POST", f"/v1/runs/{merged}/replay")[1]["same"]
        stack.answer(waiting, "approve")
        assert stack.wait(waiting, until=("merged", "failed", "delivered"))["state"] == "merged"

        given_up = next(iter(poisoned))
        assert stack.cli("gc", "--run", given_up).returncode == 0
        assert stack.call("GET", f"/v1/runs/{given_up}")[0] == 404
    finally:
        stack.stop()
    assert not mark.exists()
    assert git(stopped.repo, "rev-list", "--count", "main") == "2"


@pytest.mark.row(28)
def test_a_run_whose_lines_are_chained_and_have_no_shape_is_refused_by_name(
    stopped: Stopped, tmp_path: Path, reached: Reached
) -> None:
    stack = stopped.again(tmp_path / "stack")
    poisoned = {"opened": "5", "state": '{"state": []}'}
    with forced(stack.state / "journal.db") as db:
        for kind, value in poisoned.items():
            run = journals.cloned(db, stopped.waiting, f"1121-{kind}")
            value_of(kind, value)(db, run)
            journals.chain(db, run)
    stack.start()
    try:
        runs = {one["run"]: one for one in stack.call("GET", "/v1/runs")[1]["runs"]}
        for kind in poisoned:
            run = f"1121-{kind}"
            assert (runs[run]["state"], run in runs[run]["message"]) == ("failed", True)
            reached.add(kind)
        assert runs[stopped.waiting]["state"] == "waiting"
    finally:
        stack.stop()


# --- row 29: the log is gone ----------------------------------------------------------------------------------


@pytest.mark.row(29)
def test_what_a_person_was_told_is_in_the_database_alone(running: Stack, tmp_path: Path, reached: Reached) -> None:
    """Somebody copies journal.db, as people do, and not the log beside it."""
    repo = sample(tmp_path / "repo")

    def alone(question: str, run: str) -> list[Any]:
        copy = shutil.copyfile(running.state / "journal.db", tmp_path / "copy.db")
        with closing(sqlite3.connect(copy)) as db:
            reached.add("copied without the log", _size(running.state / "journal.db-wal") is not None)
            return [value for (value,) in db.execute(question, (run,))]

    kinds = "SELECT kind FROM entries WHERE run=?"
    state = "SELECT json_extract(value, '$.state') FROM entries WHERE run=? AND kind='state' ORDER BY id DESC LIMIT 1"
    run = running.submit(repo, "Describe the helpers")
    assert alone("SELECT run FROM runs WHERE run=?", run) == [run]
    running.wait(run)
    assert "opened" in alone(kinds, run)
    assert alone(state, run) == ["waiting"]
    running.answer(run, "approve")
    assert "answered" in alone(kinds, run)
    running.wait(run, until=("merged",))
    assert "delivery" in alone(kinds, run)
    assert alone(state, run) == ["merged"]
    other = at_approval(running, sample(tmp_path / "other"))
    assert running.call("POST", f"/v1/runs/{other}/cancel")[0] == 200
    assert alone(state, other) == ["cancelled"]


@pytest.mark.row(29)
def test_killed_and_its_log_lost_a_run_goes_on_and_merges_once(tmp_path: Path, reached: Reached) -> None:
    """Twice: in the middle of the work, and when the merge is done and not recorded."""
    stack, repo, run = scene(tmp_path), sample(tmp_path / "repo"), ""
    tree = wanted(tmp_path, repo)
    for point in ("journal.after.reply:kill:3", "effect.done.delivery:kill:1"):
        stack.start(TANDEM_FAULT=point)
        assert stack.router is not None
        run = run or stack.submit(repo, TASK, yes=True)
        assert stack.router.wait(60) == -signal.SIGKILL
        log = stack.state / "journal.db-wal"
        reached.add(f"log lost at {point}", (_size(log) or 0) > 0)
        log.unlink()
        (stack.state / "journal.db-shm").unlink()
    assert len(reached.counts) == reached.total == 2
    stack.start()
    try:
        assert stack.wait(run)["state"] == "merged"
        merged_once(stack, run, repo, tree)
    finally:
        stack.stop()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
