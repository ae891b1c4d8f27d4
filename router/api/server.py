"""Serve an application on a Unix socket that only its owner may use.

Binds the socket itself, so that it never exists with wider rights, and stops within `GRACE_S` whatever is still open.
A left-over socket is removed: whoever calls this holds the lock of the state folder, so nobody listens on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from tandem.errors import BadConfig
from tandem.paths import SOCKET_PATH_MAX, private_dir

GRACE_S = 2  # for calls that are being answered; streams end by themselves at once
BACKLOG = 64
_HEADER_BYTES_MAX = 64 << 10


def bind(path: Path) -> socket.socket:
    """Return a socket listening at `path`: 0600, in a folder only its owner may enter.

    Raises:
        BadConfig: Something that is not a socket stands there, the path is too long, or it cannot be made.
    """
    private_dir(path.parent)
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise BadConfig(
            f"the socket path {path} is longer than {SOCKET_PATH_MAX} bytes; set TANDEM_STATE to a shorter one"
        )
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)  # from here to `bind` only: a later chmod would leave a moment in which all may connect
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise BadConfig(f"cannot listen at {path}: {error.strerror}; set TANDEM_STATE to another folder") from error
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BadConfig(f"{path} is not a socket; move it away, the router listens there")
    path.unlink()


class _Uvicorn(uvicorn.Server):
    """A server whose owner hears the signals, and is told when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer."""
        await super().startup(sockets)
        self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to the program."""
        yield


class Server:
    """An application being served on a bound socket. `run` ends after `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=_HEADER_BYTES_MAX,
        )
        self._server = _Uvicorn(config)

    async def run(self) -> None:
        """Answer calls until `stop`; at most `GRACE_S` longer."""
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._listener.close()

    def stop(self) -> None:
        """Take no more connections, finish what is being answered, then end `run`."""
        self._server.should_exit = True

    async def started(self) -> None:
        """Return once calls are answered."""
        await self._server.answering.wait()
