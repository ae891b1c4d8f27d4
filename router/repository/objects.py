"""Write trees and commits by plumbing alone: no working tree, no filters, no hooks, one temporary index.

Knows a Git directory of ours and nothing of checkouts. The same parent, edits, words and date give the same commit id.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.repository import powers
from router.repository.paths import check_path, fold
from tandem import disk
from tandem.errors import BadReply, ResourceExhausted
from tandem.git import GitResult, failure, git
from tandem.types import CommitId, Edit, TreeId

EDITS_MAX = 200
CONTENT_BYTES_MAX = 2 << 20  # of one file
_FILE, _OLD_FILE, _GONE = "100644", "100664", "0"  # the second stands in the oldest repositories
_FOLDERS = 40  # deepest nesting


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tree holds at a path. `size` is in bytes, -1 for a nested repository."""

    mode: str
    oid: str
    size: int

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file: no link, no nested repository."""
        return self.mode in (_FILE, "100755", _OLD_FILE)


@dataclass(frozen=True, slots=True)
class Store:
    """A Git directory of ours, and where temporary files go."""

    git_dir: Path
    tmp: Path

    async def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_s: float = 60,
    ) -> GitResult:
        """Run git here."""
        return await git(*args, git_dir=self.git_dir, stdin=stdin, env=env, check=check, timeout_s=timeout_s)

    @contextmanager
    def scratch(self) -> Generator[Path]:
        """Lend a folder that is gone afterwards."""
        try:
            self.tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="git-", dir=self.tmp) as folder:
                yield Path(folder)
        except OSError as error:
            found = disk.trouble(error, "a commit could not be made", self.tmp)
            raise (found or ResourceExhausted(f"cannot write under {self.tmp}: {error.strerror}")) from error


async def listing(store: Store, commit: str) -> dict[str, Entry]:
    """Return everything in a commit's tree by path; a path that is not UTF-8 keeps its odd bytes as surrogates."""
    said = await store.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
    found: dict[str, Entry] = {}
    for record in said.stdout.split(b"\0"):
        if record:
            head, _, path = record.partition(b"\t")
            mode, _, oid, size = head.decode().split()
            found[path.decode("utf-8", "surrogateescape")] = Entry(mode, oid, int(size) if size.isdigit() else -1)
    return found


async def write_commit(
    store: Store, *, tree: str, parents: Sequence[str], persona: str, message: str, at_s: int
) -> CommitId:
    """Write a commit object; everything in its bytes comes from the arguments."""
    if "\0" in message:
        raise BadReply("a commit message holds a zero character; leave it out")
    who = signature(persona, at_s)
    over = [part for parent in parents for part in ("-p", parent)]
    words = (message.strip("\n") + "\n").encode("utf-8", "replace")
    said = await store.run("commit-tree", tree, *over, stdin=words, env=who)
    return CommitId(said.text)


def signature(persona: str, at_s: int) -> dict[str, str]:
    """Return the environment that makes a persona author and committer at a time (seconds since 1970, UTC)."""
    name = re.sub(r"[^a-z0-9-]+", "-", persona.lower()).strip("-") or "team"
    who = {"NAME": f"Tandem {name.capitalize()}", "EMAIL": f"{name}@tandem.invalid", "DATE": f"@{int(at_s)} +0000"}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}


async def edited_tree(
    store: Store, parent: str, known: Mapping[str, Entry], edits: Sequence[Edit]
) -> tuple[TreeId, dict[str, Entry]] | None:
    """Return the tree of `parent` (whose listing is `known`) with `edits` applied, and its listing.

    None where nothing changes.

    Raises:
        BadReply: Too many edits, one too large, or a path that may not be written.
    """
    wanted = {edit.path: edit.content for edit in edits}
    contents = _checked(wanted, known, len(edits))
    await _without_powers(store, wanted, known)
    with store.scratch() as folder:
        changes = await _changes(store, folder, wanted, contents, known)
        if not changes:
            return None
        env = {"GIT_INDEX_FILE": str(folder / "index")}
        await store.run("read-tree", parent, env=env)
        lines = [_line(entry.mode, entry.oid, path) for path, entry in changes.items()]
        tree = await _written(store, lines, env)
    after = {**known, **changes}
    return tree, {path: entry for path, entry in after.items() if entry.mode != _GONE}


async def tree_of(store: Store, entries: Mapping[str, Entry]) -> TreeId:
    """Return the tree that holds just these entries."""
    lines = [_line(entry.mode, entry.oid, path) for path, entry in entries.items()]
    with store.scratch() as folder:
        return await _written(store, lines, {"GIT_INDEX_FILE": str(folder / "index")})


async def three_way(store: Store, *, base: str, ours: str, theirs: str) -> TreeId | None:
    """Return the tree of `ours` with what `theirs` changed since `base`, or None where they conflict.

    Two throw-away commits over `base` make it the merge base: `merge-tree --merge-base` came with git 2.40 only.
    """
    sides: list[str] = []
    for side in (ours, theirs):
        tree = (await store.run("rev-parse", "--verify", f"{side}^{{tree}}")).text
        sides.append(
            await write_commit(store, tree=tree, parents=[base], persona="merge", message="a side of a merge", at_s=0)
        )
    said = await store.run("merge-tree", "--write-tree", "--no-messages", *sides, check=False)
    if said.returncode not in (0, 1):
        raise failure("merge-tree", said)
    return TreeId(said.text.split("\n", 1)[0]) if said.returncode == 0 else None


# --- parts of the above ----------------------------------------------------------------------------------------


async def _written(store: Store, lines: Iterable[bytes], env: Mapping[str, str]) -> TreeId:
    await store.run("update-index", "-z", "--index-info", stdin=b"".join(lines), env=env)
    return TreeId((await store.run("write-tree", env=env)).text)


async def _changes(
    store: Store,
    folder: Path,
    wanted: Mapping[str, str | None],
    contents: Mapping[str, bytes],
    known: Mapping[str, Entry],
) -> dict[str, Entry]:
    """Write the new files' contents, and return what really differs from `known`."""
    oids = await _hashed(store, folder, list(contents.values()))
    fresh = dict(zip(contents, oids, strict=True))
    changes: dict[str, Entry] = {}
    for path in wanted:
        before = known.get(path)
        if path in fresh:
            mode = before.mode if before else _FILE
            after = Entry(_FILE if mode == _OLD_FILE else mode, fresh[path], len(contents[path]))
            if before is None or before.oid != after.oid:
                changes[path] = after
        elif before is not None:
            changes[path] = Entry(_GONE, "0" * len(before.oid), -1)
    return changes


async def _hashed(store: Store, folder: Path, contents: Sequence[bytes]) -> list[str]:
    """Store each content as it is, all in one process, and return the object ids."""
    if not contents:
        return []
    if len(contents) == 1:
        return [(await store.run("hash-object", "-w", "--no-filters", "--stdin", stdin=contents[0])).text]
    names = await asyncio.to_thread(_laid_out, folder, contents)
    said = await store.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin="\n".join(names).encode())
    return said.text.split("\n")


def _laid_out(folder: Path, contents: Sequence[bytes]) -> list[str]:
    names = [folder / str(number) for number in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        name.write_bytes(content)
    return [str(name) for name in names]


def _line(mode: str, oid: str, path: str) -> bytes:
    return f"{mode} {oid}\t{path}\0".encode("utf-8", "surrogateescape")


def _checked(wanted: Mapping[str, str | None], known: Mapping[str, Entry], count: int) -> dict[str, bytes]:
    """Return the new contents as bytes once every edit was found fit."""
    if count > EDITS_MAX:
        raise BadReply(f"the change has {count} edits and may have {EDITS_MAX}; make a smaller one")
    folders = {path[:at]: None for path in known for at in _slashes(path)}
    folded = {fold(path): path for path in (*known, *folders)}
    for path in wanted:
        check_path(path)
        _check_place(path, wanted, known, folders, folded)
        if wanted[path] is not None:
            names = [path[:at] for at in _slashes(path)]
            folded.update({fold(name): name for name in (*names, path) if fold(name) not in folded})
    return {path: _content(path, text) for path, text in wanted.items() if text is not None}


async def _without_powers(store: Store, wanted: Mapping[str, str | None], known: Mapping[str, Entry]) -> None:
    """Pass where no new content gives the tree power over Git, or takes a large file's place.

    Raises:
        BadReply: One does; the message names it.
    """
    for path, text in wanted.items():
        if text is None:
            continue
        entry, before = known.get(path), None
        if entry is not None and (entry.size in powers.POINTER_BYTES or path.endswith(".gitattributes")):
            before = (await store.run("cat-file", "blob", entry.oid)).stdout.decode("utf-8", "replace")
        if why := powers.refusal(path, before, text):
            raise BadReply(f"the file {path!r} cannot be written: {why}; leave it as it is")


def _slashes(path: str) -> list[int]:
    return [at for at, letter in enumerate(path) if letter == "/"]


def _check_place(
    path: str,
    wanted: Mapping[str, str | None],
    known: Mapping[str, Entry],
    folders: Mapping[str, None],
    folded: Mapping[str, str],
) -> None:
    """Refuse what would replace a link, a folder or a nested repository, or pass through one."""
    above = [path[:at] for at in _slashes(path)]
    if len(above) > _FOLDERS:
        raise BadReply(f"the path {path[:200]!r} is nested more than {_FOLDERS} folders deep; use a shorter one")
    for folder in above:
        if folder in known or wanted.get(folder) is not None:
            what = _kind(known.get(folder))
            raise BadReply(f"the path {path!r} leads through {folder!r}, which is {what}; name the real place")
    if path in folders:
        raise BadReply(f"the path {path!r} is a folder; name a file in it")
    if path in known:
        if not known[path].is_file:
            raise BadReply(f"the path {path!r} is {_kind(known[path])}; change the file it stands for")
        return
    for name in (*above, path):
        other = folded.get(fold(name), name)
        if wanted.get(path) is not None and other != name and name not in folders and wanted.get(other, "") is not None:
            raise BadReply(f"the path {path!r} differs from {other!r} only in case or form; use the name that is there")


def _kind(entry: Entry | None) -> str:
    if entry is None or entry.is_file:
        return "a file"
    return "a symbolic link" if entry.mode == "120000" else "a nested repository"


def _content(path: str, text: str) -> bytes:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise BadReply(f"the new content of {path!r} is not valid Unicode; write it again") from None
    if len(content) > CONTENT_BYTES_MAX:
        limit = f"may have {CONTENT_BYTES_MAX:,}"
        raise BadReply(f"the new content of {path!r} has {len(content):,} bytes and {limit}; make it smaller")
    return content
