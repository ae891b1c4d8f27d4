"""Structured logs: one JSON object a line, to a private file or standard error, with secrets struck out.

Messages are constant text in the past tense; values are fields (`extra=`). Prompts and file contents are never logged.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tandem import disk
from tandem.secrets import redact, redacted

_BYTES_MAX = 5 << 20
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted."""
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        line = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(redacted(line), ensure_ascii=False, default=lambda odd: redact(str(odd)))


class _PrivateFile(RotatingFileHandler):
    """A log whose every new file is its owner's alone, also after the first was turned over."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding=self.encoding, opener=private)


def _turn_over(file: Path) -> None:
    """Put a log that grew too large aside; who has it open goes on in it, and the next start begins a new one."""
    if file.exists() and file.stat().st_size > _BYTES_MAX:
        file.replace(file.with_suffix(".out.1"))


def start_logging(file: Path | None, level: int = logging.INFO) -> None:
    """Send our logs to `file` (0600, rotated at 5 MB, three kept), or to standard error.

    What a service manager keeps of standard error beside it (`.out`) is turned over with it, at a start.

    Raises:
        BadConfig, DiskFull: The file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        with disk.watched("the log could not be opened", file):
            file.touch(mode=0o600, exist_ok=True)
            _turn_over(file.with_suffix(".out"))
            handler = _PrivateFile(file, maxBytes=_BYTES_MAX, backupCount=3, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("tandem", "agents", "graphs", "router", "worker", "cli"):
        logging.getLogger(ours).setLevel(level)
