"""What a command prints: the beginning and the end are kept, the rest is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

OnOutput = Callable[[bytes], None]
_HEAD = _TAIL = 64 << 10  # bytes that are kept, at either end
_PIECE = 64 << 10


class Output:
    """Reads a stream to its end in bounded memory. `passed` is set as soon as there was more than `bytes_max`."""

    def __init__(self, bytes_max: int, on_output: OnOutput | None = None) -> None:
        self.passed = asyncio.Event()
        self._bytes_max = bytes_max
        self._on_output = on_output
        self._head = b""
        self._tail = b""
        self._size = 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read to the end."""
        while piece := await stream.read(_PIECE):
            self.take(piece)

    def take(self, piece: bytes) -> None:
        """Keep what there is room for."""
        self._size += len(piece)
        if self._size > self._bytes_max:
            self.passed.set()
        if self._on_output is not None:
            self._on_output(piece)
        room = _HEAD - len(self._head)
        self._head += piece[:room]
        self._tail = (self._tail + piece[room:])[-_TAIL:]

    def text(self) -> str:
        """Return what is kept, with a note about what is not."""
        cut = self._size - len(self._head) - len(self._tail)
        note = f"\n[{cut} bytes of output cut here]\n".encode() if cut > 0 else b""
        return (self._head + note + self._tail).decode("utf-8", "replace")
