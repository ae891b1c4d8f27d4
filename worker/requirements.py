"""Which files of a tree say what its tests need, and what they say. Pure but for reading what it is handed."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from tandem.types import Adapter

_REQUIREMENTS = re.compile(
    r"(?:requirements/[\w.-]+|[\w.-]*requirements[\w.-]*|[\w.-]*constraints[\w.-]*)\.(?:txt|in)", re.IGNORECASE
)
_INSTALLED = re.compile(
    r"(?:requirements|(?:requirements[-_.]?)?(?:dev|test|tests|testing)(?:[-_.]?requirements)?)\.txt"
)
_GROUPS = ("test", "tests", "testing", "dev")
# The project itself is never built or installed: that would run its own code with a network at hand.
_ITSELF = re.compile(r"^\s*(?:(?:-e|--editable)\s*=?\s*)?(?:\.|file:|/)")
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)\s*=?\s*([^\s#]+)", re.MULTILINE)
_EXTRAS = re.compile(r"([\w.-]+)\s*\[([\w\s,.-]+)\]")
_DEPTH = 8  # groups that include groups
_VENDORED = "vendor/modules.txt"  # Go's own list of what the repository brings along
DEPENDENCIES = "pyproject-dependencies.txt"
# From Go 1.20 on the standard library comes as source, and compiling it takes each check tens of seconds unless it is
# done once: what most tests use is compiled by testing a file that imports it.
WARM = "warm"
_GO_PACKAGES = (
    *("bufio", "bytes", "context", "encoding/json", "errors", "fmt", "io", "math", "math/big", "math/rand", "net/http"),
    *("net/http/httptest", "os", "path/filepath", "reflect", "regexp", "sort", "strconv", "strings", "sync", "testing"),
    *("testing/quick", "time", "unicode"),
)
_WARMING = {
    f"{WARM}/go.mod": "module warm\n",
    f"{WARM}/warm_test.go": "".join(("package warm\n", *(f'import _ "{name}"\n' for name in _GO_PACKAGES))),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What has to be installed: `files` by name as the installer shall see them, `install` those it is pointed at."""

    kind: Literal["none", "python", "node", "go"]
    files: Mapping[str, str]
    install: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    named: tuple[str, ...] = ()  # the repository's own files, for the question to the lead
    offline: bool = False  # nothing is fetched, so nobody is asked


NOTHING = Needs(kind="none", files={})


def candidates(paths: list[str]) -> list[str]:
    """Return the paths whose text is needed to tell what the tests need."""
    exact = ("pyproject.toml", "package.json", "package-lock.json", "go.mod", "go.sum", _VENDORED)
    return [path for path in paths if path in exact or _REQUIREMENTS.fullmatch(path)]


def included(texts: Mapping[str, str]) -> list[str]:
    """Return the files that requirement files among `texts` include and that are not there yet."""
    found: list[str] = []
    for path, text in texts.items():
        if not path.endswith((".txt", ".in")):
            continue
        for name in _INCLUDE.findall(text):
            joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            if not joined.startswith(("..", "/")) and "://" not in name and joined not in texts:
                found.append(joined)
    return list(dict.fromkeys(found))


def needs(texts: Mapping[str, str], adapter: Adapter) -> Needs:
    """Return what a tree needs for tests of this kind."""
    if adapter in ("node", "jest", "vitest") or (adapter == "plain" and "package.json" in texts):
        return _node(texts)
    if adapter == "go":
        return _go(texts)
    if adapter == "cargo":  # crates come from the repository itself (vendor/, path) or not at all
        return NOTHING
    return _python(texts, adapter)


def _python(texts: Mapping[str, str], adapter: Adapter) -> Needs:
    files = {path: _without_itself(text) for path, text in texts.items() if path.endswith((".txt", ".in"))}
    install = [path for path in files if _INSTALLED.fullmatch(path.replace("requirements/", "requirements-"))]
    named = list(install)
    declared = _declared(texts.get("pyproject.toml", ""))
    if declared:
        files[DEPENDENCIES] = "\n".join(declared) + "\n"
        install.append(DEPENDENCIES)
        named.append("pyproject.toml")
    listed = "\n".join(files[path] for path in install)
    packages = ("pytest",) if adapter == "pytest" and not re.search(r"(?im)^\s*pytest\b", listed) else ()
    if not re.search(r"(?m)^\s*[^#\s]", listed) and not packages:
        return NOTHING
    named += ["pytest (to run the tests)"] if packages else []
    return Needs(kind="python", files=files, install=tuple(install), packages=packages, named=tuple(named))


def _without_itself(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not _ITSELF.match(line)) + "\n"


def _declared(text: str) -> list[str]:
    """Return the dependencies a pyproject.toml declares, its test groups included; a broken file declares none."""
    try:
        data: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return []
    project = data.get("project")
    extras, groups = _get(project, "optional-dependencies"), data.get("dependency-groups")
    found = list(_strings(_get(project, "dependencies")))
    for name in _GROUPS:
        found += _strings(_get(extras, name))
        found += _group(groups, name, _DEPTH)
    own = _normal(str(_get(project, "name") or ""))
    return list(dict.fromkeys(_without_own(found, own, extras, _DEPTH)))


def _group(groups: Any, name: str, depth: int) -> list[str]:
    """Return a dependency group with those it includes."""
    value = _get(groups, name)
    found: list[str] = []
    for item in cast("list[Any]", value) if isinstance(value, list) else []:
        other = _get(item, "include-group")
        if isinstance(item, str):
            found.append(item)
        elif isinstance(other, str) and depth:
            found += _group(groups, other, depth - 1)
    return found


def _without_own(found: list[str], own: str, extras: Any, depth: int) -> list[str]:
    """Return requirements with the project's own extras (`shop[test]`) replaced by what they stand for."""
    if not own:
        return found
    rest: list[str] = []
    for item in found:
        named = _EXTRAS.match(item)
        if _normal(re.split(r"[^\w.-]", item.strip(), maxsplit=1)[0]) != own:
            rest.append(item)
        elif named and depth:
            inner = [part for name in named.group(2).split(",") for part in _strings(_get(extras, name.strip()))]
            rest += _without_own(inner, own, extras, depth - 1)
    return rest


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _get(value: Any, key: str) -> Any:
    return cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None


def _strings(value: Any) -> list[str]:
    return [item for item in cast("list[Any]", value) if isinstance(item, str)] if isinstance(value, list) else []


def _node(texts: Mapping[str, str]) -> Needs:
    package, lock = texts.get("package.json", ""), texts.get("package-lock.json", "")
    try:
        declared: Any = json.loads(package) if package else {}
    except ValueError:
        return NOTHING
    if not any(_get(declared, key) for key in ("dependencies", "devDependencies", "optionalDependencies")):
        return NOTHING
    files = {"package.json": package} | ({"package-lock.json": lock} if lock else {})
    return Needs(kind="node", files=files, named=("package-lock.json" if lock else "package.json",))


def _go(texts: Mapping[str, str]) -> Needs:
    """Return what Go needs: its own packages compiled, which no network takes part in, and the modules it requires."""
    if _VENDORED in texts or not re.search(r"(?m)^\s*require\b", texts.get("go.mod", "")):
        return Needs(kind="go", files=_WARMING, offline=True)
    files = {name: texts[name] for name in ("go.mod", "go.sum") if name in texts}
    return Needs(kind="go", files=files | _WARMING, named=tuple(files))
