"""Git's remote helper for `tandem::MACHINE/NAME`: a repository that a paired machine shares, over its paired port.

Git starts it as `git-remote-tandem REMOTE URL`, asks on standard input what it can do, which is `connect`, and then speaks
its own pack protocol through it. Whatever is said to a person goes to standard error; standard output is Git's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from cli.render.text import one_line
from tandem import config, shared
from tandem.errors import BadInput, NotFound, TandemError
from tandem.peers import Peer, Peers

CARRY_S = 4 * 3600.0  # one fetch or push; a link that is cut ends it within seconds by its own pings
_LINE_BYTES_MAX = 4096


def main(arguments: Sequence[str]) -> int:
    """Serve one git command; returns the exit status."""
    logging.getLogger().addHandler(logging.NullHandler())  # what goes wrong is said once, below
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a handshake that failed is said in our words
    try:
        if len(arguments) != 2:
            raise BadInput("git-remote-tandem is started by git, for an address such as tandem::mini/project")
        machine, name = place(arguments[1])
        return _serve(machine, name)
    except TandemError as error:
        print(f"tandem: {error}", file=sys.stderr)
        return 1
    except (BrokenPipeError, KeyboardInterrupt):  # git left
        return 1


def place(url: str) -> tuple[str, str]:
    """Return the machine and the repository that an address names: `mini/project`, `tandem://mini/project`.

    Raises:
        BadInput: It names none.
    """
    machine, _, name = url.removeprefix("tandem::").removeprefix("tandem://").strip("/").partition("/")
    if not machine or not name or "/" in name:
        raise BadInput(
            f"{url[:120]!r} names no shared repository; write tandem::MACHINE/NAME, such as tandem::mini/project"
        )
    return machine, name


def _serve(machine: str, name: str) -> int:
    """Answer Git's questions until it wants a connection, and be that connection."""
    while line := _line():
        if line == "capabilities":
            _answer("connect\n\n")
        elif line.startswith("connect "):
            peer = _keeper(machine, name)
            if peer.role != "worker":
                raise BadInput(f"{peer.name} is a router that this machine works for; run git there")
            return asyncio.run(_connect(peer, name, line.removeprefix("connect ")))
        else:
            raise BadInput(f"git asked for {line[:80]!r}, which this helper cannot do")
    return 0


def _keeper(machine: str, name: str) -> Peer:
    """Return the paired machine that is meant.

    Raises:
        NotFound: None is; where this machine itself shares one of that name, the message has the way to it.
    """
    try:
        return Peers(config.state_dir()).read().find(machine)
    except NotFound as error:
        here = shared.named(config.state_dir(), name)
        if not here.is_dir():
            raise
        raise NotFound(f"{error}; a repository of that name is here, at this machine: git clone {here}") from None


def _line() -> str:
    """Return the next line of what Git asks, "" at its end; not a byte more is read, the rest is the connection's."""
    line = b""
    while len(line) < _LINE_BYTES_MAX and (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode("utf-8", "replace")


def _answer(text: str) -> None:
    os.write(1, text.encode())


async def _connect(peer: Peer, name: str, service: str) -> int:
    from router.gittunnel import requests
    from router.paired import PairedNode
    from tandem import channel, identity
    from tandem.v1 import worker_pb2 as pb
    from tandem.wire import DATA_BYTES

    node = PairedNode(peer, identity.load(config.state_dir()), config.load().link)
    try:
        await node.look()
        _answer("\n")  # connected: from here on, standard input and output are the other Git's
        reader = await _input(DATA_BYTES)
        opening = pb.GitOpen(shared=name, service=service)
        call: Any = node.stub.Git(requests(opening, reader), timeout=CARRY_S)
        try:
            with channel.translated(f"worker {peer.name}"):
                async for response in call:
                    await asyncio.to_thread(_all_out, response.data)
        except NotFound as error:  # in the other machine's words, "this machine" is that one
            missing = f"{one_line(peer.name)} shares no repository {name!r}; `tandem share {name}` on it makes one"
            raise NotFound(missing) from error
        finally:
            call.cancel()
        return 0
    finally:
        await node.close()


def _all_out(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


async def _input(limit: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", buffering=0))
    return reader
