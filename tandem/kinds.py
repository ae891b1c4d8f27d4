"""Tell by its name whether a file holds tests, documentation or requirements.

Pure. In doubt a file is no documentation: that path through the workflow asks for no proof.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tandem.types import Adapter

_NODE_SUFFIXES = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts")
WEB_SUFFIXES = (*_NODE_SUFFIXES, ".jsx", ".tsx")
_TEST_FOLDERS = frozenset(("test", "tests", "__tests__", "spec", "specs", "testing"))
_PROSE = (".md", ".markdown", ".rst", ".txt", ".adoc", ".asciidoc", ".textile")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
_PROSE_NAMES = frozenset(
    ("license", "licence", "copying", "notice", "authors", "changelog", "changes", "readme", "contributors", "history")
)
_DOC_FOLDERS = frozenset(("doc", "docs", "documentation"))
# Text that a program reads is part of the program.
_DATA_FOLDERS = _TEST_FOLDERS | {"fixtures", "testdata", "templates", "static", "public", "prompts", "personas", "data"}
_POWERFUL = frozenset(
    (
        "cmakelists.txt",
        "robots.txt",
        "llms.txt",
        "ads.txt",
        "runtime.txt",
        "meson_options.txt",
        "agents.md",  # other agents take their orders from these
        "claude.md",
        "gemini.md",
        "skill.md",
        "copilot-instructions.md",
    )
)


def is_documentation(path: str) -> bool:
    """Return whether a file is prose for people, which no program reads."""
    parts = PurePosixPath(path.lower()).parts
    if not parts or ".." in parts or any(part.startswith(("/", ".")) for part in parts):
        return False
    name, folders = parts[-1], set(parts[:-1])
    if name in _POWERFUL or is_requirements(name) or folders & _DATA_FOLDERS:
        return False
    if name in _PROSE_NAMES or name.endswith(_PROSE):
        return True
    return name.endswith(_PICTURES) and bool(folders & _DOC_FOLDERS)


def is_test_file(path: str, adapter: Adapter) -> bool:
    """Return whether a test runner of this kind takes a file for tests, by its name."""
    name, folders = PurePosixPath(path).name, set(PurePosixPath(path).parts[:-1])
    match adapter:
        case "pytest":
            return bool(re.fullmatch(r"test_.*\.py|.*_test\.py", name))
        case "unittest":
            return bool(re.fullmatch(r"test.*\.py", name))
        case "node":
            return _is_web_test(name, folders, _NODE_SUFFIXES)
        case "jest":
            return _is_spec(name) or ("__tests__" in folders and _is_source(name))
        case "vitest":
            return _is_spec(name)
        case "go":
            return name.endswith("_test.go") and not name.startswith(("_", "."))
        case "cargo":  # with the modules that tests share; tests in src/ are part of what is tested
            return name.endswith(".rs") and "tests" in folders and "src" not in folders
        case "plain":
            return _is_any_test(name, folders)


def _is_source(name: str) -> bool:
    return name.endswith(WEB_SUFFIXES) and not name.endswith((".d.ts", ".d.mts", ".d.cts"))


def _is_spec(name: str) -> bool:
    """Return whether a name is `x.test.js` or its kind, as jest and vitest find them."""
    return _is_source(name) and bool(re.fullmatch(r"(?:.+\.)?(?:test|spec)\.[cm]?[jt]sx?", name))


def _is_web_test(name: str, folders: set[str], suffixes: tuple[str, ...]) -> bool:
    if not name.endswith(suffixes) or name.endswith(".d.ts"):
        return False
    stem = name[: name.rindex(".")]
    return bool(re.fullmatch(r"test(-.+)?|.+[._-]test", stem)) or "test" in folders  # as `node --test` finds them


def _is_any_test(name: str, folders: set[str]) -> bool:
    if is_test_file(name, "pytest") or is_test_file(name, "unittest") or _is_web_test(name, folders, WEB_SUFFIXES):
        return True
    if re.fullmatch(
        r".+_test\.\w+|.+[._-]spec\.[cm]?[jt]sx?|.+_spec\.rb|.+Tests?\.(java|kt|cs|swift)|test_.+\.\w+", name
    ):
        return True
    return bool({folder.lower() for folder in folders} & _TEST_FOLDERS)


def is_requirements(name: str) -> bool:
    """Return whether a file of this name lists Python packages."""
    return bool(re.fullmatch(r"[\w.-]*(?:requirements|constraints)[\w.-]*\.(?:txt|in)", name, re.IGNORECASE))
