import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router.repository import OwnRepository, delivery, proof_commit, room
from tandem.errors import BadInput, Conflict
from tandem.git import GitResult
from tandem.types import CommitId, Delivery, Edit
from tests.support.checkouts import Checkout

GOOD = "def add(a, b):\n    return a + b\n"
NOTE = "Tandem's proof\n"


class Case:
    """A checkout, and a commit made for it that waits to be delivered."""

    def __init__(self, folder: Path) -> None:
        self.checkout = Checkout(folder)
        self.base = CommitId(self.checkout.base)

    async def make(self, *edits: Edit) -> tuple[OwnRepository, CommitId]:
        own = await OwnRepository.open(self.checkout.state, self.checkout.root, self.base)
        made = await own.commit(
            parent=self.base,
            edits=edits or [Edit(path="calc.py", content=GOOD), Edit(path="new.txt", content="new\n")],
            persona="coder",
            message="Add\n\nTandem-Run: r1",
            at_s=1_760_000_000,
        )
        return own, made

    def deliver(self, *edits: Edit) -> tuple[CommitId, Delivery]:
        async def main() -> tuple[CommitId, Delivery]:
            own, made = await self.make(*edits)
            return made, await own.deliver(commit=made, branch="main", expected=self.base, note=NOTE)

        return asyncio.run(main())

    def left(self, why: str, *edits: Edit) -> Delivery:
        """Deliver; it must end on a branch of its own, twice, and change nothing else."""
        before = self.checkout.shape()
        made, done = self.deliver(*edits)
        assert not done.merged
        assert why in done.message
        assert done.branch == f"tandem/{made[:12]}"
        assert self.checkout.tip(done.branch) == made
        assert self.deliver(*edits) == (made, done)
        after = self.checkout.shape()
        extra = {f"{made} commit\trefs/heads/{done.branch}"}
        notes = [line for line in str(after.pop("refs")).split("\n") if "refs/notes/" not in line]
        assert set(notes) - set(str(before.pop("refs")).split("\n")) == extra
        assert after == before
        return done


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    made = Case(tmp_path)
    monkeypatch.setenv("HOME", str(made.checkout.home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    return made


def test_a_clean_checkout_is_fast_forwarded_with_its_note(case: Case) -> None:
    made, done = case.deliver()
    assert done == Delivery(commit=made, branch="main", merged=True)
    assert case.checkout.tip() == made
    assert (case.checkout.root / "calc.py").read_text() == GOOD
    assert case.checkout.git("status", "--porcelain") == ""
    assert case.checkout.git("notes", "--ref=tandem", "show", made) == NOTE.strip()
    assert not (case.checkout.root / ".git/FETCH_HEAD").exists()
    assert case.checkout.branches() == {"main"}


def test_delivering_twice_is_delivering_once(case: Case) -> None:
    first = case.deliver()
    shape = case.checkout.shape()
    assert case.deliver() == first
    assert case.checkout.shape() == shape
    later = case.checkout.commit({"later": "x"})
    assert case.deliver() == first  # contained: nothing to do
    assert case.checkout.tip() == later


def test_untracked_files_that_are_not_in_the_way_stay(case: Case) -> None:
    case.checkout.write({"mine.txt": "mine"})
    _, done = case.deliver()
    assert done.merged
    assert (case.checkout.root / "mine.txt").read_text() == "mine"


def test_no_identity_is_needed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.checkout.git("config", "--global", "user.useConfigOnly", "true")
    for name in [name for name in os.environ if name.startswith(("GIT_", "EMAIL"))]:
        monkeypatch.delenv(name)
    made, done = case.deliver()
    assert done.merged
    assert case.checkout.git("notes", "--ref=tandem", "show", made)


def test_a_change_not_committed_is_never_touched(case: Case) -> None:
    case.checkout.write({"README.md": "# mine\n"})
    done = case.left("uncommitted changes in README.md")
    assert f"git -C {case.checkout.root} merge --ff-only {done.branch}" in done.message
    case.checkout.git("checkout", "-q", "README.md")
    subprocess.run(done.message.split("run: ")[1], shell=True, check=True)  # the command it names works
    assert case.checkout.tip() == done.commit


def test_a_staged_change_is_never_touched(case: Case) -> None:
    case.checkout.write({"staged": "x"})
    case.checkout.git("add", "staged")
    case.left("uncommitted changes in staged")


def test_an_untracked_file_in_the_way_stays(case: Case) -> None:
    case.checkout.write({"new.txt": "mine"})
    case.left("new.txt")


def test_an_ignored_file_in_the_way_stays(case: Case) -> None:
    case.base = CommitId(case.checkout.commit({".gitignore": "new.txt\n"}))
    case.checkout.write({"new.txt": "mine"})
    case.left("new.txt")


def test_another_branch_that_was_checked_out_meanwhile_is_not_moved(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = room.to_be_written

    async def switched(root: Path, base: CommitId, commit: CommitId) -> room.Written:
        case.checkout.git("switch", "-q", "-c", "feature")
        return await look(root, base, commit)

    monkeypatch.setattr(room, "to_be_written", switched)
    _, done = case.deliver()
    assert not done.merged
    assert "another branch was checked out" in done.message
    assert case.checkout.tip("feature") == case.checkout.tip("main") == case.base
    assert case.checkout.git("status", "--porcelain") == ""


def test_a_branch_that_is_set_to_squash_is_moved_all_the_same(case: Case) -> None:
    case.checkout.git("config", "branch.main.mergeOptions", "--squash --no-commit")
    made, done = case.deliver()
    assert (done.merged, case.checkout.tip()) == (True, made)
    assert case.checkout.git("status", "--porcelain") == ""


def test_what_git_was_told_not_to_look_at_is_not_put_back(case: Case) -> None:
    case.checkout.git("update-index", "--assume-unchanged", "calc.py")
    (case.checkout.root / "calc.py").write_text("mine = 1\n")

    async def main() -> None:
        _, made = await case.make()
        written = await room.to_be_written(case.checkout.root, case.base, made)
        await room.put_back(case.checkout.root, written)

    asyncio.run(main())
    assert (case.checkout.root / "calc.py").read_text() == "mine = 1\n"


def test_a_merge_that_is_killed_in_the_middle_leaves_the_checkout_as_it_was(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, real = case.checkout.root, delivery.user_git
    before = case.checkout.shape()

    async def killed(*args: str, **more: Any) -> GitResult:
        if args[0] == "merge":  # what git had done when it was killed
            (root / "new.txt").write_text("ne")
            (root / "calc.py").unlink()
            (root / ".git" / "index.lock").touch()
            raise asyncio.CancelledError
        return await real(*args, **more)

    monkeypatch.setattr(delivery, "user_git", killed)
    with pytest.raises(asyncio.CancelledError):
        case.deliver()
    assert case.checkout.git("status", "--porcelain") == ""
    assert not (root / ".git" / "index.lock").exists()
    after = case.checkout.shape()
    for name in ("index", "refs"):  # the one was refreshed just now, the other has the commit's note
        del before[name], after[name]
    assert after == before


def test_a_git_directory_that_stands_elsewhere_is_delivered_to(case: Case) -> None:
    case.checkout.git("init", "-q", "--separate-git-dir", str(case.checkout.root.parent / "elsewhere.git"))
    made, done = case.deliver()
    assert (done.merged, case.checkout.tip()) == (True, made)
    assert (case.checkout.root / "calc.py").read_text() == GOOD


def test_a_locked_checkout_is_left_alone(case: Case) -> None:
    (case.checkout.root / ".git/index.lock").touch()
    before = case.checkout.tip()
    _, done = case.deliver()
    assert not done.merged
    assert "index.lock" in done.message
    assert case.checkout.tip() == before


def test_a_branch_that_moved_is_left_where_it_is(case: Case) -> None:
    moved = case.checkout.commit({"other": "x"})
    done = case.left(f"main moved to {moved[:10]}")
    assert f"merge {done.branch}" in done.message


def test_a_branch_that_is_gone_is_not_made_again(case: Case) -> None:
    case.checkout.git("switch", "-q", "-c", "other")
    case.checkout.git("branch", "-q", "-D", "main")
    case.left("branch main is gone")


def test_a_merge_under_way_is_left_alone(case: Case) -> None:
    case.checkout.git("switch", "-q", "-c", "side")
    case.checkout.commit({"side": "x"})
    case.checkout.git("switch", "-q", "main")
    (case.checkout.root / ".git/MERGE_HEAD").write_text(case.checkout.tip("side") + "\n")
    case.left("main could not be moved")


def test_a_rebase_of_the_branch_is_left_alone(case: Case) -> None:
    case.checkout.git("switch", "-q", "-c", "side")
    case.checkout.commit({"calc.py": "side\n"})
    case.checkout.git("switch", "-q", "main")
    case.base = CommitId(case.checkout.commit({"calc.py": "main\n"}))
    case.checkout.git("rebase", "side", check=False)
    case.left("a rebase of main is under way", Edit(path="x", content="x"))


def test_a_branch_nobody_has_checked_out_moves_without_touching_the_checkout(case: Case) -> None:
    case.checkout.git("switch", "-q", "-c", "other")
    case.checkout.write({"calc.py": "dirty"})
    made, done = case.deliver()
    assert done.merged
    assert case.checkout.tip("main") == made
    assert (case.checkout.root / "calc.py").read_text() == "dirty"


def test_a_branch_checked_out_in_another_worktree_moves_there(case: Case, tmp_path: Path) -> None:
    case.checkout.git("switch", "-q", "-c", "other")
    case.checkout.git("worktree", "add", "-q", str(tmp_path / "second tree"), "main")
    made, done = case.deliver()
    assert done.merged
    assert case.checkout.tip("main") == made
    assert (tmp_path / "second tree/calc.py").read_text() == GOOD
    assert (case.checkout.root / "calc.py").read_text() != GOOD


def test_a_name_that_is_taken_gets_another(case: Case) -> None:
    case.checkout.git("branch", "tandem", case.base)  # no `tandem/x` can stand beside it
    case.checkout.write({"README.md": "dirty"})
    made, done = case.deliver()
    assert done.branch == f"tandem-{made[:12]}"
    assert case.checkout.tip(done.branch) == made


def test_hooks_and_monitors_of_the_checkout_stay_silent(case: Case, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\necho $0 >> {ran}\nexit 1\n")
    evil.chmod(0o755)
    hooks = case.checkout.root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-merge", "post-checkout", "reference-transaction", "pre-auto-gc", "post-index-change"):
        (hooks / hook).symlink_to(evil)
    for key in ("core.fsmonitor", "uploadpack.packObjectsHook", "gpg.program", "core.editor"):
        case.checkout.git("config", key, str(evil))
    case.checkout.git("config", "merge.verifySignatures", "true")
    case.checkout.git("config", "commit.gpgSign", "true")
    _, done = case.deliver()
    assert done.merged
    assert not ran.exists()


def test_a_branch_of_its_own_touches_nothing_else_and_comes_once(case: Case) -> None:
    before = case.checkout.shape()

    async def main() -> None:
        own, made = await case.make()
        for _ in range(2):
            done = await own.deliver_branch(commit=made, branch="feature/add", note=NOTE)
            assert done == Delivery(commit=made, branch="feature/add", merged=False)
        assert case.checkout.tip("feature/add") == made
        taken = await own.deliver_branch(commit=made, branch="main", note=NOTE)
        assert taken.branch == f"tandem/{made[:12]}"
        assert "main could not be created" in taken.message

    asyncio.run(main())
    after = case.checkout.shape()
    assert {**after, "refs": ""} == {**before, "refs": ""}
    assert case.checkout.tip("main") == case.base


@pytest.mark.parametrize("point", ["deliver.fetched", "deliver.moved"])
def test_killed_in_the_middle_the_next_delivery_ends_right(case: Case, point: str) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom router.repository import OwnRepository\n"
        "async def main(state, root, base, made):\n"
        "    own = await OwnRepository.open(Path(state), Path(root), base)\n"
        "    await own.deliver(commit=made, branch='main', expected=base, note='note')\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    _, made = asyncio.run(case.make())
    killed = subprocess.run(
        [sys.executable, "-c", script, str(case.checkout.state), str(case.checkout.root), case.base, made],
        env={**os.environ, "TANDEM_FAULT": f"{point}:kill"},
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert killed.returncode == -9
    again, done = case.deliver()
    assert again == made
    assert done.merged
    assert case.checkout.tip() == made
    assert case.checkout.git("status", "--porcelain") == ""
    assert case.checkout.git("fsck", "--strict") == ""


def test_undo_adds_a_commit_and_rewrites_nothing(case: Case) -> None:
    async def main() -> None:
        own, made = await case.make()
        await own.deliver(commit=made, branch="main", expected=case.base, note=NOTE)
        done = await own.undo(made, "main", at_s=1_760_000_001)
        assert done.merged
        assert await own.tree(done.commit) == await own.tree(case.base)
        assert case.checkout.tip() == done.commit
        assert case.checkout.tip("HEAD^") == made
        assert case.checkout.git("log", "-1", "--format=%an|%ae|%at") == "Tandem Undo|undo@tandem.invalid|1760000001"
        message = case.checkout.git("log", "-1", "--format=%B")
        assert message.startswith('Revert "Add"')
        assert f"Tandem-Undo: {made}\nTandem-Run: r1" in message
        again = await own.undo(made, "main")
        assert again.commit == done.commit
        assert case.checkout.tip() == done.commit

    asyncio.run(main())


def test_undo_keeps_later_work_and_names_what_stands_in_its_way(case: Case) -> None:
    async def main() -> None:
        own, made = await case.make()
        with pytest.raises(Conflict, match="not in the history of main"):
            await own.undo(made, "main")
        await own.deliver(commit=made, branch="main", expected=case.base, note=NOTE)
        case.checkout.commit({"later.txt": "later"})
        case.checkout.write({"README.md": "dirty"})
        left = await own.undo(made, "main", at_s=1)
        assert not left.merged
        assert "uncommitted changes in README.md" in left.message
        case.checkout.git("checkout", "-q", "README.md")
        done = await own.undo(made, "main", at_s=1)
        assert done.merged
        assert sorted(p.name for p in case.checkout.root.iterdir()) == [".git", "README.md", "calc.py", "later.txt"]

    asyncio.run(main())


def test_undo_says_when_later_work_stands_on_the_commit(case: Case) -> None:
    async def main() -> None:
        own, made = await case.make()
        await own.deliver(commit=made, branch="main", expected=case.base, note=NOTE)
        case.checkout.commit({"calc.py": "def add(a, b):\n    return b + a\n"})
        with pytest.raises(Conflict, match=f"revert {made}"):
            await own.undo(made, "main")
        with pytest.raises(BadInput, match="0 parents"):
            await own.undo(case.base, "main")
        with pytest.raises(Conflict, match="not in the history of gone"):
            await own.undo(made, "gone")

    asyncio.run(main())


def test_a_commit_is_read_with_its_parents_and_without_a_proof_where_it_claims_none(case: Case) -> None:
    made, _ = case.deliver()
    found = asyncio.run(proof_commit(case.checkout.root, "HEAD"))
    assert (found.commit, found.parents, found.proof) == (made, (case.base,), None)
    assert found.root == case.checkout.root
    assert found.tree == case.checkout.tip("HEAD^{tree}")
