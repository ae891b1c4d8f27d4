"""Syntax trees by tree-sitter: how to have one, and how to walk it. Read only; nothing of the text runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from worker.twins.edits import TEXT_BYTES_MAX, Edit

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@cache
def _parser(module: str, function: str) -> Parser:
    from tree_sitter import Language, Parser

    make: Any = Language  # its type knows a number, which is deprecated, and the grammars give capsules
    return Parser(make(getattr(importlib.import_module(module), function)()))


def parsed(text: str, *grammars: tuple[str, str]) -> Node | None:
    """Return the root of a text in the first of these grammars (module, function) that reads all of it, or None."""
    source = text.encode()
    if len(source) > TEXT_BYTES_MAX:
        return None
    for module, function in grammars:
        root = _parser(module, function).parse(source).root_node
        if not root.has_error:
            return root
    return None


def walked(root: Node, into: Callable[[Node], bool] = lambda node: True) -> Iterator[Node]:
    """Yield a node and all below it that `into` lets one look into, in the order of the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if node is root or into(node):
            waiting.extend(reversed(node.named_children))


def source_of(node: Node | None) -> str:
    """Return a node's text, or nothing."""
    return (node.text or b"").decode() if node is not None else ""


def replaced(node: Node, text: str) -> Edit:
    """Return the change that puts `text` in a node's place."""
    return Edit(start=node.start_byte, end=node.end_byte, text=text)


def before(node: Node, text: str) -> Edit:
    """Return the change that puts `text` before a node."""
    return Edit(start=node.start_byte, end=node.start_byte, text=text)
