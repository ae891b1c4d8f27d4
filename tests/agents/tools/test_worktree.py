"""Tools over a real Git directory: what they do, what they refuse, and that nothing leads out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.context import estimate_tokens
from agents.tools.worktree import Tested, Used, Worktree
from router.repository import OwnRepository
from tandem.types import CommitId, Edit, Json, ToolCall
from tests.support.checkouts import Checkout

T = TypeVar("T")
FILES = {
    "src/app.py": "def add(a, b):\n    return a - b\n",
    "src/other.py": "import app\n\nTOTAL = 3\n",
    "docs/guide.md": "# guide\n",
    "tests/test_app.py": "def test_add():\n    assert True\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path, FILES)
    (made.root / "out").symlink_to("/etc")
    (made.root / "link.py").symlink_to("src/app.py")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "links")
    return made


def opened(checkout: Checkout) -> OwnRepository:
    return asyncio.run(OwnRepository.open(checkout.state, checkout.root, checkout.tip()))


def tree_of(checkout: Checkout, **given: Any) -> Worktree:
    return Worktree(opened(checkout), CommitId(checkout.tip()), may_write=given.pop("may_write", lambda _: ""), **given)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def use(tree: Worktree, name: str, room: int = 2000, **arguments: Json) -> Used:
    return run(tree.use(ToolCall(id="1", name=name, arguments=arguments), room, estimate_tokens))


def test_reading_numbers_the_lines_and_counts_as_seen_only_when_whole(checkout: Checkout) -> None:
    tree = tree_of(checkout)
    part = use(tree, "read_file", path="src/app.py", start=2)
    assert "2|     return a - b" in part.text
    assert not tree.seen
    use(tree, "read_file", path="./src/app.py")
    assert tree.seen == {"src/app.py"}


def test_a_long_file_comes_in_parts_and_says_how_to_go_on(tmp_path: Path) -> None:
    tree = tree_of(Checkout(tmp_path, {"long.py": "".join(f"line_{n} = {n}\n" for n in range(1, 1001))}))
    first = use(tree, "read_file", room=400, path="long.py")
    assert estimate_tokens(first.text) <= 400
    assert "of 1000" in first.text
    assert "start=" in first.text
    assert not tree.seen


def test_searching_sees_what_was_changed_and_not_yet_committed(checkout: Checkout) -> None:
    tree = tree_of(checkout)
    use(tree, "replace_in_file", path="src/app.py", old="return a - b", new="return a + b  # mended")
    assert use(tree, "search", pattern="mended").text == "src/app.py:2:     return a + b  # mended"
    assert "Nothing found" in use(tree, "search", pattern="a - b").text
    assert "src/other.py:3: TOTAL = 3" in use(tree, "search", pattern="^TOT[A-Z]+", regex=True).text


def test_a_bad_regular_expression_is_an_answer_and_no_fault(checkout: Checkout) -> None:
    said = use(tree_of(checkout), "search", pattern="(", regex=True)
    assert said.failed
    assert "regular expression" in said.text


def test_a_missing_file_is_answered_with_the_nearest_names(checkout: Checkout) -> None:
    said = use(tree_of(checkout), "read_file", path="app.py")
    assert said.failed
    assert "did you mean src/app.py" in said.text


def test_a_file_that_was_not_read_whole_is_not_overwritten(checkout: Checkout) -> None:
    tree = tree_of(checkout)
    assert use(tree, "write_file", path="src/app.py", content="gone").failed
    use(tree, "read_file", path="src/app.py")
    assert not use(tree, "write_file", path="src/app.py", content="def add(a, b):\n    return a + b\n").failed
    assert not use(tree, "write_file", path="src/new.py", content="NEW = 1\n").failed
    assert tree.edits == (
        Edit(path="src/app.py", content="def add(a, b):\n    return a + b\n"),
        Edit(path="src/new.py", content="NEW = 1\n"),
    )


def test_a_patch_applies_to_all_its_files_or_to_none(checkout: Checkout) -> None:
    tree = tree_of(checkout, may_write=lambda path: "not yours" if path.startswith("docs/") else "")
    one = "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"
    both = one + "--- a/docs/guide.md\n+++ b/docs/guide.md\n@@ -1 +1 @@\n-# guide\n+# Guide\n"
    assert use(tree, "apply_patch", patch=both).failed
    assert tree.edits == ()
    assert not use(tree, "apply_patch", patch=one).failed
    assert tree.edits[0].content == "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize(
    "path",
    ["../x.py", "/etc/passwd", ".git/config", "src/.GIT/hooks/pre-commit", "src/.gi\u200bt/config", "git~1/config",
     "out/passwd", "link.py", "link.py/x", "src/app.py/x", "SRC/app.py", "a\x00b", "a\\b", ".gitmodules", "src/./../../x"],
)  # fmt: skip
def test_no_path_leads_out_through_a_link_or_into_git(checkout: Checkout, path: str) -> None:
    tree = tree_of(checkout)
    before = run(tree.tree())
    for name, more in (
        ("write_file", {"content": "x"}),
        ("delete_file", {}),
        ("replace_in_file", {"old": "a", "new": "b"}),
    ):
        assert use(tree, name, path=path, **more).failed
    assert use(tree, "read_file", path=path).failed
    assert "root:" not in use(tree, "search", pattern="root:", path=path).text
    assert run(tree.tree()) == before
    assert tree.edits == ()


def test_the_part_of_a_monorepo_is_all_that_is_listed_and_written(checkout: Checkout) -> None:
    tree = tree_of(checkout, folder="src")
    assert use(tree, "list_files").text == "src/app.py\nsrc/other.py"
    assert use(tree, "write_file", path="docs/new.md", content="x").failed
    assert not use(tree, "write_file", path="src/new.py", content="x\n").failed


def test_the_same_tree_is_tested_once(checkout: Checkout) -> None:
    ran: list[Sequence[Edit]] = []

    async def tests(edits: Sequence[Edit]) -> Tested:
        ran.append(edits)
        return Tested(text="1 failed", seconds=2.0)

    tree = tree_of(checkout, run_tests=tests)
    assert use(tree, "run_tests").seconds == 2.0
    assert "Nothing changed" in use(tree, "run_tests").text
    use(tree, "write_file", path="n.py", content="x = 1\n")
    assert "1 failed" in use(tree, "run_tests").text
    assert [len(edits) for edits in ran] == [0, 1]


PATHS = st.one_of(
    st.sampled_from([*FILES, "new.py", "../x", ".git/config", "out/passwd", "link.py", "/etc/shadow", "src", "", "."]),
    st.text(max_size=12),
)  # fmt: skip
CALLS = st.one_of(
    st.builds(lambda p: ("read_file", {"path": p}), PATHS),
    st.builds(lambda p, q: ("list_files", {"path": p, "pattern": q}), PATHS, st.text(max_size=4)),
    st.builds(lambda p, t: ("search", {"pattern": t, "path": p}), PATHS, st.text(max_size=6)),
    st.builds(lambda p, t: ("write_file", {"path": p, "content": t}), PATHS, st.text(max_size=20)),
    st.builds(lambda p, a, b: ("replace_in_file", {"path": p, "old": a, "new": b}), PATHS,
              st.sampled_from(["return", "a", "\n", "TOTAL = 3"]), st.text(max_size=8)),
    st.builds(lambda p: ("delete_file", {"path": p}), PATHS),
    st.builds(lambda t: ("apply_patch", {"patch": t}), st.text(max_size=40)),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALLS, max_size=8))
def test_no_sequence_of_calls_touches_anything_but_the_tree(
    checkout: Checkout, calls: list[tuple[str, dict[str, Json]]]
) -> None:
    tree = tree_of(checkout, may_write=lambda path: "" if path.startswith("src/") or "/" not in path else "no")
    before = sorted(str(path) for path in checkout.root.parent.rglob("*") if checkout.state not in path.parents)
    for name, arguments in calls:
        said = use(tree, name, room=500, **arguments)
        assert estimate_tokens(said.text) <= 500
        assert "root:x" not in said.text
    repo = opened(checkout)
    made = run(repo.commit(parent=CommitId(checkout.tip()), edits=tree.edits, persona="coder", message="m", at_s=1))
    listed = checkout.git("ls-tree", "-r", "--name-only", made, at=repo.git_dir(checkout.state, repo.repo_id))
    assert not any(".git" in path.lower().split("/") or ".." in path.split("/") for path in listed.split("\n"))
    changed = run(repo.changed(CommitId(checkout.tip()), made))
    assert all(path.startswith("src/") or "/" not in path for path in changed)
    after = sorted(str(path) for path in checkout.root.parent.rglob("*") if checkout.state not in path.parents)
    assert after == before
