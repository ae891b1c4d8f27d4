"""A router's machine and a worker's, paired over the first of two cables, and what a task comes to on one machine alone.

The router's has no model and runs no tests, so all work is done on the far side. The task's repository needs a package, has
a test that waits until it may go on, and a file that is long to send over a slow cable.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tandem.paths import socket_path
from tandem.types import ENDED
from tests.faults import scene
from tests.faults.wires import until
from tests.support.cable import Cable
from tests.support.namespaces import Net
from tests.support.stack import TASK, Stack, git, rehearsal
from tests.support.wheels import wheel
from worker.sandbox import processes

BLOB_BYTES = 1280 << 10
TOKENS_S = "800"  # so that the plan takes two seconds, and all the rest little more
_PLAN_LINES = 10


class Mini(Stack):
    """A machine that runs a worker alone, as a service manager keeps one."""

    def start(self, **env: str) -> None:
        """Start the worker and wait until it is ready."""
        own, socket = str(self.state / "worker"), str(socket_path(self.state, "worker"))
        self.worker = subprocess.Popen(
            [*self.inside, *self.command(), "worker", "--state", own, "--socket", socket, "--name", "mini"],
            env={**self.env, **env}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.worker.stdout is not None
        assert json.loads(self.worker.stdout.readline())["ready"]

    def stop(self, *how: Any) -> None:
        """Stop the worker."""
        self.worker.terminate()
        self.worker.communicate(timeout=30)


class Cabled:
    """The two machines, `book` and `mini`, and the cables between them, `one` and `two`.

    `tree` is what the task leads to on one machine. A first run was carried out before any test: `first`; it asked the
    model and ran tests as often as `usual` says.
    """

    first: str
    usual: tuple[int, int]
    tree: str

    def __init__(self, folder: Path, net: Net, cables: tuple[Cable, Cable]) -> None:
        self.one, self.two = cables
        self._ground = _ground(folder / "ground")
        script = _long_plan(folder)
        models, pip = rehearsal(script), _pip(folder)
        self._alone = Stack(folder / "alone", {**models, **pip, "TANDEM_PREPARE_NETWORK": "allow"})
        del models["TANDEM_REHEARSAL_SCRIPT"]
        router = {"TANDEM_PREPARE_NETWORK": "allow", "TANDEM_ROUTER_ACTIVE_RUNS": "4", "TANDEM_WORKER_CHECKS": "0"}
        self.book = Stack(folder / "book", {**models, **router}, net.inside("book"))
        played = {"TANDEM_REHEARSAL_SCRIPT": str(script), "TANDEM_REHEARSAL_TOKENS_S": TOKENS_S}
        places = {"TANDEM_WORKER_CALLS": "4", "TANDEM_WORKER_CHECKS": "4", "TANDEM_WORKER_SHARE_REGISTRIES": "1"}
        log = {"TANDEM_FAULT_LOG": str(folder / "passed.log")}
        self.mini = Mini(folder / "mini", {**models, **played, **places, **pip, **log}, net.inside("mini"))

    # --- before a test --------------------------------------------------------------------------------------------

    def undisturbed(self, folder: Path) -> str:
        """Return the tree that the task leads to on one machine."""
        repo = self.repository(folder)
        self._alone.start()
        try:
            scene.came_to(self._alone, self._alone.submit(repo, TASK, yes=True), "merged")
            return git(repo, "rev-parse", "main^{tree}")
        finally:
            self._alone.stop()

    def pair(self) -> None:
        """Show a code on the one and enter it on the other, over the first cable."""
        argv = [*self.mini.inside, *self.mini.command(), "cli", "pair", "--name", "mini", "--json"]
        showing = subprocess.Popen(argv, env=self.mini.env, stdout=subprocess.PIPE, text=True)
        try:
            assert showing.stdout is not None
            code = json.loads(showing.stdout.readline())["code"]
            done = self.book.cli("pair", code, "--at", self.one.at["mini"], "--name", "book")
            assert done.returncode == 0, done.stderr
            assert showing.wait(30) == 0
        finally:
            showing.kill()
            showing.communicate()

    def repository(self, folder: Path) -> Path:
        """Make a repository like all the others."""
        git(self._ground, "clone", "-q", str(self._ground), str(folder))
        return folder

    def leave_nothing(self) -> None:
        """Cancel what a test that failed has left."""
        for run in self.book.call("GET", "/v1/runs")[1]["runs"]:
            if run["state"] not in ENDED:
                self.book.call("POST", f"/v1/runs/{run['run']}/cancel")

    # --- runs -----------------------------------------------------------------------------------------------------

    def run(self, repo: Path) -> str:
        """Begin the task in a repository; returns its run."""
        return self.book.submit(repo, TASK, yes=True)

    def details(self, run: str) -> dict[str, Any]:
        """Return what the router says of a run."""
        return self.book.call("GET", f"/v1/runs/{run}")[1]

    def replied(self, run: str) -> list[str]:
        """Return the steps of a run whose replies are in the journal."""
        return [call["step"] for call in self.details(run)["calls"]]

    def placements(self, run: str) -> list[dict[str, Any]]:
        """Return where the calls of a run went."""
        return self.book.call("GET", f"/v1/runs/{run}/placements")[1]["placements"]

    def told(self, run: str, persona: str) -> None:
        """Wait until a persona's reply is under way."""
        for kind, data in self.book.events(run, follow=True):
            if kind == "call.tokens" and data["persona"] == persona and data["tokens"] > 50:
                return
        raise AssertionError(f"{persona} said nothing in {run}")

    def merged(self, run: str, repo: Path) -> None:
        """Let tests that wait go on until a run has ended, once and well."""
        scene.came_to(self.book, run, "merged", held_on=self.mini)
        scene.merged_once(self.book, run, repo, self.tree)

    # --- the link and the far side --------------------------------------------------------------------------------

    def peer(self) -> dict[str, Any]:
        """Return what the router says of the worker."""
        (told,) = self.book.call("GET", "/v1/status")[1]["peers"]
        return told

    def door(self, cable: Cable) -> str:
        """Return the address of the worker at the end of a cable."""
        return f"{cable.at['mini']}:7432"

    def used(self) -> tuple[Cable, Cable]:
        """Return the cable in use, and the other one."""
        return (self.one, self.two) if self.peer()["address"] == self.door(self.one) else (self.two, self.one)

    def waiting_tests(self) -> list[Path]:
        """Return the trees on the far side whose tests wait."""
        return scene.waiting_tests(self.mini)

    def testing(self) -> list[processes.One]:
        """Return the processes on the far side that run the tests that wait."""
        found = scene.below(self.mini.worker.pid)[1:]
        time.sleep(0.3)  # whatever else was there, such as a Git, is gone then
        staying = processes.alive(found)
        assert staying
        return staying

    def receiving(self) -> list[str]:
        """Return the commands with which Git takes a push on the far side."""
        files = [Path(f"/proc/{one.pid}/cmdline") for one in scene.below(self.mini.worker.pid)]
        commands = [file.read_text() for file in files if file.exists()]
        return [command for command in commands if "receive-pack" in command or "index-pack" in command]

    def unfinished_pushes(self) -> int:
        """Return how many pushes were begun and did not come to their end."""
        return scene.passed(self.mini, "worker.git") - scene.passed(self.mini, "worker.received")

    def tally(self) -> tuple[int, int]:
        """Return how often the model was asked and tests were run on the far side."""
        return scene.passed(self.mini, "worker.call"), scene.passed(self.mini, "worker.checked")


def _ground(folder: Path) -> Path:
    repo = scene.ground(folder, holds=True)
    (repo / "requirements.txt").write_text("shout==1.0\n")
    (repo / "blob").write_bytes(random.Random(1).randbytes(BLOB_BYTES))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add a package and a large file")
    return repo


def _long_plan(folder: Path) -> Path:
    """Write the script: every persona is right at once, and the plan is long; each place in it is its own."""
    file = scene.quick(folder)
    data = yaml.safe_load(file.read_text("utf-8"))
    plan = next(entry["reply"] for entry in data["replies"] if entry["persona"] == "planner")
    plan["risks"] += [" ".join(f"{line}w{word:03d}" for word in range(80)) for line in range(_PLAN_LINES)]
    file.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    return file


def _pip(folder: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel(folder / "wheels"))}


@contextmanager
def cabled(folder: Path) -> Generator[Cabled]:
    """Yield the two machines at work, after a first run."""
    with Net("book", "mini", switched=False) as net, ExitStack() as laid, ThreadPoolExecutor() as beside:
        one, two = (laid.enter_context(Cable(net, "book", "mini", number)) for number in (1, 2))
        made = Cabled(folder, net, (one, two))
        alone = beside.submit(made.undisturbed, folder / "undisturbed")
        laid.callback(made.book.stop)
        made.mini.start()
        laid.callback(made.mini.stop)
        made.pair()
        made.book.start()
        until(lambda: made.peer()["address"], why=made.book.log)
        made.tree = alone.result()
        repo = made.repository(folder / "first")
        made.first = made.run(repo)
        made.merged(made.first, repo)
        made.usual = made.tally()
        yield made
