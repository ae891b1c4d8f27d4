"""Refuse contents that would give a tree power over the Git of whoever checks it out, and leave large files alone.

Pure. Tandem's own Git reads no attribute of a tree; the person's does, and a filter or driver that is named there runs a
program of the person's configuration. What is in the tree already stays as it is.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_DRIVER = re.compile(r"(?<!\S)(?:filter|diff|merge)=(\S+)")
_OWN = frozenset(  # what Git brings itself, and what runs no program
    (
        *("text", "binary", "union", "ada", "bash", "bibtex", "cpp", "csharp", "css", "dts", "elixir", "fortran"),
        *("fountain", "golang", "html", "java", "kotlin", "markdown", "matlab", "objc", "pascal", "perl", "php"),
        *("python", "ruby", "rust", "scheme", "tex"),
    )
)
_POINTER = re.compile(r"version https?://[^\s]*git-lfs[^\s]*/spec/|oid sha256:[0-9a-f]{64}\nsize \d+\s*\Z")
POINTER_BYTES = range(100, 260)  # a pointer of Git LFS has some 130


def refusal(path: str, before: str | None, after: str) -> str:
    """Return why a file may not be written with `after` as its text, or nothing."""
    if before is not None and is_pointer(before):
        return "it stands for a large file that Git LFS keeps, which is not here"
    if is_pointer(after):
        return "it would stand for a large file that Git LFS keeps, and there is none"
    if PurePosixPath(path).name.casefold() != ".gitattributes":
        return ""
    new = sorted(_drivers(after) - _drivers(before or ""))
    return f"it names {new[0]!r}, which runs a program of whoever checks it out" if new else ""


def is_pointer(text: str) -> bool:
    """Return whether a text is Git LFS's pointer to a large file."""
    return len(text) in POINTER_BYTES and bool(_POINTER.search(text))


def _drivers(text: str) -> set[str]:
    return {match.group() for match in _DRIVER.finditer(text) if match[1] not in _OWN or match.group()[0] == "f"}
