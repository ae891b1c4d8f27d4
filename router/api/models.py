"""What callers may send, checked at the door. Whether a task is sensible is not judged here."""

from __future__ import annotations

import getpass
import os
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem import types
from tandem.errors import BadInput

BODY_BYTES_MAX = 16 << 20
_Path = Annotated[str, Field(min_length=1, max_length=4096)]
_Name = Annotated[str, Field(max_length=1024)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Submission(_Body):
    """A task as a person sends it."""

    text: str
    repo: _Path
    base: _Name | None = None
    branch: _Name | None = None
    path: _Name | None = None
    check: Annotated[str, Field(max_length=8192)] | None = None
    priority: Annotated[int, Field(ge=1, le=10)] = 1
    yes: bool = False
    max_minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False)] | None = None
    images: Annotated[list[_Path], Field(max_length=16)] = Field(default_factory=list[str])
    unsandboxed: bool = False
    plan_only: bool = False
    plan: str | None = None


class Remark(_Body):
    """A comment on a line of the diff."""

    path: _Path
    line: Annotated[int, Field(ge=0)]
    text: Annotated[str, Field(max_length=16384)]


class Answer(_Body):
    """A person's answer to a question."""

    question: _Name
    choice: _Name
    digest: _Name = ""
    text: Annotated[str, Field(max_length=200_000)] = ""
    comments: Annotated[list[Remark], Field(max_length=500)] = Field(default_factory=list[Remark])

    def decision(self) -> types.Decision:
        """Return the answer as the rest of the router knows it, given by the user this router belongs to."""
        return types.Decision(
            question=self.question,
            choice=self.choice,
            digest=self.digest,
            text=self.text,
            comments=tuple(types.Comment(path=c.path, line=c.line, text=c.text) for c in self.comments),
            by=user_name(),
        )


class Verification(_Body):
    """A commit whose proof is to be established anew."""

    repo: _Path
    commit: Annotated[str, Field(min_length=1, max_length=1024)]
    prepare: bool = False
    unsandboxed: bool = False


class Export(_Body):
    """Where a run is to be written."""

    file: _Path
    move: bool = False


class Import(_Body):
    """Where a run is to be read, and which repository it is for."""

    file: _Path
    repo: _Path


class Clearing(_Body):
    """What is to be cleared away."""

    run: _Name = ""
    days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    dry_run: bool = False


_B = TypeVar("_B", bound=_Body)


def parse(model: type[_B], raw: bytes) -> _B:
    """Return `raw` as a `model`.

    Raises:
        BadInput: It is not JSON, lacks a field, has one too many, or a value does not fit; the message names it.
    """
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the request's body"
        given = "" if first["type"] in ("missing", "json_invalid") else f" (given: {str(first['input'])[:80]!r})"
        raise BadInput(f"{where}: {first['msg']}{given}; docs/api.md lists the fields") from None


def user_name() -> str:
    """Return the name of the user this process belongs to; the socket lets nobody else in."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
