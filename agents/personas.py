"""Load personas: Markdown files with front matter, data and no code.

The front matter says who speaks with which model slot, with which tools, and what it must answer; the body is the system
prompt. A person's own folder may replace one (`coder.md`) or add to it (`coder.add.md`). A file that does not fit is an
error that names the file and the field; one that others may write to is not read at all.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.replies import BY_NAME, ReplyModel
from agents.tools.catalogue import FINISH, TOOLS
from tandem.entry import APP_ROOT
from tandem.errors import BadPersona
from tandem.paths import config_path
from tandem.types import Slot

SHIPPED = APP_ROOT / "personas"
ADDED = ".add.md"  # the end of a file's name that adds to a persona
BYTES_MAX = 64_000  # of a file; a prompt this long leaves a small model no room
Source = Literal["shipped", "yours", "added to"]
_REPLIES = {
    "assessor": "assessment",
    "planner": "plan",
    "tester": "tests",
    "coder": "code",
    "reviewer": "review",
    "documenter": "report",
}
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

    With `tools`, it works turn by turn, at most `steps` of them. `source` says whose it is.
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
    source: Source = "shipped"


def own_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return where a person's own personas are: beside the configuration, or where TANDEM_PERSONAS says."""
    named = env.get("TANDEM_PERSONAS")
    return Path(named).expanduser() if named else config_path(env).parent / "personas"


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
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "front matter"
        raise BadPersona(f"{source}: {where} = {str(first.get('input'))[:80]!r}: {first['msg']}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, too many digits, brackets
        raise BadPersona(f"{source}: the front matter is not YAML: {error}") from error
    if fields.reply not in BY_NAME:
        raise BadPersona(f"{source}: reply = {fields.reply!r}; it must be one of {', '.join(BY_NAME)}")
    unknown = [tool for tool in fields.tools if tool not in (*TOOLS, FINISH)]
    if unknown:
        raise BadPersona(f"{source}: tools = {unknown[0]!r}; there are {', '.join((*TOOLS, FINISH))}")
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


def load(own: Path | None = None, *, shipped: Path = SHIPPED) -> Mapping[str, Persona]:
    """Return the six personas of the team by name, with what the folder `own` replaces or adds.

    Raises:
        BadPersona: One is missing, cannot be read, does not parse, or may be written by others.
    """
    found = {name: _named(name, shipped / f"{name}.md", _text(shipped / f"{name}.md")) for name in NAMES}
    for file in _own_files(own):
        found = _with(found, file)
    return found


def check_file(file: Path) -> Persona:
    """Return the persona that a single file makes: one that replaces, or one that ships with what the file adds.

    Raises:
        BadPersona: As `load`.
    """
    name = file.name.removesuffix(ADDED).removesuffix(".md")
    if name not in NAMES or not file.name.endswith(".md"):
        raise BadPersona(f"{file}: a persona's file is NAME.md or NAME.add.md, for {', '.join(NAMES)}")
    return _with(load(), file)[name]


def _with(team: Mapping[str, Persona], file: Path) -> dict[str, Persona]:
    name = file.name.removesuffix(ADDED).removesuffix(".md")
    _must_be_private(file)
    if file.name.endswith(ADDED):
        more = f"{team[name].prompt}\n\n{_text(file).strip()}"
        return {**team, name: replace(team[name], prompt=more, source="added to")}
    return {**team, name: replace(_named(name, file, _text(file)), source="yours")}


def _own_files(folder: Path | None) -> list[Path]:
    """Return the Markdown files of a person's folder: those that replace before those that add."""
    if folder is None or not folder.is_dir():
        return []
    files = sorted(folder.glob("*.md"), key=lambda file: (file.name.endswith(ADDED), file.name))
    for file in files:
        if file.name.removesuffix(ADDED).removesuffix(".md") not in NAMES:
            raise BadPersona(
                f"{file}: there is no such persona; there are {', '.join(NAMES)}, each as NAME.md or NAME.add.md"
            )
    return files


def _named(name: str, file: Path, text: str) -> Persona:
    persona = parse(text, str(file))
    if persona.name != name:
        raise BadPersona(f"{file}: name = {persona.name!r}; it must be {name!r}, the file's own")
    if persona.reply is not BY_NAME[_REPLIES[name]]:
        raise BadPersona(
            f"{file}: reply = {persona.reply.__name__.lower()!r}; the {name} must answer with {_REPLIES[name]!r}"
        )
    return persona


def _text(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise BadPersona(f"{file} is no file")
        with file.open("rb") as opened:
            raw = opened.read(BYTES_MAX + 1)
        if len(raw) > BYTES_MAX:
            raise BadPersona(f"{file} has more bytes than the {BYTES_MAX:,} it may have; make it shorter")
        return raw.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadPersona(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise BadPersona(f"cannot read the persona {file}: {error.strerror}") from error


def _must_be_private(file: Path) -> None:
    """Refuse a file that somebody else could have written: it speaks with the person's voice."""
    try:
        about = file.stat()
    except (OSError, ValueError) as error:
        raise BadPersona(f"cannot read the persona {str(file)!r}: {error}") from error
    if about.st_uid not in (os.getuid(), 0) or stat.S_IMODE(about.st_mode) & 0o022:
        raise BadPersona(f"{file} may be written by others; `chmod go-w {file}` and look at what it says")


def stamp(personas: Mapping[str, Persona]) -> str:
    """Return a short digest of all that decides how personas speak, to tell whether others started a run."""
    text = "\0".join(
        f"{name}\0{p.prompt}\0{p.temperature}\0{p.max_tokens}\0{p.steps}\0{','.join(p.tools)}"
        for name, p in sorted(personas.items())
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
