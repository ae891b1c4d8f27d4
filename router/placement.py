"""Which node takes a call: a cost in seconds for every node that could take it, and the reasons in words. Pure.

The cost is what a person would count: waiting for a place, loading the model, reading what the node has not read, writing
the reply. What is waited behind goes by class: a call does not wait for those of lower priority, but for whoever has the
place. A free place comes before any queue, so no node that could serve a call idles while the call waits. Equals are told
apart by a hash of the run and the node, which is stable for one run and spreads many.

Numbers marked [G] are guesses of the right size, to be replaced by what `tandem accept` measures on the machines; only the
order they put nodes in matters.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

from tandem.errors import Unavailable, UnknownModel, Unreachable
from tandem.types import Load, ModelInfo, NodeInfo

Key: TypeAlias = int  # a node, as the router numbers them
Kind = Literal["call", "check", "prepare"]

TOKEN_S = 0.02  # to write one token with a large model (design: "a token costs twenty" milliseconds), until it was seen
READ_TIMES = 10  # reading is so much faster than writing [G]
REPLY_TOKENS = 500  # of a usual reply [G]
LOAD_BYTES_S = 2e9  # from an internal disk into memory [G]
LOAD_S = 15.0  # a model whose size nobody says [G]
EVICT_S = 3.0  # another model has to leave first [G]
MISFIT_S = 600.0  # it does not fit even then: the machine would swap; only where nobody else has it [G]
CHECK_S = 30.0  # a usual check [G]
PUSH_S = 1.0  # a commit that is not there yet; 0.02 s where its history is, much more where it is not [G]
HERE_S = 2.0  # on the router's own machine somebody works: another is used until it costs so much more [G]
SAME_S = 0.1  # what differs by less is equal
OTHERS_MAX = 8  # nodes that are told of beside the chosen one
MOVES_MAX = 64  # nodes that may take over one attempt of the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a call needs. `run` and `persona` say whose it is; `prompt_tokens` is what has to be read.

    For a check, `commit` names what has to be there, `only` the nodes that have its environment, None where it needs
    none, and `bare` says that it may run without a sandbox.
    """

    kind: Kind
    run: str
    model: str = ""
    persona: str = ""
    prompt_tokens: int = 0
    priority: int = 1
    repo_id: str = ""
    commit: str = ""
    only: frozenset[Key] | None = None
    bare: bool = False


@dataclass(slots=True, kw_only=True)
class Places:
    """One scheduler of a node: how many places, what others than this router have there, and what this router has.

    Of what others have, `theirs` runs and `theirs_waiting` waits, by priority. `ours` is by priority, too.
    """

    total: int = 1
    theirs: int = 0
    theirs_waiting: Mapping[int, int] = field(default_factory=dict[int, int])
    ours: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def beyond(self) -> int:
        """Return how many more than the places there are, which wait; below 0, how many places are free."""
        return self.theirs + sum(self.ours.values()) - self.total

    def ahead(self, priority: int) -> int:
        """Return how many would be served before a call of `priority` that waited there."""
        return max(self.beyond, 0) + sum(count for p, count in self.theirs_waiting.items() if p <= priority)

    @property
    def has_room(self) -> bool:
        """Return whether a call may be sent there: a place is free, or the place is others' and none of ours waits.

        What others have there ends without a word to this router; a call that waits in the node's own line learns of it.
        """
        return self.beyond < 0 or (self.theirs > 0 and self.beyond < 1)


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A node as the router's books have it at this moment. `info` is what it said last, even while it is `away`.

    `token_s` are the seconds a token took there, by model, as far as seen. `commits` are those that were pushed there.
    """

    key: Key
    info: NodeInfo
    away: bool = False
    here: bool = True
    calls: Places = field(default_factory=Places)
    checks: Places = field(default_factory=Places)
    models: Mapping[str, ModelInfo] = field(default_factory=dict[str, ModelInfo])
    token_s: dict[str, float] = field(default_factory=dict[str, float])
    commits: Collection[tuple[str, str]] = ()

    def places(self, kind: Kind) -> Places:
        """Return the scheduler that a kind of call waits for; preparing waits for none and is counted nowhere."""
        return self.calls if kind == "call" else self.checks


class Cost(NamedTuple):
    """Seconds until a node would have answered, by what they go to."""

    wait_s: float = 0.0
    load_s: float = 0.0
    read_s: float = 0.0
    write_s: float = 0.0
    here_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Return them all together."""
        return self.wait_s + self.load_s + self.read_s + self.write_s + self.here_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The node that was chosen and why, in a line; for others, by name, why not. `unnamed` is how many more there were."""

    key: Key
    name: str
    why: str
    others: tuple[tuple[str, str], ...] = ()
    unnamed: int = 0


def choose(need: Need, nodes: Sequence[Candidate], warm: Key | None = None, silent: int = 0) -> Choice | None:
    """Return where a call goes now, None where it has to wait for a place. `warm` served the same persona of its run last.

    `silent` nodes were never heard of; they may be anything.

    Raises:
        Unreachable: No node answers, or none that answers can serve it and another, which is away, may.
        Unavailable: The one backend that could have the model does not; or no machine runs tests.
        UnknownModel: Nobody has the model; the message names what there is and the remedy.
    """
    fit = able(need, nodes, silent)
    if not fit:
        raise _nobody(need, nodes, silent)
    return best(need, fit, warm, nodes)


def able(need: Need, nodes: Iterable[Candidate], silent: int = 0) -> list[Candidate]:
    """Return the nodes that can serve a call, whether they have room or not; `silent` is as `choose` has it.

    Where no sandbox works, a check is not sent while a node that is away may have one: it would be refused, for good.
    """
    if need.kind == "call":
        names = _names(need.model)
        return [node for node in nodes if not node.away and _model(names, node) is not None]
    there = [node for node in nodes if node.checks.total and (need.only is None or node.key in need.only)]
    boxed = [node for node in there if node.info.sandbox]
    fit = [node for node in boxed if not node.away]
    if fit or (not need.bare and (boxed or silent)):
        return fit
    return [node for node in there if not node.away][:1]  # it has no sandbox, and says itself what to do about it


def best(
    need: Need, fit: Iterable[Candidate], warm: Key | None = None, nodes: Sequence[Candidate] = ()
) -> Choice | None:
    """Return the cheapest of the nodes `able` to serve a call that have room; of `nodes`, some are told of beside it."""
    names, seed = _names(need.model), zlib.crc32(need.run.encode())
    found: list[tuple[bool, float, int, Candidate, Cost]] = []
    for node in fit:
        places = node.places(need.kind)
        if need.kind == "prepare" or places.has_room:
            cost = _cost(need, names, node, warm=node.key == warm)
            rank = round(cost.total_s / SAME_S)
            spread = zlib.crc32(node.info.name.encode(), seed)
            found.append((places.beyond >= 0 and need.kind != "prepare", rank, spread, node, cost))
    if not found:
        return None
    nearest = heapq.nsmallest(OTHERS_MAX + 1, found, key=lambda one: one[:3])
    _, _, _, node, cost = nearest[0]
    told = [(other.info.name, _words(need, other, cost, warm=other.key == warm)) for *_, other, cost in nearest[1:]]
    in_reach = {other.key for *_, other, _ in found}
    far = (other for other in nodes if other.key not in in_reach)
    told += [(other.info.name, _not(need, other, warm)) for other in islice(far, OTHERS_MAX - len(told))]
    return Choice(
        key=node.key,
        name=node.info.name,
        why=_words(need, node, cost, warm=node.key == warm),
        others=tuple(told),
        unnamed=max(len(nodes) - 1 - len(told), 0),
    )


def others_load(load: Load | None, mine: Mapping[int, int]) -> tuple[int, int, dict[int, int]]:
    """Return the places of a scheduler, and what others than this router have there: running, and waiting by priority.

    `mine` is what this router had there meanwhile, by priority. A node that says nothing is taken for one with one place.
    """
    if load is None:
        return 1, 0, {}
    left = dict(mine)
    running = sum(_minus(load.running, left).values())
    return load.places, running, _minus(load.waiting, left)


def _minus(counts: Mapping[int, int], mine: dict[int, int]) -> dict[int, int]:
    """Return `counts` without ours, and take those from `mine`."""
    rest: dict[int, int] = {}
    for priority, count in counts.items():
        taken = min(count, mine.get(priority, 0))
        mine[priority] = mine.get(priority, 0) - taken
        if count > taken:
            rest[priority] = count - taken
    return rest


def attempt_of(attempt: int, moves: int) -> int:
    """Return an attempt's number on the wire: each node that takes a call over has a later number than all before it.

    The journal counts its own attempts (1, 2, …), and between two of those a call may move some times.
    """
    return (attempt - 1) * MOVES_MAX + 1 + min(moves, MOVES_MAX - 1)


# --- what a node costs ----------------------------------------------------------------------------------------


def _cost(need: Need, names: tuple[str, ...], node: Candidate, *, warm: bool) -> Cost:
    here_s = HERE_S if node.here else 0.0
    if need.kind != "call":
        push_s = 0.0 if (need.repo_id, need.commit) in node.commits else PUSH_S
        return Cost(_wait_s(need, node, CHECK_S), 0.0, push_s, CHECK_S, here_s)
    model = _model(names, node)
    assert model is not None
    token_s = node.token_s.get(need.model, TOKEN_S)
    write_s = token_s * REPLY_TOKENS
    read_s = 0.0 if warm and model.resident is not False else need.prompt_tokens * token_s / READ_TIMES
    return Cost(_wait_s(need, node, write_s), _load_s(model, node), read_s, write_s, here_s)


def _wait_s(need: Need, node: Candidate, each_s: float) -> float:
    if need.kind == "prepare":
        return 0.0
    places = node.places(need.kind)
    return 0.0 if places.beyond < 0 else (places.ahead(need.priority) + 1) * each_s / places.total


def _load_s(model: ModelInfo, node: Candidate) -> float:
    """Return what it takes until the model is in memory; nothing where it is, or where nobody says."""
    if model.resident is not False:
        return 0.0
    if not model.size_bytes:
        return LOAD_S
    load_s, free = model.size_bytes / LOAD_BYTES_S, node.info.free_bytes
    if free is None or model.size_bytes <= free:
        return load_s
    could_leave = sum(other.size_bytes for other in node.info.models if other.resident)
    return load_s + (EVICT_S if model.size_bytes <= free + could_leave else MISFIT_S)


@lru_cache(maxsize=256)
def _names(wanted: str) -> tuple[str, ...]:
    """Return the names that mean the model that is wanted; Ollama's default tag may be left out."""
    bare = wanted.removeprefix("ollama/")
    return wanted, bare, f"{bare}:latest"


def _model(names: tuple[str, ...], node: Candidate) -> ModelInfo | None:
    for name in names:
        if name in node.models:
            return node.models[name]
    return None


# --- in words -------------------------------------------------------------------------------------------------


def _not(need: Need, node: Candidate, warm: Key | None) -> str:
    """Return why a node without room was not chosen."""
    if node.away:
        return "does not answer"
    if not able(need, (node,)):
        if need.kind == "call":
            return f"does not have {need.model}"
        return "does not have the environment" if node.checks.total else "runs no tests"
    if need.kind != "call" and not node.info.sandbox:
        return "has no sandbox"
    return _words(need, node, _cost(need, _names(need.model), node, warm=node.key == warm), warm=node.key == warm)


def _words(need: Need, node: Candidate, cost: Cost, *, warm: bool) -> str:
    """Return a node's cost in words, what takes longest apart from the answer itself named with its seconds."""
    parts = [f"{cost.total_s:.1f} s"]
    if need.kind != "prepare":
        ahead = node.places(need.kind).ahead(need.priority)
        parts.append(f"full, {ahead} before it ({cost.wait_s:.1f} s)" if cost.wait_s else "a place is free")
    if need.kind == "call":
        parts.append(f"{need.model} has to be loaded ({cost.load_s:.1f} s)" if cost.load_s else f"has {need.model}")
        parts.append("has read the beginning" if warm and not cost.read_s else f"reads all of it ({cost.read_s:.1f} s)")
        parts.append(f"writes in {cost.write_s:.1f} s")
    else:
        parts.append(f"has the sandbox {node.info.sandbox}" if node.info.sandbox else "no node has a sandbox")
        parts.append(f"gets the commit first ({cost.read_s:.1f} s)" if cost.read_s else "has the commit")
    if cost.here_s:
        parts.append(f"is this machine ({cost.here_s:.1f} s)")
    return ", ".join(parts)


# --- where nobody can -----------------------------------------------------------------------------------------


def _nobody(need: Need, nodes: Sequence[Candidate], silent: int) -> Unreachable | Unavailable | UnknownModel:
    """Return why a call can go nowhere."""
    alive = [node for node in nodes if not node.away]
    if not alive:
        return Unreachable("no worker answers; `tandem doctor` finds out why")
    if need.kind != "call" and need.only is not None and any(node.checks.total for node in alive):
        return Unreachable(
            f"no worker that answers has the environment of this check; it is prepared anew{_away(nodes, '; {}')}"
        )
    away = len(nodes) - len(alive) + silent
    if away:
        who = "a worker that does not answer" if away == 1 else f"{away} workers that do not answer"
        lacks = f"has the model {need.model!r}" if need.kind == "call" else _tests(alive)
        return Unreachable(f"nobody here {lacks}, and {who} may{_away(nodes, ' ({})')}; `tandem nodes` says why")
    if need.kind != "call":
        return Unavailable("no machine runs tests; raise worker.checks where they are to be run")
    troubles = "; ".join(node.info.backend_trouble for node in alive if node.info.backend_trouble)
    if troubles and not need.model.startswith("rehearsal/"):
        return Unavailable(f"nobody can serve {need.model!r}: {troubles}")
    offered = ", ".join(sorted({name for node in alive for name in node.models})) or "no models at all"
    return UnknownModel(f"no node has the model {need.model!r}; there are {offered}; {_remedy(need.model)}")


def _tests(alive: Sequence[Candidate]) -> str:
    """Return what nobody does who is there, of what a check needs."""
    return "runs tests in a sandbox" if any(node.checks.total for node in alive) else "runs tests"


def _away(nodes: Sequence[Candidate], words: str) -> str:
    """Return in `words` which nodes were heard of and do not answer, nothing where there is none."""
    names = ", ".join(node.info.name for node in nodes if node.away)
    return words.format(f"no answer from {names}") if names else ""


def _remedy(model: str) -> str:
    """Return what brings a model, by its backend."""
    if model.startswith("rehearsal/"):
        return "look at rehearsal.script"
    if model.startswith("openai/"):
        return "load it in the server at openai.url, and see that the worker has read the same configuration"
    return f"`ollama pull {model.removeprefix('ollama/')}` fetches it"
