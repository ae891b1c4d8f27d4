"""Write what a run's checks left into a folder: DIR/draft/… and DIR/head/…, each file new or none at all."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import output
from cli.render.loose import objects, text
from cli.render.text import one_line
from tandem.artefacts import safe
from tandem.errors import BadInput, BadReply

if TYPE_CHECKING:
    from cli.client import Client


def write(client: Client, run: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """Write all there is and say what was written.

    Raises:
        BadInput: There is nothing, a file is there already, or one cannot be written.
        BadReply: The router's answer cannot be used.
    """
    name, checks = text(run, "run"), objects(run.get("artefacts"))
    kinds = [text(one, "check") for one in checks if objects(one.get("files"))]
    troubles = [one_line(f"{text(one, 'check')}: {text(one, 'trouble')}") for one in checks if one.get("trouble")]
    files: dict[str, bytes] = {}
    for kind in kinds:
        files |= _unpacked(kind, client.get_bytes(f"/v1/runs/{name}/artefacts/{kind}"))
    if not files:
        why = "; ".join(troubles) or "check.artefacts says which are"
        raise BadInput(f"no check of run {name} left files that are brought back; {why}")
    _must_be_new(folder, files)
    for path, data in files.items():
        _put(folder / path, data)
    if as_json:
        written = [{"path": str(folder / path), "bytes": len(data)} for path, data in files.items()]
        output.say_json({"run": name, "written": written})
        return
    for path in files:
        output.say(one_line(str(folder / path)))
    for trouble in troubles:
        output.remark(trouble)


def _unpacked(kind: str, raw: bytes) -> dict[str, bytes]:
    """Return the files in a ZIP by their paths under the folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            files = {one.filename: packed.read(one) for one in packed.infolist()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise BadReply(
            f"what a {kind} check left cannot be unpacked ({error}); ask again, or upgrade both alike"
        ) from error
    for name in files:
        if safe(name) != name:
            raise BadReply(f"what a {kind} check left has a file {name[:80]!r}, which is not written anywhere")
    return {f"{kind}/{name}": data for name, data in files.items()}


def _must_be_new(folder: Path, files: Mapping[str, bytes]) -> None:
    for path in files:
        if os.path.lexists(folder / path):
            raise BadInput(f"{folder / path} exists, and nothing was written; name another folder for --artefacts")


def _put(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", error)
        raise BadInput(f"cannot write {str(place)!r}: {why}; name another folder for --artefacts") from error
