"""Two machines and what lies between them: a cable that is cut, swallows, flaps, is slow and loses what it carries.

Whatever it does, a run ends, once, with the tree that the same task leads to on one machine.

Needs root and Linux's network namespaces and TAP devices. As root it fails where they cannot be had; it never passes unseen.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.paths import socket_path
from tests.faults import scene
from tests.faults.matrix import Reached
from tests.faults.wires import holds, logged, until
from tests.support.cable import Cable
from tests.support.namespaces import Net, needs_namespaces
from tests.support.stack import TASK, Stack, git, rehearsal
from tests.support.wheels import wheel

pytestmark = needs_namespaces
NOTICED_S = 10.0  # the longest that a cut cable may be taken for a whole one
TOKENS_S = "400"  # so that a plan takes two seconds
BLOB_BYTES = 1536 << 10  # of a file that takes long to send over a slow cable
SLOW_BYTES_S = 150e3


class Mini(Stack):
    """A machine that runs a worker alone, as a service manager keeps one."""

    worker: subprocess.Popen[str]

    def start(self, **env: str) -> None:
        own, socket = str(self.state / "worker"), str(socket_path(self.state, "worker"))
        self.worker = subprocess.Popen(
            [*self.inside, *self.command(), "worker", "--state", own, "--socket", socket, "--name", "mini"],
            env={**self.env, **env}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.worker.stdout is not None
        assert json.loads(self.worker.stdout.readline())["ready"]

    def stop(self, *how: Any) -> None:
        self.worker.terminate()
        self.worker.communicate(timeout=30)


class Town:
    """A router's machine without a model, a worker's with one, two cables between them, and what a run comes to."""

    def __init__(self, folder: Path, net: Net, cables: tuple[Cable, Cable]) -> None:
        self.one, self.two = cables
        self._ground = ground(folder)
        script = long_plan(folder)
        models = rehearsal(script)
        self.tree = undisturbed(folder, self._ground, models)
        del models["TANDEM_REHEARSAL_SCRIPT"]
        more = {"TANDEM_PREPARE_NETWORK": "allow", "TANDEM_ROUTER_ACTIVE_RUNS": "4"}
        self.book = Stack(folder / "book", {**models, **more}, net.inside("book"))
        played = {"TANDEM_REHEARSAL_SCRIPT": str(script), "TANDEM_REHEARSAL_TOKENS_S": TOKENS_S}
        places = {"TANDEM_WORKER_CALLS": "4", "TANDEM_WORKER_CHECKS": "4", "TANDEM_WORKER_SHARE_REGISTRIES": "1"}
        log = {"TANDEM_FAULT_LOG": str(folder / "passed.log")}
        self.mini = Mini(folder / "mini", {**models, **played, **places, **pip(folder), **log}, net.inside("mini"))

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
        git(self._ground, "clone", "-q", str(self._ground), str(folder))
        return folder

    def run(self, repo: Path) -> str:
        return self.book.submit(repo, TASK, yes=True)

    def details(self, run: str) -> dict[str, Any]:
        return self.book.call("GET", f"/v1/runs/{run}")[1]

    def peer(self) -> dict[str, Any]:
        """Return what the router says of the worker."""
        s = self.book.call("GET", "/v1/status")
        if "peers" not in s[1]:
            print("STATUS", s)
        (told,) = s[1]["peers"]
        return told

    def held_tests(self) -> list[Path]:
        """Return the trees on the far side whose tests wait."""
        return scene.waiting_tests(self.mini)

    def let_go(self) -> None:
        for tree in self.held_tests():
            (tree / "go").touch()

    def merged(self, *runs: tuple[str, Path]) -> None:
        """Let held tests go on until all runs have ended, each once and well."""
        for run, repo in runs:
            scene.came_to(self.book, run, "merged", held_on=self.mini)
            scene.merged_once(self.book, run, repo, self.tree)
            assert {check["sandbox"] for check in self.details(run)["checks"]} != {""}

    def passed(self, point: str) -> int:
        return scene.passed(self.mini, point)


def ground(folder: Path) -> Path:
    """Make the repository: it needs a package, has a test that waits, and a file that is long to send."""
    repo = scene.ground(folder / "ground", holds=True)
    (repo / "requirements.txt").write_text("shout==1.0\n")
    (repo / "blob").write_bytes(random.Random(1).randbytes(BLOB_BYTES))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add a package and a large file")
    return repo


def long_plan(folder: Path) -> Path:
    """Write the script: every persona is right at once, and the plan is long; each place in it is its own."""
    file = scene.quick(folder)
    data = yaml.safe_load(file.read_text("utf-8"))
    plan = next(entry["reply"] for entry in data["replies"] if entry["persona"] == "planner")
    plan["risks"] += [" ".join(f"{line}w{word:03d}" for word in range(80)) for line in range(4)]
    file.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    return file


def pip(folder: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel(folder / "wheels"))}


def undisturbed(folder: Path, repo: Path, models: dict[str, str]) -> str:
    """Return the tree that the task leads to on one machine."""
    alone = Stack(folder / "alone", {**models, **pip(folder), "TANDEM_PREPARE_NETWORK": "allow"})
    copy = folder / "alone" / "repo"
    git(repo, "clone", "-q", str(repo), str(copy))
    alone.start()
    try:
        run = alone.submit(copy, TASK, yes=True)
        scene.came_to(alone, run, "merged")
        return git(copy, "rev-parse", "main^{tree}")
    finally:
        alone.stop()


@contextmanager
def built(folder: Path) -> Generator[Town]:
    with Net("book", "mini", switched=False) as net, ExitStack() as laid:
        one, two = (laid.enter_context(Cable(net, "book", "mini", number)) for number in (1, 2))
        town = Town(folder, net, (one, two))
        laid.callback(town.book.stop)
        town.mini.start()
        laid.callback(town.mini.stop)
        town.pair()
        town.book.start()
        until(lambda: town.peer()["address"])
        yield town


@pytest.fixture(scope="module")
def whole_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with built(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture
def town(whole_town: Town) -> Iterator[Town]:
    """Give a test the town with one cable that is whole, and the other cut."""
    whole_town.one.heal()
    whole_town.two.cut()
    until(lambda: whole_town.peer()["address"] == f"{whole_town.one.at['mini']}:7432")
    yield whole_town


T0 = time.monotonic()


def say(*a):
    print(f"{time.monotonic() - T0:7.2f}", *a, flush=True)


def test_cut(town: Town, tmp_path: Path) -> None:
    say("begin")
    repos = {name: town.repository(tmp_path / name) for name in ("check", "sync", "call")}
    runs = {"check": town.run(repos["check"])}
    until(town.held_tests)
    say("held")
    town.one.spoil(bytes_per_s=SLOW_BYTES_S)
    sent = town.one.counts("up").passed_bytes
    runs["sync"] = town.run(repos["sync"])
    until(lambda: town.one.counts("up").passed_bytes > sent + BLOB_BYTES // 8)
    say("syncing")
    runs["call"] = town.run(repos["call"])
    for kind, data in town.book.events(runs["call"], follow=True):
        if kind == "call.tokens" and data["persona"] == "planner" and data["tokens"] > 100:
            break
    say("calling", data, [town.details(r)["step"] if "step" in town.details(r) else "" for r in runs.values()])
    say(town.one.counts("up").passed_bytes - sent)
    town.one.cut()
    at = time.time()
    until(lambda: town.peer()["trouble"])
    say("trouble", town.peer()["trouble"])
    until(lambda: len(holds(town.book)) == 3)
    say("held", holds(town.book))
    print(town.book.cli("status").stdout)
    print(town.book.cli("show", runs["call"]).stdout[:600])
    print(town.book.cli("nodes").stdout)
    for e in logged(town.book, "router")[-20:]:
        print(datetime.fromisoformat(e["at"]).timestamp() - at, e)
    town.one.heal()
    say("healed")
    for n in runs:
        town.merged((runs[n], repos[n]))
        say("merged", n)
    for e in logged(town.book, "router")[-20:]:
        print(datetime.fromisoformat(e["at"]).timestamp() - at, e)
