"""A repository that two paired machines share: the person's own git clones and pushes it by name, over the paired port."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.remote import place
from tandem.errors import BadInput
from tandem.peers import Peers
from tests.support.machine import Machine
from tests.support.pairs import free_port, paired
from tests.support.stack import ROOT


class Desk:
    """A router's machine, at which a person works with git, and the worker that keeps the repository."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.book, self.mini = folder, folder / "book", folder / "mini"
        paired(self.book, self.mini, f"127.0.0.1:{port}")

    def env(self, home: Path) -> dict[str, str]:
        known = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
        return {
            **known,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TANDEM_STATE": str(home),
            "TANDEM_CONFIG": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "someone",
            "GIT_AUTHOR_EMAIL": "someone@example.org",
            "GIT_COMMITTER_NAME": "someone",
            "GIT_COMMITTER_EMAIL": "someone@example.org",
        }

    def git(self, where: Path, *arguments: str, fails: bool = False) -> str:
        """Run git as the person at the router's machine, and return what it said."""
        argv = ["git", *arguments]
        done = subprocess.run(
            argv, cwd=where, env=self.env(self.book), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    def share(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `tandem share` at the worker."""
        argv = [sys.executable, "-m", "tandem", "cli", "share", *arguments]
        return subprocess.run(
            argv, cwd=ROOT, env=self.env(self.mini), capture_output=True, text=True, timeout=60, check=False
        )

    def cloned(self, name: str, to: str) -> Path:
        self.git(self.folder, "clone", "-q", f"tandem::mini/{name}", to)
        return self.folder / to


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("shared")
    port = free_port()
    settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}", "TANDEM_STATE": str(folder / "mini")}
    with Machine(folder, [], **settings):
        yield Desk(folder, port)


def commit(desk: Desk, tree: Path, name: str, text: bytes) -> str:
    (tree / name).write_bytes(text)
    desk.git(tree, "add", name)
    desk.git(tree, "commit", "-q", "-m", name)
    return desk.git(tree, "rev-parse", "HEAD").strip()


def test_what_one_clone_pushes_another_has(desk: Desk) -> None:
    made = desk.share("project")
    assert made.returncode == 0, made.stderr
    assert "git clone tandem::" in made.stdout
    assert "/project" in made.stdout
    one = desk.cloned("project", "one")
    first = commit(desk, one, "large.bin", os.urandom(3 << 20))
    desk.git(one, "push", "-q", "-u", "origin", "HEAD:main")
    other = desk.cloned("project", "other")
    assert desk.git(other, "rev-parse", "HEAD").strip() == first
    second = commit(desk, other, "small.txt", b"two\n")
    desk.git(other, "tag", "v1")
    desk.git(other, "push", "-q", "origin", "HEAD:main", "HEAD:refs/heads/side", "v1")
    desk.git(one, "pull", "-q", "origin", "main")
    assert desk.git(one, "rev-parse", "HEAD").strip() == second
    assert {line.split()[1] for line in desk.git(one, "ls-remote", "origin").splitlines()} == {
        "HEAD",
        "refs/heads/main",
        "refs/heads/side",
        "refs/tags/v1",
    }
    desk.git(one, "push", "-q", "origin", ":side")
    place = desk.mini / "shared" / "project.git"
    assert place.stat().st_mode & 0o077 == 0
    assert json.loads(desk.share("--json").stdout)["shared"][0]["path"] == str(place)


def test_history_is_not_rewritten_and_nothing_else_is_taken(desk: Desk) -> None:
    assert desk.share("strict").returncode == 0
    tree = desk.cloned("strict", "strict")
    commit(desk, tree, "a.txt", b"a\n")
    desk.git(tree, "push", "-q", "origin", "HEAD:main")
    before = desk.git(tree, "ls-remote", "origin")
    desk.git(tree, "commit", "-q", "--amend", "-m", "another past")
    assert "non-fast-forward" in desk.git(tree, "push", "--force", "origin", "HEAD:main", fails=True)
    assert "rejected" in desk.git(tree, "push", "origin", ":main", fails=True)
    desk.git(tree, "push", "origin", "HEAD:refs/tandem/x", fails=True)
    desk.git(tree, "push", "origin", "HEAD:refs/pull/1", fails=True)
    blob = desk.git(tree, "hash-object", "-w", "a.txt").strip()
    raw = b"100644 .git\0" + bytes.fromhex(blob)
    bad = subprocess.run(
        ["git", "hash-object", "-t", "tree", "--literally", "-w", "--stdin"],
        input=raw,
        cwd=tree,
        env=desk.env(desk.book),
        capture_output=True,
        check=True,
    )
    evil = desk.git(tree, "commit-tree", bad.stdout.decode().strip(), "-m", "a tree with .git in it").strip()
    assert "hasDotgit" in desk.git(tree, "push", "origin", f"{evil}:refs/heads/evil", fails=True)
    assert desk.git(tree, "ls-remote", "origin") == before


def test_another_repository_is_taken_over_with_its_first_branch(desk: Desk) -> None:
    source = desk.folder / "source"
    desk.git(desk.folder, "init", "-q", "-b", "trunk", str(source))
    head = commit(desk, source, "a.txt", b"a\n")
    desk.git(source, "tag", "v2")
    assert desk.share("taken", "--from", str(source)).returncode == 0
    tree = desk.cloned("taken", "taken-clone")
    assert desk.git(tree, "rev-parse", "--abbrev-ref", "HEAD").strip() == "trunk"
    assert desk.git(tree, "rev-parse", "v2").strip() == head
    again = desk.share("taken")
    assert (again.returncode, "is there already; choose another name" in again.stderr) == (5, True)
    odd = desk.share("odd", "--from", str(desk.folder))
    assert (odd.returncode, "cannot be taken over" in odd.stderr) == (2, True), odd.stderr
    assert not (desk.mini / "shared" / "odd.git").exists()


def test_what_is_not_there_is_said_with_the_remedy(desk: Desk) -> None:
    clone = ("clone", "-q")
    said = desk.git(desk.folder, *clone, "tandem::mini/nothing", "x", fails=True)
    assert "no repository is shared here as 'nothing'; `tandem share nothing`" in said
    assert "there are: mini" in desk.git(desk.folder, *clone, "tandem::attic/project", "x", fails=True)
    assert "names no shared repository" in desk.git(desk.folder, *clone, "tandem::mini", "x", fails=True)
    assert "is no shared repository's name" in desk.git(desk.folder, *clone, "tandem::mini/..", "x", fails=True)
    for name in ("..", "a..b", ".hidden", "a.lock", "", "a" * 65, "x/y", "-x"):
        assert desk.share("--", name).returncode == 2, name


def test_whoever_is_not_paired_any_more_gets_nothing(desk: Desk) -> None:
    assert desk.share("private").returncode == 0
    book = Peers(desk.mini).read().of("router")[0]
    Peers(desk.mini).remove(book.id)
    try:
        said = desk.git(desk.folder, "clone", "-q", "tandem::mini/private", "y", fails=True)
        assert "Traceback" not in said
        assert "tandem: error" in said or "tandem:" in said
    finally:
        Peers(desk.mini).add(book)


def test_an_address_is_read_in_both_forms() -> None:
    assert (
        place("mini/project") == place("tandem://mini/project") == place("tandem::mini/project") == ("mini", "project")
    )
    for url in ("mini", "mini/", "/project", "mini/a/b", ""):
        with pytest.raises(BadInput, match="names no shared repository"):
            place(url)
