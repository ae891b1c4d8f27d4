"""The ranked map of a repository: which files a task is likely about, and what they define.

Files come in as text, a map goes out as text. What is costly, reading tags, is kept by content hash, and the native code
that does it runs in a child process. The same input gives the same map; the one exception is a file made to make a parser
hang or crash, where the child's limits decide whether it is parsed or scanned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.repomap import ranking, store, words
from agents.repomap.render import Ranked, draw
from agents.repomap.tags import Tags

__all__ = ["Ranked", "draw", "rank"]

FILES_MAX = 20_000
TEXT_CHARS_MAX = 100_000_000  # all files together
_LINES_MAX = 40
_LINE_CHARS_MAX = 120


def rank(
    files: Mapping[str, str],
    *,
    all_paths: Sequence[str],
    task: str,
    focus: Sequence[str] = (),
    cache: Path | None = None,
) -> list[Ranked]:
    """Return the files of `all_paths` for `task`, the likeliest first; ties go by path.

    Args:
        files: path -> text of the files that may be read; what is larger than 300 KB, and where all together is more
            than 100 million characters what is left over, counts by its path alone.
        all_paths: Every path the map may show; those without text count by their path alone. Beyond 20,000 none is read.
        task: What a person asks for.
        focus: Paths already shown to the model: what they use and what uses them is of interest.
        cache: A folder to keep tags in between runs; it may be deleted at any time.
    """
    paths = sorted({*all_paths, *files})[:FILES_MAX]
    asked = words.read(task, paths)
    tags = store.tags_of(_affordable(paths, files, asked), cache)
    found = ranking.scores(tags, asked, focus)
    best = sorted(paths, key=lambda path: (-found[path], path))
    return [Ranked(path=path, score=found[path], lines=_lines(tags[path], files.get(path, ""), asked)) for path in best]


def _affordable(paths: Sequence[str], files: Mapping[str, str], asked: words.Asked) -> dict[str, str]:
    """Return the texts to read: all of them, or in a huge repository those whose path fits the task, then small ones."""
    texts = {path: files.get(path, "") for path in paths}
    if sum(map(len, texts.values())) <= TEXT_CHARS_MAX:
        return texts
    order = sorted(paths, key=lambda path: (not (path in asked.paths or asked.touches(path)), len(texts[path]), path))
    left = TEXT_CHARS_MAX
    for path in order:
        left -= len(texts[path])
        if left < 0:
            texts[path] = ""
    return texts


def _lines(tags: Tags, text: str, asked: words.Asked) -> tuple[tuple[int, str], ...]:
    """Return the definition lines worth showing, those that the task touches first, then in order of lines."""
    touched = dict[int, bool]()
    for definition in tags.definitions:
        touched[definition.line] = touched.get(definition.line, False) or asked.touches(definition.name)
    numbers = sorted(touched, key=lambda line: (not touched[line], line))[:_LINES_MAX]
    source = text.split("\n") if numbers else []
    return tuple((line, source[line - 1].rstrip()[:_LINE_CHARS_MAX]) for line in numbers if line <= len(source))
