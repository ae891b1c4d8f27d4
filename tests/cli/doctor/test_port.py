"""A worker's machine that cannot listen: found by its own doctor, with who is in the way, by real sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.doctor import Finding, listening, port
from tandem import identity
from tandem.peers import Peers
from tests.cli.doctor.probing import look_at, named
from tests.support.pairs import Recorded, free_port, known_at
from worker.paired import PairedPort


def seen(home: Path, at: str) -> list[Finding]:
    look = look_at(home.parent, {"TANDEM_WORKER_LISTEN": at}, state=home)
    return list(port.findings(look, opens_s=0.0))


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """Return the state folder of a machine that works for a router."""
    home = tmp_path / "mini"
    known_at(home, identity.load(tmp_path / "book"), "book", "router")
    identity.load(home)
    return home


@contextmanager
def listening_worker(home: Path, at: str) -> Iterator[None]:
    """Have a worker's port open at an address, in a thread of its own."""
    opened, close = threading.Event(), threading.Event()

    async def serve() -> None:
        made = PairedPort(lambda: identity.load(home), Peers(home), (at,), Recorded())
        task = asyncio.create_task(made.run())
        while not close.is_set():
            if made.listening:
                opened.set()
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert opened.wait(20)
        yield
    finally:
        close.set()
        thread.join(20)


def test_a_machine_that_works_for_nobody_is_told_nothing(tmp_path: Path) -> None:
    assert list(port.findings(look_at(tmp_path))) == []
    assert not (tmp_path / "state").exists()


def test_a_worker_that_listens_is_well(mini: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    with listening_worker(mini, at):
        (found,) = seen(mini, at)
    assert (found.ok, found.text) == (True, f"the worker listens at {at}")


def test_nobody_at_the_port_is_named(mini: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    (found,) = seen(mini, at)
    assert at in named(found, "not-listening").text


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_who_has_the_port_is_named_with_the_address(mini: Path, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        threading.Thread(target=lambda: taken.accept()[0].close(), daemon=True).start()
        (found,) = seen(mini, at)
        assert f"cannot listen at {at}: " in named(found, "cannot-listen").text
        if sys.platform == "linux":
            name = Path("/proc/self/comm").read_text().strip()
            assert f"process {Path('/proc/self').resolve().name} ({name}) has that port" in found.text


def test_another_machines_worker_at_the_port_is_not_taken_for_ours(mini: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    known_at(other, identity.load(mini), "mini", "router")
    at = f"127.0.0.1:{free_port()}"
    with listening_worker(other, at):
        (found,) = seen(mini, at)
    named(found, "cannot-listen")


@pytest.mark.parametrize("host", ["10.255.255.254", "[fe80::1%none9]"])
def test_an_address_that_is_not_this_machines_is_named(mini: Path, host: str) -> None:
    at = f"{host}:{free_port()}"
    found = {finding.cause: finding for finding in seen(mini, at)}
    assert "no interface here has that address" in named(found["cannot-listen"], "cannot-listen").text
    assert at in found["cannot-listen"].text


def test_lsofs_words_name_the_process() -> None:
    # the form of its -F output, as its manual has it
    said = "p71\ncnc\nf3\nn*:7432\np88\ncssh\nf4\nn127.0.0.1:7433\nf5\nn10.0.0.9:7432\n"
    assert listening.holders(said, "10.0.0.2", 7432) == [("71", "nc")]
    assert listening.holders(said, "127.0.0.1", 7433) == [("88", "ssh")]
    assert listening.holders(said, "127.0.0.1", 7434) == []
