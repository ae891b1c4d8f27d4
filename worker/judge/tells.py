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

from worker.judge.mutants import GRAMMARS
from worker.twins.edits import applied
from worker.twins.trees import parsed, replaced, source_of, walked

_PYTHON_NAMES = frozenset(("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"))
# A place where a program can look for what runs it, and the words it would look for there.
_PYTHON_QUESTIONS = (
    (re.compile(r"\bsys\.modules\b|(?<![.\w'\"])modules\b|\bsys\.argv\b|\b__main__\b"), re.compile(r"pytest|unittest")),
    (
        re.compile(r"\b_getframe\b|\binspect\.stack\b|\bcurrentframe\b|\b(?:extract|format)_stack\b"),
        re.compile(r"pytest|unittest|^test_|/tests?/"),
    ),
    (re.compile(r"\borig_argv\b|\bargv\[0\]|/proc/self/cmdline"), re.compile(r"(?<![A-Za-z])_?(?:py|unit)?test")),
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_RUNNERS = frozenset(("pytest", "_pytest", "unittest", "_pytest.runner", "unittest.case", "unittest.main"))
_WEB = re.compile(
    r"NODE_TEST_CONTEXT|JEST_WORKER_ID|VITEST(?:_\w+)?(?=['\"\]\s,;)}!=]|$)|NODE_ENV['\"\]]*\s*[!=]==?\s*['\"]test['\"]"
    r"|['\"]test['\"]\s*[!=]==?\s*process\.env\.NODE_ENV|exec(?:Argv|argv)[^;\n]*--test|process\.argv[^;\n]*(?:--test|\.test\.)|/\W*test\W*/[^;\n]*process\.argv"
)
_GO = re.compile(r"\btesting\.Testing\(|flag\.Lookup\(\s*\"test\.|os\.Args\[0\][^\n]*\.test|\"-test\.")
_RUST = re.compile(r"cfg!\s*\(\s*test|#\[cfg\(not\(test\)\)\]|NEXTEST")
_COMMENT_LINE = re.compile(r"^[ \t]*//[^\n]*", re.MULTILINE)
_COMMENTS = frozenset(("comment", "line_comment", "block_comment"))
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
        bare = _without_comments(ending, text)
        for match in pattern.finditer(bare):
            yield bare.count("\n", 0, match.start()) + 1, " ".join(match.group().split())[:60]


def _without_comments(ending: str, text: str) -> str:
    """Return a text with its comments blank, as its grammar reads it: a text may hold what looks like one."""
    root = parsed(text, *GRAMMARS[ending])
    if root is None:
        return _COMMENT_LINE.sub("", text)
    found = [node for node in walked(root) if node.type in _COMMENTS]
    blank = [replaced(node, "\n" * source_of(node).count("\n")) for node in found]
    return applied(text.encode(), blank)


def _in_python(text: str) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from _asked(tree)


def _asked(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in _PYTHON_NAMES:
            yield node.lineno, str(node.value)
        elif isinstance(node, ast.Compare | ast.Call | ast.Subscript) and (sign := _asks(node)):
            yield node.lineno, sign
    with contextlib.suppress(RecursionError):
        names = _names_for_modules(tree)
        for place in (tree, *(node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))):
            yield from _asks_in_steps(place, names)


def _names_for_modules(tree: ast.Module) -> set[str]:
    """Return the names that a file gives to `sys.modules` or, with a dot and `modules`, to `sys`."""
    found = {"sys.modules"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            found |= {one.asname or one.name for one in node.names if one.name == "modules"}
        elif isinstance(node, ast.Import):
            found |= {f"{one.asname}.modules" for one in node.names if one.name == "sys" and one.asname}
        elif isinstance(node, ast.Assign | ast.NamedExpr) and _is_modules(node.value, found):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def _is_modules(node: ast.expr, names: set[str]) -> bool:
    """Return whether an expression is all the modules there are, or is made of them alone: `set(sys.modules)`."""
    match node:
        case ast.Attribute(attr="modules", value=ast.Name(id=name)):
            return f"{name}.modules" in names
        case ast.Name(id=name):
            return name in names
        case ast.Call(args=[inner, *_]):  # list(...), sorted(...), getattr(sys, "modules")
            return _is_modules(inner, names) or (ast.unparse(node).replace('"', "'").endswith("(sys, 'modules')"))
        case ast.Call(func=ast.Attribute(value=inner)):  # .keys(), .copy()
            return _is_modules(inner, names)
        case _:
            return False


def _asks_in_steps(function: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield the places where a function looks through all modules, and beside that names a test runner."""
    inside = list(_own(function))
    named = any(isinstance(node, ast.Constant) and node.value in _RUNNERS for node in inside)
    itself = {id(node.value) for node in inside if isinstance(node, ast.Subscript) and _is_own_name(node.slice)}
    for node in inside if named else ():
        if isinstance(node, ast.expr) and id(node) not in itself and _is_modules(node, names):
            yield node.lineno, f"{ast.unparse(node)[:40]}, beside the name of a test runner"
            return


def _is_own_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__name__"  # a module that asks for itself


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a function, or in a file outside of every function; not in the functions within."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _FUNCTIONS):
            waiting.extend(ast.iter_child_nodes(node))


def _asks(node: ast.expr) -> str:
    """Return what an expression asks, where it looks for a test runner among modules, arguments or callers."""
    values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if not any("test" in value for value in values):
        return ""
    try:
        said = " ".join(ast.unparse(node).split())
    except RecursionError:
        return ""  # nested that deep, it asks nothing
    asked = any(place.search(said) and any(map(word.search, values)) for place, word in _PYTHON_QUESTIONS)
    return said[:60] if asked else ""
