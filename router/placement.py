"""Which node takes a call: a decision over what the nodes say of themselves, and its reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem.errors import Unavailable, UnknownModel, Unreachable
from tandem.types import NodeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The index of the node that was chosen, and why, in a line."""

    index: int
    why: str


def for_model(model: str, nodes: Sequence[NodeInfo | None]) -> Choice:
    """Return the first node that offers `model`; a node that did not answer is None.

    Raises:
        Unreachable: No node answers.
        Unavailable: The one backend that could have it does not.
        UnknownModel: Nobody has it; the message names what there is and the remedy.
    """
    alive = _alive(nodes)
    for index, node in alive:
        if any(_is(model, offered.name) for offered in node.models):
            return Choice(index=index, why=f"{node.name} has {model}")
    troubles = "; ".join(node.backend_trouble for _, node in alive if node.backend_trouble)
    if troubles and not model.startswith("rehearsal/"):
        raise Unavailable(f"nobody can serve {model!r}: {troubles}")
    offered = ", ".join(sorted({m.name for _, node in alive for m in node.models})) or "no models at all"
    raise UnknownModel(f"no node has the model {model!r}; there are {offered}; {_remedy(model)}")


def for_check(nodes: Sequence[NodeInfo | None]) -> Choice:
    """Return a node to run tests on: one with a sandbox if there is one, else the first, which will say why not.

    Raises:
        Unreachable: No node answers.
    """
    alive = _alive(nodes)
    for index, node in alive:
        if node.sandbox:
            return Choice(index=index, why=f"{node.name} has the sandbox {node.sandbox}")
    index, node = alive[0]
    return Choice(index=index, why=f"{node.name} answers; no node has a sandbox")


def _alive(nodes: Sequence[NodeInfo | None]) -> list[tuple[int, NodeInfo]]:
    alive = [(index, node) for index, node in enumerate(nodes) if node is not None]
    if not alive:
        raise Unreachable("no worker answers; `tandem doctor` finds out why")
    return alive


def _remedy(model: str) -> str:
    """Return what brings a model, by its backend."""
    if model.startswith("rehearsal/"):
        return "look at rehearsal.script"
    if model.startswith("openai/"):
        return "load it in the server at openai.url, and see that the worker has read the same configuration"
    return f"`ollama pull {model.removeprefix('ollama/')}` fetches it"


def _is(wanted: str, offered: str) -> bool:
    """Return whether two names mean the same model; Ollama's default tag may be left out."""
    bare = wanted.removeprefix("ollama/")
    return offered in (wanted, bare, f"{bare}:latest")
