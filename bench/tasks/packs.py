"""Find a pack by its name or folder, and read what is in it, whichever layout it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bench.tasks import exercism, quixbugs
from bench.tasks.exercise import Exercise, NotRun
from tandem.entry import APP_ROOT
from tandem.errors import BadInput

DEFAULT = "starter"
_SHIPPED = APP_ROOT / "bench" / "packs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack that was read: what can be run here, and what cannot and why."""

    name: str
    exercises: tuple[Exercise, ...]
    not_run: tuple[NotRun, ...]


def load(pack: str, only: str = "") -> Pack:
    """Return the pack of that name or in that folder; `only` is a pattern for the names of exercises, "" for all.

    Raises:
        BadInput: There is none, nothing in it is an exercise, or `only` fits none.
    """
    folder = _folder(pack)
    read: Iterable[Exercise | NotRun] = (
        quixbugs.read(folder) if quixbugs.is_one(folder) else map(exercism.read, exercism.found(folder))
    )
    there = list(read)
    if not there:
        raise BadInput(f"{folder} holds no exercises; its layout must be Exercism's (.meta/config.json) or QuixBugs'")
    wanted = [one for one in there if not only or _fits(one.name, only)]
    if not wanted:
        raise BadInput(f"no exercise of {folder} is called like {only!r}; the first is {there[0].name}")
    return Pack(
        name=folder.name,
        exercises=tuple(one for one in wanted if isinstance(one, Exercise)),
        not_run=tuple(one for one in wanted if isinstance(one, NotRun)),
    )


def shipped() -> list[str]:
    """Return the names of the packs that come with Tandem."""
    return sorted(path.name for path in _SHIPPED.iterdir() if path.is_dir() and not path.name.startswith("_"))


def _folder(pack: str) -> Path:
    path = Path(pack).expanduser()
    if "/" not in pack and pack in shipped():
        return _SHIPPED / pack
    if not path.is_dir():
        raise BadInput(f"there is no pack {pack!r}; name a folder, or one that ships: {', '.join(shipped())}")
    return path.absolute()


def _fits(name: str, only: str) -> bool:
    return fnmatchcase(name, only) or fnmatchcase(name.rsplit("/", 1)[-1], only)
