"""Repositories and replies that are not as one would like them, and commits that claim more than they prove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.trailers import sealed
from tests.support.playing import Shared, playing
from tests.support.scripts import DOCS, FINE, README, good
from tests.support.stack import TASK, Stack, git, rehearsal, repository, sample


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with playing(tmp_path_factory.mktemp("hard")) as made:
        yield made


@pytest.fixture
def stack(running: Shared) -> Shared:
    running.play()
    return running


def add(repo: Path, path: str, text: str) -> None:
    (repo / path).parent.mkdir(parents=True, exist_ok=True)
    (repo / path).write_text(text, "utf-8")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", f"Add {path}")


def test_a_repository_with_a_failing_test_can_be_worked_on(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    old = (
        "import unittest\n\n\nclass Old(unittest.TestCase):\n    def test_old(self):\n        self.fail('for years')\n"
    )
    add(repo, "tests/test_old.py", old)
    body = stack.wait(stack.submit(repo, TASK, yes=True))
    assert body["state"] == "merged", body["message"]
    verified = stack.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert verified.returncode == 0, verified.stdout


def test_documentation_of_a_repository_without_tests_can_be_changed(stack: Shared, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", {"README.md": "# Words\n\nLong.\n", "words.py": "x = 1\n"})
    stack.play(assessor=[DOCS], coder=[README], reviewer=[FINE])
    body = stack.wait(stack.submit(repo, "Shorten the README", yes=True))
    assert (body["state"], body["verdict"]) == ("merged", "unproven"), body["message"]


def test_a_file_the_coder_has_not_seen_whole_is_not_rewritten(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    add(repo, "words/large.py", "# a line of a long file\n" * 8000)
    before = git(repo, "rev-parse", "main:words/large.py")
    code = good("coder", 2)
    blind = {**code, "files": [*code["files"], {"path": "words/large.py", "content": "x=1\n"}]}
    stack.play(coder=[blind, code], reviewer=[FINE])
    body = stack.wait(stack.submit(repo, TASK, yes=True))
    assert body["state"] in ("merged", "rounds spent"), body["message"]
    assert git(repo, "rev-parse", "main:words/large.py") == before


def test_change_without_words_is_no_approval_of_a_plan(stack: Shared, tmp_path: Path) -> None:
    asking = {**good("planner"), "question": "With or without digits?"}
    stack.play(planner=[asking, good("planner")])
    run = stack.submit(sample(tmp_path / "repo"), TASK)
    assert stack.wait(run)["question"]["kind"] == "plan"
    stack.answer(run, "change")
    body = stack.wait(run)
    assert body["question"]["kind"] == "approve"
    assert sum(call["step"].startswith("plan.") for call in body["calls"]) == 2


def test_a_credential_in_a_task_never_reaches_the_journal(stack: Shared, tmp_path: Path) -> None:
    body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"
    asked = {"repo": str(sample(tmp_path / "repo")), "text": f"Use this key:\n{key}"}
    status, answered = stack.call("POST", "/v1/runs", asked)
    assert (status, answered["error"]["class"]) == (403, "Refused")
    kept = b"".join(path.read_bytes() for path in stack.state.rglob("*") if path.is_file())
    assert body.encode() not in kept


def forged(repo: Path, run: Any) -> None:
    """Amend the merged commit by `run`, so that its trailers fit its new tree."""
    run()
    git(repo, "add", "-A")
    message = git(repo, "log", "-1", "--format=%B")
    tree = git(repo, "write-tree")
    lines = [f"Tandem-Tree: {tree}" if line.startswith("Tandem-Tree:") else line for line in message.splitlines()]
    git(repo, "commit", "-q", "--amend", "-m", resealed("\n".join(lines)))


def resealed(message: str) -> str:
    """Return a message with its trailers summed anew, as a forger can."""
    body, _, trailers = message.rpartition("\n\n")
    lines = [line.partition(": ")[::2] for line in trailers.splitlines() if not line.startswith("Tandem-Seal:")]
    return f"{body}\n\n{sealed(lines)}\n"


def test_a_commit_that_brings_its_own_judge_does_not_hold(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    assert stack.wait(stack.submit(repo, TASK, yes=True))["state"] == "merged"
    forged(repo, lambda: (repo / "tests" / "test_sly.py").write_text("import unittest\n"))
    done = stack.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert done.returncode == 1
    assert "which decides what passes" in done.stdout.splitlines()[-1]


def test_a_commit_that_claims_more_tests_than_it_has_does_not_hold(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    assert stack.wait(stack.submit(repo, TASK, yes=True))["state"] == "merged"
    message = git(repo, "log", "-1", "--format=%B").replace("Tandem-New-Tests: 4", "Tandem-New-Tests: 999")
    assert "999" in message
    git(repo, "commit", "-q", "--amend", "-m", resealed(message))
    done = stack.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert done.returncode == 1
    assert "claims 999 new tests" in done.stdout.splitlines()[-1]


def test_a_delivered_change_is_not_done_again_after_an_upgrade(tmp_path: Path) -> None:
    repo, stack = sample(tmp_path / "repo"), Stack(tmp_path, rehearsal())
    stack.start(TANDEM_FAULT="journal.after.delivery:kill")
    run = stack.submit(repo, TASK, yes=True)
    assert stack.router is not None
    stack.router.wait(30)
    assert git(repo, "rev-list", "--count", "main") == "2"
    stack.start(TANDEM_CONTEXT_WORKER="20000")  # other prompts: nothing recorded fits any more
    try:
        body = stack.wait(run)
        assert (body["state"], body["commit"]) == ("merged", git(repo, "rev-parse", "main")), body["message"]
        assert git(repo, "rev-list", "--count", "--all", "--not", "--glob=refs/notes/*") == "2"
    finally:
        stack.stop()


def test_a_disputed_test_goes_back_to_the_tester_and_the_corrected_one_proves_the_change(
    stack: Shared, tmp_path: Path
) -> None:
    right = good("tester")
    text = right["files"][0]["content"]
    wrong = {**right, "files": [{**right["files"][0], "content": text.replace('"hello-world"', '"HELLO"')}]}
    disputing = {**good("coder", 2), "dispute": "the first test asks for capitals, and the plan for lower case"}
    stack.play(tester=[wrong, right], coder=[disputing, good("coder", 2)], reviewer=[FINE])
    repo = sample(tmp_path / "repo")
    body = stack.wait(stack.submit(repo, TASK, yes=True))
    assert any(call["step"].startswith("dispute.") for call in body["calls"])
    assert body["state"] == "merged", body["message"]
    assert '"HELLO"' not in git(repo, "show", "main:tests/test_slugify.py")
