"""Two machines' worth of processes and state: paired by the command, a run whose work is done on the other one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem import identity
from tandem.peers import Peers
from tests.faults.wires import until
from tests.support.pairs import free_port
from tests.support.stack import ROOT, TASK, Stack, git, rehearsal, sample


class Two:
    """A router's machine, which has no model, and a worker's, which has one."""

    def __init__(self, folder: Path) -> None:
        models = rehearsal()
        script = models.pop("TANDEM_REHEARSAL_SCRIPT")
        self.port = free_port()
        listen = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{self.port}", "TANDEM_REHEARSAL_SCRIPT": script}
        self.book = Stack(folder / "book", models)
        self.mini = Stack(folder / "mini", {**models, **listen})

    def pair(self) -> None:
        """Show a code on the one and enter it on the other."""
        on = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "tandem", "cli", "pair", "--on", on, "--name", "mini", "--json"]
        showing = subprocess.Popen(command, env=self.mini.env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert showing.stdout is not None
            told = json.loads(showing.stdout.readline())
            assert told["addresses"] == [on]
            wrong = self.book.cli("pair", "0000-0000", "--at", on)
            assert (wrong.returncode, "2 tries are left" in wrong.stderr) == (6, True), wrong.stderr
            done = self.book.cli("pair", told["code"], "--at", on, "--name", "book")
            assert done.returncode == 0, done.stderr
            assert "paired with mini (worker: it works for this machine)" in done.stdout
            assert identity.grouped(identity.load(self.mini.state).id) in done.stdout
            shown = json.loads(showing.communicate(timeout=30)[0])
            assert (shown["paired"]["name"], shown["paired"]["role"], showing.returncode) == ("book", "router", 0)
        finally:
            showing.kill()
            showing.communicate()

    def nodes(self) -> dict[str, object]:
        """Return what `tandem nodes` says of the worker, asked on the router's machine."""
        listed = json.loads(self.book.cli("nodes", "--json").stdout)
        assert len(listed["nodes"]) == 1
        return listed["nodes"][0]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    try:
        yield made
    finally:
        made.book.stop()
        made.mini.stop()


def test_a_run_is_carried_out_on_the_paired_machine_and_on_none_that_was_unpaired(two: Two, tmp_path: Path) -> None:
    two.pair()
    assert "nothing listens" in str(two.nodes()["trouble"])
    two.mini.start()
    two.book.start()
    seen = two.nodes()
    assert (seen["name"], seen["address"], seen["trouble"]) == ("mini", f"127.0.0.1:{two.port}", None)
    assert "rehearsal/demo" in seen["models"]  # type: ignore[operator]

    repo = sample(tmp_path / "repo")
    run = two.book.submit(repo, TASK, yes=True)
    while (found := two.book.wait(run))["state"] == "waiting":
        two.book.answer(
            run, "approve" if "approve" in found["question"]["choices"] else found["question"]["choices"][0]
        )
    assert found["state"] == "merged", found
    assert git(repo, "log", "-1", "--format=%H") == found["commit"]
    assert list((two.mini.state / "worker" / "git").glob("*.git")), "the checks got their commits there"
    assert not list((two.book.state / "worker").glob("git/*.git")), "and none here"

    assert two.book.cli("nodes", "rename", "mini", "the mini").returncode == 0
    until(lambda: "paired worker the mini: at 127.0.0.1" in two.book.cli("status").stdout)  # twice a second it looks

    assert two.mini.cli("unpair", "book").returncode == 0
    refused = two.book.submit(repo, "Another one", yes=True)
    events = two.book.events(refused, follow=True)
    told = next(data for kind, data in events if kind == "hold" and data["what"])
    assert told["what"] == "waiting-for-worker"
    assert "a worker that does not answer may" in told["text"]
    assert "pair them anew" in str(two.nodes()["trouble"])  # nobody else is paired there, so nothing listens any more
    two.book.call("POST", f"/v1/runs/{refused}/cancel")

    assert two.book.cli("unpair", "the mini").returncode == 0
    assert Peers(two.book.state).read().peers == ()
    assert two.book.cli("unpair", "the mini").returncode == 2
