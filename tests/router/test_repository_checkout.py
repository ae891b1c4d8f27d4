import asyncio
import os
import time
from pathlib import Path

import pytest

from router.repository import Checkout as Found
from router.repository import inspect
from tandem.errors import BadRepository
from tests.support.checkouts import Checkout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return made


def look(path: object, base: str | None = None, branch: str | None = None) -> Found:
    return asyncio.run(inspect(str(path), base, branch))


def refused(path: object, words: str, base: str | None = None, branch: str | None = None) -> None:
    with pytest.raises(BadRepository, match=words):
        look(path, base, branch)


def test_a_clean_checkout_is_found_from_any_of_its_folders(checkout: Checkout) -> None:
    base = checkout.commit({"deep/er/file": "x"})
    shape = checkout.shape()
    found = look(checkout.root / "deep/er")
    assert (found.root, found.head, found.base, found.branch) == (str(checkout.root), base, base, "main")
    assert (found.target, found.deliver, found.dirty, found.notes) == ("main", "merge", False, ())
    assert checkout.shape() == shape


def test_a_dirty_checkout_is_taken_with_a_note(checkout: Checkout) -> None:
    checkout.write({"calc.py": "dirty", "untracked": "x"})
    found = look(checkout.root)
    assert found.dirty
    assert found.dirty_files == ("calc.py",)
    assert f"uncommitted changes in 1 file (calc.py); Tandem works from commit {checkout.base[:10]}" in found.notes[0]
    assert "left on a branch" in found.notes[0]
    assert "left on a branch" not in look(checkout.root, branch="new").notes[0]


def test_an_older_base_is_taken_if_the_branch_has_it(checkout: Checkout) -> None:
    tip = checkout.commit({"x": "x"})
    found = look(checkout.root, "HEAD~1")
    assert (found.base, found.head, found.target) == (checkout.base, tip, "main")
    assert "main is ahead of the base" in found.notes[0]
    checkout.git("switch", "-q", "-c", "side", checkout.base)
    refused(checkout.root, "not in the history of side", tip)
    assert look(checkout.root, tip, "new").base == tip


@pytest.mark.parametrize("base", ["nonsense", "", "-x", "--help", "a\0b", "main\n", "1" * 40, "main:calc.py"])
def test_a_base_git_does_not_know_is_refused(checkout: Checkout, base: str) -> None:
    refused(checkout.root, "knows no commit", base)


def test_folders_that_are_no_checkout_are_named_with_the_remedy(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    refused(tmp_path / "nothing", "does not exist")
    refused(tmp_path / "file", "is no folder")
    refused(tmp_path / ("x" * 300), "cannot be looked at|does not exist")
    refused("", "is no path")
    refused("a\0b", "is no path")
    refused(tmp_path / "empty", r"is not a Git repository.*git init")
    checkout.git("clone", "-q", "--bare", str(checkout.root), str(tmp_path / "bare.git"))
    refused(tmp_path / "bare.git", "bare repository.*clone it first")
    refused(checkout.root / ".git", "repository's own files")


def test_a_repository_without_a_commit_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("init", "-q", str(tmp_path / "fresh"))
    refused(tmp_path / "fresh", "no commit to begin from.*git commit")


def test_a_detached_head_needs_a_branch_to_deliver_to(checkout: Checkout) -> None:
    checkout.git("switch", "-q", "--detach")
    refused(checkout.root, "HEAD is detached.*--branch NAME")
    found = look(checkout.root, branch="result")
    assert (found.branch, found.target, found.deliver) == (None, "result", "branch")


@pytest.mark.parametrize("name", ["", "-x", "a..b", "a b", "x.lock", "/a", "a/", "@{-1}", "HEAD", "a\nb", "a\0b", "~"])
def test_a_name_that_no_branch_can_have_is_refused(checkout: Checkout, name: str) -> None:
    refused(checkout.root, "cannot be a branch's name", branch=name)


def test_a_branch_that_exists_or_stands_in_the_way_is_refused(checkout: Checkout) -> None:
    checkout.git("branch", "team/one")
    refused(checkout.root, "main exists already", branch="main")
    refused(checkout.root, "main exists already.*so main/new", branch="main/new")
    refused(checkout.root, "team/one exists already.*so team", branch="team")
    assert look(checkout.root, branch="team/two").target == "team/two"
    assert look(checkout.root, branch="한글").target == "한글"


def test_an_old_lock_is_named_and_a_fresh_one_is_nobodys_fault(checkout: Checkout) -> None:
    lock = checkout.root / ".git/index.lock"
    lock.touch()
    assert look(checkout.root).target == "main"
    os.utime(lock, (time.time() - 600,) * 2)
    refused(checkout.root, "index.lock is 10 minutes old.*rm ")


@pytest.mark.needs("root")
def test_a_checkout_of_another_user_needs_the_persons_word(checkout: Checkout) -> None:
    for path in (checkout.root, checkout.root / ".git"):
        os.chown(path, 12345, 12345)
    refused(checkout.root, "belongs to another user.*safe.directory")
    checkout.git("config", "--global", "--add", "safe.directory", str(checkout.root))
    assert look(checkout.root).head == checkout.base


def test_a_linked_worktree_is_a_checkout_too(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    found = look(tmp_path / "linked")
    assert (found.root, found.target) == (str(tmp_path / "linked"), "side")


def test_looking_runs_nothing_the_repository_configures(checkout: Checkout, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\necho x >> {ran}\ncat\n")
    evil.chmod(0o755)
    checkout.commit({".gitattributes": "* filter=evil\n"})
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.external", "core.pager"):
        checkout.git("config", key, str(evil))
    checkout.git("config", "filter.evil.required", "true")
    checkout.write({"calc.py": "def add(a, b):\n    return a * b\n"})  # same size: git must read it
    ran.unlink(missing_ok=True)
    assert look(checkout.root).dirty_files == ("calc.py",)
    assert not ran.exists()
    checkout.git("status", check=False)
    assert ran.exists()  # the trap works: a plain git springs it


def test_variables_of_a_hook_that_called_us_do_not_lead_elsewhere(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Checkout(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no index"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.fsmonitor=/bin/false'")
    found = look(checkout.root)
    assert (found.root, found.head) == (str(checkout.root), checkout.base)
