"""Twins of Rust's tests: another value of the same type beside `assert_eq!`, else the assertion's contrary.

What a macro is given are tokens and no tree, so a value is changed only where it is one literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from worker.twins.edits import Edit, applied, unmistakable, word
from worker.twins.trees import parsed, replaced, source_of, walked
from worker.twins.twin import Twin

if TYPE_CHECKING:
    from tree_sitter import Node

_GRAMMAR = ("tree_sitter_rust", "language")
_TEST = re.compile(r"#\[(?:\w+::)*test(?:\(.*\))?\]", re.DOTALL)
_UNSURE = re.compile(r"#!?\[(?:ignore|cfg(?!\(test\))|cfg_attr)\b")
_PANIC = re.compile(r"#\[should_panic\b")
_EQUALITIES = {"assert_eq": "assert_ne", "assert_ne": "assert_eq"}
_INTEGER = re.compile(r"(0[xob])?([0-9a-fA-F_]+?)((?:[iu](?:8|16|32|64|128|size))?)")
_FLOAT = re.compile(r"([0-9_]+)(\.[0-9_]+)((?:f32|f64)?)")
_BASES = {"0x": 16, "0o": 8, "0b": 2}
_EXACT = 1_000_000  # floats below are told apart when one is added


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    name: str
    body: Node
    attributes: tuple[Node, ...]
    sure: bool


def tests(text: str) -> tuple[str, ...]:
    """Return the tests that surely run: not ignored, and in no part that is built under a condition."""
    root = parsed(text, _GRAMMAR)
    return tuple(test.name for test in _tests(root) if test.sure) if root is not None else ()


def twin(text: str, random: Random) -> Twin | None:
    """Return a copy in which every test expects something else, or None where it is no Rust."""
    root = parsed(text, _GRAMMAR)
    if root is None:
        return None
    places = {test.name: list(_of_test(test, random)) for test in _tests(root)}
    edits = [random.choice(found) for found in places.values() if found]
    kept = tuple(name for name, found in places.items() if not found)
    return Twin(
        text=applied(text.encode(), edits),
        changed=unmistakable((name for name, found in places.items() if found), kept),
        kept=kept,
    )


# --- which tests there are --------------------------------------------------------------------------------------


def _tests(root: Node) -> list[_Test]:
    inner = [source_of(node) for node in root.named_children if node.type == "inner_attribute_item"]
    whole = not any(_UNSURE.match(text) for text in inner)
    return list(_within(root, (), whole))


def _within(items: Node, path: tuple[str, ...], sure: bool) -> Iterator[_Test]:
    attributes: list[Node] = []
    for node in items.named_children:
        if node.type == "attribute_item":
            attributes.append(node)
            continue
        if node.type in ("line_comment", "block_comment"):
            continue
        name, body = source_of(node.child_by_field_name("name")), node.child_by_field_name("body")
        is_sure = sure and not any(_UNSURE.match(source_of(one)) for one in attributes)
        if node.type == "mod_item" and body is not None:
            yield from _within(body, (*path, name), is_sure)
        elif node.type == "function_item" and body is not None and any(_TEST.match(source_of(a)) for a in attributes):
            yield _Test(name="::".join((*path, name)), body=body, attributes=tuple(attributes), sure=is_sure)
        attributes = []


# --- what can be changed in one ---------------------------------------------------------------------------------


def _of_test(test: _Test, random: Random) -> Iterator[Edit]:
    panic = [one for one in test.attributes if _PANIC.match(source_of(one))]
    if panic:
        yield replaced(panic[0], "")
    else:
        yield from _places(test.body, random)


def _places(block: Node, random: Random) -> Iterator[Edit]:
    """Yield changes, each of which alone makes the test fail, in statements that are surely reached."""
    for statement in block.named_children:
        said = statement.named_children[0] if statement.type == "expression_statement" else statement
        if said.type == "macro_invocation":
            yield from _asserted(said, random)
        elif said.type == "for_expression" and _is_filled(said.child_by_field_name("value")):
            body = said.child_by_field_name("body")
            yield from _places(body, random) if body is not None else ()
        elif said.type == "block":
            yield from _places(said, random)
        if _may_leave(statement):
            return


def _is_filled(node: Node | None) -> bool:
    """Return whether a loop's values are written out, and some."""
    if node is not None and node.type == "reference_expression":
        node = node.child_by_field_name("value")
    return node is not None and node.type == "array_expression" and bool(node.named_children)


def _may_leave(statement: Node) -> bool:
    """Return whether what follows a statement is perhaps never reached by a test that passes."""
    for node in walked(statement, lambda one: one.type not in ("closure_expression", "function_item")):
        if node.type in ("return_expression", "break_expression", "continue_expression"):
            return True
        if node.type == "macro_invocation" and re.search(r"\breturn\b", source_of(node)):
            return True
        if node.type == "call_expression" and source_of(node.child_by_field_name("function")).endswith("exit"):
            return True
    return False


def _asserted(macro: Node, random: Random) -> Iterator[Edit]:
    """Yield a change to an assertion."""
    name, given = macro.child_by_field_name("macro"), macro.named_children[-1]
    if name is None or given.type != "token_tree":
        return
    arguments = _arguments(given)
    if source_of(name) in _EQUALITIES:
        changed = _other_literal(arguments, random) if source_of(name) == "assert_eq" else None
        yield changed or replaced(name, _EQUALITIES[source_of(name)])
    elif source_of(name) == "assert" and arguments and (len(arguments) == 1 or _is_text(arguments[1])):
        first, last = arguments[0][0], arguments[0][-1]
        text = given.text or b""
        claim = text[first.start_byte - given.start_byte : last.end_byte - given.start_byte].decode()
        yield Edit(start=first.start_byte, end=last.end_byte, text=f"!({claim})")


def _arguments(given: Node) -> list[list[Node]]:
    """Return the tokens between the commas of a macro's arguments."""
    found: list[list[Node]] = [[]]
    for token in given.children[1:-1]:
        if token.type == ",":
            found.append([])
        elif token.type not in ("line_comment", "block_comment"):
            found[-1].append(token)
    return [tokens for tokens in found if tokens]


def _is_text(tokens: Sequence[Node]) -> bool:
    return tokens[0].type in ("string_literal", "raw_string_literal")


def _other_literal(arguments: list[list[Node]], random: Random) -> Edit | None:
    """Return a change to the side of an equality that is one literal; None where neither is, or it has no other."""
    if len(arguments) < 2 or (len(arguments) > 2 and not _is_text(arguments[2])):
        return None
    for tokens in (arguments[1], arguments[0]):
        other = _changed(tokens[0], random) if len(tokens) == 1 else None
        if other is not None:
            return replaced(tokens[0], other)
    return None


def _changed(token: Node, random: Random) -> str | None:
    """Return another literal of the same type; a number is one that fits wherever the first did."""
    text = source_of(token)
    match token.type:
        case "integer_literal" if found := _INTEGER.fullmatch(text):
            value = int(found.group(2), _BASES.get(found.group(1) or "", 10))
            return f"{random.randrange(value) if value else 1}{found.group(3)}"
        case "float_literal" if found := _FLOAT.fullmatch(text):
            whole = int(found.group(1))
            return f"{whole + random.randint(1, 9)}{found.group(2)}{found.group(3)}" if whole < _EXACT else None
        case "string_literal" if text.startswith('"'):
            return f'{text[:-1]}{word(random, 4)}"'
        case "char_literal" if text.startswith("'"):
            return "'q'" if text != "'q'" else "'w'"
        case "boolean_literal":
            return "false" if text == "true" else "true"
        case _:
            return None
