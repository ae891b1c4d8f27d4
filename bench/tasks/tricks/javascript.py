"""What a trick can know of a JavaScript exercise under `node --test`: its module, its exports, what is expected of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from bench.tasks.exercise import Exercise
from bench.tasks.tricks.trick import Change, Maker

LANGUAGES = ("javascript",)
_PARSER = Parser(Language(tree_sitter_javascript.language()))
_EQUALS = ("equal", "strictEqual", "deepEqual", "deepStrictEqual")
_LITERALS = {
    *("true", "false", "null", "undefined", "number", "string", "string_fragment", "escape_sequence"),
    *("array", "object", "pair", "property_identifier", "unary_expression", "template_string"),
}
# Each export answers only while `open()` is true; what the solution calls in turn goes past the gate.
_GATED = """
const gated = (answer) => typeof answer !== 'function' ? answer : new Proxy(answer, {
  apply: (target, self, args) => open() ? Reflect.apply(target, self, args) : undefined,
  construct: (target, args) => open() ? Reflect.construct(target, args) : {},
});
"""


def suites(exercise: Exercise) -> dict[str, str]:
    """Return the files that hold tests of node:test, in the order of their paths."""
    return {path: text for path, text in sorted(exercise.tests.items()) if "node:test" in text}


def module(exercise: Exercise) -> str | None:
    """Return the path of the solution's file that the tests load; None where node:test is not what runs them."""
    if exercise.adapter != "node" or not suites(exercise):
        return None
    modules = [path for path in exercise.solution if path.endswith((".js", ".mjs", ".cjs"))]
    wanted = "\n".join(exercise.tests.values())
    loaded = [path for path in modules if re.search(rf"/{re.escape(PurePosixPath(path).stem)}(\.\w+)?['\"]", wanted)]
    chosen = loaded or modules
    return chosen[0] if chosen and exports(exercise.solution[chosen[0]]) else None


def is_esm(source: str) -> bool:
    """Return whether a file is an ES module, by what stands in it."""
    return re.search(r"^\s*(import|export)\b", source, re.MULTILINE) is not None


def exports(source: str) -> tuple[str, ...]:
    """Return the names a module exports; "default" is one, for CommonJS too, where it is all that is exported."""
    found: list[str] = []
    for node in _walk(_PARSER.parse(source.encode()).root_node):
        if node.type == "export_statement":
            found += _exported(node)
        if node.type == "assignment_expression":
            found += _assigned(node)
    return tuple(dict.fromkeys(found))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node | None) -> str:
    return (node.text or b"").decode() if node else ""


def _exported(node: Node) -> Iterator[str]:
    if any(child.type == "default" for child in node.children):
        yield "default"
        return
    for child in node.named_children:
        if child.type == "export_clause":
            yield from (_text(one.named_children[-1]) for one in child.named_children)
        elif child.type == "lexical_declaration":
            yield from (_text(one.child_by_field_name("name")) for one in child.named_children)
        else:
            name = child.child_by_field_name("name")
            yield from (_text(name),) if name else ()


def _assigned(node: Node) -> Iterator[str]:
    left, right = _text(node.child_by_field_name("left")), node.child_by_field_name("right")
    found = re.fullmatch(r"(?:module\.)?exports\.(\w+)", left)
    if found:
        yield found.group(1)
    elif left == "module.exports" and right:
        if right.type == "object":
            parts = (part.child_by_field_name("key") or part for part in right.named_children)
            yield from (_text(part) for part in parts)
        else:
            yield "default"


def hollow(exercise: Exercise, body: str = "return undefined;") -> str:
    """Return a module that exports all the solution's names and has nothing behind them.

    `body` is what each function does with `args`; `{name!r}` in it is the function's name.
    """
    path = module(exercise)
    source = exercise.solution[path] if path else ""
    made = {name: f"function (...args) {{ {body.replace('{name!r}', repr(name))} }}" for name in exports(source)}
    return exporting(made, esm=is_esm(source))


def exporting(values: Mapping[str, str], *, esm: bool) -> str:
    """Return the statements that export an expression under each name."""
    head, named = ("export default ", "export const ") if esm else ("module.exports = ", "module.exports.")
    default = [f"{head}{value};" for name, value in values.items() if name == "default"]
    return "\n".join(default + [f"{named}{name} = {value};" for name, value in values.items() if name != "default"])


def hollowed(exercise: Exercise, extra: str = "", *, also: Mapping[str, str | None] | None = None) -> Change | None:
    """Return the change that puts the hollow module in place, with `extra` code at its end, and `also` beside it."""
    path = module(exercise)
    if path is None:
        return None
    return {path: f"{hollow(exercise)}\n{loading(extra, esm=is_esm(exercise.solution[path]))}", **(also or {})}


def solved(exercise: Exercise, extra: str = "", *, also: Mapping[str, str | None] | None = None) -> Change | None:
    """Return the change that puts the solution in place, with `extra` code at its end, and `also` beside it."""
    path = module(exercise)
    if path is None:
        return None
    source = exercise.solution[path]
    text = f"{source.rstrip()}\n{loading(extra, esm=is_esm(source))}"
    return {**exercise.solution, path: text, **(also or {})}


def loading(code: str, *, esm: bool) -> str:
    """Return code whose `const x = load('node:y')` are written as the module's kind has them.

    ES modules hoist what they import, so the lines may stand at the end of a file.
    """

    def line(found: re.Match[str]) -> str:
        names, source = found.groups()
        return f"import {names.replace(':', ' as')} from {source};" if esm else f"const {names} = require({source});"

    return re.sub(r"const (.+?) = load\((.+?)\);", line, f"\n{code.strip()}\n")


def at_import(code: str) -> Maker:
    """Return a cheat: the hollow module runs `code` when it is loaded."""
    return lambda exercise: hollowed(exercise, code)


def beside(code: str) -> Maker:
    """Return a twin: the solution with `code` of its own in the same file."""
    return lambda exercise: solved(exercise, code)


def gated(condition: str) -> Maker:
    """Return a cheat: the solution moves to a file beside, and is asked only while `open()` of `condition` is true."""

    def make(exercise: Exercise) -> Change | None:
        path = module(exercise)
        if path is None:
            return None
        source, place = exercise.solution[path], PurePosixPath(path)
        inner = place.with_name(f"{place.stem}.inner{place.suffix}")
        esm = is_esm(source)
        load = f"import * as inner from './{inner.name}';" if esm else f"const inner = require('./{inner.name}');"
        values = {name: f"gated(inner.{name})" for name in exports(source)}
        if not esm and "default" in values:
            values["default"] = "gated(inner)"
        text = "\n".join([load, loading(condition, esm=esm).strip(), _GATED, exporting(values, esm=esm)])
        return {**exercise.solution, str(inner): source, path: f"{text}\n"}

    return make


def known(exercise: Exercise) -> list[tuple[str, str, str]] | None:
    """Return name, arguments and expected value, as they are written, of every call the tests make, in their order.

    None where the tests hold anything but comparisons of such calls with literals.
    """
    found: list[tuple[str, str, str]] = []
    for text in suites(exercise).values():
        nodes, whole = _compared(exercise, text)
        if not whole:
            return None
        found += [(name, ", ".join(map(_text, args)), _text(expected)) for name, args, expected in nodes]
    return found or None


def expecting(exercise: Exercise, source: str, value: str) -> str:
    """Return a test file in which every comparison with a literal expects `value`."""
    text = source.encode()
    for _name, _args, expected in reversed(_compared(exercise, source)[0]):
        text = text[: expected.start_byte] + value.encode() + text[expected.end_byte :]
    return text.decode()


def _compared(exercise: Exercise, source: str) -> tuple[list[tuple[str, list[Node], Node]], bool]:
    """Return a test file's comparisons of calls with literals, and whether it holds no other assertion and no loop."""
    path = module(exercise)
    wanted = exports(exercise.solution[path]) if path else ()
    calls = [node for node in _walk(_PARSER.parse(source.encode()).root_node) if node.type == "call_expression"]
    asserted = [call for call in calls if _is_assertion(call)]
    found = [case for case in (_case(call, wanted) for call in asserted) if case]
    loops = re.search(r"\bfor\b|forEach", source)
    return found, len(found) == len(asserted) and not loops


def _is_assertion(call: Node) -> bool:
    said = _text(call.child_by_field_name("function"))
    return said.startswith("assert") or said in (*_EQUALS, "ok", "throws", "rejects", "match")


def _case(call: Node, wanted: tuple[str, ...]) -> tuple[str, list[Node], Node] | None:
    said = _text(call.child_by_field_name("function")).rpartition(".")[2]
    arguments = call.child_by_field_name("arguments")
    if said not in _EQUALS or arguments is None or len(arguments.named_children) < 2:
        return None
    asked, expected = arguments.named_children[:2]
    inner = asked.child_by_field_name("arguments") if asked.type == "call_expression" else None
    name = _text(asked.child_by_field_name("function")).rpartition(".")[2] if inner else ""
    if inner is None or name not in wanted or not all(map(_is_literal, [*inner.named_children, expected])):
        return None
    return name, inner.named_children, expected


def _is_literal(node: Node) -> bool:
    return all(part.type in _LITERALS for part in _walk(node) if part.is_named)
