"""A run in one file, to be moved to another machine: its journal, its own commits, what was said to models.

A tar of six members: `run.json` (what it is), `entries.jsonl` (its journal, a line an entry), `objects.pack` (its commits,
without those of the base), `calls.jsonl`, `artefacts.jsonl` (what its checks left; see `carried`), and `SHA256SUMS` of the
five. Format 1 was without `artefacts.jsonl`, and is read, too. Taken in, everything is untrusted: sizes are
bounded, the entries must be of kinds and shapes this version knows, and Git checks each object. The tar is read by hand,
these plain files in this order and nothing else: Python's reader follows links, long headers and sparse files, whose few
bytes unfold to any size. Two machines that go on with one run would deliver it twice, so a run that is not over is taken in
only where it was moved, and left where it came from.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.journal import Entry, RunRow
from tandem import __version__
from tandem.errors import BadInput
from tandem.faults import KINDS
from tandem.types import RunId, RunState

FORMAT = 2
BYTES_MAX = 256 << 20
REFERENCES_MAX = 1000
_MEMBERS = ("run.json", "entries.jsonl", "objects.pack", "calls.jsonl", "artefacts.jsonl")
_MEMBERS_OF = {1: _MEMBERS[:4], FORMAT: _MEMBERS}
_SUMS = "SHA256SUMS"
_BLOCK = 512  # of a tar; what is shorter is filled with zeros
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]  # what SQLite can hold
_Moment = Annotated[float, Field(ge=0)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Run(_Checked):
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,39}$")]
    created_s: _Moment
    stamp: str
    task: dict[str, Any]


class _About(_Checked):
    format: int
    tandem: str
    run: _Run
    state: RunState
    moved: bool
    references: Annotated[dict[str, str], Field(max_length=REFERENCES_MAX)]


class _Entry(_Checked):
    id: _Count
    step: str
    ordinal: _Count
    attempt: _Count
    kind: str
    question: str
    value: Any
    at_s: _Moment


class _State(_Checked):
    """The value of a `state` entry: all runs are listed by it, so one that does not fit would hide the others."""

    model_config = ConfigDict(extra="ignore")
    state: RunState
    message: str = ""
    error: Annotated[str, Field(alias="class")] = ""
    commit: str | None = None
    branch: str = ""
    verdict: str | None = None
    active_s: _Moment = 0.0
    ended_s: _Moment | None = None
    moved: bool = False
    facts: dict[str, Any] | None = None


_Model = TypeVar("_Model", bound=_Checked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A run as it is carried. `references` are its commits by name; `moved` says that it goes on here alone."""

    row: RunRow
    state: str
    moved: bool
    references: Mapping[str, str]
    entries: Sequence[Entry]
    pack: bytes
    calls: bytes
    artefacts: bytes = b""


def write(archive: Archive) -> bytes:
    """Return an archive's bytes, the same for the same run.

    Raises:
        BadInput: It is larger than an archive may be.
    """
    about = {
        "format": FORMAT,
        "tandem": __version__,
        "run": asdict(archive.row),
        "state": archive.state,
        "moved": archive.moved,
        "references": dict(archive.references),
    }
    lines = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in archive.entries)
    told = json.dumps(about, ensure_ascii=False, indent=1).encode()
    bodies: dict[str, bytes] = dict(
        zip(_MEMBERS, (told, lines.encode(), archive.pack, archive.calls, archive.artefacts), strict=True)
    )
    size = sum(len(body) for body in bodies.values())
    if size > BYTES_MAX:
        raise BadInput(f"the run takes {size >> 20} MiB and an archive at most {BYTES_MAX >> 20}; it cannot be moved")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in {**bodies, _SUMS: _sums(bodies)}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o600
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


def read(raw: bytes) -> Archive:
    """Return the archive in `raw`.

    Raises:
        BadInput: It is none, of a later format, cut off, changed on its way, or holds what no run does.
    """
    if len(raw) > BYTES_MAX + (1 << 20):
        raise BadInput(f"the archive has {len(raw) >> 20} MiB and may have {BYTES_MAX >> 20}")
    first, at = _member(raw, 0, _MEMBERS[0])
    told = _json(first, _MEMBERS[0])
    members = _members(told)  # before the rest, which a later format may spell otherwise
    bodies = _bodies(raw, members, first, at)
    about = _fitting(_About, told, _MEMBERS[0])
    lines = bodies["entries.jsonl"].splitlines()
    return Archive(
        row=RunRow(run=RunId(about.run.run), created_s=about.run.created_s, stamp=about.run.stamp, task=about.run.task),
        state=about.state,
        moved=about.moved,
        references=about.references,
        entries=[_entry(line, number) for number, line in enumerate(lines, 1)],
        pack=bodies["objects.pack"],
        calls=bodies["calls.jsonl"],
        artefacts=bodies.get("artefacts.jsonl", b""),
    )


def _members(told: Any) -> Sequence[str]:
    """Return which members an archive of its format has, but for the sums.

    Raises:
        BadInput: The format is none that is known; the message names the version that wrote it.
    """
    about = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    number, version = (str(about.get(key))[:20] for key in ("format", "tandem"))
    if number not in map(str, _MEMBERS_OF):
        raise BadInput(
            f"the archive has format {number} (Tandem {version}) and this version knows 1 to {FORMAT}; upgrade the older "
            "of the two machines"
        )
    return _MEMBERS_OF[int(number)]


def _bodies(raw: bytes, members: Sequence[str], first: bytes, at: int) -> dict[str, bytes]:
    found = {members[0]: first}
    for name in members[1:]:
        found[name], at = _member(raw, at, name)
    sums, at = _member(raw, at, _SUMS)
    if sums != _sums(found) or raw[at:].strip(b"\0"):
        raise BadInput("the archive is not what was exported; copy it again")
    return found


def _member(raw: bytes, at: int, name: str) -> tuple[bytes, int]:
    """Return the body of the plain file `name` whose header stands at `at`, and where the next one stands."""
    header, begin = raw[at : at + _BLOCK], at + _BLOCK
    checksum = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    named, kind, link, magic = header[:100], header[156:157], header[157:257], header[257:262]
    plain = (named, kind, link.strip(b"\0"), magic) == (name.encode().ljust(100, b"\0"), tarfile.REGTYPE, b"", b"ustar")
    if not plain or header[148:156] != b"%06o\0 " % checksum or not re.fullmatch(rb"[0-7]{11}\0", header[124:136]):
        raise BadInput(
            f"this is no whole exported run: it has no {name} at byte {at}; copy it again, or let `tandem export` write one"
        )
    end = begin + int(header[124:135], 8)
    after = end + -end % _BLOCK
    if after > len(raw):
        raise BadInput(f"the archive is cut off in {name}; copy it again")
    if raw[end:after].strip(b"\0"):
        raise BadInput("the archive is not what was exported; copy it again")
    return raw[begin:end], after


def _sums(bodies: Mapping[str, bytes]) -> bytes:
    """Return what `sha256sum` says of the members."""
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in bodies.items()).encode()


def _json(raw: bytes, name: str) -> Any:
    try:
        value = json.loads(raw)
        json.dumps(value, ensure_ascii=False).encode()  # half a character, which JSON can spell, could not be stored
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the archive's {name} is no JSON ({str(error)[:200]}); export it again") from error
    return value


def _fitting(model: type[_Model], value: Any, name: str) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise BadInput(f"the archive's {name} does not fit ({where}: {first['msg'][:200]}); export it again") from None


def _entry(line: bytes, number: int) -> Entry:
    name = f"entry {number}"
    found = _fitting(_Entry, _json(line, name), name)
    if found.kind not in KINDS:
        raise BadInput(f"{name} of the archive is none that this version knows; upgrade this machine")
    if found.kind == "state":
        _fitting(_State, found.value, name)
    return Entry(
        id=found.id,
        step=found.step,
        ordinal=found.ordinal,
        attempt=found.attempt,
        kind=found.kind,
        question=found.question,
        value=found.value,
        at_s=found.at_s + 0.0,  # Python has a zero below zero, and SQLite has not
    )
