"""Read many files' tags through a child process, and go on without it for a file it does not survive.

A file that the child dies of or is too slow with is scanned for what looks like a definition instead. After a few of those
the rest is scanned too: a repository full of such files costs time, not the router.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType

from agents.repomap import languages, tags
from agents.repomap.tags import Tags
from tandem.entry import APP_ROOT

_ANSWER_S = 5.0  # an honest file of the size limit takes 0.2 s
_START_S = 30.0  # importing the library for the first time on a busy machine
_LOSSES_MAX = 5
_ANSWER_BYTES_MAX = 32 << 20
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from agents.repomap.child import main; main()"


def read_all(files: Mapping[str, str]) -> Iterator[tuple[str, Tags, bool]]:
    """Yield (path, tags, whether they may be kept) for each file; those never tried with a grammar may not be kept."""
    with _Reader() as reader:
        for path, text in files.items():
            if not text or not languages.language_of(path):
                yield path, tags.scan(path, text), True
            elif reader.losses < _LOSSES_MAX:
                yield path, reader.read(path, text) or tags.scan(path, text), True
            else:
                yield path, tags.scan(path, text), False


class _Reader:
    """Owns the child; starts it when it is first needed, and anew after it was lost."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.losses = 0

    def __enter__(self) -> _Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: str, text: str) -> Tags | None:
        """Return the tags of one file, or None where the child was lost over it."""
        if self._child is None:
            self._child = _start()
            if not _line(self._child, _START_S):
                return self._lost()
        line = _ask(self._child, json.dumps([path, text]).encode() + b"\n")
        return (tags.decode(line.decode("utf-8", "replace")) if line else None) or self._lost()

    def _lost(self) -> None:
        self.losses += 1
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not yet written has nobody to read it
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, str(APP_ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath},
    )


def _ask(child: subprocess.Popen[bytes], question: bytes) -> bytes:
    """Return the line that answers `question`, or nothing where the child died or took too long."""
    assert child.stdin is not None
    try:
        child.stdin.write(question)
        child.stdin.flush()
    except OSError:
        return b""
    return _line(child, _ANSWER_S)


def _line(child: subprocess.Popen[bytes], limit_s: float) -> bytes:
    assert child.stdout is not None
    pipe, until, said = child.stdout.fileno(), time.monotonic() + limit_s, bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while not said.endswith(b"\n"):
            if not ready.select(max(0.0, until - time.monotonic())):
                return b""
            piece = os.read(pipe, 1 << 20)
            if not piece or len(said) > _ANSWER_BYTES_MAX:
                return b""
            said += piece
    return bytes(said)
