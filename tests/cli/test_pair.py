"""`tandem pair`, `nodes` and `unpair` as processes, where something is not as it should be."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import machine
from cli.commands.pair import command as typed
from tandem import held, identity
from tandem.endpoints import Endpoint
from tandem.pairing.code import Code
from tandem.pairing.exchange import Exchange
from tandem.pairing.messages import Card, Stored
from tests.support.pairs import free_port, known_at
from tests.support.stack import Stack, rehearsal

ROOT = Path(__file__).resolve().parents[2]


def env(state: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(state), "PYTHONPATH": str(ROOT), "TANDEM_STATE": str(state), **more}


def tandem(state: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem", "cli", *arguments]
    return subprocess.run(command, env=env(state, **more), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["1234", "--at", "10.0.0.1"], 2, "a code has 8 digits"),
        (["1234-5678", "--at", "a b"], 2, "'a b' is no address"),
        (["--at", "10.0.0.1"], 2, "give the code, too"),
        (["1234-5678", "--on", "10.0.0.1"], 2, "--on is for the machine that shows the code"),
        (["--on", "8.8.8.8"], 2, "no private address of this machine, and Tandem listens on no other"),
        (["--on", "0.0.0.0"], 2, "no private address of this machine"),
        (
            ["--on", "10.255.255.254"],
            2,
            "cannot listen on 10.255.255.254:7431 for the pairing (Cannot assign requested",
        ),
        (["--on", "10.255.255.254"], 2, "it is no address of this machine, which has "),
        (["1234-5678", "--at", "fe80::1"], 2, "fe80::1 needs the interface of this machine that leads there: fe80::1%"),
        (["--name", "a\tb"], 2, "is no machine's name"),
        (["--name", ""], 2, "is no machine's name"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_listens(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    done = tandem(tmp_path, "pair", *arguments)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert not (tmp_path / "peers").exists()


def test_nobody_there_is_said_with_the_remedy(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    done = tandem(tmp_path, "pair", "1234-5678", "--at", at, "--json")
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["class"] == "Unavailable"
    assert f"nobody shows a code at {at} (Connection refused); " in error["message"]


def test_silence_is_waited_for_at_all_addresses_together_and_not_without_a_word(tmp_path: Path) -> None:
    """Four mute ports: the second connection comes while the first is open, or it was waited for in turn."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        places = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
        known_at(tmp_path, identity.load(tmp_path / "mini"), "mini", "worker", *places)
        for command in (["nodes"], ["doctor"]):
            argv = [sys.executable, "-m", "tandem", "cli", *command]
            process = subprocess.Popen(
                argv, env=env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            try:
                wires = [stack.enter_context(server.accept()[0]) for server in servers]
                assert [is_open(wire) for wire in wires] == [True] * 4, command
                out, errors = process.communicate(timeout=60)
                assert "looking at paired machines …" in errors
                assert "takes connections and then says nothing" in out
            finally:
                process.kill()
                process.communicate()
                tandem(tmp_path, "down")
        done = tandem(tmp_path, "pair", "1234-5678", "--at", places[0])
        assert (done.returncode, f"waiting for {places[0]} …" in done.stderr) == (4, True), done.stderr


def is_open(wire: socket.socket) -> bool:
    """Read what came on a connection; return whether the other side has it open still."""
    wire.setblocking(False)
    try:
        while wire.recv(65536):
            pass
    except BlockingIOError:
        return True
    return False


def test_interrupted_the_window_is_closed_and_nothing_is_stored(tmp_path: Path) -> None:
    on = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tandem", "cli", "pair", "--on", on]
    showing = subprocess.Popen(command, env=env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert showing.stdout is not None
        code = showing.stdout.readline().removeprefix("code: ").strip()
        showing.send_signal(signal.SIGINT)
        _, errors = showing.communicate(timeout=20)
        assert (showing.returncode, errors) == (130, "error: interrupted\n")
    finally:
        showing.kill()
        showing.communicate()
    assert tandem(tmp_path / "other", "pair", code, "--at", on).returncode == 4
    assert not (tmp_path / "peers").exists()


@pytest.mark.parametrize("installed", [False, True])
def test_what_is_to_be_done_next_is_said_on_both_sides(tmp_path: Path, *, installed: bool) -> None:
    on = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tandem", "cli", "pair", "--on", on, "--name", "mini"]
    with contextlib.ExitStack() as stack:
        if installed:
            (tmp_path / "mini" / "worker").mkdir(parents=True, mode=0o700)
            (tmp_path / "mini").chmod(0o700)
            lock = stack.enter_context((tmp_path / "mini" / "worker" / held.SERVICE).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("71")
            lock.flush()
        showing = subprocess.Popen(command, env=env(tmp_path / "mini"), stdout=subprocess.PIPE, text=True)
        try:
            assert showing.stdout is not None
            code = showing.stdout.readline().removeprefix("code: ").strip()
            entered = tandem(tmp_path / "book", "pair", code, "--at", on, "--name", "book")
            shown, _ = showing.communicate(timeout=30)
        finally:
            showing.kill()
            showing.communicate()
    assert "as soon as its worker runs: `tandem install worker` on mini" in entered.stdout
    assert ("a worker has to run here for book: `tandem install worker`" in shown) == (not installed), shown
    assert ("the worker that is installed here answers book" in shown) == installed


def test_what_stays_on_the_other_machine_is_said_when_one_is_unpaired(tmp_path: Path) -> None:
    for name, role in (("mini", "worker"), ("desk", "router")):
        known_at(tmp_path, identity.load(tmp_path / name), name, role)
    assert "until `tandem unpair` there as well, it goes on listening" in tandem(tmp_path, "unpair", "mini").stdout
    assert "is removed by this machine's worker; desk is not told" in tandem(tmp_path, "unpair", "desk").stdout


def test_interrupted_after_it_stored_the_other_the_entering_side_says_so(tmp_path: Path) -> None:
    mini = identity.load(tmp_path / "mini")
    command = [sys.executable, "-m", "tandem", "cli", "pair", "1234-5678", "--at"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = f"127.0.0.1:{server.getsockname()[1]}"
        entering = subprocess.Popen([*command, at], env=env(tmp_path), stderr=subprocess.PIPE, text=True)
        try:
            server.settimeout(30)
            wire, _ = server.accept()
            with wire, wire.makefile("rb") as heard:
                card = Card(name="mini", role="worker", certificate=mini.certificate.decode())
                exchange = Exchange("shows", Code("12345678"), card)
                wire.sendall(exchange.hello)
                exchange.meet(heard.readline())
                exchange.check(heard.readline())
                wire.sendall(exchange.proof())
                assert heard.readline() == Stored().line()
                entering.send_signal(signal.SIGINT)
                _, errors = entering.communicate(timeout=20)
        finally:
            entering.kill()
            entering.communicate()
    assert entering.returncode == 130
    assert "mini was stored before you interrupted, and may have stored this machine or not; " in errors
    assert f"`tandem unpair {mini.id[:8].lower()}`" in errors


def paired_by_code(shows: Path, enters: Path, *more: str, showing: tuple[str, ...] = ()) -> tuple[Any, Any, str]:
    """Pair two state folders; return what the entering command came to, and what the showing one said and remarked."""
    argv = [sys.executable, "-m", "tandem", "cli", "pair", "--on", f"127.0.0.1:{free_port()}", *showing, "--json"]
    with subprocess.Popen(
        argv, env=env(shows), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as shown:
        assert shown.stdout is not None
        told = json.loads(shown.stdout.readline())
        done = tandem(enters, "pair", told["code"], "--at", told["addresses"][0], *more)
        if done.returncode:
            shown.send_signal(signal.SIGINT)
        said, remarked = shown.communicate(timeout=30)
    return done, json.loads(said.splitlines()[-1]), remarked


def test_who_works_for_whom_is_not_turned_round_by_the_way(tmp_path: Path) -> None:
    book, mini = tmp_path / "book", tmp_path / "mini"
    done, _, _ = paired_by_code(mini, book, showing=("--name", "mini"))
    assert done.returncode == 0, done.stderr
    role = lambda: json.loads(tandem(book, "nodes", "--json").stdout)["nodes"][0]["role"]  # noqa: E731
    # shown on the wrong machine of the two
    done, _, _ = paired_by_code(book, mini)
    assert done.returncode == 5, done.stderr
    assert "this code would make this machine the router of the two" in done.stderr
    assert "`tandem pair --as router`" in done.stderr
    assert role() == "worker"
    # turned round by the side that shows alone, as the first user did
    done, _, _ = paired_by_code(mini, book, showing=("--as", "router"))
    assert (done.returncode, role()) == (5, "worker")
    # and on purpose: both sides say so
    done, said, _ = paired_by_code(mini, book, "--as", "worker", showing=("--as", "router"))
    assert done.returncode == 0, done.stderr
    assert "mini was this machine's worker, and is its router from now on" in done.stderr
    assert "no other machine works for this one any more" in done.stderr
    assert (said["was"], said["paired"]["role"]) == ("router", "worker")


def test_no_peer_is_called_as_this_machine_is(tmp_path: Path) -> None:
    book, own = tmp_path / "book", machine.name()
    known_at(book, identity.load(tmp_path / "mini"), "mini", "worker")
    refused = tandem(book, "nodes", "rename", "mini", own)
    assert (refused.returncode, f"this machine itself is called {own!r}" in refused.stderr) == (5, True)
    done, said, _ = paired_by_code(tmp_path / "attic", book, showing=("--name", own))
    assert (done.returncode, said["was"]) == (0, None)
    names = [node["name"] for node in json.loads(tandem(book, "nodes", "--json").stdout)["nodes"]]
    assert names == ["mini", f"{own}-2"]


def test_what_is_typed_at_the_other_machine_is_one_word_for_its_shell() -> None:
    assert typed(Code("12345678"), Endpoint("10.0.0.2", 7431)) == "tandem pair 1234-5678 --at 10.0.0.2"
    six = typed(Code("12345678"), Endpoint("fe80::1%en5", 7431))
    assert six == "tandem pair 1234-5678 --at '[fe80::1%en5]:7431'"


def test_up_waits_until_a_paired_worker_was_looked_at(tmp_path: Path) -> None:
    stack = Stack(tmp_path, rehearsal())
    closed = free_port()
    known_at(stack.state, identity.load(tmp_path / "mini"), "mini", "worker", f"127.0.0.1:{closed}")
    try:
        said = stack.cli("up").stdout
        assert "paired worker mini: cannot be used for " in said
        assert f"nothing listens at 127.0.0.1:{closed}" in said
    finally:
        assert stack.cli("down").returncode == 0


def test_the_list_names_this_machine_its_peers_and_what_is_damaged(tmp_path: Path) -> None:
    alone = tandem(tmp_path, "nodes")
    assert identity.grouped(identity.load(tmp_path).id) in alone.stdout
    assert "no other machine is paired with it; `tandem pair` begins that" in alone.stdout
    mini = known_at(tmp_path, identity.load(tmp_path / "mini"), "mini", "worker", f"127.0.0.1:{free_port()}")
    known_at(tmp_path, identity.load(tmp_path / "book"), "book", "router")
    (tmp_path / "peers" / "X.json").write_text("{}")
    listed = tandem(tmp_path, "nodes").stdout
    assert "mini: a worker that cannot be used" in listed
    assert "! nothing listens at 127.0.0.1" in listed
    assert "book: a router that this machine works for" in listed
    assert f"! {tmp_path}/peers/X.json cannot be used" in listed
    found = json.loads(tandem(tmp_path, "nodes", "--json").stdout)
    assert [node["name"] for node in found["nodes"]] == ["mini", "book"]
    assert len(found["trouble"]) == 1

    assert tandem(tmp_path, "nodes", "rename", mini.id[:6].lower(), "book").returncode == 5
    assert "is now called attic" in tandem(tmp_path, "nodes", "rename", mini.id[:6].lower(), "attic").stdout
    assert "attic is not paired" in tandem(tmp_path, "unpair", "attic").stdout
    gone = tandem(tmp_path, "unpair", "attic")
    assert (gone.returncode, "there are: book" in gone.stderr) == (2, True)
