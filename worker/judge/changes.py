"""Hold a commit against what the tester left: which files that decide what passes it changed, and which tells it has.

Reads Git objects and nothing else. What decides is `tandem.deciding`'s rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tandem.deciding import has_a_say, is_watched
from tandem.errors import NotFound
from tandem.git import git
from tandem.kinds import is_test_file
from tandem.types import CheckRequest, Seal
from worker.judge.mutants import CODE
from worker.judge.tells import tells

_FILE_BYTES_MAX = 2 << 20  # a larger file is not read as text
_FILES_MAX = 200  # files of the suite that are looked at again after a run
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`trouble` is why the commit cannot be believed, if it cannot. `texts` are the tester's files by path.

    `settled` are the bytes of the tester's files and the suite's settings, which no run may change. `code` are the
    changed files of code, each with its text before and after, None where it is not there.
    """

    trouble: str = ""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    settled: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    code: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict[str, tuple[str | None, str | None]])


async def changes(git_dir: Path, request: CheckRequest) -> Changes:
    """Return what a check's commit changed of what decides, beside the tester's commit.

    Raises:
        NotFound: A commit is not here.
    """
    assert request.seal is not None
    seal, adapter, command = request.seal, request.adapter, request.command
    read = _Reader(git_dir)
    troubles: list[str] = []
    code: dict[str, tuple[str | None, str | None]] = {}
    for path in await _changed(git_dir, seal.tests, request.commit):
        before, after = await read.text(seal.tests, path), await read.text(request.commit, path)
        say = "is the tester's" if path in seal.files else has_a_say(path, before, after, adapter, command)
        if say:
            troubles.append(f"{path} {say}, and it was changed")
        else:
            troubles += [f"{told} asks whether a test runs" for told in tells(path, before, after)]
        if PurePosixPath(path).suffix.lower() in CODE:
            code[path] = before, after
    if troubles:
        more = f" (and {len(troubles) - _SHOWN} more)" if len(troubles) > _SHOWN else ""
        return Changes(trouble="; ".join(troubles[:_SHOWN]) + more)
    settled = await _settled(git_dir, seal, request, read)
    texts = {path: settled[path].decode("utf-8", "replace") for path in seal.files if path in settled}
    return Changes(texts=texts, settled=settled, code=code)


async def _changed(git_dir: Path, before: str, after: str) -> list[str]:
    if before == after:
        return []
    said = await git(
        "diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after, git_dir=git_dir, check=False
    )
    if said.returncode:
        raise NotFound(f"commit {before[:10]} or {after[:10]} is not on this worker; the router pushes them first")
    return [path for path in said.stdout.decode("utf-8", "surrogateescape").split("\0") if path]


async def _settled(git_dir: Path, seal: Seal, request: CheckRequest, read: _Reader) -> dict[str, bytes]:
    """Return the tester's files and the settings of the suite; not every test there is, which may be thousands."""
    listed = await git("ls-tree", "-rz", "--name-only", "--full-tree", request.commit, git_dir=git_dir)
    paths = listed.stdout.decode("utf-8", "surrogateescape").split("\0")
    wanted = [p for p in paths if is_watched(p, request.adapter) and not is_test_file(p, request.adapter)]
    others = [path for path in wanted if path not in seal.files][:_FILES_MAX]
    found = {path: await read.data(request.commit, path) for path in (*seal.files, *others)}
    return {path: data for path, data in found.items() if data is not None}


class _Reader:
    """Reads files of commits; what is missing or too large is None."""

    def __init__(self, git_dir: Path) -> None:
        self._git_dir = git_dir

    async def data(self, commit: str, path: str) -> bytes | None:
        said = await git("cat-file", "blob", f"{commit}:{path}", git_dir=self._git_dir, check=False)
        return said.stdout if said.returncode == 0 and len(said.stdout) <= _FILE_BYTES_MAX else None

    async def text(self, commit: str, path: str) -> str | None:
        data = await self.data(commit, path)
        return None if data is None else data.decode("utf-8", "replace")
