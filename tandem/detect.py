"""Find out how a repository is tested.

Pure: looks at names and a few texts, runs nothing. A command is an argv; there is never a shell. What a person says
with `--check` goes before anything found here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from tandem.errors import BadInput
from tandem.kinds import WEB_SUFFIXES, is_documentation, is_requirements, is_test_file
from tandem.types import Adapter

__all__ = [
    "CheckPlan",
    "adapter_for",
    "detect_check",
    "is_documentation",
    "is_test_file",
    "parse_command",
]

Read = Callable[[str], str | None]

_TEST_FILES_READ = 200  # enough to tell a framework
_COMMAND_MAX = 2000  # characters
_SHELL = re.compile(r"[|&;<>()`\n]|\$[\w({]")
_SETTING = re.compile(r"[A-Za-z_]\w*=")
_WITH_SETTINGS = ("jest", "vitest", "go", "cargo")
_LOOKING_UP = ("npx", "bunx", "yarn", "pnpm", "npm", "exec", "dlx", "cross-env")  # they find a tool and call it
_NO_TEST = re.compile(r"no test specified", re.IGNORECASE)  # what `npm init` writes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """How to run the tests: an argv, how its report is read, and what that was concluded from."""

    command: tuple[str, ...]
    adapter: Adapter
    why: str


def detect_check(files: Sequence[str], read: Read, folder: str = "") -> CheckPlan | None:
    """Return how to test the repository whose `files` these are, or None where nothing tells.

    `read` returns a file's text or None. With `folder`, only what lies in it counts, and the command runs there.
    """
    prefix = folder.strip("/") + "/" if folder.strip("/") else ""
    inside = sorted(path[len(prefix) :] for path in files if path.startswith(prefix))

    def read_inside(path: str) -> str | None:
        return read(prefix + path) if path in names else None

    names = frozenset(inside)
    python = sum(path.endswith(".py") for path in inside)
    web = sum(path.endswith(WEB_SUFFIXES) for path in inside)
    finders = [_python, _node] if python > web else [_node, _python]
    for find in (*finders, _others):
        plan = find(inside, read_inside)
        if plan is not None:
            return plan
    return None


def adapter_for(command: Sequence[str]) -> Adapter:
    """Return how to read the report of a command that a person gave; `plain` reads its exit status alone."""
    if not command:
        return "plain"
    program, rest = PurePosixPath(command[0]).name, list(command[1:])
    if program in ("pytest", "py.test"):
        return "pytest"
    if program == "node":
        return "node" if "--test" in rest else _web_tool(rest)
    if program == "env":
        inner = adapter_for([part for part in rest if not _SETTING.match(part)])
        return inner if inner in _WITH_SETTINGS else "plain"
    if program in ("go", "cargo"):
        return program if rest[:1] == ["test"] or (program == "cargo" and rest[:1] == ["t"]) else "plain"
    if re.fullmatch(r"python(3(\.\d+)?)?", program):
        return _python_module(rest)
    return _web_tool([program, *rest])


def _web_tool(words: Sequence[str]) -> Adapter:
    """Return jest or vitest where that is what is called, also by way of `npx` and its kind, or of Node with flags."""
    called = [PurePosixPath(word).name for word in words if not word.startswith("-") and not _SETTING.match(word)]
    while called and called[0] in _LOOKING_UP:
        del called[0]
    first = called[0].removesuffix(".js").removesuffix(".mjs") if called else ""
    return "jest" if first == "jest" else "vitest" if first == "vitest" else "plain"


def _python_module(rest: Sequence[str]) -> Adapter:
    arguments = iter(rest)
    for argument in arguments:
        if argument == "-m":
            module = next(arguments, "")
            return "pytest" if module == "pytest" else "unittest" if module == "unittest" else "plain"
        if argument in ("-W", "-X"):
            next(arguments, None)
        elif not argument.startswith("-"):
            return "plain"
    return "plain"


def parse_command(text: str) -> tuple[str, ...]:
    """Return the argv in `text`.

    Raises:
        BadInput: It is empty, has an open quote, or needs a shell.
    """
    if len(text) > _COMMAND_MAX or any(ord(letter) < 32 and letter not in "\t\n" for letter in text):
        raise BadInput(f"the check command has {len(text)} characters or control characters; put it in a script")
    operator = _shell_operator(text)
    if operator:
        raise BadInput(
            f"the check command {text!r} uses {operator!r}, and Tandem runs commands without a shell; "
            "put it in a script of the repository and name that, as in 'sh test.sh'"
        )
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(f"the check command {text!r} does not parse: {error}") from None
    if not argv or not argv[0]:
        raise BadInput("the check command is empty; name one, as in 'make test'")
    if re.match(r"\w+=", argv[0]):
        raise BadInput(f"the check command starts with the setting {argv[0]!r}; write 'env {argv[0]} ...' instead")
    return argv


def _shell_operator(text: str) -> str:
    """Return the first thing only a shell would understand, outside quotes, or nothing."""
    bare = re.sub(r"\\.", "", re.sub(r"'[^']*'", "", text), flags=re.DOTALL)
    substitution = re.search(r"`|\$[\w({]", bare)
    if substitution:  # double quotes do not keep a shell from these
        return substitution.group()
    found = _SHELL.search(re.sub(r'"[^"]*"', "", bare).strip())
    return found.group() if found else ""


# --- Python ---------------------------------------------------------------------------------------------------


def _python(files: Sequence[str], read: Read) -> CheckPlan | None:
    if not any(path.endswith(".py") or path == "pyproject.toml" for path in files):
        return None
    why = _pytest_why(files, read)
    if why:
        return CheckPlan(command=("python", "-m", "pytest"), adapter="pytest", why=why)
    folder = next((f for f in ("tests", "test") if any(path.startswith(f"{f}/") for path in files)), "")
    where = ("-s", folder) if folder else ()
    top = ("-t", ".") if folder and f"{folder}/__init__.py" in files else ()
    why = f"Python with {folder}/" if folder else "Python, no sign of pytest"
    return CheckPlan(command=("python", "-m", "unittest", "discover", *where, *top), adapter="unittest", why=why)


def _pytest_why(files: Sequence[str], read: Read) -> str:
    """Return what shows that the tests are pytest's, or nothing."""
    for path in files:
        name = PurePosixPath(path).name
        if name in ("pytest.ini", "conftest.py"):
            return path
        naming = path in ("pyproject.toml", "setup.cfg", "tox.ini", "Pipfile") or is_requirements(name)
        if naming and re.search(r"\bpytest\b", read(path) or ""):
            return f"pytest in {path}"
    for path in [path for path in files if is_test_file(path, "pytest")][:_TEST_FILES_READ]:
        text = read(path) or ""
        if re.search(r"^\s*(?:import|from)\s+pytest\b", text, re.MULTILINE):
            return f"{path} imports pytest"
        if re.search(r"^(?:async )?def test_", text, re.MULTILINE) and "unittest" not in text:
            return f"{path} has tests outside classes"
    return ""


# --- JavaScript -----------------------------------------------------------------------------------------------


def _node(files: Sequence[str], read: Read) -> CheckPlan | None:
    if "package.json" not in files:
        return None
    scripts = _scripts(read("package.json") or "")
    script = scripts.get("test", "")
    if not script or _NO_TEST.search(script):
        return CheckPlan(command=("node", "--test"), adapter="node", why="package.json without a test script")
    argv = _without_patterns(_simple_argv(script))
    adapter = adapter_for(argv)
    if adapter in ("jest", "vitest") and not scripts.keys() & {"pretest", "posttest"}:
        return CheckPlan(command=_looked_up(argv), adapter=adapter, why="scripts.test in package.json")
    if adapter == "jest":
        return CheckPlan(
            command=("npm", "test"), adapter="jest", why="scripts.test in package.json, with one around it"
        )
    if adapter == "node":
        return CheckPlan(command=argv, adapter="node", why="scripts.test in package.json")
    return CheckPlan(command=("npm", "test"), adapter="plain", why=f"scripts.test in package.json: {script[:80]}")


def _scripts(text: str) -> dict[str, str]:
    """Return the scripts of a package.json by name; one that makes no sense has none."""
    try:
        package: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    scripts = cast("dict[str, Any]", package).get("scripts") if isinstance(package, dict) else None
    found = cast("dict[str, Any]", scripts) if isinstance(scripts, dict) else {}
    return {name: script.strip() for name, script in found.items() if isinstance(script, str)}


def _simple_argv(script: str) -> tuple[str, ...]:
    """Return the argv of a script that needs no shell, its settings behind `env`; () for any other."""
    set_first = re.match(r"(?:[A-Za-z_]\w*=\S*\s+)+", script)
    try:
        return parse_command(f"env {script}" if set_first else script)
    except BadInput:
        return ()


def _looked_up(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a script's command as a person would give it: outside of a script, `npx` finds the project's tools."""
    return ("npx", *argv) if argv[0] in ("jest", "vitest") else argv


def _without_patterns(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command without the patterns a shell would fill in, where node finds those files by itself."""
    usual = re.compile(r"[^*]*(?:\*\*/)?(?:\*[.\-_]test\.\w+|test-\*\.\w+)")
    kept = tuple(part for part in argv if not usual.fullmatch(part))
    return () if any("*" in part or "{" in part for part in kept) else kept


# --- the others -----------------------------------------------------------------------------------------------


def _others(files: Sequence[str], read: Read) -> CheckPlan | None:
    if "go.mod" in files:
        return CheckPlan(command=("go", "test", "./..."), adapter="go", why="go.mod")
    if "Cargo.toml" in files:
        return CheckPlan(command=("cargo", "test"), adapter="cargo", why="Cargo.toml")
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if re.search(r"^test\s*:(?!=)", read(name) or "", re.MULTILINE):
            return CheckPlan(command=("make", "test"), adapter="plain", why=f"target test in {name}")
    return None
