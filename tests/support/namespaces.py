"""Machines in a network of their own: network namespaces, cabled to a switch that is one, too. Needs root on Linux.

Nothing outside them is touched: the bridge has a namespace of its own, and each end of a cable is made where it belongs.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_number = itertools.count()


class Net:
    """Namespaces by name, with the addresses 10.77.0.1, .2 and so on in the order of the names. Use with `with`.

    Without `switched` nothing leads to them but the cables a test lays (`tests.support.cable`).
    """

    def __init__(self, *names: str, switched: bool = True) -> None:
        mark = f"t{os.getpid()}n{next(_number)}"
        self._switch = f"{mark}-switch"
        self._switched = switched
        self._spaces = {name: f"{mark}-{name}" for name in names}
        self.address = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}

    def __enter__(self) -> Net:
        try:
            for space in (self._switch, *self._spaces.values()):
                ip("netns", "add", space)
                ip("-n", space, "link", "set", "lo", "up")
            if self._switched:
                self._plug_in()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _plug_in(self) -> None:
        ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        ip("-n", self._switch, "link", "set", "switch", "up")
        for number, (name, space) in enumerate(self._spaces.items()):
            port = f"p{number}"
            ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", self._switch, "link", "set", port, "master", "switch", "up")
            self._set_up(space, "eth0", self.address[name])

    def _set_up(self, space: str, device: str, address: str) -> None:
        ip("-n", space, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", space, "link", "set", device, "up")

    def take(self, name: str, device: str, address: str) -> None:
        """Give a machine a device that was made in the switch's namespace."""
        ip("-n", self._switch, "link", "set", device, "netns", self._spaces[name])
        self._set_up(self._spaces[name], device, address)

    def __exit__(self, *raised: object) -> None:
        for space in (self._switch, *self._spaces.values()):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def inside(self, name: str | None, *argv: str) -> list[str]:
        """Return how a program is run on a machine, or for None where the switch is."""
        return ["ip", "netns", "exec", self._switch if name is None else self._spaces[name], *argv]

    def readdress(self, name: str, address: str) -> None:
        """Give a machine another address in the place of its own, as a new lease does."""
        ip("-n", self._spaces[name], "addr", "del", f"{self.address[name]}/24", "dev", "eth0")
        ip("-n", self._spaces[name], "addr", "add", f"{address}/24", "dev", "eth0")
        self.address[name] = address

    def argv(self, name: str, *program: str) -> list[str]:
        """Return how a Python program is run on a machine."""
        return self.inside(name, sys.executable, *program)

    def without_ipv4(self, name: str) -> None:
        """Take a machine's IPv4 address away; what IPv6 gives itself stays."""
        ip("-n", self._spaces[name], "addr", "del", f"{self.address[name]}/24", "dev", "eth0")

    def with_ipv4(self, name: str) -> None:
        """Give a machine its IPv4 address back."""
        ip("-n", self._spaces[name], "addr", "add", f"{self.address[name]}/24", "dev", "eth0")

    def link_local(self, name: str) -> str:
        """Return a machine's own IPv6 address on its cable, "" while it is not usable yet."""
        argv = [
            "ip",
            "-n",
            self._spaces[name],
            "-o",
            "-6",
            "addr",
            "show",
            "dev",
            "eth0",
            "scope",
            "link",
            "-tentative",
        ]
        words = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        return words[words.index("inet6") + 1].partition("/")[0] if words else ""

    def spawn(self, name: str, *program: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a Python program on a machine; the caller ends it."""
        return subprocess.Popen(
            self.argv(name, *program), env=dict(env), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, name: str, *program: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a Python program on a machine to its end."""
        argv = self.argv(name, *program)
        return subprocess.run(argv, env=dict(env), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def play(self, name: str, part: str, *arguments: str, env: Mapping[str, str]) -> Any:
        """Run one of the parts below on a machine, and return what it found."""
        done = self.run(name, "-m", "tests.support.namespaces", part, *arguments, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def ip(*arguments: str) -> None:
    """Run `ip`; what it says where it fails is the test's failure."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


# --- parts that are played inside ----------------------------------------------------------------------------------


def scan(host: str, last: str) -> list[int]:
    """Return the ports up to `last` that something listens on."""
    found = list[int]()
    for port in range(1, int(last) + 1):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, port)) == 0:
                found.append(port)
    return found


def plain(host: str, port: str, words: str) -> str:
    """Return what is answered to words in plain text."""
    with socket.create_connection((host, int(port)), 5) as wire:
        wire.sendall(words.encode())
        wire.settimeout(3)
        try:
            return wire.recv(4096).decode("latin-1")
        except (ConnectionResetError, TimeoutError):
            return ""


def look(host: str, port: str, state: str, node: str) -> str:
    """Return what a probe with the identity in `state` finds."""
    from tandem import identity, probe
    from tandem.endpoints import Endpoint

    return probe.look(identity.load(Path(state)), identity.NodeId(node), Endpoint(host, int(port))).kind


def lure(host: str, port: str, node: str, what: str = "pairing") -> None:
    """Announce that a code is shown here, or a worker is, and write a line for each connection that comes; until killed."""
    import asyncio

    from tandem.endpoints import Endpoint
    from tandem.finding import PAIRING, WORKER, announced
    from tandem.identity import NodeId

    async def stay() -> None:
        def came(reader: object, writer: asyncio.StreamWriter) -> None:
            print(json.dumps("came"), flush=True)
            writer.close()

        at = Endpoint(host, int(port))
        async with (
            await asyncio.start_server(came, at.host, at.port),
            announced(NodeId(node), "\x1b[2Jmini", [at], PAIRING if what == "pairing" else WORKER),
        ):
            await asyncio.sleep(3)  # it takes 1.6 s to be announced
            print(json.dumps("ready"), flush=True)
            await asyncio.Event().wait()

    asyncio.run(stay())


def hear(host: str, node: str, wait_s: str) -> list[str]:
    """Listen for so long for the announcements of a worker, once it is told that this begins, and return its places."""
    import asyncio

    from tandem.finding import WORKER, Finder
    from tandem.identity import NodeId

    async def listening() -> list[str]:
        async with Finder([host], WORKER, lambda: [NodeId(node)]) as finder:
            print(json.dumps("ready"), flush=True)
            await asyncio.sleep(float(wait_s))
            return [str(at) for seen in finder.seen if seen.node == node for at in seen.at]

    return asyncio.run(listening())


def dismiss(host: str, label: str) -> None:
    """Say goodbye in the name of a worker, again and again, until killed."""
    import time

    from zeroconf import DNSOutgoing, DNSPointer, Zeroconf

    from tandem.finding import WORKER

    response, pointer, internet = 0x8400, 12, 1  # RFC 6762 18, RFC 1035 3.2
    out = DNSOutgoing(response)
    out.add_answer_at_time(DNSPointer(WORKER, pointer, internet, 0, f"{label}.{WORKER}"), 0)
    zeroconf = Zeroconf(interfaces=[host])
    print(json.dumps("ready"), flush=True)
    while True:
        zeroconf.send(out)
        time.sleep(0.3)


def crowd(host: str, node: str, count: str) -> None:
    """Announce so many workers with the id of another, at places where none is, until killed."""
    import asyncio

    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    from tandem.finding import WORKER

    async def stay() -> None:
        zeroconf = AsyncZeroconf(interfaces=[host])
        lies = [
            AsyncServiceInfo(
                WORKER,
                f"{node[:20]}-{number + 2}.{WORKER}",
                addresses=[socket.inet_aton(f"10.77.{number + 1}.9")],
                port=7432,
                properties={"id": node, "name": "mini"},
                server=f"lie-{number}.local.",
            )
            for number in range(int(count))
        ]
        await asyncio.gather(*(zeroconf.async_register_service(lie, strict=False) for lie in lies))
        await asyncio.sleep(3)
        print(json.dumps("ready"), flush=True)
        await asyncio.Event().wait()

    asyncio.run(stay())


def call(state: str, words: str, wait_s: str = "0") -> list[str]:
    """Have the paired worker's model say something to `words`; returns the reply, or the error's kind and message.

    Before that, wait so long for the worker to be found.
    """
    import asyncio
    import contextlib

    from router.dispatcher import Dispatcher
    from router.links import Links
    from tandem.errors import TandemError
    from tandem.types import Message
    from tests.support.machine import question

    async def ask() -> list[str]:
        made = Dispatcher([], git_dir_of=lambda repo_id: Path("/nowhere"))
        links = Links(Path(state), made.use)
        running = asyncio.create_task(links.run())
        try:
            while not made.nodes:  # noqa: ASYNC110 - another task is looked at
                await asyncio.sleep(0.02)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(wait_s)):
                    while links.told()[0]["address"] is None:  # noqa: ASYNC110 - another task is looked at
                        await asyncio.sleep(0.1)
            asked = question("canary", messages=(Message(role="user", content=words),))
            said = (await made.complete(asked, lambda chunk: None)).text
            while links.told()[0]["addresses"][:1] != [made.nodes[0].address]:  # noqa: ASYNC110 - until it is stored
                await asyncio.sleep(0.1)
            return ["said", said, made.nodes[0].address]
        except TandemError as error:
            return [type(error).__name__, error.message]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return asyncio.run(ask())


def listen(port: str) -> str:
    """Take one connection and return what came."""
    with socket.create_server(("0.0.0.0", int(port))) as server:
        print(json.dumps("ready"), flush=True)
        wire, _ = server.accept()
        with wire:
            return wire.recv(4096).decode()


def capture(file: str) -> None:
    """Write every frame of the cable to a file, until ended."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire, Path(file).open("wb") as out:
        wire.bind(("eth0", 0))
        print(json.dumps("ready"), flush=True)
        while True:
            out.write(wire.recv(1 << 17))
            out.flush()


def replay(host: str, port: str, frames: str) -> list[str]:
    """Say to a port what was said to it in captured frames; returns that, and what is answered."""
    said = _said_to(host, int(port), Path(frames).read_bytes())
    with socket.create_connection((host, int(port)), 5) as wire:
        wire.settimeout(3)
        heard = b""
        try:
            wire.sendall(said)
            while more := wire.recv(4096):
                heard += more
        except (ConnectionError, TimeoutError):
            pass
    return [said.decode("latin-1"), heard.decode("latin-1")]


def _said_to(host: str, port: int, frames: bytes) -> bytes:
    """Return the bytes of TCP to a port in frames that lie one behind the other, by their place in the stream."""
    pieces: dict[int, bytes] = {}
    ours = socket.inet_aton(host)
    at = -1
    while (at := frames.find(b"\x08\x00\x45", at + 1)) >= 0:  # IPv4, without options
        packet = frames[at + 2 :]
        size, head = int.from_bytes(packet[2:4], "big"), 20 + (packet[32] >> 4) * 4
        if packet[9] == 6 and packet[16:20] == ours and int.from_bytes(packet[22:24], "big") == port and size > head:
            pieces[int.from_bytes(packet[24:28], "big")] = packet[head:size]
    return b"".join(piece for _, piece in sorted(pieces.items()))


def main(arguments: Sequence[str]) -> None:
    """Play a part, and print what it found."""
    parts = {
        part.__name__: part for part in (scan, plain, look, lure, hear, dismiss, crowd, call, listen, capture, replay)
    }
    found: Any = parts[arguments[0]](*arguments[1:])
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
