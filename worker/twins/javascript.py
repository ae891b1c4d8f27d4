"""Twins of JavaScript's and TypeScript's tests: node:test with node:assert, jest and vitest with `expect`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from worker.twins.calls import (
    FUNCTIONS,
    arguments_of,
    body_of,
    declared,
    is_sure,
    may_declare,
    passes_by_passing,
    title_of,
)
from worker.twins.edits import Edit, applied, unmistakable, word
from worker.twins.trees import before, parsed, replaced, source_of, walked
from worker.twins.twin import Twin

if TYPE_CHECKING:
    from tree_sitter import Node

_GRAMMARS = (("tree_sitter_typescript", "language_tsx"), ("tree_sitter_typescript", "language_typescript"))
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
    found = [title_of(call) for call in declared(root) if is_sure(call)] if root else []
    return tuple(dict.fromkeys(title for title in found if title))


def twin(text: str, random: Random) -> Twin | None:
    """Return a copy in which every test expects something else, or None where it is no JavaScript."""
    root = parsed(text, *_GRAMMARS)
    if root is None:
        return None
    edits: list[Edit] = []
    changed: list[str] = []
    kept: list[str] = []
    for number, call in enumerate(declared(root), 1):
        body = body_of(call)
        places = list(_places(body, random)) if body is not None and passes_by_passing(call) else []
        (changed if places else kept).append(title_of(call) or f"(test {number})")
        edits += [random.choice(places)] if places else []
    named = [title for title in changed if not title.startswith("(test ")]
    return Twin(
        text=applied(text.encode(), edits),
        changed=unmistakable(named, kept),
        kept=tuple(dict.fromkeys(kept)),
        whole=bool(changed) and not kept and not any(may_declare(node) for node in walked(root)),
    )


# --- what can be changed in one ---------------------------------------------------------------------------------


def _places(body: Node, random: Random) -> Iterator[Edit]:
    """Yield changes, each of which alone makes the test fail, in statements that are surely reached."""
    if body.type != "statement_block":  # `() => assert.equal(...)`
        yield from _said(body, random, waited=True)
        return
    for statement in body.named_children:
        if statement.type in ("expression_statement", "return_statement"):
            for said in statement.named_children[:1]:
                yield from _said(said, random, waited=statement.type == "return_statement")
        if any(node.type in ("return_statement", "throw_statement") for node in walked(statement, _stays)):
            return


def _stays(node: Node) -> bool:
    return node.type not in FUNCTIONS


def _said(node: Node, random: Random, waited: bool) -> Iterator[Edit]:
    """Yield changes to what a statement says; a promise that nobody waits for makes no test fail."""
    if node.type == "await_expression":
        node, waited = node.named_children[0], True
    if node.type == "call_expression" and (waited or not _is_promise(node.child_by_field_name("function"))):
        yield from _claim(node, random)


def _is_promise(function: Node | None) -> bool:
    return bool({"rejects", "resolves", "doesNotReject"} & set(re.findall(r"\w+", source_of(function))))


def _claim(call: Node, random: Random) -> Iterator[Edit]:
    function, values = call.child_by_field_name("function"), arguments_of(call)
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
            return _other_number(text, random)
        case "string":
            return f"{text[:-1]}{word(random, 4)}{text[-1]}"
        case "true" | "false":
            return "false" if node.type == "true" else "true"
        case _:
            return f'"{word(random)}"'


def _other_number(text: str, random: Random) -> str:
    """Return a number that no tolerance takes for this one, or a word where adding would not tell them apart."""
    more = random.randrange(1007, 1997)
    if re.fullmatch(r"\d[\d_]*n", text):
        return f"({text} + {more}n)"
    return f"({text} + {more}.5)" if re.fullmatch(r"\d[\d_]{0,11}(?:\.\d+)?|\.\d+", text) else f'"{word(random)}"'
