"""What people do to their repository while a run is at work on it: commit, amend, lock, edit, move away, replace."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.matrix import Reached
from tests.faults.scene import at_approval, writers
from tests.support.stack import PERSON, Stack, git, repository, sample


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a team at work."""
    stack = writers(tmp_path_factory.mktemp("desk"))
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Return a repository with work of the person's in it: an older commit, a stash, a file Git does not track."""
    made = sample(tmp_path / "repo")
    commit(made, "plan.txt", "one\n")
    (made / "plan.txt").write_text("half a thought\n")
    git(made, "stash", "push", "-q", "-m", "later")
    (made / "scratch.txt").write_text("mine\n")
    return made


def commit(repo: Path, path: str, text: str) -> str:
    """Commit as the person does."""
    (repo / path).write_text(text, "utf-8")
    git(repo, "add", path)
    git(repo, "commit", "-q", "-m", f"Change {path}")
    return git(repo, "rev-parse", "HEAD")


def approved(stack: Stack, run: str) -> dict[str, Any]:
    """Approve, and return how the run ended."""
    stack.answer(run, "approve")
    return stack.wait(run)


def mine(repo: Path) -> dict[str, object]:
    """Return everything in a repository that is not Tandem's to change."""
    refs = git(repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return {
        "branches": [ref for ref in refs if not ref.startswith(("refs/heads/tandem/", "refs/notes/tandem "))],
        "HEAD": (repo / ".git" / "HEAD").read_text(),
        "stash": git(repo, "stash", "list"),
        "index": git(repo, "ls-files", "--stage"),
        "files": {
            str(path.relative_to(repo)): path.read_bytes()
            for path in repo.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(repo).parts
        },
    }


def do_as_told(message: str) -> None:
    """Run the command that a message names."""
    program, *words = shlex.split(message.split("run: ")[1])
    subprocess.run([program, *PERSON, *words], check=True, capture_output=True)


MOVES: dict[str, Callable[[Path], object]] = {
    "commits elsewhere": lambda repo: commit(repo, "notes.txt", "moved\n"),
    "amends": lambda repo: git(repo, "commit", "-q", "--amend", "-m", "Another plan"),
    "goes back": lambda repo: git(repo, "reset", "-q", "--hard", "HEAD~1"),
}


@pytest.mark.row(33)
@pytest.mark.parametrize("move", MOVES)
def test_a_change_is_put_over_whatever_the_branch_has_become(
    move: str, desk: Stack, repo: Path, reached: Reached
) -> None:
    base, run = git(repo, "rev-parse", "main"), at_approval(desk, repo)
    MOVES[move](repo)
    moved, before = git(repo, "rev-parse", "main"), mine(repo)
    assert moved != base
    body = approved(desk, run)
    assert body["state"] == "merged", body["message"]
    reached.add(move, git(repo, "rev-parse", "main~1") == moved)
    assert git(repo, "rev-list", "--count", f"{moved}..main") == "1"
    assert git(repo, "diff", "--name-only", moved, "main").split() == ["README.md", "docs/guide.md"]
    assert mine(repo)["stash"] == before["stash"]
    assert (repo / "scratch.txt").read_text() == "mine\n"
    assert git(repo, "status", "--porcelain") == "?? scratch.txt"
    status, replayed = desk.call("POST", f"/v1/runs/{run}/replay")
    assert (status, replayed["same"], replayed["commit"]) == (200, True, body["commit"])


LEFT: dict[str, tuple[Callable[[Path], object], str]] = {
    "conflicts": (lambda repo: commit(repo, "README.md", "# Mine\n\nWritten meanwhile.\n"), "conflicts with it"),
    "renames the branch": (lambda repo: git(repo, "branch", "-m", "main", "trunk"), "branch main is gone"),
}


@pytest.mark.row(33)
@pytest.mark.parametrize("move", LEFT)
def test_a_change_that_fits_nowhere_waits_on_a_branch_of_its_own(
    move: str, desk: Stack, repo: Path, reached: Reached
) -> None:
    run = at_approval(desk, repo)
    make, words = LEFT[move]
    make(repo)
    before = mine(repo)
    body = approved(desk, run)
    reached.add(move, words in body["message"])
    assert body["state"] == "delivered"
    assert f"merge {body['branch']}" in body["message"]
    assert git(repo, "rev-parse", body["branch"]) == body["commit"]
    assert mine(repo) == before


@pytest.mark.row(33)
def test_a_commit_in_the_moment_of_the_merge_is_not_run_over(tmp_path: Path, repo: Path, reached: Reached) -> None:
    stack = writers(tmp_path)
    stack.start(TANDEM_FAULT="deliver.annotated:kill")
    try:
        run, router = stack.submit(repo, "Describe the helpers", yes=True), stack.router
        assert router is not None
        assert router.wait(60) == -signal.SIGKILL
        theirs = commit(repo, "notes.txt", "just now\n")
        before = mine(repo)
        stack.start()
        body = stack.wait(run)
        reached.add("moved at the merge", f"main moved to {theirs[:10]} meanwhile" in body["message"])
        assert body["state"] == "delivered"
        assert mine(repo) == before
        do_as_told(body["message"])
        assert git(repo, "diff", "--name-only", theirs, "main").split() == ["README.md", "docs/guide.md"]
    finally:
        stack.stop()


def locked(name: str) -> tuple[Callable[[Path], object], Callable[[Path], object], str]:
    """Return an obstacle: a lock that a Git left behind that was killed."""
    return lambda repo: (repo / ".git" / name).touch(), lambda repo: (repo / ".git" / name).unlink(), f".git/{name}"


def written(path: str, words: str) -> tuple[Callable[[Path], object], Callable[[Path], object], str]:
    """Return an obstacle: a file with work of the person's in it."""

    def make(repo: Path) -> None:
        (repo / path).parent.mkdir(exist_ok=True)
        (repo / path).write_text("not done yet\n")

    return make, lambda repo: git(repo, "stash", "push", "-q", "--include-untracked", "--", path), words


def staged(repo: Path) -> None:
    """Stage a file."""
    written("new.txt", "")[0](repo)
    git(repo, "add", "new.txt")


OBSTACLES = {
    "index.lock": locked("index.lock"),
    "a lock on the branch": locked("refs/heads/main.lock"),
    "a lock on HEAD": locked("HEAD.lock"),
    "a change in the same file": written("README.md", "uncommitted changes in README.md"),
    "a change in another file": written("words/text.py", "uncommitted changes in words/text.py"),
    "a staged file": (staged, written("new.txt", "")[1], "uncommitted changes in new.txt"),
    "a file in the way": written("docs/guide.md", "docs/guide.md"),
}


@pytest.mark.row(35, 36)
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_is_in_the_way_is_left_as_it_is_and_the_message_says_how_to_go_on(
    obstacle: str, desk: Stack, repo: Path, reached: Reached
) -> None:
    run = at_approval(desk, repo)
    make, unmake, words = OBSTACLES[obstacle]
    make(repo)
    before = mine(repo)
    body = approved(desk, run)
    reached.add(obstacle, words in body["message"])
    assert body["state"] == "delivered", body["message"]
    assert mine(repo) == before
    unmake(repo)
    do_as_told(body["message"])
    assert git(repo, "rev-parse", "main") == body["commit"]
    assert "later" in git(repo, "stash", "list")


@pytest.mark.row(35)
@pytest.mark.parametrize("away", [("switch", "-q", "--detach"), ("switch", "-q", "-c", "side", "HEAD~1")])
def test_a_checkout_that_is_elsewhere_stays_there_while_its_branch_moves(
    away: tuple[str, ...], desk: Stack, repo: Path, reached: Reached
) -> None:
    base, run = git(repo, "rev-parse", "main"), at_approval(desk, repo)
    git(repo, *away)
    before = mine(repo)
    body = approved(desk, run)
    reached.add("HEAD not on main", (repo / ".git" / "HEAD").read_text() != "ref: refs/heads/main\n")
    assert (body["state"], body["commit"]) == ("merged", git(repo, "rev-parse", "main"))
    assert git(repo, "rev-parse", "main~1") == base
    after = mine(repo)
    assert {key: after[key] for key in ("HEAD", "index", "files", "stash")} == {
        key: before[key] for key in ("HEAD", "index", "files", "stash")
    }


@pytest.mark.row(35)
def test_a_repository_that_cannot_be_worked_on_is_refused_with_the_remedy(
    desk: Stack, repo: Path, tmp_path: Path, reached: Reached
) -> None:
    empty = tmp_path / "empty"
    git(repo, "init", "-q", str(empty))
    detached = tmp_path / "detached"
    git(repo, "clone", "-q", str(repo), str(detached))
    git(detached, "switch", "-q", "--detach")
    lock = repo / ".git" / "index.lock"
    lock.touch()
    os.utime(lock, (time.time() - 600, time.time() - 600))
    known = len(desk.call("GET", "/v1/runs")[1]["runs"])
    for place, words in (
        (empty, "no commit to begin from; make a first one: `git add -A && git commit"),
        (detached, "HEAD is detached at"),
        (repo, f"{lock} is 10 minutes old, left by a git that is stuck or was killed; end that one, or remove"),
    ):
        before = sorted(path.name for path in (place / ".git").iterdir())
        status, body = desk.call("POST", "/v1/runs", {"repo": str(place), "text": "Describe the helpers"})
        assert (status, body["error"]["class"], body["error"]["exit_code"]) == (400, "BadRepository", 2)
        reached.add(place.name, words in body["error"]["message"])
        assert words in body["error"]["message"]
        assert sorted(path.name for path in (place / ".git").iterdir()) == before
    assert len(desk.call("GET", "/v1/runs")[1]["runs"]) == known


# a repository that is gone


def deleted(repo: Path) -> None:
    """Take a checkout away."""
    repo.rename(repo.with_name("aside"))


def not_one_any_more(repo: Path) -> None:
    """Take a checkout's repository away; the folder then belongs to the one around it."""
    (repo / ".git").rename(repo.with_name("aside"))


def another(repo: Path) -> None:
    """Put another repository in the place of a checkout, with a file of the same name."""
    deleted(repo)
    repository(repo, {"README.md": (repo.with_name("aside") / "README.md").read_text("utf-8")})


def link(repo: Path) -> None:
    """Put a link to a clone in the place of a checkout."""
    deleted(repo)
    git(repo.with_name("aside"), "clone", "-q", str(repo.with_name("aside")), str(repo.with_name("elsewhere")))
    repo.symlink_to(repo.with_name("elsewhere"))


GONE: dict[Callable[[Path], None], str] = {
    deleted: "{repo} is not there any more",
    not_one_any_more: "{repo} leads to {around} now",
    another: "{repo} is another repository now: it has no commit {base}",
    link: "{repo} leads to {elsewhere} now",
}


@pytest.mark.row(36)
@pytest.mark.parametrize("take", GONE, ids=lambda take: take.__name__)
def test_what_stands_in_a_checkouts_place_is_not_written_to(
    take: Callable[[Path], None], desk: Stack, tmp_path: Path, reached: Reached
) -> None:
    around = repository(tmp_path / "around", {"README.md": "# Around\n"})
    repo = sample(around / "repo")
    base, run = git(repo, "rev-parse", "main"), at_approval(desk, repo)
    take(repo)
    others = [place for place in (around, repo, repo.with_name("elsewhere")) if (place / ".git").exists()]
    before = {place: (mine(place), git(place, "for-each-ref")) for place in others}
    body = approved(desk, run)
    words = GONE[take].format(repo=repo, around=around, elsewhere=repo.with_name("elsewhere"), base=base[:12])
    reached.add(take.__name__, words in body["message"])
    assert body["state"] == "failed", body["message"]
    assert "nothing was written there. Put it back as it was" in body["message"]
    assert {place: (mine(place), git(place, "for-each-ref")) for place in others} == before
    put_back(repo)
    desk.call("POST", f"/v1/runs/{run}/resume")
    body = desk.wait(run)
    assert (body["state"], body["commit"]) == ("merged", git(repo, "rev-parse", "main")), body["message"]
    assert git(repo, "rev-parse", "main~1") == base


def put_back(repo: Path) -> None:
    """Put a checkout back as it was."""
    aside = repo.with_name("aside")
    if not (aside / ".git").exists():
        aside.rename(repo / ".git")
        return
    if repo.is_symlink():
        repo.unlink()
    elif repo.exists():
        shutil.rmtree(repo)
    aside.rename(repo)
