"""A router with its worker to be measured, and the projects its runs work on.

Real processes over a state folder of their own; only the replies are a script. Nothing of the caller's configuration,
state or `TANDEM_*` reaches them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli import stage
from cli.client import Client
from cli.follow import Answer, decide
from cli.render.loose import mapping, objects, text, whole
from tandem.entry import APP_ROOT
from tandem.errors import TandemError, Unavailable
from tandem.paths import socket_path
from tandem.types import ENDED

READY_S = 60.0
LEAVE_S = 30.0
POLL_S = 0.005
_ANSWERS = {"guard": "go on", "approve": "approve"}  # the first where guardrails-ai is not installed
# A test asks for a word of its own name, and nothing is computed: what is left of a run is what Tandem does.
_NOOP_CHECK = """for test in tests/*; do
  test ! -e "$test" || test -e "words/${test#tests/}" || exit 1
done
"""
_NOOP_TASK = "Add the word hello to the folder words, with its test."
_NOOP_REPLIES: list[dict[str, Any]] = [
    {
        "persona": "assessor",
        "reply": {"reason": "one new file", "difficulty": "low", "kind": "code", "reflect": False, "sure": True},
    },
    {
        "persona": "planner",
        "reply": {
            "summary": "Add the word hello",
            "scenarios": [{"name": "the word is there", "gherkin": "Then the file words/hello is there"}],
            "files": ["words/hello"],
        },
    },
    {"persona": "tester", "reply": {"files": [{"path": "tests/hello", "content": "asked for\n"}]}},
    {"persona": "coder", "reply": {"files": [{"path": "words/hello", "content": "hello\n"}]}},
    {"persona": "reviewer", "reply": {"findings": [], "verdict": "approve"}},
    {"persona": "documenter", "reply": {"title": "The word hello was added", "body": "**Asked:** a word."}},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A repository, the task it is given again and again, and how it is checked ("" where that is found by itself)."""

    repo: Path
    task: str
    check: str = ""

    def body(self) -> dict[str, Any]:
        """Return what is handed to the router."""
        return {"repo": str(self.repo), "text": self.task, **({"check": self.check} if self.check else {})}

    def take_back(self) -> None:
        """Take the last commit back by a commit, so that the task is there to be done again, from a new base."""
        stage.git(self.repo, "revert", "--no-edit", "HEAD")


def real(folder: Path) -> tuple[Project, Path]:
    """Make the demo's sample in a new folder and return it with its script; its tests are real ones."""
    script = stage.script_file("good")
    return Project(repo=stage.build(script, folder).repo, task=stage.task_text()), script


def noop(folder: Path) -> tuple[Project, Path]:
    """Make a project whose check only looks whether files are there, and return it with its script."""
    repo, script = folder / "sample", folder / "noop.yaml"
    (repo / "words").mkdir(parents=True)
    (repo / "words" / "README").write_text("A word a file.\n", "utf-8")
    (repo / "check.sh").write_text(_NOOP_CHECK, "utf-8")
    script.write_text(yaml.safe_dump({"name": "noop", "replies": _NOOP_REPLIES}), "utf-8")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "A beginning")):
        stage.git(repo, *command)
    return Project(repo=repo, task=_NOOP_TASK, check="sh check.sh"), script


MAKE = {"noop": noop, "real": real}


def environment(state: Path, script: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a router that plays `script` over `state`."""
    model = stage.model_of(script)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("TANDEM_")},
        "TANDEM_STATE": str(state),
        "TANDEM_CONFIG": os.devnull,
        "TANDEM_MODELS_ROUTER": model,
        "TANDEM_MODELS_WORKER": model,
        "TANDEM_REHEARSAL_SCRIPT": str(script),
        "TANDEM_CHECK_REPEATS": "0",
        "TANDEM_CHECK_MUTATION_S": "0",  # tests' time is not what is measured
        **(more or {}),
    }


def spawn(env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a router; should whoever measures be killed, it leaves by itself after a while."""
    return subprocess.Popen(
        [sys.executable, "-m", "tandem", "router", "--linger"],
        env=env,
        cwd=APP_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a router to leave, and see that it does; its worker goes with it."""
    process.terminate()
    try:
        process.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def status(client: Client, process: subprocess.Popen[bytes], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a router's status once it answers and everything `needed` is in it.

    Raises:
        Unavailable: It left, or was not so far within a minute.
    """
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        with contextlib.suppress(Unavailable):
            found = client.get("/v1/status")
            if all(found.get(name) for name in needed):
                return found
        if process.poll() is not None:
            raise Unavailable(f"the router left with status {process.returncode} before it was ready")
        time.sleep(POLL_S)
    raise Unavailable(f"the router was not ready within {READY_S:g} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A router that is ready, and how its worker confines tests ("" where it cannot)."""

    client: Client
    process: subprocess.Popen[bytes]
    state: Path
    sandbox: str

    def worker_pid(self) -> int:
        """Return the worker's process now, 0 while there is none."""
        return whole(mapping(self.client.get("/v1/status").get("worker")), "pid")


@contextlib.contextmanager
def running(state: Path, env: Mapping[str, str]) -> Generator[Pair]:
    """Have a router with its worker inside the block."""
    process = spawn(env)
    try:
        client = Client(socket_path(state, "router"))
        found = status(client, process, ("ready", "nodes"))
        yield Pair(client=client, process=process, state=state, sandbox=text(objects(found["nodes"])[0], "sandbox"))
    finally:
        stop(process)


def submit(client: Client, project: Project, **more: Any) -> str:
    """Hand the project's task over and return the run's id; what is tested is ours, should there be no sandbox."""
    return str(client.post("/v1/runs", {**project.body(), **more})["run"])


def to_its_end(client: Client, run: str) -> dict[str, Any]:
    """Watch a run as a person does, say yes to what it asks, and return how it stands: at its end, or at a question
    that no such run should come to.
    """
    while True:
        stream = client.open_stream(f"/v1/runs/{run}/events?after=0")
        for _ in stream:
            pass
        stream.close()
        found = client.get(f"/v1/runs/{run}")
        if found["state"] in ENDED:
            return found
        question = mapping(found.get("question"))
        if question and question["kind"] not in _ANSWERS:
            return found
        if question:
            decide(client, found, Answer(choice=_ANSWERS[question["kind"]]))


def must_be_merged(run: Mapping[str, Any]) -> None:
    """Pass where a run was merged.

    Raises:
        TandemError: It ended otherwise, and there is nothing to measure.
    """
    if run["state"] != "merged":
        raise TandemError(f"the rehearsed run ended {run['state']}: {run['message']}")


def copied(state: Path, to: Path) -> Path:
    """Copy the state folder of a router that left, and return where it is now."""
    shutil.copytree(state, to, ignore=shutil.ignore_patterns("*.sock"))
    return to
