"""Decide whether a model server's address keeps the code at home: on this machine or in a private network.

Knows names and numbers alone and asks no resolver: a name is at home only where nobody but the network around can answer
for it (`localhost`, mDNS' `.local`). Everything else is away, and what it does not understand is, too.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

_HOME: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fe80::/10"),
    IPv6Network("fc00::/7"),
)

_HERE = ("localhost", "127.0.0.1", "::1")


class Credentials(ValueError):
    """An address that carries a name or a password; it must not be shown."""


def checked(url: str, *, allow_remote: bool, setting: str) -> str:
    """Return the base address of an OpenAI-compatible server, with `/v1` where it has no path.

    Raises:
        Credentials: It carries a name or password.
        ValueError: It is no http(s) address, or leads away and `setting` does not allow that.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise Credentials("an address must not carry a name or password; keep the key in the environment or keychain")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not an address like http://127.0.0.1:8080/v1")
    _ = parts.port  # raises ValueError where it is none
    if not allow_remote and not at_home(parts.hostname):
        raise ValueError(
            f"{parts.hostname!r} is neither this machine nor in a private network, and your code would go there; "
            f"set {setting} = true if it may"
        )
    return url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


def is_here(parts: SplitResult) -> bool:
    """Return whether an address leads to this machine itself."""
    return (parts.hostname or "").lower() in _HERE


def at_home(host: str) -> bool:
    """Return whether `host` is this machine, or can only be in the network around it."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith((".localhost", ".local")):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _HOME if network.version == address.version)
