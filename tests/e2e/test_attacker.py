"""Three machines on one switch: a router, a worker, and somebody who is neither. What he can get at, and what he can read.

Needs root and Linux's network namespaces.
"""

import json
import subprocess

import pytest

from tandem import identity
from tandem.peers import Peers
from tests.support.town import SECRET, Town

pytestmark = pytest.mark.needs("network namespaces")
CANARY = "canary-7d2f9c-of-the-prompt"
CONTROL = "canary-c3e4f0-in-plain-text"
PORTS = "8000"


def test_whoever_is_not_paired_gets_nothing_and_reads_nothing(town: Town) -> None:
    worker = town.net.address["worker"]
    mini = identity.load(town.state("worker")).id
    town.start("worker", "-m", "tandem", "worker", "--socket", str(town.folder / "w.sock"))
    assert town.play("attacker", "scan", worker, PORTS) == []  # nobody is paired: nothing listens

    # the pairing, of which he knows that it goes on, and guesses
    showing, told = town.start("worker", "-m", "tandem", "cli", "pair", "--json", "--name", "mini")
    assert isinstance(told, dict)
    assert told["addresses"][0] == f"{worker}:7431"
    assert town.play("attacker", "scan", worker, PORTS) == [7431]
    guessed = town.tandem("attacker", "pair", "0000-0000", "--at", worker)
    assert (guessed.returncode, "2 tries are left" in guessed.stderr) == (6, True), guessed.stderr
    entered = town.tandem("router", "pair", told["code"], "--at", worker)
    assert entered.returncode == 0, entered.stderr
    assert showing.wait(20) == 0
    late = town.tandem("attacker", "pair", told["code"], "--at", worker)  # and were he told the code now
    assert (late.returncode, "nobody shows a code" in late.stderr) == (4, True), late.stderr

    # the worker's port, which is there now
    paired = str(town.state("router"))
    town.eventually(lambda: town.play("router", "look", worker, "7432", paired, mini) == "open")
    assert town.play("attacker", "scan", worker, PORTS) == [7432]
    assert town.play("attacker", "plain", worker, "7432", "GET / HTTP/1.1\r\n\r\n") == ""
    assert town.play("attacker", "look", worker, "7432", str(town.state("attacker")), mini) == "not paired"

    # what goes over the cable: in plain text it can be read there, in Tandem's calls not
    frames = town.folder / "frames"
    town.start("worker", "-m", "tests.support.namespaces", "capture", str(frames))
    said = town.play("router", "call", str(town.state("router")), CANARY)
    assert said == ["said", SECRET, f"{worker}:7432"]
    town.start("worker", "-m", "tests.support.namespaces", "listen", "9000")
    town.play("router", "plain", worker, "9000", CONTROL)
    town.eventually(lambda: CONTROL.encode() in frames.read_bytes())  # and so is all that went before it
    seen = frames.read_bytes()
    assert seen.count(bytes((0x17, 0x03, 0x03))) > 10, "the call was on this cable: TLS records"
    assert CANARY.encode() not in seen
    assert SECRET.encode() not in seen

    # a router that was paired, and is not any more
    book = Peers(town.state("worker")).read().peers[0]
    assert town.tandem("worker", "unpair", book.name).returncode == 0
    kind, *words = town.play("router", "call", str(town.state("router")), CANARY)  # type: ignore[misc]
    assert kind in ("NotPaired", "Unreachable"), words
    town.eventually(lambda: town.play("attacker", "scan", worker, PORTS) == [])


def test_a_pairing_that_was_overheard_and_is_said_again_pairs_nobody(town: Town) -> None:
    worker, frames = town.net.address["worker"], town.folder / "frames"

    def shown() -> tuple[subprocess.Popen[str], dict[str, str]]:
        showing, told = town.start("worker", "-m", "tandem", "cli", "pair", "--json", "--name", "mini")
        assert isinstance(told, dict)
        return showing, told

    town.start("worker", "-m", "tests.support.namespaces", "capture", str(frames))
    showing, told = shown()
    assert town.tandem("router", "pair", told["code"], "--at", worker).returncode == 0
    assert showing.wait(20) == 0
    book = Peers(town.state("worker")).read().peers[0]
    assert town.tandem("worker", "unpair", book.name).returncode == 0

    showing, told = shown()
    said, heard = town.play("attacker", "replay", worker, "7431", str(frames))  # type: ignore[misc]
    lines = [json.loads(line)["kind"] for line in said.splitlines()]
    assert lines == ["hello", "proof", "stored"], "what the router said was on the cable, and is said again"
    assert json.loads(heard.splitlines()[-1]) == {"kind": "refusal", "why": "wrong", "left": 2}
    assert Peers(town.state("worker")).read().peers == ()
    assert town.tandem("router", "pair", told["code"], "--at", worker).returncode == 0  # two tries were left
    assert showing.wait(20) == 0
