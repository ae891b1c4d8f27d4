"""Runs that move between two routers' state folders: real journals and repositories, and nobody at work."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import io
import json
import os
import stat
import subprocess
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest

from router import archive, artefacts, execution
from router.archive import Archive
from router.artefacts import Taking
from router.engine import Engine
from router.journal import Entry, Journal, RunRow
from router.moving import export, take_in
from router.repository import OwnRepository
from router.settings import settings_of
from router.summary import RunInfo
from tandem.artefacts import FILE_BYTES_MAX, FILES_MAX
from tandem.config import Config
from tandem.errors import BadConfig, BadInput, BadRepository, Conflict, DiskFull, TandemError
from tandem.types import ArtefactPiece, CheckRequest, CommitId, Edit, Question, RequestId, RunId, Task
from tests.support import smalldisk
from tests.support.checkouts import Checkout
from tests.support.smalldisk import small_disk

RUN = RunId("1120-abcdefg")
QUESTION = Question(id="approve.1.ab", kind="approve", text="Merge?", choices=("approve", "reject"), digest="d" * 64)
CALLS = b'{"part": "p", "body": ["user", "hello", [], ""]}\n'


class House:
    """One machine: a checkout, and a router's engine over a state folder. Nothing is ever at work in it."""

    def __init__(self, engine: Engine, checkout: Checkout) -> None:
        self.engine = engine
        self.checkout = checkout

    async def run(self, state: str, **more: Any) -> RunInfo:
        """Record a run with a draft that came to `state`."""
        task = Task(
            text="Make shout shout", repo=str(self.checkout.root), base=CommitId(self.checkout.base), target="main"
        )
        row = RunRow(run=RUN, created_s=1.5, stamp="7.abc", task=cast("Any", asdict(task)))
        await self.engine.journal.add_run(row)
        info = RunInfo(run=RUN, task=task, created_s=1.5)
        self.engine.roster.settle(info)
        own = await self.engine.repository(info)
        draft = await own.commit(
            parent=task.base, edits=[Edit(path="a.py", content="a = 1\n")], persona="coder", message="a", at_s=1
        )
        await own.keep(RUN, "code.1", draft)
        if state == "waiting":
            info.question = QUESTION
            await self.put("opened", asdict(QUESTION), step=QUESTION.id)
        await self.engine.set_state(info, state=state, **more)
        (self.engine.state / "flight").mkdir(exist_ok=True)
        (self.engine.state / "flight" / f"{RUN}.jsonl").write_bytes(CALLS)
        return info

    async def put(self, kind: str, value: Any, *, step: str = "plan.1") -> None:
        words: dict[str, Any] = {"ordinal": 0, "attempt": 1, "kind": kind, "question": "", "value": value, "at_s": 2.0}
        await self.engine.journal.append(RUN, step=step, **words)

    async def references(self) -> dict[str, str]:
        own = await OwnRepository.open(self.engine.state, self.checkout.root, self.checkout.base)
        return await own.references(RUN)

    async def nothing_came(self) -> None:
        assert await self.engine.journal.runs() == []
        assert list(self.engine.roster.kept) == []
        assert not list(self.engine.state.glob("flight/*"))
        assert await self.references() == {}


@asynccontextmanager
async def house(checkout: Checkout) -> AsyncGenerator[House]:
    state = checkout.state
    state.mkdir(parents=True, exist_ok=True)
    journal = await Journal.open(state / "journal.db")
    nowhere: Any = execution.Nowhere()
    config = Config()
    ports = execution.Ports(
        models=nowhere, checks=nowhere, guard=nowhere, personas={}, settings=settings_of(config)
    )  # fmt: skip
    engine = Engine(config, state, journal, ports)
    await engine.start()
    try:
        yield House(engine, checkout)
    finally:
        await engine.close()
        await journal.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setenv("HOME", str(tmp_path / "here" / "home"))
    return Checkout(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path, here: Checkout) -> Checkout:
    """Another machine, with a clone of the same repository elsewhere."""
    made = Checkout(tmp_path / "there")
    made.git("fetch", "-q", str(here.root), "main")
    made.git("reset", "-q", "--hard", "FETCH_HEAD")
    made.base = made.tip()
    return made


def in_house(checkout: Checkout, scenario: Callable[[House], Awaitable[None]]) -> None:
    async def main() -> None:
        async with house(checkout) as made:
            await scenario(made)

    asyncio.run(main())


def exported(checkout: Checkout, file: Path, state: str = "merged", *, move: bool = False, **more: Any) -> Archive:
    """Export a run that came to `state`, and return what was written."""

    async def scenario(made: House) -> None:
        told = await export(made.engine, await made.run(state, **more), file, move=move)
        assert told == {"run": RUN, "file": str(file), "bytes": file.stat().st_size, "moved": move}

    in_house(checkout, scenario)
    return archive.read(file.read_bytes())


def imported(checkout: Checkout, file: Path, told: Callable[[House, RunInfo], Awaitable[None]]) -> None:
    async def scenario(made: House) -> None:
        await told(made, await take_in(made.engine, file, str(checkout.root), lambda run: asyncio.Lock()))

    in_house(checkout, scenario)


def refused(checkout: Checkout, file: Path, error: type[TandemError], words: str, *bodies: bytes) -> None:
    """Try to take a file in, or each of `bodies` in its place, and see that nothing came of it."""

    async def scenario(made: House) -> None:
        for body in bodies or (None,):
            if body is not None:
                file.write_bytes(body)
            with pytest.raises(error, match=words):
                await take_in(made.engine, file, str(checkout.root), lambda run: asyncio.Lock())
        await made.nothing_came()

    in_house(checkout, scenario)


# --- the way through ----------------------------------------------------------------------------------------------


def test_a_run_that_waits_is_moved_with_its_question_its_drafts_and_its_calls(
    here: Checkout, there: Checkout, tmp_path: Path
) -> None:
    file = tmp_path / "r.tandem"
    found = exported(here, file, "waiting", move=True)
    assert (found.state, found.moved, [e.kind for e in found.entries]) == (
        "cancelled",
        True,
        ["opened", "state", "state"],
    )

    async def came(made: House, info: RunInfo) -> None:
        assert (info.state, info.moved, info.question) == ("waiting", False, QUESTION)
        assert info.task.repo == str(there.root)
        assert [e.kind for e in await made.engine.journal.everything(RUN)] == ["opened", "state"]
        assert await made.references() == found.references
        assert list(found.references) == ["code.1"]
        assert (there.state / "flight" / f"{RUN}.jsonl").read_bytes() == CALLS

    imported(there, file, came)

    async def again(made: House) -> None:  # as after a restart
        info = await made.engine.roster.find(RUN)
        assert (info.state, info.question, info.task.repo) == ("waiting", QUESTION, str(there.root))

    in_house(there, again)

    async def gone(made: House) -> None:
        info = await made.engine.roster.find(RUN)
        assert (info.state, info.moved, info.message) == (
            "cancelled", True, "moved to another machine; `tandem import` there goes on with it"
        )  # fmt: skip

    in_house(here, gone)


def left(state: Path) -> None:
    """Keep what a draft's check and the head's left."""
    for what, name, data in (("draft.1", "half.log", b"half"), ("head.ab.1", "htmlcov/i.html", b"<p>\0\xff")):
        asked = CheckRequest(
            request_id=RequestId(f"{RUN}/check.1/{what}"), run_id=RUN, repo_id="repo", commit=CommitId("c" * 40),
            command=("true",),
        )  # fmt: skip
        taking = Taking(state, asked)
        taking.begin("s")
        taking.take(ArtefactPiece(spool="s", name=name, size_bytes=len(data), data=data, last=True))
        taking.take(ArtefactPiece(spool="s", name="big.log", size_bytes=9, last=True, left_out="larger than it may be"))
        taking.cut("what the tests left did not come within 60 s")
        taking.keep("mini")


def files_of(state: Path, kind: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(artefacts.packed(state, RUN, kind))) as found:
        return {one.filename: found.read(one) for one in found.infolist()}


def test_what_its_checks_left_comes_with_a_run(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    file = tmp_path / "r.tandem"
    left(here.state)
    exported(here, file)

    async def came(made: House, info: RunInfo) -> None:
        assert artefacts.told(there.state, RUN) == artefacts.told(here.state, RUN)

    imported(there, file, came)
    assert len(artefacts.told(there.state, RUN)) == 2
    assert files_of(there.state, "draft") == {"half.log": b"half"}
    assert files_of(there.state, "head") == {"htmlcov/i.html": b"<p>\0\xff"}
    assert (there.state / "artefacts" / RUN / "head.zip").stat().st_mode & 0o077 == 0
    assert list((there.state / "tmp").iterdir()) == []


def packed_file(name: str, data: bytes = b"x", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "sha256": hashlib.sha256(data).hexdigest(), "base64": base64.b64encode(data).decode(), **more
    }  # fmt: skip


def line(*files: dict[str, Any], **more: Any) -> bytes:
    given = {"check": "head", "step": "check.1", "node": "mini", "at_s": 1.0, "missed": "", "left_out": [], **more}
    return json.dumps({"files": list(files), **given}).encode() + b"\n"


@pytest.mark.parametrize(
    "lines",
    [
        *(
            line(packed_file(name))
            for name in ("../a", "/etc/passwd", "a/../b", "", "a\\b", "a\x1b[2J", "a\0", "x" * 300)
        ),
        line(packed_file("a.log"), packed_file("A.LOG")),
        line(packed_file("a"), packed_file("a/b")),
        line(packed_file("a.log", sha256="0" * 64)),
        line(packed_file("a.log", sha256="x")),
        line(packed_file("a.log", base64="!!!!")),
        line(packed_file("a.log", bytes(FILE_BYTES_MAX + 1))),
        line(*(packed_file(f"{n}.log", bytes(FILE_BYTES_MAX)) for n in range(3))),
        line(*(packed_file(f"{n}.log") for n in range(FILES_MAX + 1))),
        *(line(check=kind) for kind in ("base", "../head", "", None)),
        line() + line(),
        line(at_s=-1.0),
        line(step="x" * 5000),
        line(left_out=[{"name": "a", "bytes": -1, "why": ""}]),
        line(left_out=[{"name": "a", "bytes": 1, "why": ""}] * 100),
        line(more=1),
        b"[]\n",
        b"\xff\n",
        line(node="mini").replace(b"mini", b"\\ud800"),
    ],
    ids=lambda body: f"{len(body)} bytes",
)
def test_what_no_check_leaves_is_refused_before_anything_is_written(
    here: Checkout, there: Checkout, tmp_path: Path, lines: bytes
) -> None:
    file = tmp_path / "r.tandem"
    found = exported(here, file)
    words = "what the archive says that checks left does not fit"
    refused(there, file, BadInput, words, archive.write(replace(found, artefacts=lines)))
    assert not (there.state / "artefacts").exists()


def test_artefacts_that_cannot_be_read_are_left_behind(here: Checkout, tmp_path: Path) -> None:
    left(here.state)
    (here.state / "artefacts" / RUN / "head.zip").write_bytes(b"no zip")
    found = exported(here, tmp_path / "r.tandem")
    assert found.artefacts.count(b"\n") == 1
    assert b'"draft"' in found.artefacts


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_could_be_resumed_is_moved_too(here: Checkout, there: Checkout, tmp_path: Path, state: str) -> None:
    file = tmp_path / "r.tandem"
    assert exported(here, file, state, move=True, **{"class": "BadReply"}).moved

    async def came(made: House, info: RunInfo) -> None:
        assert (info.state, info.moved, info.error) == (state, False, "BadReply")

    imported(there, file, came)


def test_a_run_that_is_over_for_good_is_only_copied(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    async def scenario(made: House) -> None:
        info = await made.run("merged", commit="ab" * 20, facts={"round": 2})
        for move in (False, True):
            told = await export(made.engine, info, tmp_path / f"{move}.tandem", move=move)
            assert told["moved"] is False
        assert (info.state, info.moved) == ("merged", False)

    in_house(here, scenario)
    assert (tmp_path / "True.tandem").read_bytes() == (tmp_path / "False.tandem").read_bytes()

    async def came(made: House, info: RunInfo) -> None:
        assert (info.state, info.commit, info.facts) == ("merged", "ab" * 20, {"round": 2})
        with pytest.raises(Conflict, match=f"run {RUN} is here already; nothing was imported"):
            await take_in(made.engine, tmp_path / "True.tandem", str(there.root), lambda run: asyncio.Lock())

    imported(there, tmp_path / "True.tandem", came)


def test_what_was_moved_away_may_be_exported_again_and_only_as_moved(here: Checkout, tmp_path: Path) -> None:
    async def scenario(made: House) -> None:
        info = await made.run("waiting")
        for name in ("one", "two"):
            await export(made.engine, info, tmp_path / name, move=True)
        with pytest.raises(Conflict, match="was moved away; `tandem export --move"):
            await export(made.engine, info, tmp_path / "three", move=False)
        assert [e.kind for e in await made.engine.journal.everything(RUN)] == ["opened", "state", "state"]

    in_house(here, scenario)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "one", "two"]


def test_a_run_that_still_waits_where_it_was_is_not_taken_in(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    exported(here, tmp_path / "r.tandem", "waiting")
    refused(there, tmp_path / "r.tandem", Conflict, "may still go on where it comes from; export it there with --move")


def test_a_repository_without_the_base_is_refused(here: Checkout, tmp_path: Path) -> None:
    exported(here, tmp_path / "r.tandem")
    other = Checkout(tmp_path / "other", {"x": "another project\n"})
    refused(other, tmp_path / "r.tandem", BadRepository, here.base[:10])


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_at_work_is_not_exported(here: Checkout, tmp_path: Path, state: str) -> None:
    async def scenario(made: House) -> None:
        info = await made.run("waiting")
        info.state = cast("Any", state)
        with pytest.raises(Conflict, match=f"is {state}; `tandem cancel {RUN}` first"):
            await export(made.engine, info, tmp_path / "r", move=True)

    in_house(here, scenario)


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Generator[Path]:
    """Return a folder in which nothing but what is exported may be left."""
    made = tmp_path / "exports"
    made.mkdir()
    (made / "there").write_text("precious")
    (made / "nowhere").symlink_to(made / "gone")
    (made / "folder").mkdir()
    yield made
    assert sorted(path.name for path in made.iterdir() if path.suffix != ".tandem") == ["folder", "nowhere", "there"]
    assert (made / "there").read_text() == "precious"
    assert not (made / "gone").exists()


def test_a_file_that_cannot_be_is_refused_before_the_run_is_marked(here: Checkout, folder: Path) -> None:
    odd = {
        "exists; name another file": ["there", "nowhere", "folder", "..", "/"],
        "there is no folder .*; name a file in one that is there": ["none/r", "there/r"],
        "cannot write .*; name another file": ["n" * 300, "a\0b"],
    }

    async def scenario(made: House) -> None:
        info = await made.run("waiting")
        for words, names in odd.items():
            for name in names:
                with pytest.raises(BadInput, match=words):
                    await export(made.engine, info, folder / name, move=True)
        assert (info.state, info.moved) == ("waiting", False)

    in_house(here, scenario)


def test_a_name_as_long_as_names_may_be_is_written(here: Checkout, folder: Path) -> None:
    exported(here, folder / ("ü" * 120 + ".tandem"))


def test_the_file_is_its_owners_alone(here: Checkout, folder: Path) -> None:
    before = os.umask(0)
    try:
        exported(here, folder / "r.tandem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "r.tandem").stat().st_mode) == 0o600


def test_what_a_killed_export_left_goes_with_the_next_and_a_planted_link_is_not_followed(
    here: Checkout, folder: Path
) -> None:
    seen: list[str] = []
    link = os.link

    def looking(source: Any, target: Any) -> None:
        seen.append(Path(source).name)
        link(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", looking)
        exported(here, folder / "r.tandem")
    (folder / "r.tandem").unlink()
    (folder / seen[0]).symlink_to(folder / "there")
    again = Checkout(here.root.parent / "again")
    exported(again, folder / "r.tandem")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_on_a_disk_without_links_it_is_written_all_the_same(
    here: Checkout, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def without(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", without)
    exported(here, folder / "r.tandem")
    assert stat.S_IMODE((folder / "r.tandem").stat().st_mode) == 0o600


def test_one_file_is_written_by_one_call_at_a_time(here: Checkout, folder: Path) -> None:
    async def scenario(made: House) -> None:
        info = await made.run("merged")
        calls = [export(made.engine, info, folder / "r.tandem", move=False) for _ in range(3)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(one).__name__ for one in told) == ["Conflict", "Conflict", "dict"]
        archive.read((folder / "r.tandem").read_bytes())
        with pytest.raises(BadInput, match="exists"):
            await export(made.engine, info, folder / "r.tandem", move=False)

    in_house(here, scenario)


def test_a_full_disk_leaves_nothing_and_the_next_try_writes_it(here: Checkout, tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 1 << 20) as disk:

        async def scenario(made: House) -> None:
            info = await made.run("waiting")
            disk.fill(4096)
            with pytest.raises(DiskFull, match="the run could not be exported"):
                await export(made.engine, info, disk.seen / "r.tandem", move=True)
            disk.free()
            assert list(disk.seen.iterdir()) == []
            assert info.moved
            await export(made.engine, info, disk.seen / "r.tandem", move=True)
            (disk.seen / "r.tandem").unlink()
            disk.remount_read_only()
            with pytest.raises(BadConfig, match="may not be written"):
                await export(made.engine, info, disk.seen / "r.tandem", move=True)

        in_house(here, scenario)


# --- a hostile file: the sums fit, and so does its outer shape -----------------------------------------------------


def with_task(found: Archive, **task: Any) -> bytes:
    """Return an archive whose task was changed by somebody who knows how."""
    told = cast("Any", {**cast("dict[str, Any]", found.row.task), **task})
    return archive.write(replace(found, row=replace(found.row, task=told)))


@pytest.mark.parametrize(("words", "tasks"), [
    ("no text, too much", [
        {"text": ""}, {"text": " \n\x1c"}, {"text": "x" * 200_001}, {"priority": -1000}, {"priority": 11}
    ]),
    ("which is no commit's id", [{"base": "main"}, {"base": "--upload-pack=x"}, {"base": "ab" * 20 + "\n"}, {"base": ""}]),
    ("which is no folder of a repository", [
        {"folder": name} for name in ("../../etc", "/etc", "a/../../b", ".", "a//b", "a/", "a\0b", "..")
    ]),
    ("may work for", [{"max_minutes": minutes} for minutes in (float("nan"), float("inf"), 0, -1, 1e9)]),
    ("nothing from a file runs so", [{"unsandboxed": True}]),
    ("task cannot be read", [
        {"text": 5}, {"base": None}, {"priority": 1.5}, {"priority": True}, {"max_minutes": "x"}, {"deliver": "push"},
        {"images": None}, {"images": [1]}, {"more": 1}, {"yes": "no"}, {"repo": None}, {"target": 5},
    ]),
])  # fmt: skip
def test_a_task_that_no_person_could_have_given_is_refused(
    here: Checkout, there: Checkout, tmp_path: Path, words: str, tasks: list[dict[str, Any]]
) -> None:
    found = exported(here, tmp_path / "good.tandem")
    refused(there, tmp_path / "r.tandem", BadInput, words, *(with_task(found, **task) for task in tasks))


def test_a_folder_that_begins_with_a_dot_is_a_folder(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    found = exported(here, tmp_path / "good.tandem")
    (tmp_path / "r.tandem").write_bytes(with_task(found, folder=".github/..x"))

    async def came(made: House, info: RunInfo) -> None:
        assert info.task.folder == ".github/..x"

    imported(there, tmp_path / "r.tandem", came)


def test_entries_nobody_could_look_at_are_refused(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    found = exported(here, tmp_path / "good.tandem")
    question = asdict(QUESTION)
    odd: dict[str, list[Any]] = {
        "reply": [{}, None, []],
        "report": [{}, {"tests": 5}, 5],
        "opened": [{}, 5, {**question, "choices": None}, {**question, "more": 1}],
    }
    entries = [
        Entry(id=9, step="plan.1", ordinal=0, attempt=1, kind=kind, question="", value=value, at_s=1.0)
        for kind, values in odd.items()
        for value in values
    ]
    bodies = [archive.write(replace(found, entries=[entry])) for entry in entries]
    refused(there, tmp_path / "r.tandem", BadInput, r"entries do not fit \(", *bodies)


def test_a_reference_to_anything_else_is_refused(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    found = exported(here, tmp_path / "good.tandem")
    good = found.references["code.1"]
    names = [{name: good} for name in ("../../heads/main", "a/b", "..", "", "a.lock", "-d", "a\nb", "a\0b")]
    commits = [{"code.1": commit} for commit in ("--all", "main", "HEAD", "", good[:39], f"{good}\n")]
    bodies = [archive.write(replace(found, references=references)) for references in (*names, *commits)]
    refused(there, tmp_path / "r.tandem", BadInput, r"the run's reference .* is none", *bodies)


def test_commits_git_will_not_take_are_refused(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    found = exported(here, tmp_path / "good.tandem")
    blob = here.git("hash-object", "-w", "--stdin", stdin=b"[core]\n")
    tree = here.git("mktree", stdin=f"100644 blob {blob}\t.git\n".encode())
    commit = here.git("commit-tree", "-p", here.base, "-m", "x", tree)
    pack = packed(here, f"{commit}\n^{here.base}\n", "--revs")
    for body, words in (
        (pack, "refused: .*[.]git"),
        (b"PACK" + b"x" * 100, "were refused"),
        (b"", "is not in what was"),
    ):
        raw = archive.write(replace(found, pack=body, references={"code.1": commit}))
        refused(there, tmp_path / "r.tandem", BadInput, words, raw)


def packed(checkout: Checkout, wanted: str, *how: str) -> bytes:
    argv = ["git", "-C", str(checkout.root), "pack-objects", *how, "--stdout", "-q"]
    return subprocess.run(argv, input=wanted.encode(), capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("make", ["nothing", "folder", "text"])
def test_what_is_no_export_is_refused(there: Checkout, tmp_path: Path, make: str) -> None:
    file = tmp_path / "r.tandem"
    if make == "folder":
        file.mkdir()
    elif make == "text":
        file.write_text("a text")
    refused(there, file, BadInput, "no whole exported run" if make == "text" else "cannot read")


def test_a_run_id_leads_nowhere_else(here: Checkout, there: Checkout, tmp_path: Path) -> None:
    found = exported(here, tmp_path / "good.tandem")
    evil = archive.write(replace(found, row=replace(found.row, run=RunId("../../evil"))))
    (tmp_path / "r.tandem").write_bytes(evil)
    refused(there, tmp_path / "r.tandem", BadInput, "run.json does not fit")
    assert not list(tmp_path.rglob("*evil*"))
    assert json.loads(evil[512:].partition(b"\0")[0])["run"]["run"] == "../../evil"
