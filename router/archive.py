"""A run in one file, to be moved to another machine: its journal, its own commits, what was said to models.

A tar of four members: `run.json` (what it is), `entries.jsonl` (its journal, a line an entry), `objects.pack` (its commits,
without those of the base), `calls.jsonl`. Taken in, everything is untrusted: sizes are bounded, the entries must be of
kinds this version knows, and Git checks each object. Two machines that go on with one run would deliver it twice, so a run
that is not over is taken in only where it was moved, and left where it came from.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from router.journal import Entry, RunRow
from tandem import __version__
from tandem.errors import BadInput
from tandem.faults import KINDS
from tandem.types import Json, RunId

FORMAT = 1
BYTES_MAX = 256 << 20
_MEMBERS = ("run.json", "entries.jsonl", "objects.pack", "calls.jsonl")
_KEYS = frozenset(("id", "step", "ordinal", "attempt", "kind", "question", "value", "at_s"))


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
    bodies = (json.dumps(about, ensure_ascii=False, indent=1).encode(), lines.encode(), archive.pack, archive.calls)
    size = sum(len(body) for body in bodies)
    if size > BYTES_MAX:
        raise BadInput(f"the run takes {size >> 20} MiB and an archive at most {BYTES_MAX >> 20}; it cannot be moved")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in zip(_MEMBERS, bodies, strict=True):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o600
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


def read(raw: bytes) -> Archive:
    """Return the archive in `raw`.

    Raises:
        BadInput: It is none, of a later format, cut off, or holds what no run does.
    """
    bodies = _members(raw)
    about = _object(bodies["run.json"], "run.json")
    if about.get("format") != FORMAT:
        raise BadInput(
            f"the archive has format {about.get('format')!r} (Tandem {about.get('tandem')!r}) and this version knows "
            f"{FORMAT}; upgrade the older of the two machines"
        )
    try:
        row: dict[str, Any] = about["run"]
        references: dict[str, Any] = about["references"]
        return Archive(
            row=RunRow(
                run=RunId(_run_id(row["run"])),
                created_s=float(row["created_s"]),
                stamp=str(row["stamp"]),
                task=row["task"],
            ),
            state=str(about["state"]),
            moved=about["moved"] is True,
            references={str(name): str(commit) for name, commit in references.items()},
            entries=[_entry(line, number) for number, line in enumerate(bodies["entries.jsonl"].splitlines(), 1)],
            pack=bodies["objects.pack"],
            calls=bodies["calls.jsonl"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"the archive's run.json does not fit ({type(error).__name__}: {error}); export it again"
        ) from error


def _members(raw: bytes) -> dict[str, bytes]:
    if len(raw) > BYTES_MAX + (1 << 20):
        raise BadInput(f"the archive has {len(raw) >> 20} MiB and may have {BYTES_MAX >> 20}")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:  # not compressed: nothing can unfold
            for member in tar:
                if member.name not in _MEMBERS or not member.isreg() or member.name in found:
                    raise BadInput(f"the archive holds {member.name[:80]!r}, which no run has; nothing was imported")
                body = tar.extractfile(member)
                found[member.name] = body.read() if body else b""
                if len(found[member.name]) != member.size:
                    raise BadInput("the archive is cut off; copy it again")
    except tarfile.TarError as error:
        raise BadInput(f"this is no exported run ({error}); `tandem export RUN` writes one") from error
    missing = [name for name in _MEMBERS if name not in found]
    if missing:
        raise BadInput(f"the archive lacks {missing[0]}; it is cut off, or no exported run")
    return found


def _object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the archive's {name} is no JSON ({error}); export it again") from error
    if not isinstance(value, dict):
        raise BadInput(f"the archive's {name} is no object; export it again")
    return cast("dict[str, Any]", value)


def _entry(line: bytes, number: int) -> Entry:
    value = _object(line, f"entry {number}")
    if value.keys() != _KEYS or value["kind"] not in KINDS:
        raise BadInput(f"entry {number} of the archive is none that this version knows; upgrade this machine")
    numbers = all(isinstance(value[key], int) for key in ("id", "ordinal", "attempt"))
    if not numbers or not all(isinstance(value[key], str) for key in ("step", "question")):
        raise BadInput(f"entry {number} of the archive does not fit; export it again")
    return Entry(
        id=value["id"],
        step=value["step"],
        ordinal=value["ordinal"],
        attempt=value["attempt"],
        kind=value["kind"],
        question=value["question"],
        value=cast("Json", value["value"]),
        at_s=float(value["at_s"]),
    )


def _run_id(text: Any) -> str:
    if not isinstance(text, str) or not text.replace("-", "").isalnum() or not text.isascii() or len(text) > 40:
        raise ValueError(f"{str(text)[:40]!r} is no run's id")
    return text
