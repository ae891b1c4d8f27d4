"""What `tandem verify` takes and what it refuses: one byte of tree, tests, trailers or note, on clones of a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.types import OVERRIDE
from tests.support.needs import require
from tests.support.scripts import good, script
from tests.support.stack import PERSON, ROOT, TASK, Stack, git, rehearsal, sample
from tests.support.trees import rung

NOTES = "refs/notes/tandem"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    rung()
    made = Stack(tmp_path_factory.mktemp("verify"), rehearsal())
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proven(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = sample(tmp_path_factory.mktemp("proven") / "repo")
    body = stack.wait(stack.submit(repo, TASK, yes=True))
    assert body["state"] == "merged", body["message"]
    return repo


def clone_of(repo: Path, folder: Path, *, notes: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(repo), str(clone)], check=True)
    if notes:
        git(clone, "fetch", "-q", "origin", f"{NOTES}:{NOTES}")
    return clone


def verified(stack: Stack, repo: Path, what: str = "HEAD") -> dict[str, Any]:
    done = stack.cli("verify", what, "--repo", str(repo), "--json")
    result = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"verdict": "error", "reason": done.stderr}
    assert (done.returncode == 0) == (result["verdict"] in ("holds", "unproven")), (done.returncode, result)
    return result


def reworded(clone: Path, old: str, new: str) -> None:
    """Write the commit anew with another message, its note moved along."""
    message = git(clone, "log", "-1", "--format=%B")
    assert old in message, message
    tree, parent = git(clone, "rev-parse", "HEAD^{tree}"), git(clone, "rev-parse", "HEAD~1")
    made = subprocess.run(
        ["git", "-C", str(clone), *PERSON, "commit-tree", tree, "-p", parent],
        input=message.replace(old, new, 1), capture_output=True, text=True, check=True,
    )  # fmt: skip
    git(clone, "notes", f"--ref={NOTES}", "copy", "HEAD", made.stdout.strip())
    git(clone, "reset", "-q", "--hard", made.stdout.strip())


@pytest.mark.parametrize("notes", [True, False], ids=["with notes", "without notes"])
def test_a_clean_clone_holds(stack: Stack, proven: Path, tmp_path: Path, notes: bool) -> None:
    result = verified(stack, clone_of(proven, tmp_path, notes=notes))
    assert result["verdict"] == "holds", result
    green = next(check for check in result["checks"] if check["stage"] == "green")
    assert green["controls"] == "held"
    assert green["twins"] > 0


def test_the_message_names_what_the_judge_planted(proven: Path) -> None:
    message = git(proven, "log", "-1", "--format=%B")
    assert "Tandem-Judge: 3\nTandem-Controls: held\nTandem-Twins: " in message
    assert "Tandem-Note: sha256:" in message
    assert message.splitlines()[-1].startswith("Tandem-Seal: sha256:")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Tandem-Run: ", "Tandem-Run: x"),
        ("Tandem-Run: ", "Tandem-Run:  "),
        ("Tandem-Run: ", "Tandem-run: "),
        ("Tandem-Check: python", "Tandem-Check: pythoN"),
        ("Tandem-New-Tests: ", "Tandem-New-Tests: 1"),
        ("Tandem-Report: sha256:", "Tandem-Report: sha256:0"),
        ("Tandem-Proof: red-green", "Tandem-Proof: red-greem"),
        ("Tandem-Proof: red-green", "Tandem-Prood: red-green"),
        ("Tandem-Sandbox: ", "Tandem-Sandbox: x"),
        ("Tandem-Judge: 3", "Tandem-Judge: 2"),
        ("Tandem-Judge: 3", "Xandem-Judge: 3"),
        ("Tandem-Controls: held", "Tandem-Controls: helt"),
        ("Tandem-Twins: ", "Tandem-Twins: 1"),
        ("Tandem-Note: sha256:", "Tandem-Note: sha256:a"),
        ("Tandem-Seal: sha256:", "Tandem-Seal: sha256:a"),
        ("Tandem-Seal: ", "Tandem-Seat: "),
    ],
)
def test_no_byte_of_the_trailers_may_change(stack: Stack, proven: Path, tmp_path: Path, old: str, new: str) -> None:
    clone = clone_of(proven, tmp_path)
    reworded(clone, old, new)
    assert verified(stack, clone)["verdict"] != "holds"


def test_no_byte_of_the_note_may_change(stack: Stack, proven: Path, tmp_path: Path) -> None:
    clone = clone_of(proven, tmp_path)
    note = git(clone, "notes", f"--ref={NOTES}", "show", "HEAD")
    assert "passed" in note
    git(clone, "notes", f"--ref={NOTES}", "add", "-f", "-m", note.replace("passed", "passer", 1), "HEAD")
    result = verified(stack, clone)
    assert (result["verdict"], result["reason"]) == (
        "does not hold",
        "the note on it is not the one its proof was made with",
    )


@pytest.mark.parametrize("path", ["words/text.py", "tests"], ids=["the code", "the tests"])
def test_no_byte_of_tree_or_tests_may_change(stack: Stack, proven: Path, tmp_path: Path, path: str) -> None:
    clone = clone_of(proven, tmp_path)
    changed = git(clone, "diff", "--name-only", "HEAD~1", "HEAD", "--", path).splitlines()[0]
    text = (clone / changed).read_text("utf-8")
    (clone / changed).write_text(f"{text}\n", "utf-8")
    git(clone, "commit", "-q", "-a", "--amend", "--no-edit")
    result = verified(stack, clone)
    assert result["verdict"] == "does not hold"
    assert "tree" in result["reason"]


def test_a_range_is_proven_commit_by_commit(stack: Stack, proven: Path, tmp_path: Path) -> None:
    clone = clone_of(proven, tmp_path)
    result = verified(stack, clone, "HEAD~1..HEAD")
    assert (result["verdict"], len(result["commits"])) == ("holds", 1)
    (clone / "more.txt").write_text("x")
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "by hand")
    result = verified(stack, clone, "HEAD~2..HEAD")
    assert result["verdict"] == "does not hold"
    assert [one["verdict"] for one in result["commits"]] == ["holds", "no proof"]
    done = stack.cli("verify", "HEAD..HEAD", "--repo", str(clone))
    assert done.returncode == 2
    assert "no commit in" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="user namespaces are Linux's")
def test_another_user_at_another_path_comes_to_the_same(proven: Path, tmp_path: Path) -> None:
    clone = clone_of(proven, tmp_path / "some where else")
    other = Stack(tmp_path / "other", {})
    become = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    if subprocess.run([*become, "true"], capture_output=True, check=False).returncode:
        require("unshare", "this machine lends no other user id: unprivileged user namespaces are off")

    def cli(*args: str) -> subprocess.CompletedProcess[str]:
        code = "import os; assert os.getuid() == 12345; from tandem.entry import cli; cli()"
        return subprocess.run(
            [*become, sys.executable, "-c", code, *args],
            env={**other.env, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip

    try:
        done = cli("verify", "HEAD", "--repo", str(clone), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "holds"
    finally:
        cli("down")


def test_the_hook_takes_what_is_proven_and_nothing_else(stack: Stack, proven: Path, tmp_path: Path) -> None:
    shared, clone = tmp_path / "shared.git", clone_of(proven, tmp_path)
    subprocess.run(["git", "clone", "-q", "--bare", str(proven), str(shared)], check=True)
    git(shared, "update-ref", "refs/heads/main", git(clone, "rev-parse", "HEAD~1"))
    tandem = tmp_path / "tandem"
    tandem.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tandem cli "$@"\n')
    tandem.chmod(0o755)
    hook = shared / "hooks" / "pre-receive"
    hook.write_text((ROOT / "deploy" / "verify" / "pre-receive").read_text("utf-8"))
    hook.chmod(0o755)

    def push(what: str, to: str = "main") -> subprocess.CompletedProcess[str]:
        env = {**stack.env, "TANDEM": str(tandem), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["git", "-C", str(clone), "push", str(shared), f"{what}:refs/heads/{to}"],
            env=env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    proof = git(clone, "rev-parse", "HEAD")
    (clone / "more.txt").write_text("x")
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "by hand")
    refused = push("HEAD")
    assert refused.returncode != 0
    assert "carries no proof that holds" in refused.stderr
    assert git(shared, "rev-parse", "main") == git(clone, "rev-parse", f"{proof}~1")
    assert push("HEAD", "topic").returncode == 0, "only guarded branches are guarded"
    taken = push(proof)
    assert taken.returncode == 0, taken.stderr
    assert git(shared, "rev-parse", "main") == proof
    assert push(proof, "master").returncode == 0, "a new branch of commits that are there already"
    git(shared, "update-ref", "-d", "refs/heads/topic")
    git(shared, "update-ref", "-d", "refs/heads/master")
    late = push("HEAD", "master")
    assert late.returncode != 0, "a new branch brings a commit without a proof"
    git(clone, "revert", "--no-edit", "HEAD")
    assert push("HEAD", "master").returncode != 0, "its tip alone is not what is asked"


def test_a_person_may_merge_without_a_proof_in_so_many_words(tmp_path: Path) -> None:
    wrong = good("coder") | {"note": "not quite"}
    for file in wrong["files"]:
        file["content"] = file["content"].replace('"-".join', '"_".join')
    own = Stack(tmp_path, rehearsal(script(tmp_path, "wrong", coder=[wrong])))
    own.start()
    try:
        repo = sample(tmp_path / "repo")
        run = own.submit(repo, TASK)
        asked = own.wait(run)
        assert OVERRIDE in asked["question"]["choices"]
        silent = own.cli("answer", run, OVERRIDE, "--detach")
        assert silent.returncode != 0
        assert "needs a reason" in silent.stderr
        assert own.cli("answer", run, OVERRIDE, "--text", "the demo is at nine", "--detach").returncode == 0
        asked = own.wait(run)
        assert asked["question"]["kind"] == "approve"
        assert "NOT PROVEN" in asked["question"]["text"]
        shown = own.cli("approve", run, "--digest", asked["question"]["digest"])
        assert shown.returncode == 0, shown.stderr
        body = own.wait(run)
        assert (body["state"], body["verdict"]) == ("merged", "unproven")
        message = git(repo, "log", "-1", "--format=%B")
        assert "Tandem-Proof: overridden (by the lead)\n" in message
        assert "Tandem-Override: the demo is at nine\n" in message
        result = verified(own, repo)
        assert result["verdict"] == "overridden"
        assert "the demo is at nine" in result["reason"]
    finally:
        own.stop()
