"""Which files that a check left are brought back, under which names, and how many: the rules both programs keep.

A pattern is a path from the folder of the check. `*` stands for any part of one name, `**` for any number of folders.
Pure: what is on a disk, or on the wire, others know. What a test wrote is anybody's, its name as much as its contents.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from tandem.errors import BadInput

FILES_MAX = 32
FILE_BYTES_MAX = 4 << 20
BYTES_MAX = 8 << 20
"""What is brought back of one check: so many files, each at most so large, and all together."""
LEFT_OUT_MAX = 16  # files that are named though they are left out
NAME_CHARS_MAX = 200
PATTERNS_MAX = 64
DEFAULT = ("coverage.xml", "coverage.json", "coverage.out", "lcov.info", "coverage/lcov.info", "junit.xml", "*.log")

Open: TypeAlias = frozenset[tuple[int, tuple[str, ...]]]
"""The patterns that a path may still fit, each by its place in the list and what is left of it."""


def patterns(texts: Iterable[str]) -> tuple[str, ...]:
    """Return patterns as they are used.

    Raises:
        BadInput: One leads out of the folder, or is none; or there are too many.
    """
    found = tuple(text.strip() for text in texts)
    if len(found) > PATTERNS_MAX:
        raise BadInput(f"{len(found)} patterns of artefacts are named, and {PATTERNS_MAX} are looked for")
    for pattern in found:
        parts = pattern.split("/")
        if {"", ".", ".."} & set(parts) or len(pattern) > NAME_CHARS_MAX or not pattern.isprintable():
            raise BadInput(
                f"{pattern[:80]!r} is no pattern of artefacts; write a path from the folder of the check, such as "
                "'coverage.xml', '*.log' or 'htmlcov/**'"
            )
    return found


def begin(wanted: Sequence[str]) -> Open:
    """Return the patterns before any part of a path is known."""
    return frozenset((place, tuple(pattern.split("/"))) for place, pattern in enumerate(wanted))


def below(open_: Open, name: str) -> Open:
    """Return the patterns that paths through `name`, the next part, may still fit; empty: nothing there is wanted."""
    found: set[tuple[int, tuple[str, ...]]] = set()
    for place, rest in open_:
        while rest and rest[0] == "**":
            found.add((place, rest))
            rest = rest[1:]
        if rest and fnmatchcase(name, rest[0]):
            found.add((place, rest[1:]))
    return frozenset(found)


def fits(open_: Open) -> int | None:
    """Return the place of the first pattern that a path which ends here fits, None where it fits none."""
    return min((place for place, rest in open_ if all(part == "**" for part in rest)), default=None)


def safe(path: str) -> str:
    """Return a name that can be shown and written anywhere; "" where there can be none.

    Characters that hide or move something, or that no name should have, are underscores in it.
    """
    parts = ["".join(c if c.isprintable() and c not in "\\:" else "_" for c in part) for part in path.split("/")]
    name = "/".join(parts)
    return "" if {"", ".", ".."} & set(parts) or len(name) > NAME_CHARS_MAX else name


class Names:
    """The names that are taken, also where a disk cannot tell large letters from small ones, or two spellings of one."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def are_free_for(self, name: str) -> bool:
        """Return whether a file of that name can stand beside the others."""
        file, folders = _places(name)
        return file not in self._files | self._folders and not self._files.intersection(folders)

    def take(self, name: str) -> None:
        """Have a name be taken."""
        file, folders = _places(name)
        self._files.add(file)
        self._folders.update(folders)


def _places(name: str) -> tuple[str, list[str]]:
    """Return a name, and the folders on its way, as every file system knows them."""
    parts = unicodedata.normalize("NFC", name.casefold()).split("/")
    return "/".join(parts), ["/".join(parts[:end]) for end in range(1, len(parts))]
