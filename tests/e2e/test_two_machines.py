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


LEAVES = """import contextlib
import os
import pathlib
import unittest


class Leaves(unittest.TestCase):
    def test_leaves_files_behind(self):
        pathlib.Path("coverage.xml").write_text("<coverage line-rate='1'/>")
        pathlib.Path("notes.txt").write_text("nobody asked for this one")
        pathlib.Path("big.log").write_bytes(bytes(20 << 20))
        with contextlib.suppress(FileExistsError):
            os.symlink("/etc/passwd", "passwd.log")
"""


def test_what_tests_leave_on_the_paired_machine_comes_back_and_goes_with_the_run(two: Two, tmp_path: Path) -> None:
    two.pair()
    two.mini.start()
    two.book.start()
    repo = sample(tmp_path / "repo")
    (repo / "tests" / "test_leaves.py").write_text(LEAVES)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add a test that leaves files behind")
    run = two.book.submit(repo, TASK, yes=True)
    while (found := two.book.wait(run))["state"] == "waiting":
        two.book.answer(
            run, "approve" if "approve" in found["question"]["choices"] else found["question"]["choices"][0]
        )
    assert found["state"] == "merged", found

    draft, head = json.loads(two.book.cli("show", run, "--json").stdout)["artefacts"]
    assert [(one["check"], one["step"], one["node"]) for one in (draft, head)] == [
        ("draft", "code.2", "mini"),
        ("head", "check.1", "mini"),
    ]
    assert not list((two.book.state / "worker").glob("git/*.git")), "the tests ran on the other machine"
    for one in (draft, head):
        assert [file["name"] for file in one["files"]] == ["coverage.xml"]
        assert {file["name"]: file["bytes"] for file in one["left_out"]}["big.log"] == 20 << 20
        assert {file["name"] for file in one["left_out"]} == {"big.log", "passwd.log"}
    written = two.book.cli("show", run, "--artefacts", str(tmp_path / "out"))
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "out" / "head" / "coverage.xml").read_text() == "<coverage line-rate='1'/>"
    assert two.book.cli("show", run, "--artefacts", str(tmp_path / "out")).returncode == 2
    assert not list((two.mini.state / "worker" / "tmp").iterdir()), "nothing of it stays on the other machine"

    assert two.book.call("POST", f"/v1/runs/{run}/replay")[1]["same"]
    assert b"line-rate" not in b"".join(path.read_bytes() for path in two.book.state.glob("journal.db*"))
    verified = two.book.cli("verify", found["commit"], cwd=repo)
    assert verified.returncode == 0, verified.stderr
    assert "artefacts of checks" in two.book.cli("gc", "--run", run).stdout
    assert not (two.book.state / "artefacts" / run).exists()
