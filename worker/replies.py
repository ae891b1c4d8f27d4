"""Whole replies, kept on disk for whoever asks again: a model's minutes are not spent twice because a process was killed.

A reply belongs to everything that asked for it: request id, attempt, and each word of the question. It is written before
anybody is told and not synced: a power cut may lose it, and then the model is asked again. Broken files count as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import DecodeError

from tandem.paths import private_dir
from tandem.types import CompleteRequest, Reply
from tandem.v1 import worker_pb2 as pb
from tandem.wire.questions import complete_out, reply_in, reply_out

log = logging.getLogger(__name__)
KEPT_S = 12 * 3600.0  # as long as a router waits for a worker, by default
KEPT_MAX = 256  # the newest; a reply is a few kilobytes
_SWEEP_EVERY = 32  # replies between two looks at what is too old


class Replies:
    """The folder of kept replies of one worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_dir(folder)
        self._put = 0
        self._sweep()

    def find(self, request: CompleteRequest) -> Reply | None:
        """Return the reply this very request was given before, if it is kept."""
        file = self._file(request)
        try:
            raw = file.read_bytes()
        except OSError:
            return None
        digest, body = raw[:32], raw[32:]
        if hashlib.sha256(body).digest() != digest:
            return None
        with contextlib.suppress(DecodeError):
            return reply_in(pb.CompleteResponse.FromString(body).reply)
        return None

    def put(self, request: CompleteRequest, reply: Reply) -> None:
        """Keep a reply, whole or not at all; where that fails, it is told all the same."""
        body = reply_out(reply).SerializeToString()
        file = self._file(request)
        passing = file.with_suffix(".part")
        try:
            descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(hashlib.sha256(body).digest() + body)
            passing.replace(file)
        except OSError as error:
            log.warning("reply was not kept", extra={"request_id": request.request_id, "why": str(error)})
            with contextlib.suppress(OSError):
                passing.unlink(missing_ok=True)
        self._put += 1
        if self._put % _SWEEP_EVERY == 0:
            self._sweep()

    def _file(self, request: CompleteRequest) -> Path:
        question = complete_out(replace(request, deadline_s=0.0, priority=0))
        digest = hashlib.sha256(question.SerializeToString(deterministic=True))
        return self._folder / digest.hexdigest()

    def _sweep(self) -> None:
        """Remove what is too old or too much."""
        now_s = time.time()
        aged: list[tuple[float, Path]] = []
        for file in self._folder.iterdir():
            with contextlib.suppress(OSError):
                aged.append((now_s - file.stat().st_mtime, file))
        for place, (age_s, file) in enumerate(sorted(aged)):
            if place >= KEPT_MAX or age_s > KEPT_S:
                with contextlib.suppress(OSError):
                    file.unlink()
