"""Tells: signs in changed code that it asks whether it is being tested.

What answers rightly only while a test runs passes every test there is, so no run can show it; its text can. The list is
short on purpose: each of these has no other use than to know that a test runs. Read, never run.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

_PYTHON_NAMES = frozenset(("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"))
_PYTHON_PLACES = re.compile(
    r"\bmodules\b|\bsys\.(?:orig_)?argv\b|\b_getframe\b|\binspect\.stack\b|\bcurrentframe\b|\b(?:extract|format)_stack\b"
    r"|\b__main__\b|\bget_objects\b"
)
_PYTHON_RUNNERS = re.compile(r"pytest|unittest|^test_|/tests?/")
_PYTHON_STARTED = re.compile(r"\borig_argv\b|\bargv\[0\]|/proc/self/cmdline")  # how this process was started
_WEB = re.compile(
    r"NODE_TEST_CONTEXT|JEST_WORKER_ID|VITEST(?:_\w+)?(?=['\"\]\s,;)}!=]|$)|NODE_ENV['\"\]]*\s*[!=]==?\s*['\"]test['\"]"
    r"|['\"]test['\"]\s*[!=]==?\s*process\.env\.NODE_ENV|exec(?:Argv|argv)[^;\n]*--test|process\.argv[^;\n]*(?:--test|\.test\.)|/\W*test\W*/[^;\n]*process\.argv"
)
_GO = re.compile(r"\btesting\.Testing\(|flag\.Lookup\(\s*\"test\.|os\.Args\[0\][^\n]*\.test|\"-test\.")
_RUST = re.compile(r"cfg!\s*\(\s*test|#\[cfg\(not\(test\)\)\]|NEXTEST")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_BY_ENDING = {
    **dict.fromkeys((".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"), _WEB),
    ".go": _GO,
    ".rs": _RUST,
}


def tells(path: str, before: str | None, after: str | None) -> tuple[str, ...]:
    """Return the signs that a changed file has and did not have, as `path:line: sign`."""
    if after is None:
        return ()
    known = {sign for _, sign in _found(path, before or "")}
    return tuple(f"{path}:{line}: {sign}" for line, sign in _found(path, after) if sign not in known)


def _found(path: str, text: str) -> Iterator[tuple[int, str]]:
    ending = PurePosixPath(path).suffix.lower()
    if ending in (".py", ".pyi"):
        yield from _in_python(text)
    elif pattern := _BY_ENDING.get(ending):
        bare = _COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)
        for match in pattern.finditer(bare):
            yield bare.count("\n", 0, match.start()) + 1, " ".join(match.group().split())[:60]


def _in_python(text: str) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    with contextlib.suppress(RecursionError):  # an expression nested that deep asks nothing
        yield from _asked(tree)


def _asked(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in _PYTHON_NAMES:
            yield node.lineno, str(node.value)
        elif isinstance(node, ast.Compare | ast.Call | ast.Subscript) and (sign := _asks(node)):
            yield node.lineno, sign


def _asks(node: ast.expr) -> str:
    """Return what an expression asks, where it looks for a test runner among modules, arguments or callers."""
    values = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    texts = [value for value in values if isinstance(value, str)]
    if not any("test" in text for text in texts):
        return ""
    said = " ".join(ast.unparse(node).split())
    by_name = any(_PYTHON_RUNNERS.search(text) for text in texts) and _PYTHON_PLACES.search(said)
    return said[:60] if by_name or _PYTHON_STARTED.search(said) else ""
