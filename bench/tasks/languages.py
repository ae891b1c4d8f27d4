"""How the tests of an exercise are run, by language: one small function each.

Decides the command and the adapter that reads its report from the files alone, and whether this machine and this version
of Tandem have both. A language without a function here is listed as not supported.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast, get_args

from tandem.kinds import is_test_file
from tandem.types import Adapter

_BY_SUFFIX = {
    ".cpp": "cpp",
    ".go": "go",
    ".java": "java",
    ".js": "javascript",
    ".mjs": "javascript",
    ".py": "python",
    ".rs": "rust",
    ".ts": "typescript",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A test command, the adapter that reads its report, and the program this machine needs for it ("" for none)."""

    adapter: str
    command: tuple[str, ...]
    program: str = ""


def language_of(path: str) -> str:
    """Return the language of a source file by its suffix; without a known one, the suffix itself."""
    suffix = PurePosixPath(path).suffix
    return _BY_SUFFIX.get(suffix, suffix.removeprefix(".") or "unknown")


def runner(language: str, files: Mapping[str, str], tests: Sequence[str]) -> Runner | None:
    """Return how the `tests` among `files` are run, None where nobody here knows."""
    find = _RUNNERS.get(language)
    return find(files, tests) if find else None


def missing(language: str, found: Runner | None) -> str:
    """Return why tests cannot be run so here, "" where they can."""
    if found is None:
        return f"how {language} tests like these are run is not known"
    if found.adapter not in get_args(Adapter):
        return f"there is no adapter {found.adapter!r} that reads the report of `{' '.join(found.command)}`"
    if found.program and not shutil.which(found.program):
        return f"{found.program} is not installed on this machine"
    return ""


def adapter(found: Runner) -> Adapter:
    """Return the adapter of a runner that nothing is `missing` of."""
    return cast("Adapter", found.adapter)


def _python(files: Mapping[str, str], tests: Sequence[str]) -> Runner:
    """Return unittest where it finds these tests by itself, since it needs nothing installed; else pytest."""
    texts = [files[path] for path in tests]
    found = all("/" not in path and is_test_file(path, "unittest") for path in tests)
    if found and all("unittest" in text and "pytest" not in text for text in texts):
        return Runner(adapter="unittest", command=("python", "-m", "unittest", "discover"))
    return Runner(adapter="pytest", command=("python", "-m", "pytest"))


def _javascript(files: Mapping[str, str], tests: Sequence[str]) -> Runner | None:
    if any(re.search(r"""["']node:test["']""", files[path]) for path in tests):
        return Runner(adapter="node", command=("node", "--test"), program="node")
    package = files.get("package.json", "")
    framework = next((name for name in ("vitest", "jest") if f'"{name}"' in package), "")
    return Runner(adapter=framework, command=("npx", framework), program="npx") if framework else None


def _go(files: Mapping[str, str], tests: Sequence[str]) -> Runner:
    del files, tests
    return Runner(adapter="go", command=("go", "test", "./..."), program="go")


def _rust(files: Mapping[str, str], tests: Sequence[str]) -> Runner:
    """Return cargo's command; Exercism marks all tests but the first as ignored, for people who go step by step."""
    del files, tests
    return Runner(adapter="cargo", command=("cargo", "test", "--", "--include-ignored"), program="cargo")


_RUNNERS: dict[str, Callable[[Mapping[str, str], Sequence[str]], Runner | None]] = {
    "go": _go,
    "javascript": _javascript,
    "python": _python,
    "rust": _rust,
    "typescript": _javascript,
}
