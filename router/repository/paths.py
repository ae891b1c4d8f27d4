r"""Say which paths of an edit may not be written.

Pure. A path comes from a model and ends up in a checkout on somebody's file system, which may ignore case, normalise
Unicode, drop trailing dots or read `git~1` as `.git`. What any of them would take for `.git` is refused on all.
"""

from __future__ import annotations

import re
import unicodedata

from tandem.errors import BadReply

PATH_BYTES_MAX = 1024
_PART_BYTES_MAX = 255
_SHORT_NAME = re.compile(r"git~\d+|gi[0-9a-f]{4}~\d+")  # 8.3 names that NTFS may give to .git
_RESERVED = frozenset((".git", ".gitmodules"))


def check_path(path: str) -> None:
    """Pass where `path` may be written.

    Raises:
        BadReply: It leads out of the tree or into `.git`, or no file system could hold it; the message names it.
    """
    why = refusal(path)
    if why:
        raise BadReply(f"the path {path[:200]!r} cannot be written: {why}; use a path relative to the repository's top")


def refusal(path: str) -> str:
    """Return why `path` may not be written, or nothing."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if not path:
        return "it is empty"
    if size > PATH_BYTES_MAX:
        return f"it has {size} bytes and may have {PATH_BYTES_MAX}"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path:
        return "it holds a backslash"
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _DIRECTIONS for letter in path):
        return "it holds control characters"
    return next((why for part in path.split("/") if (why := _part_refusal(part))), "")


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they make a path look like another


def _part_refusal(part: str) -> str:
    if not part:
        return "one of its parts is empty"
    if len(part.encode()) > _PART_BYTES_MAX:
        return f"one of its parts has more than {_PART_BYTES_MAX} bytes"
    plain = _as_a_file_system_may_read_it(part)
    if part in (".", "..") or not plain:
        return f"{part!r} leads elsewhere"
    if plain in _RESERVED or _SHORT_NAME.fullmatch(plain):
        return f"{part!r} belongs to Git"
    return ""


def _as_a_file_system_may_read_it(part: str) -> str:
    """Return a part without case, compatibility forms, invisible characters, streams and trailing dots or spaces."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", part) if unicodedata.category(c) not in ("Cf", "Mn"))
    folded = unicodedata.normalize("NFKC", visible.casefold())
    return folded.split(":", 1)[0].rstrip(". \t")


def fold(path: str) -> str:
    """Return a path as a file system that ignores case and Unicode forms compares it."""
    if path.isascii():  # nearly all are, and a repository has many
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
