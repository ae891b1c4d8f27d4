"""Keep the tags of file contents by hash: in memory, and in a folder where one is given.

The folder is a convenience: whoever deletes or damages it only makes the next map slower.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from threading import Lock

from agents.repomap import languages, reader, tags
from agents.repomap.tags import Tags

VERSION = "1"  # of what tags hold: part of every key, so that an old cache is never misread
_KEPT = 20_000
_kept: OrderedDict[str, Tags] = OrderedDict()
_lock = Lock()


def tags_of(files: Mapping[str, str], folder: Path | None = None) -> dict[str, Tags]:
    """Return the tags of each path's text, reading only what was not read before."""
    keys = {path: _key(path, text) for path, text in files.items()}
    known = _remembered(keys.values())
    missing = {keys[path]: path for path in files if keys[path] not in known}
    stored = _load(folder, list(missing)) if folder and missing else {}
    unread = {path: files[path] for key, path in missing.items() if key not in stored}
    fresh: dict[str, Tags] = {}
    for path, found, keep in reader.read_all(unread):
        known[keys[path]] = found
        if keep:
            fresh[keys[path]] = found
    if folder and fresh:
        _save(folder, fresh)
    known |= stored
    _remember(stored | fresh)
    return {path: known[key] for path, key in keys.items()}


def forget() -> None:
    """Drop what is kept in memory."""
    with _lock:
        _kept.clear()


def _key(path: str, text: str) -> str:
    kind = languages.language_of(path) or path.rpartition(".")[2].lower()
    return hashlib.sha256(f"{VERSION}\0{kind}\0{text}".encode("utf-8", "replace")).hexdigest()


def _remembered(keys: Iterable[str]) -> dict[str, Tags]:
    with _lock:
        found = {key: _kept[key] for key in keys if key in _kept}
        for key in found:
            _kept.move_to_end(key)
        return found


def _remember(found: Mapping[str, Tags]) -> None:
    with _lock:
        _kept.update(found)
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)


def _load(folder: Path, keys: list[str]) -> dict[str, Tags]:
    try:
        with closing(_open(folder)) as db:
            rows = [row for key in keys for row in db.execute("SELECT key, value FROM tags WHERE key = ?", (key,))]
    except (sqlite3.Error, OSError, ValueError):  # ValueError: a folder whose name cannot be one
        return {}
    decoded = {str(key): tags.decode(value) for key, value in rows}
    return {key: found for key, found in decoded.items() if found is not None}


def _save(folder: Path, found: Mapping[str, Tags]) -> None:
    rows = [(key, tags.encode(value)) for key, value in found.items()]
    try:
        with closing(_open(folder)) as db, db:
            db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?)", rows)
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):  # not a database any more: the next map starts it anew
            (folder / _FILE).unlink(missing_ok=True)
    except (OSError, ValueError):
        return


_FILE = "tags.sqlite3"


def _open(folder: Path) -> sqlite3.Connection:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = sqlite3.connect(folder / _FILE, timeout=2)
    db.execute("CREATE TABLE IF NOT EXISTS tags (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    return db
