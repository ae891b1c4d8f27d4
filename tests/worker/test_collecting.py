"""A worker's clearing up: what a router still needs stays, everything else goes, and nobody finds half of anything."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from contextvars import copy_context
from pathlib import Path

import pytest

from tandem.errors import TandemError, Unreachable
from tandem.identity import NodeId
from tandem.types import CommitId, Freed, Kept
from tests.tandem.test_clearing import Bare
from worker.callers import caller, mark_of
from worker.collecting import Collector
from worker.environments import MARK
from worker.fence import Fence
from worker.workspace import scratch

DAY_S = 86_400.0


class Node:
    """A worker's state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        (state / "git").mkdir(parents=True)
        self.fence = Fence.take(state)
        self.collector = Collector(state, self.fence)

    def repository(self, name: str) -> Bare:
        return Bare(self.state / "git" / f"{name}.git")

    def environment(self, name: str, *, days: float = 0, mark: bool = True) -> Path:
        folder = self.state / "environments" / name
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_bytes(os.urandom(20_000))
        if mark:
            (folder / MARK).write_text("{}")
            when_s = time.time() - days * DAY_S
            os.utime(folder / MARK, (when_s, when_s))
        return folder

    def freed(
        self, *, dry_run: bool = False, environments_s: float = 30 * DAY_S, **kept: tuple[str, ...]
    ) -> list[Freed]:
        wanted = {name: tuple(map(CommitId, commits)) for name, commits in kept.items()}
        what = Kept(repositories=wanted, environments_s=environments_s, dry_run=dry_run)
        return asyncio.run(self.collector.collect(what))

    def counts(self, **kept: object) -> dict[str, int]:
        return {one.what: one.count for one in self.freed(**kept)}  # type: ignore[arg-type]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "state")


def held(bare: Bare, text: str, *, age_s: float = 7200.0) -> str:
    """Write a commit and hold it as a push does: under its own name."""
    made = bare.commit("", text, age_s=age_s)
    bare("update-ref", f"refs/tandem/{made}", made)
    return made


def test_a_repository_no_run_names_goes_and_the_others_stay(node: Node) -> None:
    kept, gone = node.repository("kept"), node.repository("gone")
    base = held(kept, "base")
    held(gone, "x" * 100_000)
    assert node.counts(kept=(base,), dry_run=True) == {"repositories on the worker": 1}
    assert gone.path.exists()
    (one,) = node.freed(kept=(base,))
    assert (one.what, one.count) == ("repositories on the worker", 1)
    assert one.size_bytes > 4096
    assert (kept.has(base), gone.path.exists()) == (True, False)
    assert list((node.state / "tmp").iterdir()) == []


def test_of_a_repository_that_is_kept_only_the_bases_stay(node: Node) -> None:
    words = node.repository("words")
    base, draft, pushed = held(words, "base"), held(words, "draft"), held(words, "just pushed", age_s=0)
    dry = node.freed(words=(base,), dry_run=True)
    assert [(one.what, one.count) for one in dry] == [("commits on the worker", 2)]
    assert dry[0].size_bytes > 0
    assert node.counts(words=(base,)) == {"commits on the worker": 2}
    assert (words.has(base), words.has(draft)) == (True, False)
    assert words.has(pushed), "a check may be about to read it"
    assert words("for-each-ref", "--format=%(refname)") == f"refs/tandem/{base}"


def test_what_was_too_young_goes_when_it_is_not_any_more(node: Node) -> None:
    words = node.repository("words")
    base, pushed = held(words, "base"), held(words, "pushed", age_s=0)
    node.freed(words=(base,))
    for path in words.objects():
        os.utime(path, (time.time() - 7200,) * 2)
    node.freed(words=(base,))
    assert (words.has(base), words.has(pushed)) == (True, False)


def test_where_nothing_is_to_go_nothing_is_touched(node: Node) -> None:
    words = node.repository("words")
    base = held(words, "base")
    before = words.objects()
    assert node.freed(words=(base,)) == []
    assert words.objects() == before


def test_an_environment_is_cleared_away_by_the_router_it_was_built_for_alone(node: Node) -> None:
    mine, theirs = node.environment("a" * 32, days=31), node.environment("b" * 32, days=31)
    book = NodeId("BOOK" * 13)

    def as_caller(who: NodeId | None) -> dict[str, int]:
        caller.set(who)
        return node.counts()

    def alone(who: NodeId | None) -> dict[str, int]:
        return copy_context().run(as_caller, who)

    when_s = (theirs / MARK).stat().st_mtime
    (theirs / MARK).write_text(json.dumps({"owner": f"@{'book' * 4}"}))
    os.utime(theirs / MARK, (when_s, when_s))
    assert alone(NodeId("DESK" * 13)) == {}
    assert alone(book) == {"environments on the worker": 1}
    assert (mine.exists(), theirs.exists()) == (True, False)
    assert alone(None) == {"environments on the worker": 1}


def test_what_an_unpaired_router_left_goes_and_everybody_else_s_stays(node: Node) -> None:
    book, gone = NodeId("B" * 52), NodeId("G" * 52)
    for name in ("own", f"own{mark_of(book)}", f"own{mark_of(gone)}", f"other{mark_of(gone)}"):
        node.repository(name)
    for name, owner in (("1" * 32, ""), ("2" * 32, mark_of(book)), ("3" * 32, mark_of(gone))):
        (node.environment(name) / MARK).write_text(json.dumps({"owner": owner}))
    asyncio.run(node.collector.keep_only({book}))
    assert {path.stem for path in (node.state / "git").iterdir()} == {"own", f"own{mark_of(book)}"}
    assert {path.name for path in (node.state / "environments").iterdir()} == {"1" * 32, "2" * 32}
    asyncio.run(node.collector.keep_only(()))
    assert {path.stem for path in (node.state / "git").iterdir()} == {"own"}
    assert {path.name for path in (node.state / "environments").iterdir()} == {"1" * 32}


def test_environments_go_by_when_they_were_last_used_and_never_within_the_hour(node: Node) -> None:
    old, new = node.environment("a" * 32, days=31), node.environment("b" * 32, days=29)
    used, no_environment = node.environment("c" * 32), node.environment("d" * 32, mark=False)
    assert node.counts(dry_run=True) == {"environments on the worker": 1}
    assert node.counts() == {"environments on the worker": 1}
    assert [path.exists() for path in (old, new, used, no_environment)] == [False, True, True, True]
    assert node.counts(environments_s=0) == {"environments on the worker": 1}
    assert [path.exists() for path in (new, used, no_environment)] == [False, True, True]


def test_leftovers_of_killed_processes_go_and_what_is_in_use_stays(node: Node) -> None:
    tmp = node.state / "tmp"
    with scratch(tmp) as mine:
        (mine / "file").touch()
        shutil.copytree(mine, tmp / "left")  # its lock is nobody's
        half_made, being_made = node.state / "git" / ".new-old", node.state / "git" / ".new-now"
        for folder in (half_made, being_made):
            (folder / "repo.git").mkdir(parents=True)
        os.utime(half_made, (1, 1))
        node.freed(dry_run=True)
        assert (tmp / "left").exists()
        assert half_made.exists()
        node.freed()
        assert [path.name for path in tmp.iterdir()] == [mine.name]
        assert (half_made.exists(), being_made.exists()) == (False, True)


def test_what_is_gone_already_hinders_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = node.environment("a" * 32, days=31), node.environment("b" * 32, days=31)
    rename = Path.rename

    def racing(self: Path, target: Path) -> Path:
        if self == gone:
            shutil.rmtree(gone)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", racing)
    node.freed()
    assert not other.exists()


@pytest.mark.parametrize("what", ["repository", "commit", "environment"])
def test_a_worker_that_was_replaced_removes_nothing(node: Node, what: str) -> None:
    words = node.repository("words")
    base, draft = held(words, "base"), held(words, "draft")
    place = node.environment("a" * 32, days=31 if what == "environment" else 0)
    Fence.take(node.state)
    kept = {} if what == "repository" else {"words": (base, draft) if what == "environment" else (base,)}
    with pytest.raises(Unreachable, match="was replaced"):
        node.freed(**kept)
    assert (words.has(base), words.has(draft), place.exists()) == (True, True, True)


def test_two_at_once_take_turns(node: Node) -> None:
    gone = node.repository("gone")
    held(gone, "gone")
    kept = Kept(repositories={}, environments_s=DAY_S)

    async def both() -> list[list[Freed]]:
        return await asyncio.gather(*(node.collector.collect(kept) for _ in range(2)))

    first, second = asyncio.run(both())
    assert (len(first), second) == (1, [])
    assert not gone.path.exists()


def test_a_node_that_never_did_anything_has_nothing_to_clear(tmp_path: Path) -> None:
    collector = Collector(tmp_path, Fence.take(tmp_path))
    assert asyncio.run(collector.collect(Kept(repositories={}, environments_s=0))) == []


def test_a_repository_that_cannot_be_cleared_is_told_of_and_hinders_no_other(node: Node) -> None:
    broken, words = node.repository("a-broken"), node.repository("words")
    base, draft = held(words, "base"), held(words, "draft")
    held(broken, "draft")
    (broken.path / "HEAD").unlink()
    old = node.environment("old", days=40)
    with pytest.raises(TandemError, match="for-each-ref failed"):
        node.freed(words=(base,), **{"a-broken": (base,)})
    assert (words.has(base), words.has(draft), old.exists()) == (True, False, False)
