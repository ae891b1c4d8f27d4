"""Repositories that people on both machines share: bare ones in this machine's state folder, by name.

`tandem share NAME` makes one; paired machines clone and push it as `tandem::MACHINE/NAME`, over the paired port. They may
move branches, tags and notes forward and delete them; history is only rewritten on this machine, in the folder itself.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from tandem.errors import BadInput, Conflict, NotFound
from tandem.git import git
from tandem.paths import private_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLONE_S = 3600.0
RULES = (
    "receive.denyDeletes=false",
    "receive.denyDeleteCurrent=refuse",
    "receive.denyNonFastForwards=true",
    "receive.hideRefs=refs/",  # a hidden reference cannot be pushed to
    "receive.hideRefs=!refs/heads/",
    "receive.hideRefs=!refs/tags/",
    "receive.hideRefs=!refs/notes/",
    "uploadpack.hideRefs=refs/tandem/",
)


def folder(home: Path) -> Path:
    """Return where they lie."""
    return home / "shared"


def named(home: Path, name: str) -> Path:
    """Return the Git directory of a shared repository, whether or not it is there.

    Raises:
        BadInput: No repository can be called that.
    """
    bare = name.removesuffix(".git")
    if not _NAME.fullmatch(bare) or ".." in bare or bare.endswith((".", ".lock")):
        raise BadInput(f"{name[:80]!r} is no shared repository's name; letters, digits and . _ - make one, 64 at most")
    return folder(home) / f"{bare}.git"


def there(home: Path, name: str) -> Path:
    """Return the Git directory of a shared repository.

    Raises:
        BadInput: No repository can be called that.
        NotFound: There is none of that name.
    """
    found = named(home, name)
    if not found.is_dir() or found.is_symlink():
        raise NotFound(f"no repository is shared here as {name!r}; `tandem share {name}` on this machine makes one")
    return found


def listed(home: Path) -> list[Path]:
    """Return the Git directories of all shared repositories, by name."""
    return sorted(path for path in folder(home).glob("*.git") if path.is_dir() and not path.name.startswith("."))


async def make(home: Path, name: str, source: Path | None = None) -> Path:
    """Make a shared repository, empty or with the branches and tags of another one, and return its Git directory.

    Raises:
        BadInput: No repository can be called that, or `source` is none.
        Conflict: There is one of that name.
    """
    place = named(home, name)
    if place.exists() or place.is_symlink():
        raise Conflict(f"{place} is there already; choose another name")
    private_dir(place.parent)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as temporary:
        fresh = Path(temporary) / "repo.git"
        await git("init", "-q", "--bare", "--template=", "--initial-branch=main", str(fresh), git_dir=fresh)
        await git(
            "config", "core.logAllRefUpdates", "always", git_dir=fresh
        )  # what was moved or deleted can be found again
        if source is not None:
            await _fill(fresh, source)
        fresh.chmod(0o700)
        try:
            fresh.rename(place)
        except OSError as error:
            raise Conflict(f"{place} is there already; choose another name") from error
    return place


async def _fill(fresh: Path, source: Path) -> None:
    """Fetch the branches and tags of a repository of this machine, and take over which branch is its first."""
    if not source.is_dir():
        raise BadInput(f"{source} is no repository's folder")
    refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    found = await git(
        "fetch",
        "-q",
        "--no-write-fetch-head",
        "--no-auto-gc",
        str(source.absolute()),
        *refs,
        git_dir=fresh,
        protocol="file",
        timeout_s=_CLONE_S,
        check=False,
    )
    if found.returncode:
        raise BadInput(f"{source} cannot be taken over: {found.stderr.strip()[-500:] or 'git said nothing'}")
    head = await git(
        "ls-remote", "--symref", str(source.absolute()), "HEAD", git_dir=fresh, protocol="file", check=False
    )
    with contextlib.suppress(IndexError):
        branch = head.text.split()[1]
        if head.text.startswith("ref: refs/heads/"):
            await git("symbolic-ref", "HEAD", branch, git_dir=fresh)
