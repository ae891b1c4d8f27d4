"""Structured logs: one JSON object a line, to a private file or standard error, with secrets struck out.

Messages are constant text in the past tense; values are fields (`extra=`). Prompts and file contents are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tandem import disk
from tandem.secrets import redact, redacted

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


def start_logging(file: Path | None, level: int = logging.INFO) -> None:
    """Send our logs to `file` (0600, rotated at 5 MB, three kept), or to standard error.

    Raises:
        BadConfig, DiskFull: The file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        with disk.watched("the log could not be opened", file):
            file.touch(mode=0o600, exist_ok=True)
            handler = RotatingFileHandler(file, maxBytes=5 << 20, backupCount=3, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("tandem", "agents", "graphs", "router", "worker", "cli"):
        logging.getLogger(ours).setLevel(level)
