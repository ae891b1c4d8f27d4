"""Read a task: the paths, the names and the words in it that may point at files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agents.repomap.tags import stems

TASK_CHARS_MAX = 40_000
_WORD = re.compile(r"[^\W_]\w{1,119}|_\w{1,119}")
# Words that stand where code stands: in backticks, before a bracket, around a dot or a double colon.
_QUOTED = re.compile(r"`([^`\n]{1,200})`")
_CODE_LIKE = re.compile(r"([^\W\d]\w{1,79})(?=\(|\.[^\W\d]|::)|(?<=[\w)]\.)([^\W\d]\w{1,79})|(?<=::)([^\W\d]\w{1,79})")
_PATHLIKE = re.compile(r"[\w.\-]{1,80}(?:/[\w.\-]{1,80}){0,12}")
# Words so common in tasks that they point nowhere. Which words a repository itself has too often, the ranking sees.
_COMMON = """
a about add added after all allow also always an and any are as at be because been before being both but by can case change
changed could did do does done don each else ensure fix fixed fixes for from get give given go had has have if in instead
into is issue it its just like make made may merge more must need new no not now of on one only or other our out over pr
pull request same see set should since so some such support than that the their them then there these they this those to
too up update use used using via was way we were what when where which while who will with without would you your
"""
_EMPTY = frozenset(stem for word in _COMMON.split() for stem in (word, *stems(word)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a task names: paths of the repository, identifiers as written, and stems of words with how often they occur."""

    paths: Mapping[str, float]  # how surely each is meant: 1.0 a whole path, less a part of one
    names: frozenset[str]
    words: Mapping[str, float]

    def touches(self, name: str) -> bool:
        """Say whether the task writes out `name`, or any word in it."""
        return name in self.names or any(stem in self.words for stem in stems(name))


def read(task: str, all_paths: Sequence[str]) -> Asked:
    """Return what `task` asks about, judged against the paths there are."""
    text = task[:TASK_CHARS_MAX]
    words = Counter[str]()
    for word in _WORD.findall(text):
        parts = [stem for stem in stems(word) if stem not in _EMPTY]
        words.update(parts)
    names = _names(text)
    return Asked(
        paths=_paths(text, names, all_paths), names=names, words={word: 1 + 0.5 * (n > 1) for word, n in words.items()}
    )


def _names(text: str) -> frozenset[str]:
    written = {word for word in _WORD.findall(text) if _is_name(word)}
    quoted = {word for piece in _QUOTED.findall(text) for word in _WORD.findall(piece)}
    standing = {word for found in _CODE_LIKE.findall(text) for word in found}
    return frozenset(word for word in written | quoted | standing if len(word) > 2 and word.lower() not in _EMPTY)


def _is_name(word: str) -> bool:
    """Say whether `word` looks like code: an underscore, a digit or a capital inside it."""
    return len(word) > 2 and (
        "_" in word.strip("_") or any(c.isupper() for c in word[1:]) or any(c.isdigit() for c in word)
    )


def _paths(text: str, names: frozenset[str], all_paths: Sequence[str]) -> dict[str, float]:
    """Return the paths that the text names, and how surely: whole, by last parts, by file name, by a name."""
    asked = {found.strip(".-") for found in _PATHLIKE.findall(text)}
    lowered = {found.lower() for found in asked}
    spelled = {stems(name) for name in names}
    meant: dict[str, float] = {}
    for path in all_paths:
        sure = _sureness(path, asked, lowered, spelled)
        if sure:
            meant[path] = sure
    return meant


def _sureness(path: str, asked: set[str], lowered: set[str], spelled: set[tuple[str, ...]]) -> float:
    parts = PurePosixPath(path).parts
    if path in asked or any("/".join(parts[-n:]) in asked for n in range(2, len(parts))):
        return 1.0
    if parts and parts[-1].lower() in lowered and "." in parts[-1]:
        return 0.8
    stem = PurePosixPath(path).stem
    inside = stems(stem)
    if len(inside) > 1 and inside in spelled:  # AsyncReader is likely at home in async_reader.rs
        return 0.6
    return 0.3 if len(stem) > 2 and stem.lower() in lowered and stem.lower() not in _EMPTY else 0.0
