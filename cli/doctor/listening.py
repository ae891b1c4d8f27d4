"""On which addresses something listens on a TCP port of this machine, and what: from the system's own tables.

Linux has them in /proc. macOS has `lsof` and `netstat`; lsof is known to hang there at times, so it is asked with a
deadline, and netstat after it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Collection, Iterable, Iterator
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


def holder(host: str, port: int) -> str:
    """Return which program listens where `host:port` is meant, as `process 71 (nc)`; "" where the system does not say.

    Of another user's, Linux says nothing.
    """
    if sys.platform == "linux":
        tables = [_read(Path("/proc/net") / name) for name in ("tcp", "tcp6")]
        found = _processes_with({f"socket:[{inode}]" for inode in inodes(tables, host, port)})
    else:
        said = words_of(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpcn"], wait_s=_ASK_S)
        found = holders(said or "", host, port)
    return ", ".join(f"process {pid} ({name})" for pid, name in found)


def inodes(tables: Iterable[str], host: str, port: int) -> set[str]:
    """Return the numbers of the sockets that listen there, in the texts of /proc/net/tcp and tcp6."""
    return {fields[9] for address, fields in _listening(tables, port) if _is_meant(address, host)}


def holders(said: str, host: str, port: int) -> list[tuple[str, str]]:
    """Return (process id, name) of what listens there, in what `lsof -Fpcn` printed: lines such as `p71`, `cnc`, `n*:9`."""
    found: dict[tuple[str, str], None] = {}
    pid = name = ""
    for line in said.splitlines():
        kind, word = line[:1], line[1:]
        if kind == "p":
            pid = word
        elif kind == "c":
            name = word
        elif kind == "n" and word.endswith(f":{port}") and _is_meant(word.rpartition(":")[0].strip("[]"), host):
            found[pid, name] = None
    return list(found)


def _is_meant(address: str, host: str) -> bool:
    return address in EVERYWHERE or address.partition("%")[0] == host.partition("%")[0]


def _processes_with(sockets: Collection[str]) -> list[tuple[str, str]]:
    """Return (process id, name) of every process that has one of these sockets open; needs Linux."""
    found: list[tuple[str, str]] = []
    for folder in sorted(Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError):  # it ended, or is another user's
            if any(str(one.readlink()) in sockets for one in (folder / "fd").iterdir()):
                found.append((folder.name, _read(folder / "comm").strip()))
    return found


def in_proc(tables: Iterable[str], port: int) -> set[str]:
    """Return the addresses in the texts of /proc/net/tcp and tcp6."""
    return {address for address, _ in _listening(tables, port)}


def _listening(tables: Iterable[str], port: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the address and the fields of each row of something that listens at `port`."""
    for line in (line for table in tables for line in table.splitlines()[1:]):
        fields = line.split()
        host, _, number = fields[1].partition(":")
        if fields[3] == _LISTEN and int(number, 16) == port:
            yield _address(host), fields


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
