"""Where a program listens or is reached: `HOST:PORT`, written and read the same way everywhere.

An IPv6 address stands in brackets, with its interface where it needs one: `[fe80::1%en5]:7432`. Asks no resolver.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from tandem.addresses import at_home
from tandem.errors import BadInput

WORKER_PORT = 7432
PAIRING_PORT = 7431
_FORM = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)


class Endpoint(NamedTuple):
    """A host, which is a name or an address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """Return it as gRPC names it: an interface's percent sign is escaped there."""
        return str(self).replace("%", "%25")


def parse(text: str, port: int) -> Endpoint:
    """Return what `HOST`, `HOST:PORT` or an IPv6 address means; `port` where none is named.

    Raises:
        BadInput: It means nothing.
    """
    text = text.strip()
    if _is_six(text):
        return Endpoint(text, port)
    found = _FORM.fullmatch(text)
    number = int(found["port"] or port) if found else 0
    if found is None or not 0 < number < 65536 or (found["six"] and not _is_six(found["six"])):
        raise BadInput(
            f"{text[:80]!r} is no address; write HOST or HOST:PORT, such as 10.0.0.2:{port} or [fe80::1%en5]"
        )
    return Endpoint(found["six"] or found["host"], number)


def to_listen_on(text: str, port: int, setting: str) -> Endpoint:
    """Return an address this machine may listen on: a number, and one that only machines nearby can reach.

    Raises:
        BadInput: It is a name, stands for every address, or is a public one.
    """
    found = parse(text, port)
    host = found.host.partition("%")[0]
    if not _is_number(host) or not at_home(host):
        raise BadInput(
            f"{setting}: {found.host!r} is no private address of this machine, and Tandem listens on no other; "
            "name one such as 10.0.0.2, 192.168.1.2 or 169.254.1.2"
        )
    return found


def lacks_interface(host: str) -> bool:
    """Return whether an address is a link-local one of IPv6 that does not say through which interface it is reached."""
    return ":" in host and "%" not in host and _is_number(host) and ipaddress.ip_address(host).is_link_local


def is_loopback(host: str) -> bool:
    """Return whether an address is a machine's own, which means another machine everywhere else."""
    return _is_number(host) and ipaddress.ip_address(host).is_loopback


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_six(host: str) -> bool:
    return ":" in host and _is_number(host.partition("%")[0])
