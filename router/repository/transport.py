"""Carry commits between a person's repository and ours, over Git's own protocol and local files only.

Makes our Git directory where there is none. What comes in is looked at object by object: names that would reach
`.git` or leave the tree are refused, while the harmless oddities of old histories are let through.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from weakref import WeakValueDictionary

from router.repository.objects import Store
from tandem import clearing, disk
from tandem.errors import BadRepository, ResourceExhausted, TandemError
from tandem.git import git, user_git
from tandem.paths import must_be_writable

log = logging.getLogger(__name__)

_FETCH_S = 900.0
_locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
# Constant text, for git hands it to a shell. The path was looked at with the person's own `safe.directory` before.
_UPLOAD_PACK = (
    "git -c safe.directory='*' -c uploadpack.allowAnySHA1InWant=true -c core.hooksPath=/dev/null"
    " -c core.fsmonitor=false upload-pack"
)
# Written by tools long gone and found in well-known projects; none of them can name a file.
_HARMLESS = (
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingTaggerEntry",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
)
_CONFIG = """
[core]
\tlogAllRefUpdates = false
\tprotectHFS = true
\tprotectNTFS = true
[gc]
\tauto = 0
[fetch]
\tfsckObjects = true
\tunpackLimit = 1
[receive]
\tfsckObjects = true
\tunpackLimit = 1
[diff]
\trenameLimit = 1000
[fetch "fsck"]
"""
# The tree's own attributes lose to these: no drivers, no conversions, no text it could hide from a diff.
_ATTRIBUTES = (
    "* !diff !text !eol !filter !merge !ident !working-tree-encoding !export-subst !export-ignore !whitespace\n"
)


def repo_id_of(root: Path, commit: str) -> str:
    """Return the name both machines know a checkout by: its folder's name and a hash of where it is."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:32].strip("-") or "repo"
    kind = "sha256" if len(commit) == 64 else "sha1"
    where = hashlib.sha256(os.fsencode(root) + b"\0" + kind.encode()).hexdigest()[:16]
    return f"{name}-{where}"


async def make_git_dir(path: Path, commit: str) -> None:
    """Create our bare Git directory at `path` if there is none; killed anywhere, the next call ends it right."""
    if (path / "HEAD").exists():
        must_be_writable(path)
        return
    fresh: Path | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # 0700
        kind = "sha256" if len(commit) == 64 else "sha1"
        await git("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(fresh), git_dir=fresh)
        _furnish(fresh)
        fresh.rename(path)
    except OSError as error:
        if not (path / "HEAD").exists():  # else another call was quicker
            found = disk.trouble(error, "the repository could not be made", path)
            raise (found or ResourceExhausted(f"cannot make {path}: {error.strerror}; check the disk")) from error
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)


def _furnish(git_dir: Path) -> None:
    severities = "".join(f"\t{name} = warn\n" for name in _HARMLESS)
    with (git_dir / "config").open("a", encoding="utf-8") as config:
        config.write(_CONFIG + severities + '[receive "fsck"]\n' + severities)
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text(_ATTRIBUTES, "utf-8")


async def bring_in(store: Store, root: Path, commit: str) -> None:
    """Have `commit` with its whole history in our directory, and hold it there.

    Raises:
        BadRepository: The checkout lacks it, or holds objects that Tandem will not take.
    """
    async with one_at_a_time(store.git_dir):
        await _bring_in(store, root, commit)
        await clearing.gather(store.git_dir)


def one_at_a_time(place: Path) -> asyncio.Lock:
    """Return the lock of a place: between who brings a commit into one of our directories and who clears that up, and
    between who merge into one checkout.
    """
    return _locks.setdefault(place, asyncio.Lock())


async def _bring_in(store: Store, root: Path, commit: str) -> None:
    marker = f"refs/tandem/base/{commit}"
    if (await store.run("rev-parse", "--verify", "--quiet", f"{marker}^{{tree}}", check=False)).returncode == 0:
        return
    said = await git(
        "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules", "--update-shallow",
        f"--upload-pack={_UPLOAD_PACK}", "--", str(root), commit,
        git_dir=store.git_dir, timeout_s=_FETCH_S, check=False, protocol="file",
    )  # fmt: skip
    if said.returncode != 0:
        raise _refused(store, root, commit, said.stderr)
    await store.run("update-ref", marker, commit)
    log.info("base fetched", extra={"repo": store.git_dir.name, "commit": commit})


def _refused(store: Store, root: Path, commit: str, words: str) -> TandemError:
    if disk.is_full(words, store.git_dir):
        return disk.full(f"{commit[:12]} could not be fetched from {root}", store.git_dir)
    lines = [line for line in words.splitlines() if not line.startswith("warning:")]
    said = " ".join(" ".join(lines).split())[-400:]
    if "fsck" in words or "error in " in words:
        return BadRepository(f"{root} holds objects that Tandem will not take ({said}); see `git fsck` there")
    remedy = "see whether `git fsck` is content there, and, in a partial clone, run `git fetch --refetch` first"
    return BadRepository(f"commit {commit[:12]} cannot be fetched from {root} ({said}); {remedy}")


async def bring_out(store: Store, root: Path, commit: str) -> None:
    """Have `commit` in the person's repository: objects alone, no reference, no FETCH_HEAD."""
    await user_git(
        "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules", "--no-prune",
        "--no-show-forced-updates", "--refmap=", f"--upload-pack={_UPLOAD_PACK}", "--", str(store.git_dir), commit,
        checkout=root, timeout_s=_FETCH_S, protocol="file",
    )  # fmt: skip
