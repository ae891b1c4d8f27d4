"""The files a persona works on: a commit, and edits over it that nobody else sees until they are committed.

There is no folder. What is read comes out of Git's objects, what is written is kept here and checked, with each change,
by the same code that will commit it; so no path can lead out, no link can be followed, and nothing can be run but the
tests, through Check. Every answer is text for a model: what was done, or why not and what to do instead.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.context import Count
from agents.tools import edits, patches
from agents.tools.view import cut_to, listing, numbered
from tandem.errors import BadInput, BadReply
from tandem.ports import Repository
from tandem.types import CommitId, Edit, ToolCall, TreeId

FILE_BYTES_MAX = 1 << 20  # of a file that is read
_PATCHED_MAX = 40  # files one patch may touch
_NEAR = 3  # paths suggested where one is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a tool answered. `seconds` is what it took where that was measured and recorded: for tests."""

    text: str
    failed: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What the tests said of a tree."""

    __test__ = False  # not a test itself, whatever pytest thinks of the name

    text: str
    seconds: float


RunTests = Callable[[Sequence[Edit]], Awaitable[Tested]]
MayWrite = Callable[[str], str]  # a path -> why it may not be written, or nothing


class _WantedError(Exception):
    """A patch needs a file that was not fetched yet."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Worktree:
    """A commit and the edits over it. One serves one call of one persona."""

    def __init__(
        self,
        repo: Repository,
        head: CommitId,
        *,
        may_write: MayWrite,
        run_tests: RunTests | None = None,
        seen: Sequence[str] = (),
        folder: str = "",
    ) -> None:
        self._repo = repo
        self._head = head
        self._may_write = may_write
        self._run_tests = run_tests
        self._texts: dict[str, str | None] = {}
        self._seen = set(seen)
        self._folder = folder
        self._tree: TreeId | None = None
        self._tested: dict[TreeId, Tested] = {}

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Return what was changed, by path."""
        return tuple(Edit(path=path, content=self._texts[path]) for path in sorted(self._texts))

    @property
    def seen(self) -> frozenset[str]:
        """Return the files that were shown whole."""
        return frozenset(self._seen)

    async def tree(self) -> TreeId:
        """Return the digest of all files as they are now."""
        if self._tree is None:
            self._tree = await self._repo.edited(self._head, self.edits)
        return self._tree

    async def use(self, call: ToolCall, room_tokens: int, count: Count) -> Used:
        """Do what a call asks for, and answer in at most `room_tokens` of `count`."""
        given = dict(call.arguments)
        try:
            used = await self._do(call.name, given, room_tokens, count)
        except (BadReply, BadInput) as error:
            used = Used(text=f"Refused: {error}", failed=True)
        return Used(text=cut_to(used.text, room_tokens, count), failed=used.failed, seconds=used.seconds)

    async def _do(self, name: str, given: dict[str, Any], room: int, count: Count) -> Used:
        match name:
            case "list_files":
                return await self._list(str(given.get("path") or ""), str(given.get("pattern") or ""))
            case "read_file":
                return await self._read(given, room, count)
            case "search":
                return await self._search(given)
            case "replace_in_file":
                return await self._replace(_path(given), str(given["old"]), str(given["new"]))
            case "write_file":
                return await self._write(_path(given), str(given["content"]))
            case "delete_file":
                return await self._delete(_path(given))
            case "apply_patch":
                return await self._patch(str(given["patch"]))
            case "run_tests":
                return await self._test()
            case _:
                raise BadReply(f"there is no tool {name!r}")

    # --- looking --------------------------------------------------------------------------------------------------

    async def _files(self) -> list[str]:
        there = set(await self._repo.files(self._head))
        there |= {path for path, text in self._texts.items() if text is not None}
        there -= {path for path, text in self._texts.items() if text is None}
        return sorted(path for path in there if path.startswith(f"{self._folder}/") or not self._folder)

    async def _text(self, path: str) -> str | None:
        if path in self._texts:
            return self._texts[path]
        return await self._repo.read(self._head, path, FILE_BYTES_MAX)

    async def _existing(self, path: str) -> str:
        text = await self._text(path)
        if text is None:
            raise BadReply(await self._missing(path))
        return text

    async def _missing(self, path: str) -> str:
        files = await self._files()
        if path in files:
            return f"{path} is no text, or has more than {FILE_BYTES_MAX:,} bytes"
        name = path.rsplit("/", 1)[-1].lower()
        near = [there for there in files if there.lower().rsplit("/", 1)[-1] == name][:_NEAR]
        if not near:
            import difflib

            near = difflib.get_close_matches(path, files[:5000], n=_NEAR, cutoff=0.7)
        hint = f"did you mean {', '.join(near)}?" if near else "list_files shows what there is."
        return f"there is no file {path!r}; {hint}"

    async def _list(self, path: str, pattern: str) -> Used:
        folder = _clean(path)
        files = [
            there
            for there in await self._files()
            if (not folder or there == folder or there.startswith(f"{folder}/"))
            and (not pattern or fnmatch.fnmatchcase(there, pattern) or fnmatch.fnmatchcase(_name(there), pattern))
        ]
        if not files:
            return Used(text=f"No file matches path={path!r} pattern={pattern!r}.", failed=True)
        return Used(text=listing(files))

    async def _read(self, given: dict[str, Any], room: int, count: Count) -> Used:
        path = _path(given)
        text = await self._existing(path)
        first, last = int(given.get("start") or 1), int(given.get("end") or 0)
        if 0 < last < first:
            raise BadReply(f"start={first} is behind end={last}")
        shown = numbered(path, text, first, last, room, count)
        if shown.whole and count(shown.text) <= room:
            self._seen.add(path)
        return Used(text=shown.text)

    async def _search(self, given: dict[str, Any]) -> Used:
        pattern, path = str(given["pattern"]), _clean(str(given.get("path") or "")) or self._folder
        if path and not any(there == path or there.startswith(f"{path}/") for there in await self._files()):
            raise BadReply(f"there is no folder or file {path!r}; list_files shows what there is")
        hits = await self._repo.grep(await self.tree(), pattern, path=path, regex=bool(given.get("regex")))
        if not hits:
            return Used(text=f"Nothing found for {pattern!r}.")
        return Used(text="\n".join(f"{hit.path}:{hit.line}: {hit.text}" for hit in hits))

    # --- changing -------------------------------------------------------------------------------------------------

    async def _replace(self, path: str, old: str, new: str) -> Used:
        text = await self._existing(path)
        made = edits.replace(text, old, new, path=path)
        await self._put({path: made.text})
        return Used(text=f"{path}: {made.how}")

    async def _write(self, path: str, content: str) -> Used:
        there = await self._text(path)
        if there is None and path in await self._files():
            raise BadReply(await self._missing(path))
        if there is not None and path not in self._seen and there.strip():
            raise BadReply(f"{path} exists, and you have not read it whole; read it, or use replace_in_file")
        await self._put({path: content})
        self._seen.add(path)
        lines = content.count("\n") + (not content.endswith("\n") and bool(content))
        return Used(text=f"{path}: {'written' if there is None else 'replaced'}, {lines} lines")

    async def _delete(self, path: str) -> Used:
        await self._existing(path)
        await self._put({path: None})
        return Used(text=f"{path}: deleted")

    async def _patch(self, patch: str) -> Used:
        known: dict[str, str | None] = {}

        def read(path: str) -> str | None:
            if path not in known:
                raise _WantedError(path)
            return known[path]

        while len(known) <= _PATCHED_MAX:
            try:
                made = patches.apply(patch, read)
            except _WantedError as wanted:  # reading waits, and applying is pure: fetch the file, and begin again
                known[wanted.path] = await self._text(_clean(wanted.path))
            else:
                await self._put({_clean(edit.path): edit.content for edit in made.edits})
                return Used(text=made.how)
        raise BadReply(f"the patch changes more than {_PATCHED_MAX} files; make several")

    async def _put(self, changes: dict[str, str | None]) -> None:
        """Take changes in, all or none.

        Raises:
            BadReply: One may not be written here, or its path leads elsewhere; nothing was changed.
        """
        for path in changes:
            if why := self._may_write(path):
                raise BadReply(why)
            if self._folder and not path.startswith(f"{self._folder}/"):
                raise BadReply(f"{path} is outside {self._folder}, the part of the repository this task is for")
        after = {**self._texts, **changes}
        wanted = tuple(Edit(path=path, content=text) for path, text in sorted(after.items()))
        tree = await self._repo.edited(self._head, wanted)
        self._texts, self._tree = after, tree

    # --- trying ---------------------------------------------------------------------------------------------------

    async def _test(self) -> Used:
        if self._run_tests is None:
            raise BadReply("tests cannot be run here")
        tree = await self.tree()
        known = self._tested.get(tree)
        if known is not None:
            return Used(text=f"Nothing changed since the last run, which said:\n{known.text}")
        tested = await self._run_tests(self.edits)
        self._tested[tree] = tested
        return Used(text=tested.text, seconds=tested.seconds)


def _path(given: dict[str, Any]) -> str:
    path = _clean(str(given["path"]))
    if not path:
        raise BadReply("the path is empty; name a file")
    return path


def _clean(path: str) -> str:
    """Return a path without the './' and '/' models put around it; what is absolute or odd stays as it is."""
    bare = path.strip()
    while bare.startswith("./"):
        bare = bare[2:]
    return "" if bare in (".", "/") else bare.rstrip("/")


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
