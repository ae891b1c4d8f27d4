"""A call as it stands in a text, before anything is known of whether it fits a tool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from agents.tools.fitting import knows
from tandem.types import Tool

CALLS_MAX = 32
TEXT_MAX = 600_000  # characters of a reply that are looked at
Found = tuple[list["Attempt"], int]  # the attempts at a place, and where to look on
# What closes a call, in every form that opens one.
CLOSING = re.compile(
    r"\s*(?:```\s*)?(?:</\|?tool_call\|?>|</function_call>|<\|?/tool_call\|?>|<\|call\|>"
    r"|<[|｜]tool[_▁]calls?[_▁](?:section[_▁])?end[|｜]>)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A call as it was written: name and arguments as they stand, or the `problem` that kept them from being read.

    `start` and `end` are its place in the text; `cut` says that its end is missing.
    """

    name: object = ""
    arguments: object = None
    repairs: tuple[str, ...] = ()
    problem: str = ""
    start: int = 0
    end: int = 0
    cut: bool = False


def parameters_of(name: str, tools: Sequence[Tool]) -> list[str]:
    """Return the parameters of the tool that `name` means, in their order; none where there is no such tool."""
    for tool in tools:
        if knows(name, [tool]):
            return list(cast("dict[str, Any]", tool.parameters.get("properties", {})))
    return []
