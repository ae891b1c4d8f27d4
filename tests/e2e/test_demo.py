"""The demo as a person starts it: real processes, real gRPC, real Git, real tests; only the replies are a script."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import DEMO, Stack, git


def demo(stack: Stack, *args: str) -> tuple[int, dict[str, Any]]:
    done = stack.cli("demo", "--json", *args, timeout=110)
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    return done.returncode, json.loads(lines[-1])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    stack = Stack(tmp_path_factory.mktemp("good"), {})
    code, last = demo(stack)
    assert code == 0, last
    return last


def test_the_good_script_ends_merged_with_a_proof_that_holds(good: dict[str, Any]) -> None:
    assert good["state"] == "merged"
    assert good["verdict"] == "passed"
    assert good["verified"] is True
    repo = Path(good["repo"])
    assert git(repo, "rev-parse", "main") == good["commit"]
    assert git(repo, "status", "--porcelain") == ""


def test_the_commit_tells_who_made_it_and_what_proves_it(good: dict[str, Any]) -> None:
    message = git(Path(good["repo"]), "log", "-1", "--format=%an%n%B", good["commit"])
    assert message.startswith("Tandem Coder")
    assert f"Tandem-Run: {good['run']}" in message
    assert "Tandem-Report: sha256:" in message


@pytest.fixture(scope="module")
def somebody_else(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a machine on which nothing runs yet; the first command starts a router."""
    stack = Stack(tmp_path_factory.mktemp("else"), {})
    yield stack
    stack.cli("down")


def test_verify_holds_on_a_clean_clone_without_notes_for_somebody_else(
    good: dict[str, Any], somebody_else: Stack, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", good["repo"], str(clone)], check=True)
    assert "refs/notes" not in git(clone, "for-each-ref")
    done = somebody_else.cli("verify", "HEAD", "--repo", str(clone), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "holds"


def test_verify_does_not_hold_with_one_byte_changed(good: dict[str, Any], somebody_else: Stack, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", good["repo"], str(clone)], check=True)
    source = clone / "words" / "text.py"
    source.write_text(source.read_text("utf-8").replace('"-".join', '"_".join'), "utf-8")
    git(clone, "commit", "-q", "-a", "--amend", "--no-edit")
    done = somebody_else.cli("verify", "HEAD", "--repo", str(clone), "--json")
    assert done.returncode != 0
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "does not hold"


def test_a_draft_with_one_byte_changed_never_gets_green(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    text = (DEMO / "good.yaml").read_text("utf-8")
    assert text.count('return "-".join(words)') == 1
    script.write_text(text.replace('return "-".join(words)', 'return "_".join(words)'), "utf-8")
    code, last = demo(Stack(tmp_path, {}), "--script", str(script))
    assert code != 0
    assert last["state"] == "rounds spent"
    assert last["commit"] is None


def test_the_wrong_script_ends_unmerged_with_its_rounds_spent(tmp_path: Path) -> None:
    code, last = demo(Stack(tmp_path, {}), "--script", "wrong")
    assert code == 9
    assert last["state"] == "rounds spent"
    assert last["commit"] is None
    assert git(Path(last["repo"]), "rev-list", "--count", "--all") == "1"


def test_nothing_is_left_running(good: dict[str, Any]) -> None:
    assert shutil.which("pgrep"), "pgrep tells whether a process is left"
    root = str(Path(good["repo"]).parent)
    found = subprocess.run(["pgrep", "-f", root], capture_output=True, text=True, check=False)
    assert found.stdout == ""
