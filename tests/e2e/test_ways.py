"""The ways a run can go once the team has done its work: moved, dirty and conflicting checkouts, remarks, stale answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.playing import Shared, playing
from tests.support.scripts import DOCS, FINE, README, good
from tests.support.stack import DEMO, TASK, Stack, git, repository, sample


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with playing(tmp_path_factory.mktemp("ways")) as made:
        yield made


@pytest.fixture
def stack(running: Shared) -> Shared:
    running.play()
    return running


def at_approval(stack: Stack, repo: Path, **more: Any) -> str:
    run = stack.submit(repo, TASK, **more)
    assert stack.wait(run)["question"]["kind"] == "approve"
    return run


def commit(repo: Path, path: str, text: str) -> str:
    (repo / path).write_text(text, "utf-8")
    git(repo, "add", path)
    git(repo, "commit", "-q", "-m", f"Change {path}")
    return git(repo, "rev-parse", "HEAD")


def test_a_branch_that_moved_gets_the_change_proven_on_top_without_asking_again(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    moved = commit(repo, "NOTES.md", "moved meanwhile\n")
    stack.answer(run, "approve")
    body = stack.wait(run)
    assert (body["state"], body["commit"]) == ("merged", git(repo, "rev-parse", "main")), body["message"]
    assert git(repo, "rev-parse", "main^") == moved
    assert f"Tandem-Base: {moved}" in git(repo, "log", "-1", "--format=%B")
    verified = stack.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert verified.returncode == 0, verified.stdout
    status, replayed = stack.call("POST", f"/v1/runs/{run}/replay")
    assert (status, replayed["same"]) == (200, True), replayed


def test_a_conflicting_change_leaves_the_commit_on_a_branch_and_forces_nothing(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    text = (repo / "words" / "text.py").read_text("utf-8")
    theirs = commit(repo, "words/text.py", text + "\n\ndef slugify(title):\n    return 'mine'\n")
    stack.answer(run, "approve")
    body = stack.wait(run)
    assert body["state"] == "delivered", body["message"]
    assert "git merge" in body["message"]
    assert git(repo, "rev-parse", "main") == theirs
    assert git(repo, "rev-parse", body["branch"]) == body["commit"]


def test_a_dirty_checkout_is_left_alone_and_the_message_says_what_to_do(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    base = git(repo, "rev-parse", "main")
    run = at_approval(stack, repo)
    (repo / "words" / "text.py").write_text("half done\n")
    stack.answer(run, "approve")
    body = stack.wait(run)
    assert body["state"] == "delivered"
    assert "git " in body["message"]
    assert git(repo, "rev-parse", "main") == base
    assert (repo / "words" / "text.py").read_text() == "half done\n"
    assert git(repo, "rev-parse", body["branch"]) == body["commit"]


def test_branch_delivers_a_branch_and_nothing_else(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    base = git(repo, "rev-parse", "main")
    run = stack.submit(repo, TASK, branch="feature/slugs", yes=True)
    body = stack.wait(run)
    assert (body["state"], body["branch"]) == ("delivered", "feature/slugs")
    assert git(repo, "rev-parse", "main") == base
    assert git(repo, "rev-parse", "feature/slugs") == body["commit"]
    assert git(repo, "status", "--porcelain") == ""


def test_remarks_on_lines_go_back_to_the_coder_and_the_new_diff_is_asked_about_anew(
    stack: Shared, tmp_path: Path
) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    first = stack.wait(run)["question"]
    remark = {"path": "words/text.py", "line": 20, "text": "call it parts"}
    stack.answer(run, "change", comments=[remark])
    body = stack.wait(run)
    # The coder says the same again: the draft equals an earlier tree, and its proof is asked about once more.
    assert body["state"] == "waiting"
    assert body["question"]["id"] != first["id"]
    assert body["round"] == 2


def test_an_answer_about_other_bytes_is_refused_and_a_second_one_changes_nothing(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    question = stack.wait(run)["question"]
    wrong = {"question": question["id"], "digest": "0" * 64, "choice": "approve"}
    status, body = stack.call("POST", f"/v1/runs/{run}/decision", wrong)
    assert (status, body["error"]["class"]) == (409, "StaleApproval")
    right = {**wrong, "digest": question["digest"]}
    assert stack.call("POST", f"/v1/runs/{run}/decision", right)[0] == 200
    assert stack.call("POST", f"/v1/runs/{run}/decision", right)[0] == 200
    status, body = stack.call("POST", f"/v1/runs/{run}/decision", {**right, "choice": "reject"})
    assert status == 409
    assert stack.wait(run, until=("merged",))["state"] == "merged"
    assert git(repo, "rev-list", "--count", "main") == "2"


def test_rejected_means_nothing_is_merged(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    stack.answer(run, "reject", text="not now")
    body = stack.wait(run)
    assert (body["state"], body["commit"]) == ("rejected", None)
    assert "not now" in body["message"]
    assert git(repo, "rev-list", "--count", "--all") == "1"


def test_a_cancelled_run_goes_on_where_it_was(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = at_approval(stack, repo)
    assert stack.call("POST", f"/v1/runs/{run}/cancel")[1]["state"] == "cancelled"
    stack.call("POST", f"/v1/runs/{run}/resume")
    stack.answer(run, "approve")
    assert stack.wait(run, until=("merged",))["state"] == "merged"


def test_undo_reverts_with_a_commit_of_its_own(stack: Shared, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    tree = git(repo, "rev-parse", "main^{tree}")
    run = stack.submit(repo, TASK, yes=True)
    stack.wait(run)
    for _ in range(2):  # the second time changes nothing
        status, body = stack.call("POST", f"/v1/runs/{run}/undo")
        assert status == 200, body
    assert git(repo, "rev-parse", "main^{tree}") == tree
    assert git(repo, "rev-list", "--count", "main") == "3"


def test_documentation_is_merged_as_unproven_and_says_so(stack: Shared, tmp_path: Path) -> None:
    stack.play(assessor=[DOCS], coder=[README], reviewer=[FINE])
    repo = sample(tmp_path / "repo")
    run = stack.submit(repo, "Shorten the README")
    body = stack.wait(run)
    assert "no test proves it" in body["question"]["text"]
    stack.answer(run, "approve")
    body = stack.wait(run)
    assert (body["state"], body["verdict"]) == ("merged", "unproven"), body["message"]
    assert "Tandem-Proof: none (documentation)" in git(repo, "log", "-1", "--format=%B")
    verified = stack.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert '"verdict": "unproven"' in verified.stdout.splitlines()[-1], verified.stdout


def test_code_under_a_task_for_documentation_is_thrown_away(stack: Shared, tmp_path: Path) -> None:
    code = {"files": [{"path": "words/text.py", "content": "x = 1\n"}], "note": "", "dispute": ""}
    stack.play(assessor=[DOCS], coder=[code], reviewer=[FINE])
    repo = sample(tmp_path / "repo")
    body = stack.wait(stack.submit(repo, "Shorten the README", yes=True))
    assert body["state"] == "rounds spent", body["message"]
    assert git(repo, "rev-list", "--count", "--all") == "1"


def test_the_coder_cannot_weaken_a_test_that_was_there_before(stack: Shared, tmp_path: Path) -> None:
    weak = {"path": "tests/test_text.py", "content": "import unittest\n"}
    code = good("coder", 2)
    stack.play(coder=[{**code, "files": [*code["files"], weak]}, code], reviewer=[FINE])
    repo = sample(tmp_path / "repo")
    before = git(repo, "rev-parse", "main:tests/test_text.py")
    body = stack.wait(stack.submit(repo, TASK, yes=True))
    assert body["state"] == "merged", body["message"]
    assert git(repo, "rev-parse", "main:tests/test_text.py") == before


def test_a_router_that_cannot_decide_asks_the_lead(stack: Shared, tmp_path: Path) -> None:
    unsure = {"reason": "two meanings", "difficulty": "low", "kind": "code", "reflect": False, "sure": False}
    stack.play(assessor=[unsure])
    run = stack.submit(sample(tmp_path / "repo"), TASK)
    assert "two meanings" in stack.wait(run)["question"]["text"]
    stack.answer(run, "code high")
    assert stack.wait(run)["question"]["kind"] == "plan"  # high: the plan is shown
    stack.answer(run, "approve")
    assert stack.wait(run)["question"]["kind"] == "approve"


def test_an_empty_repository_of_files_gets_its_first_tests(stack: Shared, tmp_path: Path) -> None:
    source = (DEMO / "sample" / "words" / "text.py").read_text("utf-8")
    repo = repository(tmp_path / "repo", {"words/__init__.py": "", "words/text.py": source})
    run = stack.submit(repo, TASK, yes=True)
    body = stack.wait(run)
    assert body["state"] == "merged", body["message"]
