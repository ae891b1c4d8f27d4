"""On which addresses something listens on a TCP port of this machine: from the system's own tables.

Linux has them in /proc. macOS has `lsof` and `netstat`; lsof is known to hang there at times, so it is asked with a
deadline, and netstat after it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cli.doctor.programs import words_of

_LISTEN = "0A"
_ASK_S = 5.0
EVERYWHERE = frozenset(("0.0.0.0", "::", "*"))  # noqa: S104 - what is looked for, not what is bound


def addresses(port: int) -> set[str] | None:
    """Return the addresses something listens on at `port`, `*` for all; None where the system does not say."""
    if sys.platform == "linux":
        tables = [_read(Path("/proc/net") / name) for name in ("tcp", "tcp6")]
        return in_proc(tables, port) if any(tables) else None
    said = words_of(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fn"], wait_s=_ASK_S)
    if said:
        return in_lsof(said, port)
    said = words_of(["netstat", "-an", "-p", "tcp"], wait_s=_ASK_S)
    return None if said is None else in_netstat(said, port)


def in_proc(tables: Iterable[str], port: int) -> set[str]:
    """Return the addresses in the texts of /proc/net/tcp and tcp6."""
    found: set[str] = set()
    for line in (line for table in tables for line in table.splitlines()[1:]):
        fields = line.split()
        host, _, number = fields[1].partition(":")
        if fields[3] == _LISTEN and int(number, 16) == port:
            found.add(_address(host))
    return found


def in_lsof(said: str, port: int) -> set[str]:
    """Return the addresses in what `lsof -Fn` printed: lines such as `n127.0.0.1:11434` and `n*:11434`."""
    names = [line[1:] for line in said.splitlines() if line.startswith("n")]
    return {name.rpartition(":")[0].strip("[]") for name in names if name.endswith(f":{port}")}


def in_netstat(said: str, port: int) -> set[str]:
    """Return the addresses in what macOS' `netstat -an` printed: `tcp4  0  0  127.0.0.1.11434  *.*  LISTEN`."""
    rows = re.findall(r"(?m)^tcp\S*\s+\d+\s+\d+\s+(\S+)\.(\d+)\s+\S+\s+LISTEN", said)
    return {host for host, number in rows if int(number) == port}


def _address(host: str) -> str:
    """Return an address as the kernel writes it: words of four bytes in the machine's own order, in hexadecimal."""
    raw = bytes.fromhex(host)
    turned = b"".join(
        raw[at : at + 4][::-1] if sys.byteorder == "little" else raw[at : at + 4] for at in range(0, len(raw), 4)
    )
    return str(IPv4Address(turned) if len(turned) == 4 else IPv6Address(turned))


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""
