"""Small disks under a stack's folders, filled while it is at work, and what a full disk may leave behind.

Every process has to see the mount, so these need root; others skip.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.wires import until
from tests.support import smalldisk
from tests.support.smalldisk import SmallDisk, small_disk
from tests.support.stack import Stack

MIB = 1 << 20
_HALF_DONE = (
    "*.lock",
    "incoming-*",
    ".new-*",
)  # what Git itself forgets, tmp_obj_*, harms nobody, and its gc removes it


@contextmanager
def disk_at(place: Path, size_bytes: int) -> Generator[SmallDisk]:
    """Yield a small disk that is mounted at `place`."""
    smalldisk.require(private=False)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with small_disk(place.parent, size_bytes, private=False) as disk:
        _must("mount", "--bind", str(disk.path), str(place))
        try:
            yield disk
        finally:
            _must("umount", "--lazy", str(place))


def paused(stack: Stack, run: str) -> dict[str, Any]:
    """Wait until a run waits for room, and return its details."""

    def found() -> dict[str, Any] | None:
        body = stack.call("GET", f"/v1/runs/{run}")[1]
        assert body["state"] in ("queued", "running"), body["message"]
        hold = body.get("hold") or {}
        return body if hold.get("kind") == "paused-disk-full" else None

    return until(found, why=stack.log)


def sound(*folders: Path) -> None:
    """See that every Git directory in `folders` is whole, and that nothing half done is left in it."""
    for git_dir in _git_dirs(*folders):
        done = subprocess.run(
            ["git", "-C", str(git_dir), "fsck", "--strict", "--no-dangling"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{git_dir}: {done.stdout}{done.stderr}"
        assert [path for pattern in _HALF_DONE for path in git_dir.rglob(pattern)] == [], list(git_dir.rglob("tmp_*"))


def _git_dirs(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        found = [folder] if (folder / "HEAD").exists() else [*folder.glob("*.git"), *folder.glob(".git")]
        assert found, f"there is no repository in {folder}"
        yield from found


def _must(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
