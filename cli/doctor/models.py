"""Whether a configured model is on a machine that works for this one, and what to do where it is not.

Decided over the router's status alone. A paired worker that is away may have any model: then nothing is said against one
that is not seen, because what is wrong is that machine's absence, and a model is a download of gigabytes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.doctor.finding import Finding, ill, unseen, well
from cli.render.loose import mapping, objects, text
from cli.render.text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models that are `wanted` by slot, and those each machine offers by its name.

    `workers` are the names of the paired workers, `away` those of them that do not answer.
    """

    wanted: Mapping[str, str]
    offered: Mapping[str, frozenset[str]]
    workers: tuple[str, ...]
    away: tuple[str, ...]

    @classmethod
    def of(cls, status: dict[str, Any]) -> Models:
        """Return what a router's status says of models."""
        workers = [peer for peer in objects(status.get("peers")) if peer.get("role") == "worker"]
        return cls(
            wanted={str(slot): str(name) for slot, name in mapping(status.get("models")).items()},
            offered={
                text(node, "name"): frozenset(_bare(text(model, "name")) for model in objects(node.get("models")))
                for node in objects(status.get("nodes"))
            },
            workers=tuple(one_line(text(peer, "name")) for peer in workers),
            away=tuple(one_line(text(peer, "name")) for peer in workers if not peer.get("address")),
        )

    def finding(self, slot: str, name: str) -> Finding:
        """Decide about the model of one slot."""
        if self._on(name):
            rehearsed = " (rehearsal: no model)" if name.startswith("rehearsal/") else ""
            return well(f"{slot} model", name + rehearsed)
        if self.away:
            return unseen(f"{slot} model", f"{name} is on no machine that answers; {_may_have(self.away)}")
        remedy = f"{self._fetch(slot, name)}, or set models.{slot} to one that is there"
        return ill(f"{slot} model", "model-missing", f"{name} is on no machine", remedy)

    def elsewhere(self, node: str) -> str:
        """Return in words why nothing is missed of a machine that offers no model, "" where something is.

        It is this machine, and all that is wanted is on the paired workers, or may be on one that is away.
        """
        if node in self.workers:
            return ""
        others = {name: self._on(name) - {node} for name in self.wanted.values()}
        if self.wanted and all(others.values()):
            return (
                f"not needed here: the models are on {' and '.join(sorted(frozenset[str]().union(*others.values())))}"
            )
        return _may_have(self.away) if self.away else ""

    def _on(self, name: str) -> frozenset[str]:
        """Return the machines that offer a model."""
        return frozenset(node for node, names in self.offered.items() if _bare(name) in names)

    def _fetch(self, slot: str, name: str) -> str:
        """Return how a model comes to where it belongs: the worker's to a paired worker, where there is one."""
        there, where = " or ".join(self.workers), ""
        if there:
            where = f" on {there}, or here" if slot == "worker" else f" here, or on {there}"
        bare = _bare(name)
        if name.startswith("rehearsal/"):
            return f"set rehearsal.script to {bare!r}{where}"
        return f"load it in your model server{where}" if name.startswith("openai/") else f"`ollama pull {bare}`{where}"


def _bare(name: str) -> str:
    return name.partition("/")[2] or name


def _may_have(away: tuple[str, ...]) -> str:
    verb = "is" if len(away) == 1 else "are"
    return f"{' and '.join(away)}, which {verb} away, may have what is not here"
