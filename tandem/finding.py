"""Finding machines on the local network by DNS-SD (zeroconf): a hint where to look, and nothing more.

What is announced is a claim that anybody in the network may make. So nothing is believed of it but that an address may be
worth a try: who is there, the code or the certificate tells. A machine announces itself while it shows a code, and a worker
while it listens for paired routers, on the addresses where it does. Whether a machine lives is not asked here: one that was
killed stays announced for many minutes (zeroconf's shortest time to live of a name is 1125 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tandem.addresses import at_home
from tandem.claims import NAME_CHARS, Claims, Seen, bears, label_of
from tandem.endpoints import Endpoint, is_loopback
from tandem.errors import Unavailable
from tandem.identity import NodeId

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

PAIRING = "_tandem-pair._tcp.local."  # a machine that shows a code
WORKER = "_tandem._tcp.local."  # a worker that listens for the routers it is paired with
_RESOLVE_MS = 1500
_ASKED_MAX = 64  # names at once; a network full of announcements is somebody's joke


@asynccontextmanager
async def announced(node: NodeId, name: str, places: Sequence[Endpoint], kind: str = PAIRING) -> AsyncGenerator[None]:
    """Announce inside the block that a machine is at `places`, which have one port; nothing where there are none.

    Announcing takes more than a second, and goes on beside the block; a network that takes no announcement is no trouble.
    """
    hosts = _four(place.host for place in places)
    if not hosts:
        yield
        return
    telling = asyncio.create_task(_announce(node, name, hosts, places[0].port, kind))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _announce(node: NodeId, name: str, hosts: Sequence[str], port: int, kind: str) -> None:
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(
        kind,
        f"{label_of(node)}.{kind}",
        addresses=[ipaddress.ip_address(host).packed for host in hosts],
        port=port,
        properties={"id": node, "name": name},
        server=f"{label_of(node).lower()}.local.",
    )
    zeroconf = _opened(hosts)
    if zeroconf is None:
        return
    try:
        registering: Any = zeroconf  # its types are known in part
        await (await registering.async_register_service(info, allow_name_change=True))
        await asyncio.Event().wait()
    finally:
        with contextlib.suppress(Exception):  # a network that is gone takes no goodbye
            await asyncio.wait_for(zeroconf.async_close(), 3.0)


async def find(hosts: Sequence[str], wait_s: float) -> tuple[Seen, ...]:
    """Return what is announced near `hosts`, addresses of this machine, within `wait_s` seconds.

    Raises:
        Unavailable: This machine has no address to ask from.
    """
    async with Finder(hosts) as finder:
        await asyncio.sleep(wait_s)
        return finder.seen


class Finder:
    """Listens for announcements of a kind inside its block; `seen` is what there is at this moment.

    With `wanted`, only what bears the name of one of these machines, with a number behind it or without, is looked at.
    """

    def __init__(
        self, hosts: Sequence[str], kind: str = PAIRING, wanted: Callable[[], Collection[NodeId]] | None = None
    ) -> None:
        self._hosts = _four(hosts)
        self._kind = kind
        self._wanted = wanted
        self._claims = Claims()
        self._asking = set[asyncio.Task[None]]()

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Return what is announced, in the order of the ids."""
        return self._claims.seen(time.monotonic())

    async def __aenter__(self) -> Finder:
        """Begin to listen.

        Raises:
            Unavailable: This machine has no address to ask from.
        """
        from zeroconf.asyncio import AsyncServiceBrowser

        self._zeroconf = _opened(self._hosts)
        if self._zeroconf is None:
            raise Unavailable(
                "others are looked for over IPv4, and this machine has no private address of it; name the other with --at"
            )
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, self._kind, handlers=[self._changed])
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop listening."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        assert self._zeroconf is not None
        await self._browser.async_cancel()
        await self._zeroconf.async_close()

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: object) -> None:
        del service_type
        label = name.removesuffix(f".{self._kind}")
        if getattr(state_change, "name", "") == "Removed":
            self._claims.goodbye(label)
        elif self._is_looked_at(label):
            task = asyncio.ensure_future(self._resolve(zeroconf, name))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _is_looked_at(self, label: str) -> bool:
        """Return whether it is asked what stands behind a name; a machine's own is, whoever else announces what."""
        wanted = () if self._wanted is None else self._wanted()
        if any(bears(label, node) for node in wanted):
            return True
        alike = self._wanted is None or any(bears(label[:NAME_CHARS], node) for node in wanted)
        return alike and (self._claims.knows(label) or len(self._asking) < _ASKED_MAX)

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(self._kind, name)
        if not await info.async_request(zeroconf, _RESOLVE_MS):
            return
        seen = _read(info)
        if seen is not None:
            self._claims.hear(name.removesuffix(f".{self._kind}"), seen, time.monotonic())


def _read(info: ServiceInfo) -> Seen | None:
    """Return an announcement as it may be used: addresses nearby alone, and words that a terminal can show."""
    hosts = [host for host in info.parsed_addresses() if at_home(host) and not is_loopback(host)]
    if not hosts or not info.port:
        return None
    random.shuffle(hosts)  # no crowd of them hides the right one each time
    return Seen(
        node=NodeId(_word(info, b"id")),
        name=_word(info, b"name"),
        at=tuple(Endpoint(host, info.port) for host in hosts[:8]),
    )


def _word(info: ServiceInfo, key: bytes) -> str:
    text = (info.properties.get(key) or b"").decode("utf-8", "replace")[:64]
    return "".join(character if character.isprintable() else "?" for character in text)


def _four(hosts: Iterable[str]) -> list[str]:
    """Return the IPv4 addresses among these; a machine on a cable gives itself one, too."""
    return [host for host in hosts if ":" not in host]


def _opened(hosts: Sequence[str]) -> AsyncZeroconf | None:
    """Return multicast DNS on these addresses, or None where there is none or the system refuses it."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncZeroconf

    if not hosts:
        return None
    try:
        return AsyncZeroconf(interfaces=list(hosts), ip_version=IPVersion.V4Only)
    except OSError:
        return None
