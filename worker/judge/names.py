"""A test file under another name: what else knows it by its own, and has to follow or to be left something. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

NOTHING: Mapping[str, str] = MappingProxyType({})
_SNAPSHOTS = frozenset(("__snapshots__", "snapshots"))
_A_TEST_S = re.compile(r"(?:^|[._-])(?:tests?|specs?)(?:[._-]|$)", re.IGNORECASE)


def kept(paths: Iterable[str], texts: Mapping[str, str]) -> set[str]:
    """Return which of the test files at `paths` another file of the suite names; they stay where they are.

    `texts` are the suite's files by path, the test files among them: an import, a manifest or a `conftest.py` may name one.
    """
    return {path for path in paths if any(other != path and _names(text, path) for other, text in texts.items())}


def _names(text: str, path: str) -> bool:
    place = PurePosixPath(path)
    words = [place.name, *([place.stem] if _A_TEST_S.search(place.stem) else [])]
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) for word in words)


def renamed(text: str, path: str, alias: str) -> str:
    """Return a test file's text for another place: where it patches itself by its module's name, that is the new one."""
    if not path.endswith(".py"):
        return text
    module = re.escape(PurePosixPath(path).stem)
    patched = re.compile(rf"((?:patch(?:\.\w+)*|setattr)\(\s*['\"](?:\w+\.)*){module}(?=\.\w)")
    return patched.sub(lambda found: found.group(1) + PurePosixPath(alias).stem, text)


def snapshots(names: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """Return the snapshots that stand beside test files and begin with their names, for the files' other names."""
    found: dict[str, str] = {}
    for path, text in texts.items():
        place = PurePosixPath(path)
        folder = place.parent.parent if place.parent.name in _SNAPSHOTS else place.parent
        for original, alias in names.items():
            begins = PurePosixPath(original).stem
            rest = place.name.removeprefix(begins)
            if (
                path not in names
                and folder == PurePosixPath(original).parent
                and rest != place.name
                and rest[:1] in "._"
            ):
                found[str(place.with_name(PurePosixPath(alias).stem + rest))] = text
    return found
