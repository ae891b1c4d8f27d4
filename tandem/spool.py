"""Files on their way from one machine to another, kept in one file without a name.

They take disk and no memory, may be read by many and from any piece on, and are gone with whoever held the spool last:
also when the process is killed. The one who fills it ends before the first reads.
"""

from __future__ import annotations

import os
import tempfile
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tandem import wire
from tandem.artefacts import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX, Names
from tandem.types import ArtefactPiece

_LEFT_OUT_MAX = 64


@dataclass(frozen=True, slots=True)
class Held:
    """A file in a spool."""

    name: str
    begin: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not in a spool, and why."""

    name: str
    size_bytes: int
    why: str


class Spool:
    """A spool in `folder`. Whoever fills it asks what it `refuses`, `add`s a file's bytes, and `keep`s or `drop`s them."""

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self.held: list[Held] = []
        self.left_out: list[LeftOut] = []
        self._names = Names()
        self._begin = self._end = 0  # of the file that is being added
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as the spool is there
        self._number = file.fileno()
        weakref.finalize(self, file.close)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the files in it have."""
        return self._begin

    @property
    def pending_bytes(self) -> int:
        """Return how many bytes the file that is being added has so far."""
        return self._end - self._begin

    def refuses(self, name: str, size_bytes: int) -> str:
        """Return why a file of that name and size may not be added, "" where it may."""
        if not name or not self._names.are_free_for(name):
            return "another file has that name" if name else "its name cannot be used"
        if not 0 <= size_bytes <= FILE_BYTES_MAX:
            return f"larger than {FILE_BYTES_MAX >> 20} MiB"
        if len(self.held) >= FILES_MAX:
            return f"{FILES_MAX} files came before it"
        return f"with it, it would be more than {BYTES_MAX >> 20} MiB" if self._begin + size_bytes > BYTES_MAX else ""

    def add(self, data: bytes) -> None:
        """Add bytes to the file that is being added. Blocking.

        Raises:
            OSError: The disk is full.
        """
        view = memoryview(data)
        while view:
            written = os.pwrite(self._number, view, self._end)
            self._end += written
            view = view[written:]

    def keep(self, name: str) -> None:
        """Have what was added be the file `name`."""
        self._names.take(name)
        self.held.append(Held(name, self._begin, self.pending_bytes))
        self._begin = self._end

    def drop(self) -> None:
        """Forget what was added since the last file."""
        self._end = self._begin

    def leave_out(self, name: str, size_bytes: int, why: str) -> None:
        """Say that a file is not in it."""
        if len(self.left_out) < _LEFT_OUT_MAX:
            self.left_out.append(LeftOut(name, size_bytes, why))

    def read(self, file: Held) -> Iterator[bytes]:
        """Yield a file's bytes in pieces as large as the wire takes; of an empty file one that is empty. Blocking."""
        end = file.begin + file.size_bytes
        for begin in range(file.begin, max(end, file.begin + 1), wire.DATA_BYTES):
            yield os.pread(self._number, min(wire.DATA_BYTES, end - begin), begin)

    def pieces(self, skipped: int = 0) -> Iterator[ArtefactPiece]:
        """Yield everything as it goes over the wire, the same each time, without the first `skipped` pieces. Blocking."""
        yield from islice(self._pieces(), skipped, None)

    def _pieces(self) -> Iterator[ArtefactPiece]:
        for file in self.held:
            sent = 0
            for data in self.read(file):
                sent += len(data)
                yield ArtefactPiece(
                    spool=self.id, name=file.name, size_bytes=file.size_bytes, data=data, last=sent == file.size_bytes
                )
        for file in self.left_out:
            yield ArtefactPiece(spool=self.id, name=file.name, size_bytes=file.size_bytes, left_out=file.why, last=True)
