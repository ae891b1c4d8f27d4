"""Mutants: the change with one small fault put into a line it brought. How many the tests notice is advice, no verdict.

Read by tree-sitter, so that a fault is put where code stands and not into a text or a comment. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from random import Random
from typing import TYPE_CHECKING

from worker.twins.edits import Edit, applied
from worker.twins.trees import parsed, source_of, walked

if TYPE_CHECKING:
    from tree_sitter import Node

_TYPESCRIPT = (("tree_sitter_typescript", "language_tsx"), ("tree_sitter_typescript", "language_typescript"))
GRAMMARS = {
    ".py": (("tree_sitter_python", "language"),),
    ".go": (("tree_sitter_go", "language"),),
    ".rs": (("tree_sitter_rust", "language"),),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx"), _TYPESCRIPT),
}
_SWAPPED = {
    "==": "!=",
    "!=": "==",
    "===": "!==",
    "!==": "===",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "+": "-",
    "-": "+",
    "*": "+",
    "/": "*",
    "//": "*",
    "%": "*",
    "and": "or",
    "or": "and",
    "&&": "||",
    "||": "&&",
    "True": "False",
    "False": "True",
    "true": "false",
    "false": "true",
    "+=": "-=",
    "-=": "+=",
    "break": "continue",
}
_NUMBERS = frozenset(("integer", "int_literal", "integer_literal", "number"))
_OPERATIONS = frozenset(
    ("binary_operator", "binary_expression", "comparison_operator", "boolean_operator", "augmented_assignment")
)
CODE = frozenset(GRAMMARS)
_LINES_MAX = 5000  # of a file that is looked at: what is larger is data, and comparing it takes long


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A file with one fault in it; `what` says where and which, for a person."""

    path: str
    text: str
    what: str


def mutants(path: str, before: str | None, after: str, random: Random) -> list[Mutant]:
    """Return the faults that can be put into the lines a file's change brought, in no order."""
    grammars = GRAMMARS.get(PurePosixPath(path).suffix.lower())
    root = parsed(after, *grammars) if grammars else None
    if root is None or after.count("\n") > _LINES_MAX:
        return []
    fresh = _brought(before or "", after)
    found = [
        Mutant(path=path, text=applied(after.encode(), [edit]), what=f"{path}:{line}: {old} became {edit.text}")
        for line, old, edit in _faults(root)
        if line in fresh
    ]
    random.shuffle(found)
    return found


def _brought(before: str, after: str) -> set[int]:
    """Return the lines, from 1, of `after` that are not in `before`."""
    matcher = SequenceMatcher(None, before.splitlines(), after.splitlines())  # with its guard against many equal lines
    return {line + 1 for tag, _, _, start, end in matcher.get_opcodes() if tag != "equal" for line in range(start, end)}


def _faults(root: Node) -> Iterator[tuple[int, str, Edit]]:
    for node in walked(root):
        leaves = [child for child in node.children if child.child_count == 0]
        for leaf in leaves:
            text, line = source_of(leaf), leaf.start_point[0] + 1
            is_operator = not leaf.is_named and node.type in _OPERATIONS
            if text in _SWAPPED and (is_operator or leaf.is_named or text in ("break",)):
                yield line, text, Edit(start=leaf.start_byte, end=leaf.end_byte, text=_SWAPPED[text])
            elif leaf.type in _NUMBERS and text.isdigit():
                yield line, text, Edit(start=leaf.start_byte, end=leaf.end_byte, text=str(int(text) + 1))
