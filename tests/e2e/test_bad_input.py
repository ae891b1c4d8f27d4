"""Bad input, as a person gives it: one clear message with the remedy, an exit code that means something, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, git, rehearsal, repository, sample

Case = Callable[[Path], tuple[list[str], Path | None]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("bad"), rehearsal())
    made.start()
    yield made
    made.stop()


def empty_repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def bare(folder: Path) -> Path:
    subprocess.run(["git", "clone", "-q", "--bare", str(sample(folder / "a")), str(folder / "b.git")], check=True)
    return folder / "b.git"


def detached(folder: Path) -> Path:
    repo = sample(folder / "repo")
    git(repo, "checkout", "-q", "--detach")
    return repo


def locked(folder: Path) -> Path:
    repo = sample(folder / "repo")
    (repo / ".git" / "index.lock").touch()
    os.utime(repo / ".git" / "index.lock", (1, 1))
    return repo


CASES: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "an empty task": (lambda p: sample(p / "r"), ["  "], "empty"),
    "an enormous task": (lambda p: sample(p / "r"), ["--file", "TASK"], "200,000"),
    "no such folder": (lambda p: p / "nowhere", ["do it"], "nowhere"),
    "not a repository": (lambda p: p, ["do it"], "git init"),
    "an empty repository": (lambda p: empty_repository(p / "r"), ["do it"], "commit"),
    "a bare repository": (bare, ["do it"], "bare"),
    "a detached head": (detached, ["do it"], "--branch"),
    "a locked one": (locked, ["do it"], "index.lock"),
    "an unknown base": (lambda p: sample(p / "r"), ["do it", "--base", "nonesuch"], "nonesuch"),
    "a branch that is there": (lambda p: sample(p / "r"), ["do it", "--branch", "main"], "main"),
    "a shell line as check": (lambda p: sample(p / "r"), ["do it", "--check", "a && b"], "&&"),
    "a picture without a vision model": (lambda p: sample(p / "r"), ["do it", "--image", "README.md"], "vision"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_in_words_with_the_remedy(name: str, stack: Stack, tmp_path: Path) -> None:
    make, args, says = CASES[name]
    place = make(tmp_path)
    if "TASK" in args:
        (tmp_path / "task.txt").write_text("x" * 300_000)
        args = ["--file", str(tmp_path / "task.txt")]
    done = stack.cli("run", *args, "--repo", str(place), "--no-input", cwd=Path(__file__).parents[2])
    said = done.stderr
    assert done.returncode == 2, (done.returncode, said, done.stdout)
    assert says in said
    assert "Traceback" not in said + done.stdout
    assert len(said.strip().splitlines()) <= 4, said


def test_with_json_the_error_is_an_object(stack: Stack, tmp_path: Path) -> None:
    done = stack.cli("run", " ", "--repo", str(sample(tmp_path / "r")), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["class"] == "BadTask"


def test_no_test_command_to_be_found_fails_with_the_option_that_helps(stack: Stack, tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"notes.cob": "IDENTIFICATION DIVISION.\n"})
    run = stack.submit(repo, "Make it print hello")
    body = stack.wait(run)
    assert (body["state"], body["error"]) == ("failed", "BadInput")
    assert "--check" in body["message"]


def test_an_unknown_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    own = Stack(tmp_path, {**rehearsal(), "TANDEM_MODELS_ROUTER": "rehearsal/nonesuch"})
    own.start()
    try:
        body = own.wait(own.submit(sample(tmp_path / "r"), "do it"))
        assert (body["state"], body["error"]) == ("failed", "UnknownModel")
        assert "nonesuch" in body["message"]
    finally:
        own.stop()


def test_a_second_router_on_the_same_state_names_the_first(stack: Stack) -> None:
    done = subprocess.run(
        [*stack.command(), "router"], env=stack.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 5
    assert stack.router is not None
    assert str(stack.router.pid) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "says"), [("[rounds]\nlow = 0\n", "rounds.low"), ("[models\n", "tandem.toml"), ("[x]\n", "x")]
)
def test_a_configuration_that_does_not_fit_is_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text(text)
    own = Stack(tmp_path, {"TANDEM_CONFIG": str(tmp_path / "tandem.toml")})
    done = own.cli("up")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
