"""Twins of Go's tests: conditions that report a failure are negated, testify's assertions put into their contrary.

A test that passes never enters the block of `if got != want { t.Error(...) }`; its twin surely does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from worker.twins.edits import Edit, applied, unmistakable, word
from worker.twins.trees import parsed, replaced, source_of, walked
from worker.twins.twin import Twin

if TYPE_CHECKING:
    from tree_sitter import Node

_GRAMMAR = ("tree_sitter_go", "language")
_REPORTING = frozenset(("Error", "Errorf", "Fatal", "Fatalf", "Fail", "FailNow"))
_TESTS = re.compile(r"(?:Test|Example)(?:$|[^a-z])")
_CONTRARY = {
    "Equal": "NotEqual",
    "EqualValues": "NotEqualValues",
    "True": "False",
    "Nil": "NotNil",
    "NoError": "Error",
    "Contains": "NotContains",
    "Empty": "NotEmpty",
    "Zero": "NotZero",
    "Panics": "NotPanics",
    "ErrorIs": "NotErrorIs",
    "Same": "NotSame",
    "Regexp": "NotRegexp",
}
_CONTRARIES = {**_CONTRARY, **{theirs: ours for ours, theirs in _CONTRARY.items()}}
_LEAVING = frozenset(("return_statement", "continue_statement", "break_statement", "goto_statement"))
_CALLED_AWAY = re.compile(r"\.(?:Skip|Skipf|SkipNow|Exit|Goexit)$|^panic$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """The name of `*testing.T`, and the tables declared so far that have something in them."""

    t: str
    tables: frozenset[str]
    local: frozenset[str]


def tests(text: str) -> tuple[str, ...]:
    """Return the tests that surely run; of a file that is built on some platforms alone, none."""
    root = parsed(text, _GRAMMAR)
    if root is None or re.search(r"^//go:build |^// \+build ", text, re.MULTILINE):
        return ()
    return tuple(name for name, body in _functions(root) if name.startswith("Test") or _output(body) is not None)


def twin(text: str, random: Random) -> Twin | None:
    """Return a copy in which every test expects something else, or None where it is no Go."""
    root = parsed(text, _GRAMMAR)
    if root is None:
        return None
    tables = _tables(root.named_children)
    places = {name: list(_of_test(body, tables, random)) for name, body in _functions(root)}
    edits = [random.choice(found) for found in places.values() if found]
    kept = tuple(name for name, found in places.items() if not found)
    return Twin(
        text=applied(text.encode(), edits),
        changed=unmistakable((name for name, found in places.items() if found), kept),
        kept=kept,
    )


# --- which tests there are --------------------------------------------------------------------------------------


def _functions(root: Node) -> Iterator[tuple[str, Node]]:
    for node in root.named_children:
        name = source_of(node.child_by_field_name("name"))
        body = node.child_by_field_name("body")
        if node.type == "function_declaration" and body is not None and _TESTS.match(name) and name != "TestMain":
            yield name, body


def _output(body: Node) -> Node | None:
    """Return the comment that says what an example prints, if it has one."""
    comments = [node for node in walked(body) if node.type == "comment"]
    return next((one for one in comments if re.match(r"//\s*(?i:unordered )?(?i:output):", source_of(one))), None)


def _statements(block: Node) -> list[Node]:
    inner = [node for node in block.named_children if node.type == "statement_list"]
    return [node for node in (inner[0] if inner else block).named_children if node.type != "comment"]


def _tables(statements: Sequence[Node]) -> frozenset[str]:
    """Return the names that are declared, by these statements, as a literal with something in it."""
    found: set[str] = set()
    for statement in statements:
        for node in walked(statement, lambda one: one.type in ("var_declaration", "var_spec_list")):
            if node.type in ("var_spec", "short_var_declaration"):
                names = node.child_by_field_name("name") or node.child_by_field_name("left")
                values = node.child_by_field_name("value") or node.child_by_field_name("right")
                if values is not None and any(_is_filled(value) for value in values.named_children[:1]):
                    found.add(source_of(names))
    return frozenset(found)


def _is_filled(node: Node) -> bool:
    body = node.child_by_field_name("body") if node.type == "composite_literal" else None
    return body is not None and any(child.type != "comment" for child in body.named_children)


# --- what can be changed in one ---------------------------------------------------------------------------------


def _of_test(body: Node, tables: frozenset[str], random: Random) -> Iterator[Edit]:
    output = _output(body)
    if output is not None:
        said = source_of(output)
        yield replaced(output, said.replace(":", f": {word(random)}", 1))
        return
    parameters = source_of(body.parent.child_by_field_name("parameters")) if body.parent is not None else ""
    yield from _places(body, _Scope(t=_t_of(parameters), tables=tables, local=_declared(body)))


def _t_of(parameters: str) -> str:
    """Return the name of the parameter that is a `*testing.T`, or nothing."""
    found = re.search(r"(\w+)\s+\*testing\.T\b", parameters)
    return found.group(1) if found else ""


def _declared(body: Node) -> frozenset[str]:
    """Return every name that a function declares for itself."""
    kinds = ("short_var_declaration", "var_spec", "range_clause", "parameter_declaration")
    names: set[str] = set()
    for node in walked(body):
        if node.type in kinds:
            left = node.child_by_field_name("left") or node.child_by_field_name("name")
            names |= set(re.findall(r"\w+", source_of(left)))
    return frozenset(names)


def _places(block: Node, scope: _Scope) -> Iterator[Edit]:
    """Yield changes, each of which alone makes the test fail, in statements that are surely reached."""
    statements = _statements(block)
    scope = replace(scope, tables=scope.tables | _tables(statements))
    for statement in statements:
        match statement.type:
            case "if_statement":
                yield from _condition(statement, scope)
            case "for_statement":
                yield from _loop(statement, scope)
            case "expression_statement":
                yield from _call(statement.named_children[0], scope)
            case _:
                pass
        if _may_leave(statement, scope):
            return


def _condition(statement: Node, scope: _Scope) -> Iterator[Edit]:
    """Yield the contrary of a condition whose block reports a failure."""
    condition = statement.child_by_field_name("condition")
    if condition is not None and _reports(statement.child_by_field_name("consequence"), scope):
        yield replaced(condition, f"!({source_of(condition)})")


def _reports(block: Node | None, scope: _Scope) -> bool:
    """Return whether a block surely reports a failure."""
    for statement in _statements(block) if block is not None else ():
        called = statement.named_children[0] if statement.type == "expression_statement" else None
        if called is not None and called.type == "call_expression":
            holder, _, name = source_of(called.child_by_field_name("function")).rpartition(".")
            if holder == scope.t and name in _REPORTING:
                return True
        if _may_leave(statement, scope):
            return False
    return False


def _loop(statement: Node, scope: _Scope) -> Iterator[Edit]:
    """Yield changes in a loop over a table that has something in it."""
    clause = next((node for node in statement.named_children if node.type == "range_clause"), None)
    over = clause.child_by_field_name("right") if clause is not None else None
    body = statement.child_by_field_name("body")
    if over is None or body is None:
        return
    name = source_of(over)
    elsewhere = over.type == "identifier" and name not in scope.local  # in another file of the package
    if _is_filled(over) or name in scope.tables or elsewhere:
        yield from _places(body, scope)


def _call(called: Node, scope: _Scope) -> Iterator[Edit]:
    function = called.child_by_field_name("function") if called.type == "call_expression" else None
    inside = called.child_by_field_name("arguments")
    if function is None or function.type != "selector_expression" or inside is None:
        return
    values = [node for node in inside.named_children if node.type != "comment"]
    field = function.child_by_field_name("field")
    holder, name = source_of(function.child_by_field_name("operand")), source_of(field)
    if holder == scope.t and name == "Run" and values and values[-1].type == "func_literal":
        inner = values[-1].child_by_field_name("body")
        t = _t_of(source_of(values[-1].child_by_field_name("parameters")))
        if inner is not None and t:
            yield from _places(inner, replace(scope, t=t))
    elif holder in ("assert", "require") and name in _CONTRARIES and field is not None and _is_t(values, scope):
        yield replaced(field, _CONTRARIES[name])


def _is_t(values: list[Node], scope: _Scope) -> bool:
    return bool(values) and source_of(values[0]) == scope.t


def _may_leave(statement: Node, scope: _Scope) -> bool:
    """Return whether what follows a statement is perhaps never reached by a test that passes."""
    for node in walked(statement, lambda one: one.type != "func_literal" and not _never_entered(one, scope)):
        if node.type in _LEAVING:
            return True
        if node.type == "call_expression" and _CALLED_AWAY.search(source_of(node.child_by_field_name("function"))):
            return True
    return False


def _never_entered(node: Node, scope: _Scope) -> bool:
    """Return whether a block reports a failure, so that a test that passes does not enter it."""
    return node.type == "block" and _reports(node, scope)
