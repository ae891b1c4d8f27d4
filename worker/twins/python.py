"""Twins of Python's tests, and the names of the tests in a file: pytest's functions, unittest's methods."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random

from worker.twins.edits import TEXT_BYTES_MAX, Edit, applied, other_number, unmistakable, word
from worker.twins.twin import Twin

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_OPPOSITE = {
    "assertTrue": "assertFalse",
    "assertIn": "assertNotIn",
    "assertIs": "assertIsNot",
    "assertIsNone": "assertIsNotNone",
    "assertIsInstance": "assertNotIsInstance",
    "assertRegex": "assertNotRegex",
    "assertEqual": "assertNotEqual",  # only from right to left: an equality has a value to change
    "assertGreater": "assertLessEqual",
    "assertLess": "assertGreaterEqual",
}
_OPPOSITES = {**_OPPOSITE, **{theirs: ours for ours, theirs in _OPPOSITE.items()}}
_EQUALITIES = frozenset(
    f"assert{kind}Equal" for kind in ("", "List", "Dict", "Tuple", "Set", "Sequence", "Count", "MultiLine", "Almost")
)
_ARRAYS = frozenset(
    ("assert_allclose", "assert_array_equal", "assert_equal", "assert_frame_equal", "assert_series_equal")
)
_LEFT_OUT = ("pytestmark", "__test__")
_HOOKS = ("setUpClass", "setup_class")
_HARMLESS = frozenset(("parametrize", "usefixtures", "asyncio", "anyio", "filterwarnings"))  # marks that choose nothing
_RAISING = frozenset(("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns", "assertWarnsRegex"))


class _Lines:
    """A source and where its nodes stand in it, in bytes."""

    def __init__(self, text: str) -> None:
        self.source = text.encode()
        self._starts = [0]
        for line in self.source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def replaced(self, node: ast.expr, text: str) -> Edit:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return Edit(start=start, end=self._starts[node.end_lineno - 1] + node.end_col_offset, text=text)

    def text(self, node: ast.expr) -> str:
        where = self.replaced(node, "")
        return self.source[where.start : where.end].decode()


def functions(text: str) -> tuple[str, ...]:
    """Return the tests that pytest surely runs in a file by its usual rules: `test_x`, `TestGroup::test_y`.

    What has a mark may be left out by a suite's settings, so it is not sure.
    """
    marked = _marked(text)
    return tuple("::".join(path) for path, _ in _tests(text, _is_group) if marked.isdisjoint((path, path[:-1], ())))


def methods(text: str) -> tuple[str, ...]:
    """Return the tests that unittest surely runs in a file: `Group.test_x`; not those of a class that may skip itself."""
    marked = _marked(text)
    tests = (path for path, _ in _tests(text, _is_case) if len(path) > 1)
    return tuple(".".join(path) for path in tests if marked.isdisjoint((path[:-1], ())))


def twin_of_functions(text: str, random: Random) -> Twin | None:
    """Return the twin of a file of pytest's, or None where it is not Python."""
    return _twin(text, random, {"::".join(path): one for path, one in _tests(text, _is_group)})


def twin_of_methods(text: str, random: Random) -> Twin | None:
    """Return the twin of a file of unittest's, or None where it is not Python."""
    return _twin(text, random, {".".join(path): one for path, one in _tests(text, _is_case) if len(path) > 1})


def _twin(text: str, random: Random, tests: Mapping[str, _Function]) -> Twin | None:
    if _parsed(text) is None:
        return None
    lines = _Lines(text)
    places = {name: list(_places(function.body, lines, random)) for name, function in tests.items()}
    edits = [random.choice(found) for found in places.values() if found]
    kept = tuple(name for name, found in places.items() if not found)
    return Twin(
        text=applied(lines.source, edits),
        changed=unmistakable((name for name, found in places.items() if found), kept),
        kept=kept,
    )


# --- which tests there are --------------------------------------------------------------------------------------


def _parsed(text: str) -> ast.Module | None:
    if len(text) > TEXT_BYTES_MAX:
        return None
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tests(text: str, is_group: Callable[[ast.ClassDef], bool]) -> Iterator[tuple[tuple[str, ...], _Function]]:
    """Yield each test's path and its function; of two of one name the later, as Python has it."""
    tree = _parsed(text)
    found: dict[tuple[str, ...], _Function] = {}
    for node in tree.body if tree else ():
        if isinstance(node, _Function) and _is_test(node):
            found[(node.name,)] = node
        elif isinstance(node, ast.ClassDef) and is_group(node):
            found |= {(node.name, one.name): one for one in node.body if isinstance(one, _Function) and _is_test(one)}
    yield from found.items()


def _marked(text: str) -> set[tuple[str, ...]]:
    """Return the paths of tests and classes, () for the file, that a mark or they themselves may leave out of a run."""
    tree = _parsed(text)
    found: set[tuple[str, ...]] = set()
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id in _LEFT_OUT for one in node.targets
        ):
            found.add(())
        if isinstance(node, _Function | ast.ClassDef) and _has_mark(node):
            found.add((node.name,))
        if isinstance(node, ast.ClassDef):
            inner = [one for one in node.body if isinstance(one, _Function) and (_has_mark(one) or _skips_class(one))]
            found |= {(node.name,) if _skips_class(one) else (node.name, one.name) for one in inner}
            assigned = [one for part in node.body if isinstance(part, ast.Assign) for one in part.targets]
            found |= {(node.name,) for one in assigned if isinstance(one, ast.Name) and one.id in _LEFT_OUT}
        if isinstance(node, _Function) and node.name in ("setUpModule", "setup_module") and _may_skip(node):
            found.add(())
    return found


def _has_mark(node: _Function | ast.ClassDef) -> bool:
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and _last(called.value) == "mark" and called.attr not in _HARMLESS:
            return True
    return False


def _skips_class(function: _Function) -> bool:
    return function.name in _HOOKS and _may_skip(function)


def _may_skip(function: _Function) -> bool:
    return any(
        isinstance(node, ast.Raise | ast.Call) and "skip" in ast.unparse(node).casefold() for node in ast.walk(function)
    )


def _is_test(function: _Function) -> bool:
    return function.name.startswith("test") and not any(
        "fixture" in ast.unparse(decorator) for decorator in function.decorator_list
    )


def _is_case(node: ast.ClassDef) -> bool:
    return any(_last(base).endswith("TestCase") for base in node.bases)


def _is_group(node: ast.ClassDef) -> bool:
    return _is_case(node) or (
        node.name.startswith("Test")
        and not any(isinstance(one, _Function) and one.name == "__init__" for one in node.body)
    )


def _last(node: ast.expr) -> str:
    """Return the last name of `a.b.c`, or nothing."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# --- what can be changed in one ---------------------------------------------------------------------------------


def _places(body: Sequence[ast.stmt], lines: _Lines, random: Random) -> Iterator[Edit]:
    """Yield changes, each of which alone makes the test fail, in statements that are surely reached."""
    for statement in body:
        match statement:
            case ast.Assert(test=test):
                yield _claim(test, lines, random)
            case ast.Expr(value=ast.Call() as called):
                yield from _asserted(called, lines, random)
            case ast.Expr(value=ast.Await(value=ast.Call() as called)):
                yield from _asserted(called, lines, random)
            case ast.For(iter=ast.List(elts=[_, *_]) | ast.Tuple(elts=[_, *_]), body=inner, orelse=[]):
                yield from _places(inner, lines, random)
            case ast.With(items=items, body=inner) | ast.AsyncWith(items=items, body=inner):
                yield from _within(items, inner, lines, random)
            case _:
                pass
        if _may_leave(statement):
            return


def _may_leave(statement: ast.stmt) -> bool:
    """Return whether what follows a statement is perhaps never reached."""
    inner = () if isinstance(statement, _Function | ast.ClassDef) else ast.walk(statement)
    return any(isinstance(node, ast.Return | ast.Raise | ast.Break | ast.Continue) for node in inner)


def _claim(test: ast.expr, lines: _Lines, random: Random) -> Edit:
    """Return a change to what an `assert` says: another expected value, or its contrary."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            return _other(_expected(left, right), lines, random)
        case _:
            return lines.replaced(test, f"not ({lines.text(test)})")


def _expected(left: ast.expr, right: ast.expr) -> ast.expr:
    """Return the side of a comparison that says what is expected: the one that nothing is called in."""
    calls = [any(isinstance(node, ast.Call) for node in ast.walk(side)) for side in (left, right)]
    return left if calls == [False, True] else right


def _asserted(called: ast.Call, lines: _Lines, random: Random) -> Iterator[Edit]:
    name = _last(called.func)
    values = [value for value in called.args if not isinstance(value, ast.Starred)]
    if len(values) != len(called.args):
        return
    if name in _EQUALITIES and len(values) >= 2:
        wanted = _expected(*values[:2])
        if name == "assertAlmostEqual":  # any number may be near enough; what is none cannot be subtracted
            yield lines.replaced(wanted, _beside(wanted, lines, random))
        else:
            yield _other(wanted, lines, random)
    elif name in _OPPOSITES and isinstance(called.func, ast.Attribute):
        text = lines.text(called.func)
        yield lines.replaced(called.func, text[: len(text) - len(name)] + _OPPOSITES[name])
    elif name in _RAISING and len(values) >= 2 and not _ends_the_run(values[0]):
        yield _other_error(name, values[0], lines, random)
    elif name in _ARRAYS and len(values) == 2:
        yield lines.replaced(values[1], _beside(values[1], lines, random))  # numpy's and their kind


def _within(items: Iterable[ast.withitem], body: Sequence[ast.stmt], lines: _Lines, random: Random) -> Iterator[Edit]:
    entered = [item.context_expr for item in items]
    called = [one for one in entered if isinstance(one, ast.Call)]
    if len(called) < len(entered):
        return  # what a name stands for may expect an error
    raising = [call for call in called if _last(call.func) in _RAISING]
    for call in raising:
        if call.args and not _ends_the_run(call.args[0]):
            yield _other_error(_last(call.func), call.args[0], lines, random)
    if not raising and not any(_last(call.func) == "suppress" for call in called):
        yield from _places(body, lines, random)


def _ends_the_run(expected: ast.expr) -> bool:
    """Return whether an error, let out of its test, would end the whole run."""
    return "KeyboardInterrupt" in ast.unparse(expected)


def _other_error(name: str, node: ast.expr, lines: _Lines, random: Random) -> Edit:
    """Return the wish for an error that nobody raises."""
    kind = "Warning" if "arn" in name else "Exception"
    return lines.replaced(node, f'type("{word(random).capitalize()}", ({kind},), {{}})')


def _other(node: ast.expr, lines: _Lines, random: Random) -> Edit:
    """Return a change to an expected value: one constant of a literal, or the whole beside a word."""
    constants = list(_constants(node))
    if not constants:
        return lines.replaced(node, _beside(node, lines, random))
    chosen = random.choice(constants)
    return lines.replaced(chosen, repr(_changed(chosen.value, random)))


def _beside(node: ast.expr, lines: _Lines, random: Random) -> str:
    return f'("{word(random)}", {lines.text(node)})'


def _constants(node: ast.expr) -> Iterator[ast.Constant]:
    """Yield the constants of a literal that have another value of their kind; nothing where it is none."""
    if not all(isinstance(part, _LITERAL) for part in ast.walk(node)):
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and _is_changeable(part.value):
            yield part


_LITERAL = (
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.USub,
    ast.UAdd,
    ast.Load,
)


def _is_changeable(value: object) -> bool:
    return value is None or isinstance(value, bool | int | str | bytes) or _is_finite(value)


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _changed(value: object, random: Random) -> object:
    match value:
        case bool():
            return not value
        case int() | float():
            return other_number(value, random)
        case str():
            return value + word(random, 4)
        case bytes():
            return value + word(random, 4).encode()
        case _:
            return word(random)
