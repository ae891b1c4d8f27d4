"""Load personas: Markdown files with front matter, data and no code.

The front matter says who speaks with which model slot and what it must answer; the body is the system prompt. A file
that does not fit is an error that names the file and the field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.replies import BY_NAME, ReplyModel
from tandem.entry import APP_ROOT
from tandem.errors import BadPersona
from tandem.types import Slot

SHIPPED = APP_ROOT / "personas"
NAMES = ("assessor", "planner", "tester", "coder", "reviewer", "documenter")


class _FrontMatter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,31}$")
    title: str = Field(min_length=1, max_length=80)
    slot: Slot
    reply: str
    temperature: float = Field(default=0.2, ge=0, le=2)
    max_tokens: int = Field(default=4096, ge=64, le=32768)
    tools: list[str] = []
    steps: int = Field(default=1, ge=1, le=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A role. `reply` is the type its answer must have; `prompt` is its system prompt.

    With `tools`, it works turn by turn, at most `steps` of them.
    """

    name: str
    title: str
    slot: Slot
    reply: type[ReplyModel]
    temperature: float
    max_tokens: int
    prompt: str
    tools: tuple[str, ...] = ()
    steps: int = 1


def parse(text: str, source: str) -> Persona:
    """Return the persona a file's text describes.

    Raises:
        BadPersona: No front matter, bad YAML, an unknown field or reply, or an empty prompt.
    """
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not body.strip():
        raise BadPersona(f"{source}: a persona is front matter between two lines of '---' and then its prompt")
    try:
        fields = _FrontMatter.model_validate(yaml.safe_load(head))
    except yaml.YAMLError as error:
        raise BadPersona(f"{source}: the front matter is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "front matter"
        raise BadPersona(f"{source}: {where} = {first.get('input')!r}: {first['msg']}") from error
    if fields.reply not in BY_NAME:
        raise BadPersona(f"{source}: reply = {fields.reply!r}; it must be one of {', '.join(BY_NAME)}")
    return Persona(
        name=fields.name,
        title=fields.title,
        slot=fields.slot,
        reply=BY_NAME[fields.reply],
        temperature=fields.temperature,
        max_tokens=fields.max_tokens,
        prompt=body.strip(),
        tools=tuple(fields.tools),
        steps=fields.steps,
    )


def load(folder: Path = SHIPPED) -> Mapping[str, Persona]:
    """Return the six personas of the team by name.

    Raises:
        BadPersona: One is missing, cannot be read, or does not parse.
    """
    found: dict[str, Persona] = {}
    for name in NAMES:
        file = folder / f"{name}.md"
        try:
            persona = parse(file.read_text("utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise BadPersona(f"cannot read the persona {file}: {error}") from error
        if persona.name != name:
            raise BadPersona(f"{file}: name = {persona.name!r}; it must be {name!r}, the file's own")
        found[name] = persona
    return found


def stamp(personas: Mapping[str, Persona]) -> str:
    """Return a short digest of all prompts, to tell whether a run was started by other personas."""
    text = "\0".join(f"{name}\0{persona.prompt}" for name, persona in sorted(personas.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
