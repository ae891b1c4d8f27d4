"""Twins of JavaScript's and TypeScript's tests: node:test with node:assert, jest and vitest with `expect`."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from worker.adapters.base import Twin
from worker.twins.edits import Edit, applied, word
from worker.twins.trees import before, parsed, replaced, source_of, walked

if TYPE_CHECKING:
    from tree_sitter import Node

_GRAMMARS = (("tree_sitter_typescript", "language_tsx"), ("tree_sitter_typescript", "language_typescript"))
_TEST = frozenset(("test", "it"))
_FUNCTIONS = frozenset(("arrow_function", "function_expression", "function_declaration", "method_definition"))
_EQUALITIES = frozenset(("equal", "strictEqual", "deepEqual", "deepStrictEqual"))
_MATCHERS = frozenset(("toBe", "toEqual", "toStrictEqual"))
_CONTRARY = {
    "notEqual": "equal",
    "notStrictEqual": "strictEqual",
    "notDeepEqual": "deepEqual",
    "notDeepStrictEqual": "deepStrictEqual",
    "throws": "doesNotThrow",
    "rejects": "doesNotReject",
    "match": "doesNotMatch",
    "doesNotThrow": "throws",
    "doesNotReject": "rejects",
    "doesNotMatch": "match",
}
_SCALARS = frozenset(("number", "string", "true", "false", "null"))
_LITERALS = _SCALARS | frozenset(
    ("array", "object", "pair", "string_fragment", "escape_sequence", "property_identifier", "unary_expression")
)


def tests(text: str) -> tuple[str, ...]:
    """Return the titles of the tests that surely run: written out, and neither in a loop nor in a condition."""
    root = parsed(text, *_GRAMMARS)
    found = [_title(call) for call, _ in _tests(root) if _is_sure(call)] if root else []
    return tuple(dict.fromkeys(title for title in found if title))


def twin(text: str, random: Random) -> Twin | None:
    """Return a copy in which every test expects something else, or None where it is no JavaScript."""
    root = parsed(text, *_GRAMMARS)
    if root is None:
        return None
    edits: list[Edit] = []
    changed: list[str] = []
    kept: list[str] = []
    for number, (call, body) in enumerate(_tests(root), 1):
        places = list(_places(body, random))
        (changed if places else kept).append(_title(call) or f"(test {number})")
        edits += [random.choice(places)] if places else []
    named = [title for title in changed if title not in kept and not title.startswith("(test ")]
    return Twin(
        text=applied(text.encode(), edits),
        changed=tuple(dict.fromkeys(named)),
        kept=tuple(dict.fromkeys(kept)),
        whole=bool(changed) and not kept,
    )


# --- which tests there are --------------------------------------------------------------------------------------


def _tests(root: Node) -> Iterator[tuple[Node, Node]]:
    """Yield each call that declares a test, and its function's block."""
    for call in walked(root):
        if call.type != "call_expression" or not _declares(call.child_by_field_name("function")):
            continue
        last = _arguments(call)[-1:]
        body = last[0].child_by_field_name("body") if last and last[0].type in _FUNCTIONS else None
        if body is not None and body.type == "statement_block":
            yield call, body


def _declares(function: Node | None) -> bool:
    """Return whether what is called is `test`, `it`, `t.test`, `test.each(...)` and their kind; not `test.skip`."""
    if function is None:
        return False
    if function.type == "identifier":
        return source_of(function) in _TEST
    if function.type == "member_expression":
        name = source_of(function.child_by_field_name("property"))
        return name in _TEST or (name in ("only", "concurrent") and _declares(function.child_by_field_name("object")))
    inner = function.child_by_field_name("function") if function.type == "call_expression" else None
    is_each = source_of(inner.child_by_field_name("property")) == "each" if inner is not None else False
    return is_each and inner is not None and _declares(inner.child_by_field_name("object"))


def _arguments(call: Node) -> list[Node]:
    inside = call.child_by_field_name("arguments")
    return [node for node in inside.named_children if node.type != "comment"] if inside is not None else []


def _title(call: Node) -> str:
    """Return a test's title where it is written out and stands for one test."""
    function, first = call.child_by_field_name("function"), _arguments(call)[:1]
    if not first or first[0].type != "string" or (function is not None and function.type == "call_expression"):
        return ""
    parts = first[0].named_children
    return source_of(parts[0]) if len(parts) == 1 and parts[0].type == "string_fragment" else ""


def _is_sure(call: Node) -> bool:
    """Return whether a test is declared on every run: at the top, or in `describe` and nothing else."""
    node = call.parent
    while node is not None:
        if node.type in ("if_statement", "for_statement", "for_in_statement", "while_statement", "ternary_expression"):
            return False
        if node.type in _FUNCTIONS and not _is_suite(node):
            return False
        node = node.parent
    return True


def _is_suite(function: Node) -> bool:
    call = function.parent.parent if function.parent is not None else None
    named = source_of(call.child_by_field_name("function")) if call is not None else ""
    return named in ("describe", "suite")


# --- what can be changed in one ---------------------------------------------------------------------------------


def _places(body: Node, random: Random) -> Iterator[Edit]:
    """Yield changes, each of which alone makes the test fail, in statements that are surely reached."""
    for statement in body.named_children:
        said = statement.named_children[0] if statement.type == "expression_statement" else None
        if said is not None and said.type == "await_expression":
            said = said.named_children[0]
        if said is not None and said.type == "call_expression":
            yield from _claim(said, random)
        if any(node.type in ("return_statement", "throw_statement") for node in walked(statement, _stays)):
            return


def _stays(node: Node) -> bool:
    return node.type not in _FUNCTIONS


def _claim(call: Node, random: Random) -> Iterator[Edit]:
    function, values = call.child_by_field_name("function"), _arguments(call)
    if function is None or any(value.type == "spread_element" for value in values):
        return
    if function.type == "identifier":
        yield from _asserted(source_of(function), None, values, random)
        return
    if function.type != "member_expression":
        return
    name, holder = function.child_by_field_name("property"), function.child_by_field_name("object")
    if name is None or holder is None:
        return
    if source_of(holder).split("(")[0].endswith("assert"):
        yield from _asserted(source_of(name), name, values, random)
    elif source_of(holder).startswith("expect("):
        yield from _expected(name, holder, values, random)


def _asserted(name: str, place: Node | None, values: list[Node], random: Random) -> Iterator[Edit]:
    """Yield changes to a call of node:assert; `place` is the name's, where it can be put into its contrary."""
    if name in _EQUALITIES and len(values) >= 2:
        yield _other(_wished(values[0], values[1]), random)
    elif name in ("assert", "ok") and values:
        yield replaced(values[0], f"!({source_of(values[0])})")
    elif place is not None and name in _CONTRARY:
        yield replaced(place, _CONTRARY[name])


def _expected(name: Node, holder: Node, values: list[Node], random: Random) -> Iterator[Edit]:
    """Yield changes to `expect(...)`: another value, or its contrary."""
    is_not = holder.type == "member_expression" and source_of(holder.child_by_field_name("property")) == "not"
    if is_not:
        inner = holder.child_by_field_name("object")
        yield replaced(holder, source_of(inner))
    elif source_of(name) in _MATCHERS and len(values) == 1:
        yield _other(values[0], random)
    else:
        yield before(name, "not.")


def _wished(first: Node, second: Node) -> Node:
    """Return the side of a comparison that says what is expected: the one that nothing is called in."""
    calls = [
        any(node.type in ("call_expression", "new_expression") for node in walked(side)) for side in (first, second)
    ]
    return first if calls == [False, True] else second


def _other(node: Node, random: Random) -> Edit:
    """Return a change to an expected value: one scalar of a literal, or the whole beside a word."""
    if all(part.type in _LITERALS for part in walked(node)):
        scalars = [part for part in walked(node) if part.type in _SCALARS and not _is_key(part)]
        if scalars:
            chosen = random.choice(scalars)
            return replaced(chosen, _changed(chosen, random))
    return replaced(node, f'["{word(random)}", {source_of(node)}]')


def _is_key(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "pair" and node.parent.child_by_field_name("key") == node


def _changed(node: Node, random: Random) -> str:
    text = source_of(node)
    match node.type:
        case "number":
            return f"({text} + {random.randrange(1007, 1997)}.5)"
        case "string":
            return f"{text[:-1]}{word(random, 4)}{text[-1]}"
        case "true" | "false":
            return "false" if node.type == "true" else "true"
        case _:
            return f'"{word(random)}"'
