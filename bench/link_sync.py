"""What it costs to bring commits to a paired worker, next to a plain `git push` and to gRPC alone.

A person's repository of many small files, and a large change to it, are made once and brought into the router's own
directory as a run brings its base. From there both sides push the same commits: ours as a dispatcher does, through the
tunnel; the plain one with `git push` as Git comes, into a bare repository on the same disk. The plain side sends nothing
over a network and checks no object; ours does both. Beside a large change stands `git index-pack` alone, which hashes a
pack from a file and stores it: whoever takes commits in with Git takes at least as long.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench import floor, link_report
from bench.link_ends import PERSONA, Link
from bench.link_report import MB
from bench.turns import Side, in_turns
from router import gittunnel
from router.repository.own import OwnRepository
from tandem.errors import TandemError
from tandem.types import CommitId, Edit

_BLOB_BYTES = MB  # of each file of the large change
_FOLDER = 100  # files in a folder, and folders in a folder
_SEED = 7
_GIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many files the repository has, and how many millions of bytes its large change."""

    files: int
    delta_mb: int


async def measure(link: Link, rounds: int, size: Size, told: Callable[[str], Callable[[], None]]) -> dict[str, Any]:
    """Return what a small and a large change cost."""
    source = link.ends.router / "source.git"
    base, large = await asyncio.to_thread(make, source, size)
    own = await OwnRepository.open(link.ends.router, source, base)
    small = await _small(link, own, base, rounds, told("small sync"))
    await OwnRepository.open(link.ends.router, source, large)
    big = await _large(link, own.repo_id, base, large, size.delta_mb * MB, rounds, told("large sync"))
    return {
        "sync_small": {"files": size.files, **link_report.times(small, "ms")},
        "sync_large": {
            **link_report.speeds(big, size.delta_mb * MB),
            "plain_share_of_grpc": link_report.share(big, "plain", "grpc"),
            "index_share_of_grpc": link_report.share(big, "index", "grpc"),
        },
    }


async def _small(
    link: Link, own: OwnRepository, base: CommitId, rounds: int, told: Callable[[], None]
) -> dict[str, list[float]]:
    """Push one more commit, which changes one file, in each round."""
    sides = Sides(link, own.repo_id)
    await sides.begin("small", base)

    async def before(number: int) -> None:
        edits = (Edit(path=_path(0), content=f"round {number}\n" * 20),)
        sides.commit = await own.commit(parent=base, edits=edits, persona=PERSONA, message=f"{number}", at_s=number)

    return await in_turns({"plain": sides.plain, "paired": sides.paired}, rounds, told, before)


async def _large(
    link: Link, repo_id: str, base: CommitId, large: CommitId, size_bytes: int, rounds: int, told: Callable[[], None]
) -> dict[str, list[float]]:
    """Push the large change in each round, into repositories that have its base and nothing else."""
    sides, empty = Sides(link, repo_id), link.ends.router / "empty.git"
    pack = await asyncio.to_thread(_packed, OwnRepository.git_dir(link.ends.router, repo_id), base, large)

    async def before(number: int) -> None:
        await sides.begin(f"large-{number}", base)
        sides.commit = large
        await asyncio.to_thread(_renewed, empty)
        await asyncio.to_thread(os.sync)  # what was written before is no side's to wait for

    ways: dict[str, Side] = {
        "grpc": lambda: floor.stream(link.grpc, size_bytes),
        "index": lambda: asyncio.to_thread(_git, "index-pack", "--stdin", git_dir=empty, stdin=pack),
        "plain": sides.plain,
        "paired": sides.paired,
    }
    return await in_turns(ways, rounds, told, before)


class Sides:
    """Both ways to push `commit` out of the router's directory, each into a repository of its own, which may be new."""

    def __init__(self, link: Link, repo_id: str) -> None:
        self._link = link
        self._source = OwnRepository.git_dir(link.ends.router, repo_id)
        self._local = link.ends.router / "local.git"
        self._name = ""
        self.commit = CommitId("")

    async def begin(self, name: str, base: CommitId) -> None:
        """Have new repositories with `base` in them, at the worker under `name`; the former ones are removed."""
        for old in self._at_worker():
            await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)
        await asyncio.to_thread(_renewed, self._local)
        self._name, self.commit = name, base
        await self.plain()
        await self.paired()

    def _at_worker(self) -> list[Path]:
        return list((self._link.ends.worker / "git").glob(f"{self._name}@*.git")) if self._name else []

    async def plain(self) -> float:
        """Return how many seconds `git push` took."""
        spec = f"{self.commit}:{gittunnel.REF}{self.commit}"
        return await asyncio.to_thread(_git, "push", "-q", str(self._local), spec, git_dir=self._source)

    async def paired(self) -> float:
        """Return how many seconds the tunnel took."""
        started = time.perf_counter()
        await gittunnel.push(self._source, self.commit, self._name, self._link.node.stub, node="worker bench")
        return time.perf_counter() - started


def _git(*args: str, git_dir: Path | None = None, stdin: Path | None = None) -> float:
    """Run Git as it comes, without anybody's configuration, and return how many seconds it took; it may read a file.

    Raises:
        TandemError: It failed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env = {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", *(("--git-dir", str(git_dir)) if git_dir else ()), *args]
    with (stdin or Path(os.devnull)).open("rb") as given:
        started = time.perf_counter()
        done = subprocess.run(argv, env=env, stdin=given, capture_output=True, timeout=_GIT_S, check=False)
        taken = time.perf_counter() - started
    if done.returncode:
        raise TandemError(f"git {args[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
    return taken


def _renewed(where: Path) -> None:
    """Have an empty bare repository there."""
    shutil.rmtree(where, ignore_errors=True)
    _git("init", "-q", "--bare", str(where))


def _packed(git_dir: Path, base: CommitId, large: CommitId) -> Path:
    """Write what one commit has and another has not into a pack of its own, and return the file."""
    wanted = git_dir.with_name("wanted")
    wanted.write_text(f"{large}\n^{base}\n", "ascii")
    _git("pack-objects", "-q", "--revs", str(git_dir.with_name("large")), git_dir=git_dir, stdin=wanted)
    (pack,) = git_dir.parent.glob("large-*.pack")
    return pack


# --- the repository -------------------------------------------------------------------------------------------


def make(where: Path, size: Size) -> tuple[CommitId, CommitId]:
    """Make a repository and return its commits: many small files, and over it files that cannot be compressed."""
    _git("init", "-q", "--bare", str(where))
    argv = ["git", "--git-dir", str(where), "fast-import", "--quiet", f"--export-marks={where / 'marks'}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        _write(process.stdin, size)
    if process.returncode:
        raise TandemError(f"git fast-import failed with status {process.returncode}")
    marks = dict(line.split() for line in (where / "marks").read_text("ascii").splitlines())
    return CommitId(marks[":1"]), CommitId(marks[":2"])


def _write(stream: IO[bytes], size: Size) -> None:
    stream.write(_commit(1))
    for number in range(size.files):
        stream.write(_file(_path(number), b"file %d\n" % number * 20))
    stream.write(_commit(2) + b"from :1\n")
    noise, left = random.Random(_SEED), size.delta_mb * MB
    while left > 0:
        stream.write(_file(f"large/{left}.bin", noise.randbytes(min(left, _BLOB_BYTES))))
        left -= _BLOB_BYTES


def _path(number: int) -> str:
    return f"{number // _FOLDER**2:03d}/{number // _FOLDER % _FOLDER:02d}/{number % _FOLDER:02d}.txt"


def _commit(mark: int) -> bytes:
    ref = f"refs/heads/bench-{mark}"
    return f"commit {ref}\nmark :{mark}\ncommitter Bench <bench@example.invalid> {mark} +0000\ndata 0\n".encode()


def _file(path: str, content: bytes) -> bytes:
    return f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
