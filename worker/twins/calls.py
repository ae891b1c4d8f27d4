"""Which calls in a JavaScript or TypeScript file declare tests: node:test's, jest's and vitest's ways of writing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from worker.twins.trees import source_of, walked

if TYPE_CHECKING:
    from tree_sitter import Node

FUNCTIONS = frozenset(("arrow_function", "function_expression", "function_declaration", "method_definition"))
_TEST = frozenset(("test", "it", "specify"))
_RUNNING = frozenset(("only", "concurrent", "sequential", "each", "for", "failing", "fails"))
_HOOKS = frozenset(("before", "after", "beforeEach", "afterEach", "beforeAll", "afterAll"))
# Calls at the top of a file, or of a suite, that declare no test themselves.
_KNOWN = (
    _TEST | _HOOKS | frozenset(("describe", "suite", "forEach", "require", "jest", "vi", "mock", "console", "process"))
)


def declared(root: Node) -> Iterator[Node]:
    """Yield each call that declares a test."""
    for call in walked(root):
        if call.type == "call_expression" and _declares(call.child_by_field_name("function")) and _function(call):
            yield call


def _function(call: Node) -> Node | None:
    """Return what a test is made of: the last function among the arguments, or a name or call that stands for one."""
    given = arguments_of(call)[1:] if _is_titled(call) else arguments_of(call)
    written = [node for node in given if node.type in FUNCTIONS]
    named = [node for node in given if node.type in ("identifier", "member_expression", "call_expression")]
    return next(iter((*reversed(written), *reversed(named))), None)


def _is_titled(call: Node) -> bool:
    return any(node.type in ("string", "template_string", "identifier") for node in arguments_of(call)[:1])


def body_of(call: Node) -> Node | None:
    """Return the block, or the expression, that a test's function is made of, where it is written out."""
    function = _function(call)
    return function.child_by_field_name("body") if function is not None and function.type in FUNCTIONS else None


def _name_of(function: Node | None) -> tuple[str, ...]:
    """Return the names in `test`, `t.test`, `test.only.each(...)`, from the left; () for anything else."""
    if function is None:
        return ()
    if function.type == "identifier":
        return (source_of(function),)
    if function.type == "member_expression":
        names = _name_of(function.child_by_field_name("object"))
        return (*names, source_of(function.child_by_field_name("property"))) if names else ()
    if function.type == "call_expression":  # test.each(table)(title, ...), also with the table as a template
        names = _name_of(function.child_by_field_name("function"))
        return names if names[-1:] == ("each",) or names[-1:] == ("for",) else ()
    return ()


def _declares(function: Node | None) -> bool:
    """Return whether what is called declares a test that runs; not `test.skip` or `test.todo`."""
    names = _name_of(function)
    at = max((i for i, name in enumerate(names) if name in _TEST), default=-1)
    if at < 0 or (at > 0 and names[0] not in ("t", "context", "ctx", "test", "node_test")):
        return False
    is_table = names[-1] in ("each", "for")
    made = function is not None and function.type == "call_expression"
    return is_table == made and all(name in _RUNNING for name in names[at + 1 :])


def passes_by_passing(call: Node) -> bool:
    """Return whether a test passes where its function does, which `test.failing` turns round."""
    return not {"failing", "fails", "failsIf"} & set(_name_of(call.child_by_field_name("function")))


def may_declare(node: Node) -> bool:
    """Return whether a statement outside of every test may declare tests that are not seen here."""
    if node.type != "call_expression" or _is_inside(node):
        return False
    names = _name_of(node.child_by_field_name("function"))
    return not names or not (set(names) & _KNOWN or _declares(node.child_by_field_name("function")))


def _is_inside(node: Node) -> bool:
    """Return whether a call stands in a test or hook, or only makes a value or a table."""
    if node.parent is None or node.parent.type not in ("expression_statement", "await_expression"):
        return True
    above = node.parent
    while above is not None:
        if above.type == "call_expression":
            names = set(_name_of(above.child_by_field_name("function")))
            if names & (_TEST | _HOOKS):
                return True
        above = above.parent
    return False


def arguments_of(call: Node) -> list[Node]:
    """Return what a call is given."""
    inside = call.child_by_field_name("arguments")
    return [node for node in inside.named_children if node.type != "comment"] if inside is not None else []


def title_of(call: Node) -> str:
    """Return a test's title where it is written out and stands for one test."""
    function, first = call.child_by_field_name("function"), arguments_of(call)[:1]
    if not first or first[0].type != "string" or (function is not None and function.type == "call_expression"):
        return ""
    parts = first[0].named_children
    return source_of(parts[0]) if len(parts) == 1 and parts[0].type == "string_fragment" else ""


def is_sure(call: Node) -> bool:
    """Return whether a test is declared on every run: at the top, or in `describe` and nothing else."""
    node = call.parent
    while node is not None:
        if node.type in ("if_statement", "for_statement", "for_in_statement", "while_statement", "ternary_expression"):
            return False
        if node.type in FUNCTIONS and not _is_suite(node):
            return False
        node = node.parent
    return True


def _is_suite(function: Node) -> bool:
    call = function.parent.parent if function.parent is not None else None
    named = source_of(call.child_by_field_name("function")) if call is not None else ""
    return named in ("describe", "suite")
