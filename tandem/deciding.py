"""Which files have a say in what passes, and whether a change touched that say.

Pure, and the only place where the rule lives: the workflow refuses such a change, the judge and `tandem verify` call it
tampering. A test and what a runner loads before the tests decide as a whole; of a project's own file (pyproject.toml,
package.json, Cargo.toml, ...) only its part about tests does, so that a dependency or a version may still be changed.
"""

from __future__ import annotations

import configparser
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, cast

from tandem.kinds import is_test_file
from tandem.types import Adapter

_WHOLE = frozenset(
    (
        *("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"),
        *("sitecustomize.py", "usercustomize.py", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs"),
        *("go.work", "rust-toolchain", "rust-toolchain.toml"),
    )
)
_CONFIGURED = re.compile(
    r"(?:jest|vitest|vite|babel|ava)\.(?:config|workspace|setup)\.\w+|\.mocharc\.\w+|\.babelrc(?:\.\w+)?|\.swcrc"
)
_RUNNERS = frozenset(("pytest", "_pytest", "pluggy", "unittest"))  # a module of this name could stand in for one
_LOADED = ("node_modules", "__pycache__")
_BESIDE = frozenset(
    ("test", "tests", "__tests__", "__mocks__", "__snapshots__")
)  # what tests load, and may stand first
_CODE = (
    *(".py", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".rs"),
    *(".snap", ".snapshot", ".ambr"),  # what tests compare with
)
_LOADING = re.compile(r"config|setup|require|import|load|plugin|preset|transform|runner|reporter|env", re.IGNORECASE)
_MAKEFILES = frozenset(("makefile", "gnumakefile"))
_JEST_SCRIPTS = ("pretest", "test", "posttest")


def decides_what_passes(path: str, adapter: Adapter, command: Sequence[str] = ()) -> bool:
    """Return whether a file as a whole has a say: any test, what a runner reads before the tests, what `command` names."""
    parts = [_plain(part) for part in PurePosixPath(path).parts]
    if not parts:
        return False
    name, folders = parts[-1], parts[:-1]
    return (
        name in _WHOLE
        or name.endswith((".pth", ".pyc"))
        or bool(_CONFIGURED.fullmatch(name))
        or any(folder in _LOADED or folder.endswith((".egg-info", ".dist-info")) for folder in folders)
        or any(
            part.removesuffix(".py") in _RUNNERS for part in parts if part == name or adapter in ("pytest", "unittest")
        )
        or (name.endswith(_CODE) and not _BESIDE.isdisjoint(folders))
        or name.startswith("setuptests.")
        or ".cargo" in folders
        or (adapter in ("go", "cargo") and "vendor" in folders)
        or is_test_file(path, adapter)
        or _is_run_by(path, name, command)
    )


def _is_run_by(path: str, name: str, command: Sequence[str]) -> bool:
    by_make = bool(command) and PurePosixPath(command[0]).name in ("make", "gmake")
    named = any(
        path == one or path.endswith(f"/{one}") for one in _named(command)
    )  # words count from the check's folder
    return named or (by_make and (name in _MAKEFILES or name.endswith(".mk")))


def _named(command: Sequence[str]) -> set[str]:
    """Return the paths that a command's words may stand for, also as `--config=PATH`, `-cPATH` or `-p MODULE`."""
    found: set[str] = set()
    for before, word in zip(("", *command), command, strict=False):
        option, equals, value = word.partition("=")
        said = value if equals and word.startswith("-") and _LOADING.search(option) else word
        said = said[2:] if re.match(r"-[cpr][\w./]", said) else said
        found.add(str(PurePosixPath(said.partition("::")[0])))
        if before in ("-p", "-m", "-r", "--require", "--import") or word.startswith("-p"):
            place = said.removeprefix("./").replace(".", "/") if re.fullmatch(r"[\w.]+", said) else said
            found |= {f"{place}{end}" for end in (".py", "/__init__.py", ".js", ".cjs", ".mjs", "/index.js")}
    return {path.removeprefix("./") for path in found}


def has_a_say(path: str, before: str | None, after: str | None, adapter: Adapter, command: Sequence[str] = ()) -> str:
    """Return how a change of a file touches what passes, in words that follow its path; empty where it does not.

    `before` and `after` are the file's texts, None where it is not there or no text.
    """
    if before == after:
        return ""
    if decides_what_passes(path, adapter, command):
        return "decides what passes"
    part = _PARTS.get(_plain(PurePosixPath(path).name))
    if part is None:
        return ""
    read, about = part
    try:
        same = _said(read, before) == _said(read, after)
    except (ValueError, RecursionError, configparser.Error):
        return "can no longer be read, and may decide what passes"
    return "" if same else f"decides what passes, in {about}"


def is_watched(path: str, adapter: Adapter, command: Sequence[str] = ()) -> bool:
    """Return whether a file has a say in what passes, wholly or in part."""
    return decides_what_passes(path, adapter, command) or _plain(PurePosixPath(path).name) in _PARTS


def _plain(name: str) -> str:
    """Return a name as a Mac's disk compares it: there CONFTEST.PY is conftest.py."""
    return unicodedata.normalize("NFKC", name).casefold()


def _said(read: Callable[[str], Any], text: str | None) -> Any:
    return read(text) if text else read("")


def _picked(data: Any, *keys: str) -> dict[str, Any]:
    """Return the values at dotted keys, those that are there."""
    found: dict[str, Any] = {}
    for key in keys:
        value = data
        for name in key.split("."):
            value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
        if value is not None:
            found[key] = value
    return found


def _pyproject(text: str) -> Any:
    return _picked(tomllib.loads(text), "tool.pytest", "project.entry-points.pytest11")


def _ini(*sections: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(text)
        found = {name: dict(parser[name]) for name in parser.sections() if name.startswith(sections)}
        plugins = parser.get("options.entry_points", "pytest11", fallback="")
        return found | ({"pytest11": plugins} if plugins else {})

    return read


def _package(text: str) -> Any:
    data: Any = json.loads(text) if text.strip() else None
    found = _picked(data, "jest", "vitest", "mocha", "ava", "babel", "tap", "config", "imports")
    scripts = cast("Mapping[str, Any]", data).get("scripts") if isinstance(data, Mapping) else None
    return {**found, "scripts": _scripts(cast("Mapping[str, Any]", scripts) if isinstance(scripts, Mapping) else {})}


def _scripts(scripts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scripts that `npm test` runs, also by way of others."""
    found: dict[str, Any] = {}
    waiting = list(_JEST_SCRIPTS)
    while waiting:
        name = waiting.pop()
        if name in scripts and name not in found:
            found[name] = scripts[name]
            waiting += re.findall(r"[\w:.-]+", str(scripts[name]))
    return found


def _cargo(text: str) -> Any:
    keys = ("test", "lib.test", "lib.harness", "lib.doctest", "package.autotests", "package.build", "patch", "replace")
    return _picked(tomllib.loads(text), *keys, "profile.test", "profile.dev", "target")


def _go(text: str) -> Any:
    return sorted(line.strip() for line in text.splitlines() if "=>" in line or line.startswith("toolchain"))


_PARTS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "pyproject.toml": (_pyproject, "tool.pytest or its entry points"),
    "setup.cfg": (_ini("tool:pytest"), "tool:pytest or its entry points"),
    "tox.ini": (_ini("pytest", "tool:pytest"), "pytest"),
    "package.json": (_package, "the scripts of its tests or their settings"),
    "cargo.toml": (_cargo, "its tests, build, profile or patches"),
    "go.mod": (_go, "what it replaces"),
}
