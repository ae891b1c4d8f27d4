"""Turn what a person typed into a task, or say clearly why not. Nothing has run when this refuses."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, cast

from router.repository import Checkout, inspect
from tandem.detect import parse_command
from tandem.errors import BadTask
from tandem.language import detect_language
from tandem.types import Json, RunId, Task

TASK_CHARS_MAX = 200_000  # beyond it no model could read the task; the guardrail asks from 32,000 on
_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # nothing that is mistaken for something else


def new_run_id() -> RunId:
    """Return a fresh id: the day, so that lists sort, and seven random letters to type the start of."""
    return RunId(time.strftime("%m%d", time.gmtime()) + "-" + "".join(secrets.choice(_ALPHABET) for _ in range(7)))


async def accept(body: Mapping[str, Any]) -> tuple[Task, Checkout]:
    """Return the task and the checkout it is for.

    Raises:
        BadTask: It is empty, enormous, or comes with a picture nobody here can look at.
        BadRepository: See `router.repository.inspect`.
        BadInput: The check command cannot be parsed.
    """
    text = str(body["text"]).strip()
    if not text:
        raise BadTask("the task is empty; say what you want done")
    if len(text) > TASK_CHARS_MAX:
        raise BadTask(f"the task has {len(text):,} characters and may have {TASK_CHARS_MAX:,}; put material in a file")
    if body.get("images"):
        raise BadTask("a picture came with the task, and no vision model is bound; describe in words what it shows")
    if body.get("check"):
        parse_command(body["check"])
    checkout = await inspect(body["repo"], body.get("base"), body.get("branch"))
    task = Task(
        text=text,
        repo=str(checkout.root),
        base=checkout.base,
        target=checkout.target,
        deliver=checkout.deliver,
        language=detect_language(text),
        check=body.get("check") or "",
        priority=body.get("priority", 1),
        yes=bool(body.get("yes")),
        max_minutes=body.get("max_minutes") or 60.0,
        unsandboxed=bool(body.get("unsandboxed")),
    )
    return task, checkout


def task_in(value: Json) -> Task:
    """Return the task the journal kept."""
    data: dict[str, Any] = dict(cast("dict[str, Any]", value))
    data["images"] = tuple(data["images"])
    return Task(**data)
