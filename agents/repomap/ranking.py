"""Rank a repository's files for a task: what the task's words say, spread along who uses whose names.

First each file gets a share of the task's interest: words in its path, its definitions and its text (BM25, Robertson and
Zaragoza 2009), names and paths the task mentions, files already in focus. Then personalised PageRank (Page et al. 1998)
spreads that interest over a graph in which a file points at the files that define what it uses. Pure and deterministic:
no clock, ties by path, scores rounded.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agents.repomap.tags import Tags, stems
from agents.repomap.words import Asked

_DEFINERS_MAX = 12  # a name that more files define says nothing about which one is meant
_K1, _B = 1.2, 0.6  # BM25's own usual values, but for shorter files counting a little less as an advantage


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each kind of evidence counts."""

    words: float = 1.0
    names: float = 1.0
    paths: float = 1.5
    focus: float = 1.0
    in_path: float = 4.0  # a word in a file's path, next to one in its text
    sharp: float = 2.0  # power of BM25's score: how far the best few stand out
    back: float = 0.3  # an edge against the direction of use
    pair: float = 10.0  # an edge between a file and its tests
    asked: float = 3.0  # an edge by a name that the task writes out
    damping: float = 0.35  # low: the task's own words count for more than what is central


def scores(
    tags: Mapping[str, Tags], asked: Asked, focus: Sequence[str], weights: Weights | None = None
) -> dict[str, float]:
    """Return a score for every path in `tags`; they sum to about 1."""
    weights = weights or Weights()
    paths = sorted(tags)
    interest = _interest(paths, tags, asked, focus, weights)
    edges = _edges(paths, tags, asked, weights)
    return _spread(paths, interest, edges, weights.damping)


def _interest(
    paths: Sequence[str], tags: Mapping[str, Tags], asked: Asked, focus: Sequence[str], weights: Weights
) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    shown = {path: 1.0 for path in focus if path in tags}
    for weight, found in (
        (weights.words, _by_words(paths, tags, asked, weights)),
        (weights.names, _by_names(paths, tags, asked)),
        (weights.paths, {path: sure for path, sure in asked.paths.items() if path in tags}),
        (weights.focus, shown),
    ):
        whole = sum(found.values())
        for path, value in found.items():
            total[path] += weight * value / whole if whole else 0.0
    return total


def _by_words(paths: Sequence[str], tags: Mapping[str, Tags], asked: Asked, weights: Weights) -> dict[str, float]:
    """Return BM25 of each file for the task's words; a word in the path counts as several."""
    counts = {path: _counts(path, tags[path], asked.words, weights.in_path) for path in paths}
    mean = 1 + sum(tags[path].size for path in paths) / max(1, len(paths))
    held = Counter(word for found in counts.values() for word in found)
    worth = {word: asked.words[word] * _rarity(held[word], len(paths)) * (_K1 + 1) for word in held}
    found: dict[str, float] = {}
    for path, counted in counts.items():
        scale = _K1 * (1 - _B + _B * tags[path].size / mean)
        value = sum(worth[word] * n / (n + scale) for word, n in counted.items())
        if value > 0:
            found[path] = value**weights.sharp
    return found


def _counts(path: str, tags: Tags, wanted: Mapping[str, float], in_path: float) -> dict[str, float]:
    counts = {word: float(tags.words[word]) for word in wanted if word in tags.words}
    for part in PurePosixPath(path).parts:
        for stem in stems(part):
            if stem in wanted:
                counts[stem] = counts.get(stem, 0.0) + in_path
    return counts


def _rarity(held: int, files: int) -> float:
    return math.log(1 + (files - held + 0.5) / (held + 0.5))


def _by_names(paths: Sequence[str], tags: Mapping[str, Tags], asked: Asked) -> dict[str, float]:
    """Return how much each file has to do with the names the task writes out: defining one counts most."""
    defined: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for name in {definition.name: None for definition in tags[path].definitions if definition.name in asked.names}:
            defined[name].append(path)
    found: dict[str, float] = defaultdict(float)
    for name in sorted(asked.names):
        using = [path for path in paths if name in tags[path].names]
        rarity = _rarity(len(using), len(paths))
        for path in defined[name]:
            found[path] += rarity * 2 / math.sqrt(len(defined[name]))
        for path in using:
            found[path] += rarity / math.sqrt(len(using))
    return found


def _edges(
    paths: Sequence[str], tags: Mapping[str, Tags], asked: Asked, weights: Weights
) -> dict[tuple[int, int], float]:
    """Return the weight of each edge from a file to one that defines what it uses, and, weaker, back."""
    definers = _definers(paths, tags)
    uses = [[name for name in tags[path].names if name in definers] for path in paths]
    users = Counter(name for used in uses for name in used)
    worth = {
        name: _rarity(users[name], len(paths)) / len(there) * (weights.asked if name in asked.names else 1.0)
        for name, there in definers.items()
    }
    edges: dict[tuple[int, int], float] = defaultdict(float)
    for here, path in enumerate(paths):
        names = tags[path].names
        for name in uses[here]:
            there = definers[name]
            if here in there:
                continue
            weight = math.sqrt(names[name]) * worth[name]
            for other in there:
                edges[here, other] += weight
                edges[other, here] += weight * weights.back
    index = {path: number for number, path in enumerate(paths)}
    for first, second in _pairs(paths):
        edges[index[first], index[second]] += weights.pair
        edges[index[second], index[first]] += weights.pair
    return edges


def _definers(paths: Sequence[str], tags: Mapping[str, Tags]) -> dict[str, tuple[int, ...]]:
    """Return, for each name that few files define, those files by number."""
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for number, path in enumerate(paths):
        for definition in tags[path].definitions:
            if len(definition.name) > 2:
                found[definition.name][number] = None
    return {name: tuple(files) for name, files in found.items() if len(files) <= _DEFINERS_MAX}


def _pairs(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return (source, test) for files whose names say that one tests the other."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    tests: list[tuple[str, str]] = []
    for path in paths:
        stem = PurePosixPath(path).stem.lower()
        bare = tested(stem)
        if bare:
            tests.append((bare, path))
        else:
            by_stem[stem].append(path)
    return [(source, test) for bare, test in tests for source in by_stem.get(bare, [])[:4]]


def tested(stem: str) -> str:
    """Return the name of what a test file's name says it tests, or "" where it is no test's name."""
    for mark in ("test_", "tests_", "spec_"):
        if stem.startswith(mark):
            return stem.removeprefix(mark)
    for mark in ("_test", ".test", "-test", "_tests", "_spec", ".spec", "-spec"):
        if stem.endswith(mark):
            return stem.removesuffix(mark)
    return stem.removesuffix("tests").removesuffix("test") if stem.endswith(("test", "tests")) else ""


def _spread(
    paths: Sequence[str], interest: Mapping[str, float], edges: Mapping[tuple[int, int], float], damping: float
) -> dict[str, float]:
    """Return personalised PageRank; a repository the task says nothing about is ranked by use alone."""
    if not paths:
        return {}
    import rustworkx as rx

    graph: rx.PyDiGraph[None, float] = rx.PyDiGraph(multigraph=False)
    graph.add_nodes_from([None] * len(paths))
    graph.add_edges_from([(here, there, weight) for (here, there), weight in sorted(edges.items())])
    share = {number: interest.get(path, 0.0) + 1e-6 for number, path in enumerate(paths)}
    found = rx.pagerank(
        graph, alpha=damping, weight_fn=float, personalization=share, dangling=share, tol=1e-9, max_iter=200
    )
    return {path: round(found[number], 9) for number, path in enumerate(paths)}
