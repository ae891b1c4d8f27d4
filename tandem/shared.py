"""Repositories that people on both machines share: bare ones in this machine's state folder, by name.

`tandem share NAME` makes one; paired machines clone and push it as `tandem::MACHINE/NAME`, over the paired port. They may
move branches and notes forward, make tags, and delete branches but the first; what a deleted branch led to is kept as
`refs/tandem/deleted/heads/BRANCH/COMMIT`, which no push reaches. History is only rewritten on this machine, in the folder
itself. Git's own settings watch over `refs/heads/` alone: the rest is the work of `hooks/update`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from tandem.errors import BadInput, Conflict, NotFound, TandemError
from tandem.git import git
from tandem.paths import private_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLONE_S = 3600.0
_NEW = ".new-"  # begins the name of a folder in which one is made
_HOOKS = Path(__file__).with_name("hooks")
_RULES = (
    f"core.hooksPath={_HOOKS}",
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


def rules() -> tuple[str, ...]:
    """Return Git's settings for whoever pushes from another machine.

    Raises:
        TandemError: The hook cannot be run. Git would do without it.
    """
    if not os.access(_HOOKS / "update", os.X_OK):
        raise TandemError(f"{_HOOKS / 'update'} cannot be run, so no push can be watched over; install Tandem again")
    return _RULES


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
        raise NotFound(f"this machine shares no repository {name!r}; `tandem share {name}` on it makes one")
    return found


def remedy(place: Path) -> str:
    """Return what to do about a shared repository that is odd: it is a person's, and nobody makes it anew for them."""
    return (
        "it is shared no further and nothing in it was changed; mend it there, or move it away and share a whole clone"
        f" of it: `tandem share {place.stem} --from CLONE`"
    )


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
    with _making(place.parent) as temporary:
        fresh = temporary / "repo.git"
        await git("init", "-q", "--bare", "--template=", "--initial-branch=main", str(fresh), git_dir=fresh)
        await git("config", "core.logAllRefUpdates", "always", git_dir=fresh)  # who moved what, and when
        if source is not None:
            await _fill(fresh, source)
        fresh.chmod(0o700)
        try:
            fresh.rename(place)
        except OSError as error:
            raise Conflict(f"{place} is there already; choose another name") from error
    return place


@contextlib.contextmanager
def _making(parent: Path) -> Generator[Path]:
    """Yield a folder to make one in, locked while this process lives; folders that nobody holds any more are removed."""
    with contextlib.ExitStack() as held:
        with _locked(parent):  # nobody sees a folder that is not locked yet
            for left in parent.glob(f"{_NEW}*"):
                with contextlib.suppress(OSError), _locked(left, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)
            fresh = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=_NEW, dir=parent)))
            held.enter_context(_locked(fresh))
        yield fresh


@contextlib.contextmanager
def _locked(folder: Path, how: int = 0) -> Generator[None]:
    """Hold a folder's lock, which ends with the process at the latest."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(number)


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
    listed = await git("ls-remote", "--symref", str(source.absolute()), git_dir=fresh, protocol="file", check=False)
    await _whole(fresh, source, listed.text)
    with contextlib.suppress(IndexError):
        branch = listed.text.split()[1]
        if listed.text.startswith("ref: refs/heads/"):
            await git("symbolic-ref", "HEAD", branch, git_dir=fresh)


async def _whole(fresh: Path, source: Path, listed: str) -> None:
    """Refuse a repository of which something stayed behind: what a shallow clone cuts short, git leaves out in silence."""
    theirs = {line.partition("\t")[2] for line in listed.splitlines()}
    wanted = {name for name in theirs if name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}")}
    ours = await git("for-each-ref", "--format=%(refname)", git_dir=fresh)
    left = sorted(wanted - set(ours.text.splitlines()))
    if left:
        raise BadInput(
            f"{source} is a shallow clone, whose history is cut short: {', '.join(left[:3])} cannot be taken over;"
            f" `git -C '{source}' fetch --unshallow` fetches the rest of it, then share it again"
        )
