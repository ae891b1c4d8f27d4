"""Where words go: results to standard output, remarks and errors to standard error, JSON one object a line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

PLAIN_WIDTH = 100  # columns where no terminal says otherwise


def say(text: str = "") -> None:
    """Print a line of the result."""
    print(text, flush=True)


def remark(text: str) -> None:
    """Print a line that is not part of the result."""
    print(text, file=sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Print one JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def at_terminal() -> bool:
    """Return whether a person sits there: standard input and output are both a terminal."""
    return _tty(sys.stdin) and _tty(sys.stdout)


def draws() -> bool:
    """Return whether standard output bears repainting."""
    return _tty(sys.stdout) and os.environ.get("TERM") != "dumb"


def colours() -> bool:
    """Return whether standard output should be coloured."""
    return draws() and not os.environ.get("NO_COLOR")


def width() -> int:
    """Return the columns of the terminal, or of plain output."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if _tty(sys.stdout) else PLAIN_WIDTH


def _tty(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()
