"""Which commit of Tandem's own checkout runs: read from Git's files, because no program's start waits for a process.

A wheel has no checkout, and answers "".
"""

from __future__ import annotations

import re
from pathlib import Path

from tandem.entry import APP_ROOT

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LINE_BYTES_MAX = 1 << 20


def commit(root: Path = APP_ROOT) -> str:
    """Return the commit that is checked out, "" where that cannot be said."""
    try:
        return _head(_git_dir(root / ".git"))
    except (OSError, UnicodeDecodeError, ValueError):
        return ""


def _git_dir(place: Path) -> Path:
    """Return the Git directory; a linked worktree has a file that names it."""
    if place.is_dir():
        return place
    return (place.parent / _read(place).removeprefix("gitdir:").strip()).resolve()


def _head(folder: Path) -> str:
    head = _read(folder / "HEAD").strip()
    if _COMMIT.fullmatch(head):
        return head
    name = head.removeprefix("ref:").strip()
    common = folder / _read(folder / "commondir").strip() if (folder / "commondir").exists() else folder
    for home in (folder, common):
        if (home / name).is_file() and _COMMIT.fullmatch(found := _read(home / name).strip()):
            return found
    packed = (line.split(" ", 1) for line in _read(common / "packed-refs").splitlines() if line[:1] not in "#^")
    return next((found for found, ref in packed if ref == name and _COMMIT.fullmatch(found)), "")


def _read(file: Path) -> str:
    with file.open(encoding="utf-8") as source:
        return source.read(_LINE_BYTES_MAX)
