"""What checks left, as an exported run carries it: one line of JSON for each check, its files in it with their sums.

What comes from a file is anybody's. Names, sizes and numbers are bounded as those that come from a worker are, each file
must have the sum that is said of it, and nothing is unpacked: no few bytes become many.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router import artefacts
from router.artefacts import About
from tandem.artefacts import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX, Names, safe
from tandem.errors import BadInput
from tandem.paths import private_dir
from tandem.spool import LeftOut, Spool
from tandem.types import RunId

_LEFT_OUT_MAX = 65  # as many as a spool tells of, and a line for those beyond
_BASE64_MAX = (FILE_BYTES_MAX + 2) // 3 * 4
_Words = Annotated[str, Field(max_length=1000)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _File(_Checked):
    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    base64: Annotated[str, Field(max_length=_BASE64_MAX)]


class _LeftOut(_Checked):
    name: _Words
    bytes: Annotated[int, Field(ge=0, lt=1 << 63)]
    why: _Words


class _Check(_Checked):
    """What one kind of check left."""

    check: str
    step: _Words
    node: _Words
    at_s: Annotated[float, Field(ge=0)]
    missed: _Words
    files: Annotated[list[_File], Field(max_length=FILES_MAX)]
    left_out: Annotated[list[_LeftOut], Field(max_length=_LEFT_OUT_MAX)]


def raw(state: Path, run_id: RunId) -> bytes:
    """Return what is kept of a run's checks, empty where nothing is; what cannot be read is left behind. Blocking."""
    lines: list[bytes] = []
    for kind, (about, files) in artefacts.everything(state, run_id):
        with suppress(ValidationError):
            lines.append(_line(kind, about, files))
    return b"".join(lines)


def _line(kind: str, about: About, files: Sequence[tuple[str, bytes]]) -> bytes:
    packed = [
        _File(name=name, sha256=hashlib.sha256(data).hexdigest(), base64=base64.b64encode(data).decode())
        for name, data in files
    ]
    left_out = [_LeftOut(name=one.name, bytes=one.size_bytes, why=one.why) for one in about.left_out]
    check = _Check(
        check=kind,
        step=about.step,
        node=about.node,
        at_s=about.at_s,
        missed=about.missed,
        files=packed,
        left_out=left_out,
    )
    return json.dumps(check.model_dump(), ensure_ascii=False).encode() + b"\n"


def must_fit(content: bytes) -> None:
    """Look at what a file carries, and write nothing.

    Raises:
        BadInput: It is not what an export writes.
    """
    for _ in _checks(content):
        pass


def put(state: Path, run_id: RunId, content: bytes) -> None:
    """Put what a file carried in its place. Blocking.

    Raises:
        BadInput: As `must_fit`.
        DiskFull, OSError: It cannot be kept.
    """
    for check, files in _checks(content):
        spool = Spool(private_dir(state / "tmp"))
        for name, data in files:
            spool.add(data)
            spool.keep(name)
        left_out = tuple(LeftOut(one.name, one.bytes, one.why) for one in check.left_out)
        about = About(step=check.step, node=check.node, at_s=check.at_s, missed=check.missed, left_out=left_out)
        artefacts.store(state, run_id, check.check, about, spool)


def _checks(content: bytes) -> Iterator[tuple[_Check, list[tuple[str, bytes]]]]:
    kinds = set[str]()
    for line in content.splitlines():
        try:
            check = _Check.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])[:80]
            raise _bad(f"{where}: {first['msg'][:200]}") from None
        if check.check not in artefacts.KINDS or check.check in kinds:
            raise _bad(f"{check.check[:80]!r} is no kind of check, or is there twice")
        kinds.add(check.check)
        yield check, list(_files(check))


def _files(check: _Check) -> Iterator[tuple[str, bytes]]:
    names, total = Names(), 0
    for file in check.files:
        if not file.name or safe(file.name) != file.name or not names.are_free_for(file.name):
            raise _bad(f"no file is called {file.name[:80]!r}, or two are")
        names.take(file.name)
        try:
            data = base64.b64decode(file.base64, validate=True)
        except ValueError:
            raise _bad(f"{file.name!r} is not base64") from None
        total += len(data)
        if len(data) > FILE_BYTES_MAX or total > BYTES_MAX:
            raise _bad(f"{file.name!r} is too large, or is with the others")
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise _bad(f"{file.name!r} is not what was exported")
        yield file.name, data


def _bad(why: str) -> BadInput:
    return BadInput(f"what the archive says that checks left does not fit ({why}); export it again")
