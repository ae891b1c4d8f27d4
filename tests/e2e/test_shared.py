"""A repository that two paired machines share: the person's own git clones and pushes it by name, over the paired port."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.remote import place
from tandem import identity, shared
from tandem.errors import BadInput, TandemError
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
            "PYTHONPATH": str(ROOT),  # git starts the helper that is installed, with this checkout's code
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


def test_a_tag_stays_where_it_is_and_notes_only_move_forward(desk: Desk) -> None:
    assert desk.share("marked").returncode == 0
    tree = desk.cloned("marked", "marked")
    first = commit(desk, tree, "a.txt", b"a\n")
    desk.git(tree, "tag", "v1")
    desk.git(tree, "notes", "add", "-m", "one")
    desk.git(tree, "push", "-q", "origin", "HEAD:main", "v1", "refs/notes/commits")
    second = commit(desk, tree, "b.txt", b"b\n")
    desk.git(tree, "notes", "add", "-m", "two")
    desk.git(tree, "push", "-q", "origin", "HEAD:main", "refs/notes/commits")
    before = desk.git(tree, "ls-remote", "origin")
    stays = "refs/tags/v1 is there and stays as it is"
    assert stays in desk.git(tree, "push", "--force", "origin", f"{second}:refs/tags/v1", fails=True)
    assert stays in desk.git(tree, "push", "origin", ":refs/tags/v1", fails=True)
    other = desk.git(tree, "commit-tree", f"{first}^{{tree}}", "-m", "other notes").strip()
    behind = desk.git(tree, "rev-parse", "refs/notes/commits^").strip()
    for notes in (other, behind):
        said = desk.git(tree, "push", "--force", "origin", f"{notes}:refs/notes/commits", fails=True)
        assert "refs/notes/commits only moves forward" in said
    assert "is not deleted from afar" in desk.git(tree, "push", "origin", ":refs/notes/commits", fails=True)
    assert desk.git(tree, "ls-remote", "origin") == before


def test_what_a_deleted_branch_led_to_is_kept_where_no_push_reaches(desk: Desk) -> None:
    assert desk.share("kept").returncode == 0
    tree = desk.cloned("kept", "kept")
    commit(desk, tree, "a.txt", b"a\n")
    desk.git(tree, "push", "-q", "origin", "HEAD:main")
    lost = commit(desk, tree, "b.txt", b"b\n")
    desk.git(tree, "push", "-q", "origin", "HEAD:team/side")
    desk.git(tree, "commit", "-q", "--amend", "-m", "another past")
    desk.git(tree, "push", "-q", "origin", ":team/side")
    desk.git(tree, "push", "-q", "origin", "HEAD:team/side")
    hidden = f"refs/tandem/deleted/heads/team/side/{lost}"
    assert "tandem" not in desk.git(tree, "ls-remote", "origin")
    desk.git(tree, "push", "origin", f":{hidden}", fails=True)
    place = desk.mini / "shared" / "kept.git"
    desk.git(desk.folder, "-C", str(place), "gc", "-q", "--prune=now")
    assert desk.git(desk.folder, "-C", str(place), "rev-parse", hidden).strip() == lost
    assert desk.git(desk.folder, "-C", str(place), "show", f"{hidden}:b.txt") == "b\n"


def test_a_deletion_that_names_an_old_commit_of_its_own_is_refused(desk: Desk) -> None:
    assert desk.share("told").returncode == 0
    tree = desk.cloned("told", "told")
    commit(desk, tree, "a.txt", b"a\n")
    desk.git(tree, "push", "-q", "origin", "HEAD:main", "HEAD:side")
    before = desk.git(tree, "ls-remote", "origin")
    for told in ("0" * 40, "1" * 40):  # Git alone deletes it: whose commit is not there is taken to be corrupt
        line = f"{told} {'0' * 40} refs/heads/side\0report-status delete-refs".encode()
        asked = b"%04x" % (len(line) + 4) + line + b"0000"
        argv = [Path(sys.executable).parent / "git-remote-tandem", "origin", "tandem::mini/told"]
        done = subprocess.run(
            argv, input=b"connect git-receive-pack\n" + asked, cwd=ROOT, env=desk.env(desk.book), capture_output=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert b"ng refs/heads/side hook declined" in done.stdout, done
    assert desk.git(tree, "ls-remote", "origin") == before


def test_a_shared_repository_that_is_odd_is_left_to_its_person(desk: Desk) -> None:
    assert desk.share("odd-one").returncode == 0
    place = desk.mini / "shared" / "odd-one.git"
    (place / "objects" / "info").mkdir(exist_ok=True)
    (place / "objects" / "info" / "alternates").write_text("/nowhere\n")
    said = desk.git(desk.folder, "clone", "tandem::mini/odd-one", "odd-clone", fails=True)
    assert "borrows from another repository; it is shared no further" in said
    assert "`tandem share odd-one --from CLONE`" in said
    assert "made anew" not in said


def test_what_a_killed_share_left_is_removed_by_the_next_and_what_is_being_made_is_not(desk: Desk) -> None:
    folder = desk.mini / "shared"
    dead, live = folder / ".new-dead", folder / ".new-live"
    for left in (dead, live):
        (left / "repo.git").mkdir(parents=True)
    number = os.open(live, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        assert desk.share("after").returncode == 0
        assert [path.name for path in folder.glob(".new-*")] == [live.name]
    finally:
        os.close(number)
    assert desk.share("later").returncode == 0
    assert list(folder.glob(".new-*")) == []


def test_without_the_hook_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(rule.startswith("core.hooksPath=") for rule in shared.rules())
    (tmp_path / "update").touch(mode=0o644)
    monkeypatch.setattr(shared, "_HOOKS", tmp_path)
    with pytest.raises(TandemError, match="update cannot be run, so no push can be watched over"):
        shared.rules()


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
    assert "mini shares no repository 'nothing'; `tandem share nothing` on it makes one" in said
    assert "there are: mini" in desk.git(desk.folder, *clone, "tandem::attic/project", "x", fails=True)
    assert "names no shared repository" in desk.git(desk.folder, *clone, "tandem::mini", "x", fails=True)
    assert "is no shared repository's name" in desk.git(desk.folder, *clone, "tandem::mini/..", "x", fails=True)
    for name in ("..", "a..b", ".hidden", "a.lock", "", "a" * 65, "x/y", "-x"):
        assert desk.share("--", name).returncode == 2, name


def test_the_address_that_is_printed_leads_here_whatever_the_other_machine_calls_this_one(desk: Desk) -> None:
    made = json.loads(desk.share("named", "--json").stdout)
    desk.git(desk.folder, "clone", "-q", made["url"], "by-id")
    assert desk.git(desk.folder / "by-id", "config", "remote.origin.url").strip() == made["url"]
    said = desk.share("another").stdout
    assert made["url"].replace("/named", "/another") in said
    assert "or tandem::NAME/another" in said


def test_at_the_machine_that_shares_it_the_folder_is_pointed_at(desk: Desk) -> None:
    assert desk.share("ours").returncode == 0
    argv = ["git", "clone", "-q", "tandem::mini/ours", str(desk.folder / "z")]
    done = subprocess.run(argv, env=desk.env(desk.mini), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert f"a repository of that name is here, at this machine: git clone {desk.mini}/shared/ours.git" in done.stderr


def test_another_machine_at_the_address_is_said_in_our_words_alone(desk: Desk) -> None:
    """The port is that of the worker, under which somebody else is expected."""
    peers = Peers(desk.book)
    mini = peers.read().of("worker")[0]
    other = identity.load(desk.folder / "other")
    peers.add(replace(mini, id=other.id, name="other", certificate=other.certificate.decode()))
    try:
        said = desk.git(desk.folder, "clone", "-q", "tandem::other/x", "z", fails=True)
        assert "another machine answers at 127.0.0.1" in said
        assert [
            line for line in said.splitlines() if "ssl_transport_security" in line or "Handshake failed" in line
        ] == []
    finally:
        peers.remove(other.id)


def test_a_clone_that_was_cut_short_is_refused_rather_than_shared_empty(desk: Desk) -> None:
    whole, cut = desk.folder / "whole", desk.folder / "cut"
    desk.git(desk.folder, "init", "-q", "-b", "main", str(whole))
    for number in range(5):
        commit(desk, whole, f"{number}.txt", b"x\n")
    desk.git(desk.folder, "clone", "-q", "--depth", "3", f"file://{whole}", str(cut))
    done = desk.share("cut", "--from", str(cut))
    assert (done.returncode, "shallow clone" in done.stderr, "fetch --unshallow" in done.stderr) == (2, True, True)
    assert not (desk.mini / "shared" / "cut.git").exists()
    desk.git(cut, "fetch", "-q", "--unshallow")
    assert desk.share("cut", "--from", str(cut)).returncode == 0


def test_whoever_is_not_paired_any_more_gets_nothing(desk: Desk) -> None:
    assert desk.share("private").returncode == 0
    book = Peers(desk.mini).read().of("router")[0]
    Peers(desk.mini).remove(book.id)
    try:
        said = desk.git(desk.folder, "clone", "-q", "tandem::mini/private", "y", fails=True)
        assert "Traceback" not in said
        assert "pair them anew" in said  # it does not know this one, or, with nobody paired any more, does not listen
        assert not (desk.folder / "y").exists()
    finally:
        Peers(desk.mini).add(book)


def test_an_address_is_read_in_both_forms() -> None:
    assert (
        place("mini/project") == place("tandem://mini/project") == place("tandem::mini/project") == ("mini", "project")
    )
    for url in ("mini", "mini/", "/project", "mini/a/b", ""):
        with pytest.raises(BadInput, match="names no shared repository"):
            place(url)
