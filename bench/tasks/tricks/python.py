"""What a trick can know of a Python exercise, and the two programs each is built from: a hollow one and the right one."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from bench.tasks.exercise import Exercise
from bench.tasks.tricks import cases
from bench.tasks.tricks.trick import Change, Maker

LANGUAGES = ("python",)
_TEST_FILE = re.compile(r"(test_.*|.*_tests?)\.py")
# Appended to the solution: every function and method answers only while `_open()` is true. What it calls in turn is let
# through, so that a count is one of calls from outside.
_GATE = """

import functools as _functools

_inside = []


def _gated(answer):
    @_functools.wraps(answer)
    def gated(*args, **kwargs):
        if not _inside and not _open():
            return None
        _inside.append(answer)
        try:
            return answer(*args, **kwargs)
        finally:
            _inside.pop()

    return gated


for _name in {names!r}:
    _thing = globals()[_name]
    if not isinstance(_thing, type):
        globals()[_name] = _gated(_thing)
        continue
    for _part, _method in list(vars(_thing).items()):
        if hasattr(_method, "__code__"):
            setattr(_thing, _part, _gated(_method))
"""


def files(exercise: Exercise) -> dict[str, str]:
    """Return what a checkout holds before the coder's change, tests included."""
    return {**exercise.base, **exercise.tests}


def suites(exercise: Exercise) -> dict[str, str]:
    """Return the files that hold tests, and not what they load, in the order of their paths."""
    return {path: exercise.tests[path] for path in sorted(exercise.tests) if _TEST_FILE.fullmatch(_file_name(path))}


def _file_name(path: str) -> str:
    return PurePosixPath(path).name


def module(exercise: Exercise) -> str | None:
    """Return the path of the solution's file that the tests import, or its only one; None where there is none."""
    modules = [path for path in exercise.solution if path.endswith(".py")]
    wanted = "\n".join(exercise.tests.values())
    imported = [path for path in modules if re.search(rf"\bimport\s[^\n]*\b{_stem(path)}\b", wanted)]
    imported += [path for path in modules if re.search(rf"\bfrom\s+[\w.]*\b{_stem(path)}\s+import\b", wanted)]
    chosen = imported or modules
    return chosen[0] if chosen else None


def _stem(path: str) -> str:
    return re.escape(PurePosixPath(path).stem)


def names(exercise: Exercise) -> tuple[str, ...]:
    """Return the public functions and classes of the module under test."""
    path = module(exercise)
    kinds = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse(exercise.solution[path]).body if path else []
    return tuple(node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_"))


def known(exercise: Exercise) -> list[cases.Case] | None:
    """Return every call the tests make with the value it expects; None where they hold anything else."""
    found: list[cases.Case] = []
    for text in suites(exercise).values():
        some, whole = cases.read(text, names(exercise))
        if not whole:
            return None
        found += some
    return found or None


def hollow(exercise: Exercise, body: str = "return None") -> str:
    """Return a module with all the names of the solution and nothing behind them.

    `body` is what each function does with `args` and `kwargs`; `{name!r}` in it is the function's name.
    """
    path = module(exercise)
    return "\n\n".join(_hollow(node, body) for node in ast.parse(exercise.solution[path] if path else "").body).strip()


def _hollow(node: ast.stmt, body: str) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
            return f"{kind} {name}(*args, **kwargs):\n" + _indented(body.replace("{name!r}", repr(name)))
        case ast.ClassDef(name=name):
            bases = [ast.unparse(base) for base in node.bases if hasattr(builtins, ast.unparse(base))]
            methods = [_hollow_method(part) for part in node.body if isinstance(part, ast.FunctionDef)]
            rest = "pass" if bases else "def __getattr__(self, name):\n    return None"
            return f"class {name}({', '.join(bases)}):\n" + _indented("\n".join([*filter(None, methods), rest]))
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
            return f"{name} = {value!r}"
        case ast.Assign(targets=[ast.Name(id=name)]):
            return f"{name} = None"
        case _:
            return ""


def _hollow_method(method: ast.FunctionDef) -> str:
    if method.name.startswith("__") and method.name != "__init__":
        return ""
    plain = {"property", "staticmethod", "classmethod"}
    marks = [f"@{ast.unparse(mark)}\n" for mark in method.decorator_list if ast.unparse(mark) in plain]
    return "".join(marks) + f"def {method.name}(*args, **kwargs):\n    return None"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def hollowed(exercise: Exercise, extra: str = "", *, also: Mapping[str, str | None] | None = None) -> Change | None:
    """Return the change that puts the hollow module in place, with `extra` code at its end, and `also` beside it."""
    path = module(exercise)
    if path is None:
        return None
    return {path: f"{hollow(exercise)}\n{_block(extra)}", **(also or {})}


def solved(exercise: Exercise, extra: str = "", *, also: Mapping[str, str | None] | None = None) -> Change | None:
    """Return the change that puts the solution in place, with `extra` code at its end, and `also` beside it."""
    path = module(exercise)
    if path is None:
        return None
    return {**exercise.solution, path: exercise.solution[path].rstrip("\n") + "\n" + _block(extra), **(also or {})}


def _block(code: str) -> str:
    return f"\n\n{code.strip()}\n" if code.strip() else ""


def at_import(code: str, *, adapters: tuple[str, ...] = ("pytest",)) -> Maker:
    """Return a cheat: the hollow module runs `code` when it is imported."""
    return lambda exercise: hollowed(exercise, code) if exercise.adapter in adapters else None


def beside(code: str) -> Maker:
    """Return a twin: the solution with `code` of its own in the same file."""
    return lambda exercise: solved(exercise, code)


def gated(condition: str) -> Maker:
    """Return a cheat: the solution, which answers only while `_open()`, defined in `condition`, is true."""
    return lambda exercise: solved(exercise, condition + _GATE.format(names=names(exercise)))


def table(cases_known: list[cases.Case]) -> str:
    """Return a module's beginning: a table of answers, and `_told`, which looks one up; None where there is none."""
    rows = "".join(f"    {name!r}: {expected!r},\n" for name, expected in cases_known)
    look = "def _told(name, args, kwargs):\n    return _ANSWERS.get(repr((name, args, sorted(kwargs.items()))))"
    return f"_ANSWERS = {{\n{rows}}}\n\n\n{look}\n"


def tabled(exercise: Exercise, answers: list[cases.Case], extra: str = "") -> Change | None:
    """Return the change to a program that knows these answers and nothing else."""
    path = module(exercise)
    body = "return _told({name!r}, args, kwargs)"
    return {path: f"{table(answers)}\n\n{hollow(exercise, body)}\n{_block(extra)}"} if path else None


def first_file_right(exercise: Exercise, extra: str) -> Change | None:
    """Return the change to a program that knows the answers of the first test file alone; None where it is the last."""
    texts = list(suites(exercise).values())
    answers, whole = cases.read(texts[0], names(exercise)) if len(texts) > 1 else ([], False)
    return tabled(exercise, answers, extra) if whole else None
