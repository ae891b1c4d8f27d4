"""What is asked of the machines, in figures. Where there is no limit, a figure is written down and cannot be missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that is asked for. `row` is where: a row of the mission, or "ours" where that gives no number."""

    name: str
    row: str
    what: str
    unit: str = ""
    sense: Literal["at most", "at least"] = "at most"
    limit: float | None = None


_ALL = (
    Target(name="doctor", row="ours", what="causes that `tandem doctor` names", limit=0),
    Target(name="sandbox-holes", row="ours", what="ways out of the sandbox that succeed", limit=0),
    Target(
        name="sandbox-real",
        row="ours",
        what="of the same ways, those that succeed without a sandbox",
        sense="at least",
        limit=1,
    ),
    Target(name="metal-error", row="ours", what="largest relative error of a product on the GPU", limit=1e-3),
    Target(
        name="metal-speed", row="ours", what="a product of two 4096 by 4096 matrices in half precision", unit="GFLOP/s"
    ),
    Target(name="team", row="ours", what="the demo, from task to proven commit", unit="s", limit=60),
    Target(
        name="link-thunderbolt",
        row="A8",
        what="whether the paired worker is used over Thunderbolt (1 is yes)",
        sense="at least",
        limit=1,
    ),
    Target(name="link-rtt", row="ours", what="round trip of an empty call to the paired worker", unit="ms", limit=2),
    Target(
        name="link-carries",
        row="ours",
        what="what calls carry from the paired worker",
        unit="MB/s",
        sense="at least",
        limit=400,
    ),
    Target(
        name="load", row="B7", what="until a model that was not in memory gives its first token", unit="s", limit=10
    ),
    Target(name="first-answer", row="D5", what="the first answer, loading included", unit="s", limit=30),
    Target(name="text-answer", row="B7", what="a short answer in words, the median of five", unit="s", limit=3),
    Target(
        name="later-answers", row="D5", what="the slowest of five short answers, one after the other", unit="s", limit=5
    ),
    Target(name="image-answer", row="B7", what="an answer about a picture", unit="s", limit=5),
    Target(name="model-size", row="B7, D5", what="what the model takes, as its server says", unit="GB"),
)
TARGETS: Mapping[str, Target] = {target.name: target for target in _ALL}
