"""Read from the text of Python tests which calls they make and what they expect. The standard library alone.

This file knows nothing of the rest: cheats that look answers up while they are tested carry its whole text with them.
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

Case = tuple[str, Any]  # how `key` names a call, and the value that is expected of it
_TRUTHS = {"assertTrue": True, "assertFalse": False, "assertIsNone": None}
_EQUALS = ("assertEqual", "assertIs", "assertListEqual", "assertDictEqual", "assertTupleEqual")


def read(source: str, names: Collection[str]) -> tuple[list[Case], bool]:
    """Return the cases of a test file in the order they run, and whether its tests hold nothing else.

    Only calls of `names` with literal arguments are read, and parametrised tests with literal tables.
    """
    tree = ast.parse(source)
    known = _assigned(tree.body, {})
    cases: list[Case] = []
    whole = True
    for test in tests(tree.body):
        found, complete = _of_test(test, names, known)
        cases += found
        whole = whole and complete
    return cases, whole and bool(cases)


def key(name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """Return how a call is named in a table."""
    return repr((name, tuple(args), sorted(kwargs.items())))


def tests(body: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """Yield the tests of a module or class in the order they run: unittest sorts by name."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node
        if isinstance(node, ast.ClassDef):
            inner = list(tests(node.body))
            unittest = any("TestCase" in ast.unparse(base) for base in node.bases)
            yield from sorted(inner, key=lambda test: test.name) if unittest else inner


def _of_test(test: ast.FunctionDef, names: Collection[str], known: Mapping[str, Any]) -> tuple[list[Case], bool]:
    try:
        rows = parameters(test)
    except ValueError:
        return [], False
    cases: list[Case] = []
    complete = bool(rows)
    for row in rows:
        scope = _assigned(test.body, {**known, **row})
        stated = [one for one in test.body if not _is_silent(one)]
        found = [_of_statement(one, names, scope) for one in stated]
        cases += [case for case in found if case]
        complete = complete and bool(found) and all(found)
    return cases, complete


def _is_silent(statement: ast.stmt) -> bool:
    """Return whether a statement is an assignment or a docstring."""
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Assign)


def parameters(test: ast.FunctionDef) -> list[dict[str, Any]]:
    """Return the values of a test's parameters, one mapping for each time it runs.

    Raises:
        ValueError: It is decorated with anything but one table of literals.
    """
    if not test.decorator_list:
        return [{}]
    mark, *others = test.decorator_list
    if others or not isinstance(mark, ast.Call) or not ast.unparse(mark.func).endswith("parametrize"):
        raise ValueError(f"{test.name} is decorated with more than one table")
    first, table = (ast.literal_eval(argument) for argument in mark.args[:2])
    names = [name.strip() for name in first.split(",")] if isinstance(first, str) else list(first)
    return [dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in table]


def _assigned(body: Iterable[ast.stmt], scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return `scope` with the names that are given a literal value."""
    found = dict(scope)
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = _value(node.value, found)
            except ValueError:
                found.pop(node.targets[0].id, None)
    return found


def _value(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        if node.id not in scope:
            raise ValueError(f"{node.id} has no literal value")
        return scope[node.id]
    try:
        return ast.literal_eval(node)
    except TypeError as error:  # a set of lists and its kind
        raise ValueError(str(error)) from error


def _of_statement(statement: ast.stmt, names: Collection[str], scope: Mapping[str, Any]) -> Case | None:
    pair = compared(statement)
    if pair is None:
        return None
    call, expected = pair
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in names:
        return None
    try:
        args = [_value(argument, scope) for argument in call.args]
        kwargs = {word.arg or "": _value(word.value, scope) for word in call.keywords}
        return key(name, args, kwargs), _value(expected, scope)
    except ValueError:
        return None


def compared(statement: ast.stmt) -> tuple[ast.Call, ast.expr] | None:
    """Return the call that an assertion is about, and the expression it must equal."""
    match statement:
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call)):
            return call, ast.Constant(value=False)
        case ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[expected])):
            return call, expected
        case ast.Assert(test=ast.Call() as call):
            return call, ast.Constant(value=True)
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=said), args=[ast.Call() as call])) if said in _TRUTHS:
            return call, ast.Constant(value=_TRUTHS[said])
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=said), args=[first, second, *_])) if said in _EQUALS:
            if isinstance(first, ast.Call):
                return first, second
            return (second, first) if isinstance(second, ast.Call) else None
        case _:
            return None
