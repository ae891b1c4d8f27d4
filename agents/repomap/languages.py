"""Know which grammar reads which file, and the query that finds definitions in it.

Grammars are the official tree-sitter wheels: compiled, permissively licensed, nothing is downloaded when they are used. A
wheel that brings a tags query is asked with it; what those queries leave out is added here, next to the grammar's name.
A language that is not here, or whose wheel is not installed, is read by the cheap scan in `scan.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tree_sitter import Language, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """One language: the wheel it comes from, the function in it, the wheels whose queries apply, and our additions."""

    module: str
    function: str = "language"
    queries: tuple[str, ...] = ()  # modules; empty: the grammar's own
    extra: str = ""


_C_EXTRA = """
(preproc_def name: (identifier) @name) @definition.constant
(preproc_function_def name: (identifier) @name) @definition.macro
"""
_CPP_EXTRA = """
(namespace_definition name: (namespace_identifier) @name) @definition.module
"""
_GO_EXTRA = """
(const_spec name: (identifier) @name) @definition.constant
(source_file (var_declaration (var_spec name: (identifier) @name)) @definition.constant)
"""
_PYTHON_EXTRA = """
(class_definition body: (block (expression_statement (assignment left: (identifier) @name)) @definition.constant))
"""
_JS_EXTRA = """
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name)) @definition.constant))
"""
_TS_EXTRA = (
    _JS_EXTRA
    + """
(type_alias_declaration name: (type_identifier) @name) @definition.type
(enum_declaration name: (identifier) @name) @definition.type
"""
)
_RUST_EXTRA = """
(const_item name: (identifier) @name) @definition.constant
(static_item name: (identifier) @name) @definition.constant
(function_signature_item name: (identifier) @name) @definition.method
"""
_KOTLIN_EXTRA = """
(class_declaration name: (identifier) @name) @definition.class
(object_declaration name: (identifier) @name) @definition.class
(function_declaration name: (identifier) @name) @definition.function
"""
_BASH_EXTRA = "(function_definition name: (word) @name) @definition.function"

GRAMMARS: dict[str, Grammar] = {
    "bash": Grammar(module="tree_sitter_bash", extra=_BASH_EXTRA),
    "c": Grammar(module="tree_sitter_c", extra=_C_EXTRA),
    "c_sharp": Grammar(module="tree_sitter_c_sharp"),
    "cpp": Grammar(module="tree_sitter_cpp", extra=_CPP_EXTRA),
    "elixir": Grammar(module="tree_sitter_elixir"),
    "go": Grammar(module="tree_sitter_go", extra=_GO_EXTRA),
    "java": Grammar(module="tree_sitter_java"),
    "javascript": Grammar(module="tree_sitter_javascript", extra=_JS_EXTRA),
    "kotlin": Grammar(module="tree_sitter_kotlin", extra=_KOTLIN_EXTRA),
    "lua": Grammar(module="tree_sitter_lua"),
    "php": Grammar(module="tree_sitter_php", function="language_php"),
    "python": Grammar(module="tree_sitter_python", extra=_PYTHON_EXTRA),
    "ruby": Grammar(module="tree_sitter_ruby"),
    "rust": Grammar(module="tree_sitter_rust", extra=_RUST_EXTRA),
    "scala": Grammar(module="tree_sitter_scala"),
    "swift": Grammar(module="tree_sitter_swift"),
    "typescript": Grammar(
        module="tree_sitter_typescript",
        function="language_typescript",
        queries=("tree_sitter_javascript", "tree_sitter_typescript"),
        extra=_TS_EXTRA,
    ),
    "tsx": Grammar(
        module="tree_sitter_typescript",
        function="language_tsx",
        queries=("tree_sitter_javascript", "tree_sitter_typescript"),
        extra=_TS_EXTRA,
    ),
}
_SUFFIXES = {
    "bash": "sh bash",
    "c": "c h",
    "c_sharp": "cs",
    "cpp": "cc cpp cxx hpp hh hxx",
    "elixir": "ex exs",
    "go": "go",
    "java": "java",
    "javascript": "js jsx mjs cjs",
    "kotlin": "kt kts",
    "lua": "lua",
    "php": "php",
    "python": "py pyi",
    "ruby": "rb rake",
    "rust": "rs",
    "scala": "scala sc",
    "swift": "swift",
    "typescript": "ts mts cts",
    "tsx": "tsx",
}
BY_SUFFIX: dict[str, str] = {f".{end}": name for name, ends in _SUFFIXES.items() for end in ends.split()}


def language_of(path: str) -> str:
    """Return the name of the grammar for `path`, by its ending, or "" where none is known."""
    return BY_SUFFIX.get(PurePosixPath(path).suffix.lower(), "")


@cache
def load(name: str) -> tuple[Language, Query] | None:
    """Return the grammar called `name` and the query for its tags, or None where its wheel is missing or does not fit."""
    try:
        from tree_sitter import Language, Query

        grammar = GRAMMARS[name]
        module: Any = importlib.import_module(grammar.module)
        make: Any = Language  # its type knows a number, which is deprecated, and the grammars give capsules
        language: Language = make(getattr(module, grammar.function)())
        return language, Query(language, _source(language, grammar))
    except (ImportError, AttributeError, ValueError):  # ValueError: a grammar of an ABI the library does not read
        return None


def _source(language: Language, grammar: Grammar) -> str:
    """Return the query text: every part that this version of the grammar understands, the rest left out."""
    from tree_sitter import Query, QueryError

    kept: list[str] = []
    for part in (*(_shipped(module) for module in grammar.queries or (grammar.module,)), grammar.extra):
        try:
            Query(language, part)
        except QueryError:
            continue
        kept.append(part)
    return "\n".join(kept)


def _shipped(module: str) -> str:
    for folder in (module, module.replace("_sharp", "-sharp")):
        try:
            return (resources.files(module).parent / folder / "queries" / "tags.scm").read_text("utf-8")  # type: ignore[attr-defined]
        except (OSError, AttributeError, TypeError):
            continue
    return ""
