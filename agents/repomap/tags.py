"""Read what one file defines and which names it uses: a grammar finds definitions, a cheap scan stands in for one.

A use is any mention of a name. Grammars know calls and types too, but ranking by those found fewer of the files that
commits changed (88 of 106 against 90, on the sample with shift 1 of `bench/map.py`).

Files are untrusted: their size is bounded, and a parser that works too long is stopped after a number of its own steps, not
by a clock, so that the same file gives the same answer. What gets past that, the limits in `child.py` and `reader.py` hold.
A file that cannot be parsed is scanned instead.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from agents.repomap import languages

if TYPE_CHECKING:
    from tree_sitter import Language, Query, Tree

SIZE_BYTES_MAX = 300_000
_DEFINITIONS_MAX = 4_000
_NAMES_MAX = 20_000
_NAME_CHARS_MAX = 120
_STEPS_MIN, _BYTES_PER_STEP = 500, 20  # how often a parser may report progress; honest code has 46 bytes a step or more
_DEPTH_MAX = 64  # definitions nested deeper than that are of no interest
_MATCHES_IN_FLIGHT = 256
_IDENTIFIER = re.compile(r"[^\W\d]\w{1,119}")
# "class Name", "def name", "func (r T) Name(", "sub name", "#define NAME", "message Name {" at the start of a line
_LOOKS_DEFINED = re.compile(
    r"^[ \t]{0,12}"
    r"(?:(?:public|private|protected|internal|static|export|default|abstract|final|async|pub|override|local)[ \t]+){0,4}"
    r"(?:class|interface|trait|struct|enum|record|module|namespace|object|protocol|message|service"
    r"|def|fn|func|fun|function|sub|proc|type|macro|#[ \t]*define)[ \t]+"
    r"(?:\([^()\n]{0,80}\)[ \t]*)?([^\W\d]\w{1,79})",
    re.MULTILINE,
)
_HEADING = re.compile(r"^#{1,3}[ \t]+(\S.{0,99})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """A name defined at a 1-based line; `kind` is the query's word: class, function, method, constant..."""

    name: str
    line: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What one file defines, in order of lines, and how often it uses each name."""

    definitions: tuple[Definition, ...] = ()
    names: Mapping[str, int]  # every identifier-like word of the file
    words: Mapping[str, int]  # stems inside the names; one inside a definition's name counts as several
    size: int = 0  # words in the file


NOTHING = Tags(names={}, words={})
_DEFINED_WEIGHT = 2


def read(path: str, text: str) -> Tags:
    """Return the tags of `text` by its grammar, or by the scan where there is none; `NOTHING` where it is not fit to read.

    Runs native code on the text: call it where a crash costs nothing, see `child.py`.
    """
    known = languages.load(name) if (name := languages.language_of(path)) else None
    if known is None or not _is_fit(text):
        return scan(path, text)
    found = _parsed(known, text.encode("utf-8", "replace"))
    return scan(path, text) if found is None else _tags(text, found)


def scan(path: str, text: str) -> Tags:
    """Return the tags of `text` by what looks like a definition, with no native code; `NOTHING` where it is not fit."""
    return _tags(text, _scanned(path, text)) if _is_fit(text) else NOTHING


def _is_fit(text: str) -> bool:
    small = len(text) <= SIZE_BYTES_MAX and len(text.encode("utf-8", "replace")) <= SIZE_BYTES_MAX
    return bool(text) and small and "\0" not in text


def _tags(text: str, definitions: tuple[Definition, ...]) -> Tags:
    names = dict(Counter(_IDENTIFIER.findall(text)).most_common(_NAMES_MAX))
    words = _words(names, definitions)
    return Tags(definitions=definitions, names=names, words=words, size=sum(words.values()))


def encode(value: Tags) -> str:
    """Return `value` as one line of JSON."""
    definitions = [[one.name, one.line, one.kind] for one in value.definitions]
    return json.dumps([definitions, dict(value.names), dict(value.words), value.size])


def decode(text: str) -> Tags | None:
    """Return what `encode` wrote, or None where it is anything else."""
    try:
        definitions, names, words, size = cast("list[Any]", json.loads(text))
        return Tags(
            definitions=tuple(Definition(str(name), int(line), str(kind)) for name, line, kind in definitions),
            names={str(name): int(n) for name, n in names.items()},
            words={str(word): int(n) for word, n in words.items()},
            size=int(size),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _words(names: Mapping[str, int], definitions: Sequence[Definition]) -> dict[str, int]:
    words = Counter[str]()
    for name, n in names.items():
        for stem in stems(name):
            words[stem] += n
    for definition in definitions:
        for stem in stems(definition.name):
            words[stem] += _DEFINED_WEIGHT
    return dict(words)


def _parsed(known: tuple[Language, Query], data: bytes) -> tuple[Definition, ...] | None:
    """Return the definitions that the grammar sees, in order, or None where it gives up."""
    from tree_sitter import QueryCursor

    language, query = known
    tree = _tree(language, data)
    if tree is None or tree.root_node.type == "ERROR":  # nothing was understood, and a query over it can take minutes
        return None
    cursor = QueryCursor(query, match_limit=_MATCHES_IN_FLIGHT)
    cursor.set_max_start_depth(_DEPTH_MAX)
    found: dict[tuple[int, str], tuple[int, Definition]] = {}
    for _, captured in cursor.matches(tree.root_node):
        kind = next((label for label in captured if label.startswith("definition.")), "")
        for node in captured.get("name", []) if kind else []:
            name = (node.text or b"")[:_NAME_CHARS_MAX].decode("utf-8", "replace")
            line = node.start_point[0] + 1
            found.setdefault((line, name), (node.start_byte, Definition(name, line, kind.removeprefix("definition."))))
    ordered = sorted(found.values(), key=lambda one: (one[0], one[1].name))
    return tuple(definition for _, definition in ordered[:_DEFINITIONS_MAX])


def _tree(language: Language, data: bytes) -> Tree | None:
    from tree_sitter import Parser

    steps, most = 0, _STEPS_MIN + len(data) // _BYTES_PER_STEP

    def piece(offset: int, _point: object) -> bytes:
        return data[offset : offset + 65_536]

    def go_on(_offset: int, _error: bool) -> bool:
        nonlocal steps
        steps += 1
        return steps > most  # true stops it

    parser: Any = Parser(language)
    try:
        return parser.parse(piece, progress_callback=go_on)
    except ValueError:  # how the library says that it was stopped
        return None


def _scanned(path: str, text: str) -> tuple[Definition, ...]:
    """Return what looks like a definition, and the headings of a Markdown file."""
    found = [(match.start(1), match[1], "definition") for match in _LOOKS_DEFINED.finditer(text)]
    if path.lower().endswith((".md", ".markdown", ".rst")):
        found = [(match.start(1), match[1].strip(), "heading") for match in _HEADING.finditer(text)]
    definitions: list[Definition] = []
    line, reached = 1, 0
    for at, name, kind in sorted(found)[:_DEFINITIONS_MAX]:
        line += text.count("\n", reached, at)
        reached = at
        definitions.append(Definition(name, line, kind))
    return tuple(definitions)


@lru_cache(maxsize=65_536)
def stems(name: str) -> tuple[str, ...]:
    """Return the words inside an identifier or a plain word, lower-cased and cut to a rough stem, in order."""
    return tuple(_stem(part.lower()) for part in _PARTS.findall(name) if len(part) > 1)


_PARTS = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d{2,}")


def _stem(word: str) -> str:
    for end, put in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", "")):
        if word.endswith(end) and len(word) - len(end) >= 3 and not (end == "s" and word.endswith("ss")):
            return word[: -len(end)] + put
    return word
