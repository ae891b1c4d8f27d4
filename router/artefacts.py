"""What checks left (coverage, logs), kept for people to look at: never a truth, and nothing is decided from it.

Of each run the newest check of a kind has its place: the last draft's, and that of the head, which decides. One file
each, a ZIP, owner-only, whole or not there at all. What a worker sends is bounded here as it is there. Neither journal nor
proof knows of it; where it cannot be kept, that is said, and the run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tandem import artefacts, disk
from tandem.errors import NotFound, TandemError
from tandem.faults import failpoint
from tandem.paths import private_dir
from tandem.spool import LeftOut, Spool
from tandem.types import ArtefactPiece, CheckRequest, Json, RunId

log = logging.getLogger(__name__)
KINDS = ("draft", "head")
_WHY_CHARS = 200
_UNNAMED = "(a name that cannot be used)"
_COMMENT_BYTES_MAX = 65535  # a ZIP counts them with two bytes
_CANNOT_BE_READ = (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, NotImplementedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is told of what a check left: its step, the node it ran on, when that was kept, why not all of it came."""

    step: str
    node: str
    at_s: float
    missed: str = ""
    left_out: Sequence[LeftOut] = ()


class Taking:
    """What one check left, on its way here: it begins with its report, pieces come in, and `keep` ends it.

    Blocking. Nothing here raises: a full disk must not end a run for want of a log.
    """

    def __init__(self, state: Path, request: CheckRequest) -> None:
        self._state = state
        self._request = request
        self._step, self._kind = _about(request)
        self._spool: Spool | None = None
        self._name: str | None = None  # of the file that is being taken
        self._why = ""  # why it is not
        self.spool: str = ""
        self.messages = 0
        """Which of the worker's spools this holds, and how many messages of it: where a broken stream goes on."""
        self.trouble = ""
        """Why nothing of it can be kept, "" where it can."""
        self.missed = ""
        """Why not all of it came, "" where it did."""

    def take(self, piece: ArtefactPiece) -> None:
        """Take a piece in, the next of its spool."""
        self.messages += 1
        if not self.trouble:
            try:
                self._put(piece, self._spooled())
            except (OSError, TandemError) as error:
                self._fail(error)

    def begin(self, spool: str) -> None:
        """Take in which of the worker's spools belongs to the report, and forget what came of another."""
        self._spool, self._name, self.spool, self.messages = None, None, spool, 0

    def cut(self, why: str) -> None:
        """Have nothing more come, and tell why; what is here whole is kept."""
        if not self.trouble:
            try:
                spool = self._spooled()
                spool.drop()
                if self._name is not None:
                    spool.leave_out(self._name or _UNNAMED, 0, "not all of it came")
                self._name, self.missed = None, why
            except (OSError, TandemError) as error:
                self._fail(error)

    def keep(self, node: str) -> None:
        """Have what came be what there is of this kind of check, in the place of what there was."""
        if not self.trouble:
            try:
                self._store(node)
            except (OSError, TandemError) as error:
                self._fail(error)

    def _spooled(self) -> Spool:
        if self._spool is None:
            self._spool = Spool(private_dir(self._state / "tmp"))
        return self._spool

    def _fail(self, error: OSError | TandemError) -> None:
        found = (
            disk.trouble(error, "what the tests left was not kept", self._state)
            if isinstance(error, OSError)
            else error
        )
        self.trouble = str(found or error)
        log.warning("artefacts were not kept", extra={"run_id": self._request.run_id, "why": self.trouble})

    def _put(self, piece: ArtefactPiece, spool: Spool) -> None:
        name = artefacts.safe(piece.name)
        if piece.left_out:
            why = "".join(c if c.isprintable() else "_" for c in piece.left_out[:_WHY_CHARS])
            spool.leave_out(name or _UNNAMED, max(piece.size_bytes, 0), why)
            return
        if self._name is None:
            self._name, self._why = name, spool.refuses(name, piece.size_bytes)
        if not self._why and (name != self._name or spool.pending_bytes + len(piece.data) > piece.size_bytes):
            self._why = "it is not what the worker said it is"
        if not self._why:
            spool.add(piece.data)
        if piece.last:
            self._end(piece, spool)

    def _end(self, piece: ArtefactPiece, spool: Spool) -> None:
        """End the file that was being taken."""
        if not self._why and spool.pending_bytes != piece.size_bytes:
            self._why = "not all of it came"
        if self._why:
            spool.drop()
            spool.leave_out(self._name or _UNNAMED, max(piece.size_bytes, 0), self._why)
        else:
            spool.keep(str(self._name))
        self._name = None

    def _store(self, node: str) -> None:
        run_id, spool = self._request.run_id, self._spool
        if spool is None:  # it left nothing, and what an earlier one left is not its own
            _place(self._state, run_id, self._kind).unlink(missing_ok=True)
            return
        about = About(step=self._step, node=node, at_s=time.time(), missed=self.missed, left_out=spool.left_out)
        store(self._state, run_id, self._kind, about, spool)
        failpoint("artefacts.kept")


def store(state: Path, run_id: RunId, kind: str, about: About, spool: Spool) -> None:
    """Have the files in a spool be what there is of a kind of check, in the place of what there was. Blocking.

    Raises:
        OSError, TandemError: They cannot be kept; what there was is left.
    """
    place = _place(state, run_id, kind)
    private_dir(state / "artefacts")
    needed = disk.NEEDED_BYTES + spool.size_bytes
    disk.must_have_room("what the tests left was not kept", private_dir(place.parent), needed)
    told: dict[str, Json] = {"step": about.step, "node": about.node, "at_s": about.at_s, "missed": about.missed}
    comment = _comment(told, _left_out(about.left_out))
    # a name of its own, as a run that is checked again while it is kept has; half of one is cleared away from there
    number, part = tempfile.mkstemp(prefix="artefacts-", dir=private_dir(state / "tmp"))
    try:
        _write(number, spool, comment)
        Path(part).replace(place)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _about(request: CheckRequest) -> tuple[str, str]:
    """Return the step that asked for a check, and which kind of check it is."""
    _, step, what, *_ = [*request.request_id.split("/"), "", ""]
    kind = what.split(".")[0]
    return step, kind if kind in KINDS else KINDS[-1]


def _left_out(files: Iterable[LeftOut]) -> list[Json]:
    return [{"name": one.name, "bytes": one.size_bytes, "why": one.why} for one in files]


def _comment(about: dict[str, Json], left_out: list[Json]) -> bytes:
    """Return what is told as the comment of a ZIP, which holds so much and no more: some go unnamed if need be."""
    for named in range(len(left_out), -1, -1):
        others = len(left_out) - named
        more: list[Json] = [{"name": f"({others} more)", "bytes": 0, "why": "left out, too"}] if others else []
        comment = json.dumps({**about, "left_out": [*left_out[:named], *more]}, ensure_ascii=False).encode()
        if len(comment) <= _COMMENT_BYTES_MAX:
            return comment
    raise TandemError("what the tests left was not kept: what is to be told of it is too long")


def _write(number: int, spool: Spool, comment: bytes) -> None:
    with os.fdopen(number, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.comment = comment
        for held in spool.held:
            member = zipfile.ZipInfo(held.name)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o100600 << 16
            with made.open(member, "w") as out:
                for data in spool.read(held):
                    out.write(data)


def told(state: Path, run_id: RunId) -> list[Json]:
    """Return what is kept of a run's checks: kind, step and node of each, its files, and what was left out. Blocking."""
    return [found for kind in KINDS if (found := _told(_place(state, run_id, kind), kind)) is not None]


def _told(place: Path, kind: str) -> Json:
    try:
        with zipfile.ZipFile(place) as found:
            about = cast("dict[str, Any]", json.loads(found.comment))
            files: list[Json] = [{"name": one.filename, "bytes": one.file_size} for one in found.infolist()]
            parts = {key: about[key] for key in ("step", "node", "at_s", "left_out")}
            missed = str(about.get("missed", ""))
    except FileNotFoundError:
        return None
    except _CANNOT_BE_READ as error:  # a power cut, or another's hand
        return {"check": kind, "files": [], "left_out": [], "trouble": f"{place} cannot be read: {error}"}
    return {"check": kind, **parts, "files": files, "trouble": missed}


def packed(state: Path, run_id: RunId, kind: str) -> bytes:
    """Return what a kind of check left, as a ZIP. Blocking.

    Raises:
        NotFound: There is none.
    """
    try:
        if kind in KINDS:
            return _place(state, run_id, kind).read_bytes()
    except FileNotFoundError:
        pass
    raise NotFound(f"run {run_id} has nothing that a {kind!r} check left; `tandem show {run_id}` says what there is")


def everything(state: Path, run_id: RunId) -> Iterator[tuple[str, tuple[About, list[tuple[str, bytes]]]]]:
    """Yield by kind of check what is kept of a run's, as far as it can be read. Blocking."""
    for kind in KINDS:
        try:
            with zipfile.ZipFile(_place(state, run_id, kind)) as found:
                told = cast("dict[str, Any]", json.loads(found.comment))
                files = [(one.filename, found.read(one)) for one in found.infolist()]
                left_out = tuple(LeftOut(one["name"], one["bytes"], one["why"]) for one in told["left_out"])
        except _CANNOT_BE_READ:
            continue
        about = About(
            step=told["step"],
            node=told["node"],
            at_s=told["at_s"],
            missed=str(told.get("missed", "")),
            left_out=left_out,
        )
        yield kind, (about, files)


def _place(state: Path, run_id: RunId, kind: str) -> Path:
    return state / "artefacts" / run_id / f"{kind}.zip"
