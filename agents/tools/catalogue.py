"""The tools there are: what a model is told of each. What they do is `worktree`'s business.

Descriptions are short, because every call pays for them; names and parameters are those coding models were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents.replies import ReplyModel
from agents.schemas import schema_of
from tandem.types import Json, Tool

FINISH = "finish"
PATH: dict[str, Json] = {"type": "string", "description": "Path from the top of the repository, like src/app.py"}


def _tool(name: str, description: str, required: Sequence[str] = (), **properties: dict[str, Json]) -> Tool:
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name=name, description=description, parameters=cast("dict[str, Json]", parameters))


def _text(description: str) -> dict[str, Json]:
    return {"type": "string", "description": description}


def _number(description: str) -> dict[str, Json]:
    return {"type": "integer", "description": description}


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        _tool(
            "list_files",
            "List the files of the repository.",
            path=_text("Only below this folder; empty for all"),
            pattern=_text("Only names that match, like *.py; empty for all"),
        ),
        _tool(
            "read_file",
            "Read a file with line numbers. Long files come in parts: ask for the lines you need.",
            ["path"],
            path=PATH,
            start=_number("First line, from 1"),
            end=_number("Last line; 0 for as far as fits"),
        ),
        _tool(
            "search",
            "Search the contents of all files, and get path:line: text.",
            ["pattern"],
            pattern=_text("What to look for, as it stands"),
            path=_text("Only below this folder, or in this file; empty for all"),
            regex={"type": "boolean", "description": "Take pattern for a POSIX extended regular expression"},
        ),
        _tool(
            "replace_in_file",
            "Replace a piece of a file. `old` must stand in it exactly once: give enough lines around the change.",
            ["path", "old", "new"],
            path=PATH,
            old=_text("The text as it is now, without line numbers"),
            new=_text("The text it becomes; empty to remove it"),
        ),
        _tool(
            "write_file",
            "Write a whole file: a new one, or one you have read whole.",
            ["path", "content"],
            path=PATH,
            content=_text("All of its new text"),
        ),
        _tool("delete_file", "Delete a file.", ["path"], path=PATH),
        _tool(
            "apply_patch",
            "Apply a unified diff (--- a/x, +++ b/x, @@). All of it applies, or nothing.",
            ["patch"],
            patch=_text("The diff"),
        ),
        _tool("run_tests", "Run the tests over the files as they are now, and get what failed."),
    )
}


def finish(reply: type[ReplyModel]) -> Tool:
    """Return the tool that ends a call: its arguments are the fields of the persona's reply."""
    return Tool(
        name=FINISH,
        description="End your work and hand it over. Call it once, alone, when you are done.",
        parameters=schema_of(reply),
    )
