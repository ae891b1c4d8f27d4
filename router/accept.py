"""Turn what a person typed into a task, or say clearly why not. Nothing has run when this refuses."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from agents.plandoc import PlanDocument, parse
from router.repository import Checkout, inspect
from tandem.detect import parse_command
from tandem.errors import BadInput, BadTask
from tandem.git import user_git
from tandem.language import detect_language
from tandem.types import CommitId, Json, RunId, Task

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
        BadInput: The check command or the plan cannot be parsed.
    """
    document = _document(body)
    text = document.task if document else str(body["text"]).strip()
    if not text:
        raise BadTask("the task is empty; say what you want done")
    if len(text) > TASK_CHARS_MAX:
        raise BadTask(f"the task has {len(text):,} characters and may have {TASK_CHARS_MAX:,}; put material in a file")
    if body.get("images"):
        raise BadTask("a picture came with the task, and no vision model is bound; describe in words what it shows")
    check = body.get("check") or (document.plan.check if document else "")
    folder = body.get("path") or (document.folder if document else "")
    if check:
        parse_command(check)
    checkout = await inspect(body["repo"], body.get("base"), body.get("branch"))
    if document:
        checkout = replace(checkout, notes=(*checkout.notes, *_plan_notes(document, checkout.base)))
    task = Task(
        text=text,
        repo=str(checkout.root),
        base=checkout.base,
        target=checkout.target,
        deliver=checkout.deliver,
        language=detect_language(text),
        folder=await _folder(checkout, folder),
        check=check,
        priority=body.get("priority", 1),
        yes=bool(body.get("yes")),
        max_minutes=body.get("max_minutes") or 60.0,
        unsandboxed=bool(body.get("unsandboxed")),
        plan_only=bool(body.get("plan_only")),
        plan=body.get("plan") or "",
    )
    return task, checkout


def _document(body: Mapping[str, Any]) -> PlanDocument | None:
    """Return the plan that is to be carried out, None where the team makes one.

    Raises:
        BadInput: It cannot be read, or something else is wanted beside it.
    """
    plan = body.get("plan")
    if plan is None:
        return None
    if str(body["text"]).strip() or body.get("plan_only"):
        raise BadInput("a plan brings its task along; leave the task's text empty, and ask for no other plan")
    if len(plan) > TASK_CHARS_MAX:
        raise BadInput(f"the plan has {len(plan):,} characters and may have {TASK_CHARS_MAX:,}; shorten it")
    return parse(plan)


def _plan_notes(document: PlanDocument, base: CommitId) -> list[str]:
    """Return what a person should know who carries this plan out now."""
    notes: list[str] = []
    if document.base and not base.startswith(document.base):
        notes.append(f"the plan was made for commit {document.base[:10]}, and this run begins at {base[:10]}")
    unanswered = sum(item.question not in document.answers for item in document.plan.checklist)
    if unanswered:
        notes.append(f"{unanswered} of the {len(document.plan.checklist)} questions of the plan are not answered")
    return notes


async def _folder(checkout: Checkout, path: str) -> str:
    """Return a folder of the base, "" for its top.

    Raises:
        BadTask: The base has no such folder.
    """
    folder = os.path.normpath(path.strip() or ".").rstrip("/")
    if folder == ".":
        return ""
    outside = folder.startswith(("/", "..")) or not folder
    said = await user_git("cat-file", "-t", f"{checkout.base}:{folder}", checkout=Path(checkout.root), check=False)
    if outside or said.returncode != 0 or said.text != "tree":
        raise BadTask(f"{path!r} is no folder of commit {checkout.base[:10]}; name one relative to its top with --path")
    return folder


def task_in(value: Json) -> Task:
    """Return the task the journal kept."""
    data: dict[str, Any] = dict(cast("dict[str, Any]", value))
    data["images"] = tuple(data["images"])
    return Task(**data)
