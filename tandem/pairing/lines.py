"""Lines of a pairing over TCP: bounded in size, and each waited for no longer than a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

from tandem.errors import Unavailable
from tandem.pairing.messages import LINE_BYTES_MAX

LINE_S = 10.0  # for a line to come or to go; a machine needs well under one second for its part


class Lines:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.far: str = _far(writer.get_extra_info("peername"))
        """The other end's address; a link-local one of IPv6 with this machine's interface that leads there."""

    @classmethod
    async def to(cls, host: str, port: int, wait_s: float) -> Lines:
        """Connect.

        Raises:
            OSError, TimeoutError: It did not work.
        """
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
        return cls(reader, writer)

    async def send(self, *lines: bytes) -> None:
        """Send lines.

        Raises:
            Unavailable: The other end is gone, or does not take them.
        """
        try:
            async with asyncio.timeout(LINE_S):
                self._writer.write(b"".join(lines))
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise _gone(error) from error

    async def read(self, wait_s: float = LINE_S) -> bytes:
        """Return the next line, or a piece without an end where it is too long or broke off.

        Raises:
            Unavailable: None came.
        """
        try:
            async with asyncio.timeout(wait_s):
                return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                return error.partial
            raise Unavailable("the other machine closed the connection") from error
        except asyncio.LimitOverrunError:
            return b"-" * (LINE_BYTES_MAX + 1)  # `messages` refuses what is so long
        except (OSError, TimeoutError) as error:
            raise _gone(error) from error

    async def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()


def words(error: OSError | TimeoutError) -> str:
    """Return the system's own words for why a connection or a listener did not come about; asyncio adds Python's."""
    if error.errno is None:  # of a name with several addresses each may have failed for a reason of its own
        return "" if isinstance(error, TimeoutError) else "none of its addresses takes a connection"
    return error.strerror or "" if isinstance(error, socket.gaierror) else os.strerror(error.errno)


def _far(name: Any) -> str:
    """Return the host in a socket's name; the interface stands apart there, as a number."""
    if not name:
        return "?"
    host, scope = str(name[0]), name[3] if len(name) > 3 else 0
    if not scope or "%" in host:
        return host
    with contextlib.suppress(OSError):  # the interface is gone this moment
        return f"{host}%{socket.if_indextoname(scope)}"
    return host


def _gone(error: Exception) -> Unavailable:
    if isinstance(error, TimeoutError):
        return Unavailable(f"the other machine said nothing for {LINE_S:g} s")
    return Unavailable(f"the connection to the other machine broke ({error})")
