"""The addresses of this machine's network interfaces that only machines nearby can reach.

Asks the system (getifaddrs) and nobody else. An address is an interface's of this moment: a cable, a new lease or a sleep
changes it, so who listens asks again.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import sys
from collections.abc import Iterable, Iterator

from tandem.addresses import at_home
from tandem.errors import BadInput

_UP, _LOOPBACK, _POINT_TO_POINT = 0x1, 0x8, 0x10  # the same on Linux and macOS
_ELSEWHERE = _LOOPBACK | _POINT_TO_POINT


class _Entry(ctypes.Structure):
    pass


_Entry._fields_ = [  # the same on Linux and macOS up to here, and no more is read
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(ctypes.c_ubyte)),
]


def nearby() -> tuple[str, ...]:
    """Return private and link-local addresses of interfaces that lead to machines nearby, IPv4 first.

    A link-local IPv6 address carries its interface: `fe80::1%en5`.
    """
    return chosen((flags, text) for _, flags, text in _all())


def carrier(address: str) -> str:
    """Return the name of the interface that has an address, "" where none has."""
    return next((name for name, _, text in _all() if text.partition("%")[0] == address), "")


def unnamed(host: str) -> BadInput:
    """Return the error for a link-local address that lacks its interface: the same number may be on every cable."""
    names = sorted({text.partition("%")[2] for text in nearby() if "%" in text}) or ["en5"]
    return BadInput(
        f"{host} needs the interface of this machine that leads there: {' or '.join(f'{host}%{name}' for name in names)}"
    )


def chosen(found: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Return which addresses, each with its interface's flags, machines nearby can reach. Pure.

    Not a loopback's (on macOS it has a link-local one, too), and not a tunnel's: a VPN's other end is not nearby.
    """
    near = {text for flags, text in found if flags & _UP and not flags & _ELSEWHERE and _at_home(text)}
    return tuple(sorted(near, key=lambda text: (":" in text, text)))


def _at_home(text: str) -> bool:
    host = text.partition("%")[0]
    return at_home(host) and not ipaddress.ip_address(host).is_loopback


def _all() -> Iterator[tuple[str, int, str]]:
    """Yield each address as (interface, its flags, the address)."""
    system = ctypes.CDLL(None)  # what Python itself is linked to; looking a library up would start a compiler
    first = ctypes.POINTER(_Entry)()
    if system.getifaddrs(ctypes.byref(first)):
        return
    try:
        entry = first
        while entry:
            here = entry.contents
            if here.address:
                name = here.name.decode("ascii", "replace")
                yield from ((name, here.flags, text) for text in _text(here.address, name))
            entry = here.next
    finally:
        system.freeifaddrs(first)


def _text(raw: ctypes._Pointer[ctypes.c_ubyte], name: str) -> Iterator[str]:  # pyright: ignore[reportPrivateUsage]
    """Yield the address in a `sockaddr`: its family is one byte on macOS, after a length, and two on Linux."""
    family = raw[1] if sys.platform == "darwin" else int.from_bytes(bytes(raw[:2]), sys.byteorder)
    if family == socket.AF_INET:
        yield str(ipaddress.IPv4Address(bytes(raw[4:8])))
    elif family == socket.AF_INET6:
        number = bytearray(raw[8:24])
        if number[0] == 0xFE and number[1] & 0xC0 == 0x80:
            number[2:4] = b"\0\0"  # BSD systems may keep the interface's number in here
            yield f"{ipaddress.IPv6Address(bytes(number))}%{name}"
        else:
            yield str(ipaddress.IPv6Address(bytes(number)))
