"""`tandem status`, `nodes` and `doctor` on a machine whose worker runs without a router: real processes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem import identity
from tandem.paths import socket_path
from tandem.peers import Peers
from tests.support.machine import Machine
from tests.support.pairs import free_port, known_at
from tests.support.stack import Stack, rehearsal


class Alone(Stack):
    """A machine with a worker that a person started, and no router."""

    def __init__(self, folder: Path) -> None:
        self.at = f"127.0.0.1:{free_port()}"
        super().__init__(folder / "mini", {**rehearsal(), "TANDEM_WORKER_LISTEN": self.at})
        self.worker = Machine(folder, [])
        self.worker.argv = ["--socket", str(socket_path(self.state, "worker")), "--state", str(self.state / "worker")]
        self.worker.env = self.env
        self.book = known_at(self.state, identity.load(folder / "book"), "book", "router")

    def listed(self) -> list[str]:
        """Return where the worker listens, by `tandem status`."""
        return json.loads(self.cli("status", "--json").stdout)["worker"]["listening"]


@pytest.fixture
def mini(tmp_path: Path) -> Iterator[Alone]:
    made = Alone(tmp_path)
    with made.worker:
        yield made


def test_status_and_nodes_say_where_it_listens_and_for_whom(mini: Alone) -> None:
    end = time.monotonic() + 20
    while not mini.listed():
        assert time.monotonic() < end
    assert mini.worker.process is not None
    status = mini.cli("status")
    assert status.returncode == 0
    assert f"a worker runs here without a router: process {mini.worker.process.pid}" in status.stdout
    assert f"listens for paired routers at {mini.at}\n" in status.stdout
    assert "paired router book: this machine works for it" in status.stdout
    told = json.loads(mini.cli("status", "--json").stdout)
    assert (told["running"], told["trouble"], [peer["name"] for peer in told["peers"]]) == (False, [], ["book"])
    assert f"  its worker listens for paired routers at {mini.at}\n" in mini.cli("nodes").stdout
    assert json.loads(mini.cli("nodes", "--json").stdout)["this"]["worker"]["listening"] == [mini.at]

    try:
        for command in ("up", "status"):
            assert f"\nits worker listens for paired routers at {mini.at}\n" in mini.cli(command).stdout
    finally:
        mini.cli("down")

    Peers(mini.state).remove(mini.book.id)
    mini.worker.stop()
    assert mini.cli("status").returncode == 4


def test_what_keeps_it_from_listening_is_said_everywhere(tmp_path: Path) -> None:
    mini = Alone(tmp_path)
    host, _, port = mini.at.partition(":")
    with socket.create_server((host, int(port))), mini.worker:
        status = mini.cli("status")
        assert status.returncode == 0
        assert f"! {mini.at} is taken by another program" in status.stdout
        nodes = mini.cli("nodes").stdout
        assert "! its worker does not listen for paired routers" in nodes
        assert f"! {mini.at} is taken by another program" in nodes
        try:
            for command in ("up", "status"):
                assert f"\n! {mini.at} is taken by another program" in mini.cli(command).stdout
        finally:
            mini.cli("down")
        process, mini.worker.process = mini.worker.process, None
        assert process is not None
        process.terminate()
        said = process.communicate(timeout=30)[1].decode()
    assert said == f"warning: cannot listen for paired routers: {mini.at} is taken by another program\n"
