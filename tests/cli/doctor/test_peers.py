"""Paired machines that do not answer, each for a reason of its own: found by a real handshake with a real socket."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.doctor import Finding, peers
from tandem import identity
from tests.cli.doctor.probing import look_at, named
from tests.support.pairs import free_port, known_at, paired

WELCOME = b"\0\0\0\4\0\0\0\0\0"  # HTTP/2's settings, which a server that trusts its caller begins with


@contextmanager
def listening(answer: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """Listen on a port of its own, and have `answer` deal with each connection; with None, nobody takes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    wire, _ = server.accept()
                except OSError:
                    return
                with wire:
                    try:
                        assert answer is not None
                        answer(wire)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        if answer is not None:
            thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
    if answer is not None:
        thread.join(5)


def worker(home: Path, trusting: Path, says: bytes = WELCOME) -> Callable[[socket.socket], None]:
    """Return how a machine answers that has the identity in `home` and trusts the one in `trusting`."""
    me, other = identity.load(home), identity.load(trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(me.certificate_file, me.key_file)
    context.load_verify_locations(other.certificate_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    def answer(wire: socket.socket) -> None:
        with context.wrap_socket(wire, server_side=True) as safe:
            safe.sendall(says)
            safe.recv(1)

    return answer


def seen(home: Path) -> list[Finding]:
    return list(peers.findings(look_at(home.parent, state=home)))


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return three state folders: of the router that looks, of the worker it is paired with, and of somebody else."""
    made = tmp_path / "router", tmp_path / "worker", tmp_path / "other"
    for home in made:
        home.mkdir(mode=0o700)
    return made


def test_who_is_paired_with_nobody_is_told_nothing(homes: tuple[Path, Path, Path]) -> None:
    assert seen(homes[0]) == []
    assert not (homes[0] / "identity").exists(), "and is given no identity"


def test_a_paired_worker_that_answers_is_well(homes: tuple[Path, Path, Path]) -> None:
    router, mini, _ = homes
    with listening(worker(mini, router)) as at:
        paired(router, mini, f"127.0.0.1:{free_port()}", at)
        (found,) = seen(router)
    assert (found.ok, found.text) == (True, f"answers at {at}; not at 1 before it")


def test_each_reason_has_a_name_of_its_own(homes: tuple[Path, Path, Path]) -> None:
    router, mini, other = homes
    paired(router, mini, f"127.0.0.1:{free_port()}")
    named(seen(router)[0], "peer-nothing-listens")
    with listening(worker(mini, other)) as at:
        paired(router, mini, at)
        named(seen(router)[0], "peer-not-paired")
    with listening(worker(other, router)) as at:
        paired(router, mini, at)
        named(seen(router)[0], "peer-another-machine")
    with listening(lambda wire: wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as at:
        paired(router, mini, at)
        named(seen(router)[0], "peer-not-tandem")
    with listening(None) as at:
        paired(router, mini, at)
        named(seen(router)[0], "peer-off")
    paired(router, mini, "nowhere.invalid:7432")
    named(seen(router)[0], "peer-no-way")


def test_an_address_that_lacks_its_interface_is_told_as_that(homes: tuple[Path, Path, Path]) -> None:
    known_at(homes[0], identity.load(homes[1]), "mini", "worker", "[fe80::1]:7432")
    (found,) = seen(homes[0])
    assert "without the interface that leads there; pair the two anew" in named(found, "peer-no-way").text


def test_of_several_addresses_the_most_telling_one_is_told(homes: tuple[Path, Path, Path]) -> None:
    router, mini, other = homes
    with listening(worker(mini, other)) as at:
        paired(router, mini, f"127.0.0.1:{free_port()}", at)
        named(seen(router)[0], "peer-not-paired")


def test_a_file_that_cannot_be_trusted_is_named(homes: tuple[Path, Path, Path]) -> None:
    router, mini, _ = homes
    peer = known_at(router, identity.load(mini), "mini", "worker", f"127.0.0.1:{free_port()}")
    (router / "peers" / f"{peer.id}.json").write_text("{")
    named(seen(router)[0], "peer-damaged")


def test_an_identity_that_others_may_have_read_is_named(homes: tuple[Path, Path, Path]) -> None:
    router, mini, _ = homes
    paired(router, mini, f"127.0.0.1:{free_port()}")
    (router / "identity" / "key.pem").chmod(0o644)
    named(seen(router)[0], "identity-broken")
