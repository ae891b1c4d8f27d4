"""The ways out of this machine: a model server on another one, and the registries Prepare would ask.

Registries are looked at only where a person says so (`--network`): the doctor does not speak to the world by itself.
They are asked by the tools that will ask them, with the settings those have.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from cli.doctor import tools
from cli.doctor.finding import Finding, ill, unseen, well
from cli.doctor.look import Look
from cli.doctor.programs import succeeds, words_of
from tandem.addresses import at_home, is_here

CONNECT_S = 3.0
AT_ONCE_S = 0.2  # a refusal by this machine itself; ARP alone waits longer before it gives up
_REGISTRY_S = 20.0
_PIP = ("--no-input", "--disable-pip-version-check", "--retries", "0", "--timeout", "10")
_REFUSED = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM)


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of the network."""
    for setting, url in look.servers.items():
        parts = urlsplit(url)
        if parts.hostname and not is_here(parts) and at_home(parts.hostname):
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 80)
            yield from reach(parts.hostname, port, setting)
    yield from registries(look)


def reach(host: str, port: int, what: str) -> Iterator[Finding]:
    """Connect to another machine at home, and say so where this one does not let us; other failures are not ours."""
    began = time.monotonic()
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        took_s = time.monotonic() - began
        if error.errno in _REFUSED and denied(error.errno, took_s, pinged=pings(host)):
            yield ill(f"way to {what}", "local-network-denied", f"{host} answers a ping, and {_DENIED}", _ALLOW)
        return
    yield well(f"way to {what}", f"{host} port {port} can be reached")


_DENIED = "this machine refuses Tandem a connection to it at once"
_ALLOW = (
    "macOS: System Settings, Privacy & Security, Local Network: allow your terminal and Python, then start both anew"
    if sys.platform == "darwin"
    else "look for a rule of a firewall or a route on this machine that forbids TCP to that address"
)


def denied(number: int | None, took_s: float, *, pinged: bool) -> bool:
    """Decide whether this machine denies a program the local network.

    macOS says "no route to host" within a millisecond, without sending anything, while its own ping gets through. A
    host that is really away does not answer a ping, and a route that is really missing stops the ping as well.
    """
    return number == errno.EHOSTUNREACH and took_s < AT_ONCE_S and pinged


def pings(host: str) -> bool:
    """Return whether the system's own ping gets an answer."""
    done = succeeds(["ping", "-c", "1", host], wait_s=CONNECT_S)
    return done is not None and done[0]


def registries(look: Look) -> Iterator[Finding]:
    """Ask the registry of whatever the repository here installs from; Python's where there is no repository."""
    if not look.network:
        yield unseen("registries", "not looked at; `tandem doctor --network` asks them")
        return
    plan = tools.plan_for(look.folder)
    program = tools.program_for(plan) if plan else ""
    if program == "node":
        yield _registry("npm", ["npm", "ping"])
    elif program == "go":
        yield _go_proxy()
    elif program == "":
        yield _registry("pip", [_base_python(), "-m", "pip", *_PIP, "index", "versions", "pip"])


def _registry(name: str, argv: list[str]) -> Finding:
    done = succeeds(argv, wait_s=_REGISTRY_S)
    if done is None:
        return unseen(f"{name}'s registry", f"not looked at: {argv[0]} is not installed")
    ok, said = done
    if ok:
        return well(f"{name}'s registry", "answers")
    if "No module named pip" in said:
        return unseen(f"{name}'s registry", f"not looked at: {argv[0]} has no pip")
    return _unreachable(name, said)


def _unreachable(name: str, said: str) -> Finding:
    remedy = (
        f"look at the network, its proxy and {name}'s settings; without it, environments that are built already go on"
    )
    return ill(f"{name}'s registry", "registry-unreachable", said or "does not answer", remedy)


def _go_proxy() -> Finding:
    first = (words_of(["go", "env", "GOPROXY"]) or "").strip().replace("|", ",").partition(",")[0]
    if not first.startswith(("http://", "https://")):
        return unseen("go's registry", f"not looked at: GOPROXY is {first or 'not known'}")
    try:
        urllib.request.urlopen(first, timeout=CONNECT_S * 2).close()  # noqa: S310 - http(s), as seen above
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        return _unreachable("go", str(error))
    return well("go's registry", "answers")


def _base_python() -> str:
    return str(getattr(sys, "_base_executable", "") or sys.executable)
