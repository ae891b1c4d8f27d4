"""Keep the traceback of an unforeseen error in a private file under the state folder, with secrets struck out."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from tandem import __version__
from tandem.paths import private_dir, state_dir
from tandem.secrets import redact


def write_report(traceback_text: str) -> Path:
    """Write the report (0600) and return its path. The command's arguments are left out: a task may be in them."""
    folder = private_dir(private_dir(state_dir()) / "logs")
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    head = f"tandem {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + redact(traceback_text))
    except OSError:
        path.unlink(missing_ok=True)  # half a report helps nobody
        raise
    return path
