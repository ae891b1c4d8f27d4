"""Over what kind of network an address is reached: what the system says of the interface that leads there.

What the system does not know, such as an adapter that calls itself something else, a person may say (`link.media`).
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tandem import interfaces
from tandem.types import Medium

WORDS: Mapping[Medium, str] = {
    "thunderbolt": "Thunderbolt",
    "ethernet": "Ethernet",
    "wifi": "Wi-Fi",
    "inside": "inside this machine",
    "unknown": "no known network",
}
_PORTS_S = 10.0  # how long macOS' list of ports is good: an adapter may be put in
_PORTS_WAIT_S = 5.0
_PORT = re.compile(r"^Hardware Port: (?P<port>.*)\nDevice: (?P<device>\S+)$", re.MULTILINE)
_THUNDERBOLT = re.compile(r"Thunderbolt (Bridge|\d+)")  # but "Thunderbolt Ethernet" is an adapter for the other kind
_ports: tuple[float, dict[str, Medium]] = (-_PORTS_S, {})


def towards(host: str, named: Mapping[str, Medium]) -> Medium | None:
    """Return over what this machine would reach a host now, or None where the system does not say.

    `named` says it of interfaces by their names. Sends nothing, but asks the resolver where `host` is a name. Blocking.
    """
    with contextlib.suppress(OSError, UnicodeError):  # the second is what a name that is none ends with
        kind, _, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as asked:
            asked.connect(place)  # chooses a route, and the address to come from; a datagram's socket sends nothing
            mine = asked.getsockname()
            return at(mine[0], named, scope=mine[3] if len(mine) > 3 else 0)
    return "unknown"


def at(host: str, named: Mapping[str, Medium], scope: int = 0) -> Medium | None:
    """Return what the interface is that has an address of this machine, or None where the system does not say.

    `scope` is the interface's number, where one is known.
    """
    name = socket.if_indextoname(scope) if scope else host.partition("%")[2] or interfaces.carrier(host)
    if not name:
        return "unknown"
    if name in named:
        return named[name]
    if name.startswith("lo"):
        return "inside"
    return _on_macos(name) if sys.platform == "darwin" else _on_linux(name)


def _on_linux(name: str, devices: Path = Path("/sys/class/net")) -> Medium:
    device = devices / name
    if (device / "wireless").exists() or (device / "phy80211").exists():
        return "wifi"
    with contextlib.suppress(OSError):
        if (device / "device" / "driver").resolve().name == "thunderbolt-net":
            return "thunderbolt"
    return "ethernet"


def _on_macos(name: str) -> Medium | None:
    global _ports
    asked_s, known = _ports
    if time.monotonic() - asked_s > _PORTS_S:
        argv = ["/usr/sbin/networksetup", "-listallhardwareports"]
        try:
            listed = subprocess.run(argv, capture_output=True, text=True, timeout=_PORTS_WAIT_S, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            listed = ""
        known = ports(listed) or known
        _ports = (time.monotonic(), known)
    return known.get(name, "unknown") if known else None


def ports(listed: str) -> dict[str, Medium]:
    """Return what each device is in the output of macOS' `networksetup -listallhardwareports`. Pure."""
    return {found["device"]: _kind(found["port"]) for found in _PORT.finditer(listed)}


def _kind(port: str) -> Medium:
    if port in ("Wi-Fi", "AirPort"):
        return "wifi"
    return "thunderbolt" if _THUNDERBOLT.fullmatch(port) else "ethernet"
