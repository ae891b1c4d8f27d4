"""Tandem's own Git directory for one checkout: what the team reads and writes while it works.

Implements `tandem.ports.Repository`. Nothing here touches the checkout; what does is handed to `delivery`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from router.repository import delivery, objects, reading, transport, undoing
from router.repository.objects import Entry, Store
from tandem import clearing
from tandem.disk import is_full
from tandem.errors import BadInput, BadRepository, NotFound
from tandem.git import failure, git_version
from tandem.paths import private_dir
from tandem.types import CommitId, Delivery, Edit, Hit, RunId, TreeId

PACK_BYTES_MAX = 256 << 20  # of an imported run
_LISTINGS = 4  # trees remembered; a run looks at its base and its last drafts
_STALE_S = 3600.0  # a temporary folder this old has no owner
_STALE_LOCK_S = 10.0  # no update of ours takes so long
_DIFF = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "-M", "--unified=3", "--diff-algorithm=myers",
    "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--no-relative",
)  # fmt: skip


class OwnRepository:
    """One checkout's Git directory under Tandem's state folder. Make it with `open`."""

    def __init__(self, store: Store, root: Path, repo_id: str, base: CommitId) -> None:
        self._store = store
        self._root = root
        self._id = repo_id
        self._base = base
        self._listings: dict[str, dict[str, Entry]] = {}

    @classmethod
    async def open(cls, state: Path, checkout_root: Path, base: str) -> OwnRepository:
        """Return the directory for a checkout, made if need be, with `base` and its history in it.

        Raises:
            BadRepository: The checkout does not have `base`, or holds objects Tandem will not take.
            Unavailable: git is missing or too old.
        """
        await git_version()
        root = Path(checkout_root)
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", base):
            raise BadRepository(f"{base!r} is no full commit id; look it up with `git -C {root} rev-parse {base}`")
        repo_id = transport.repo_id_of(root, base)
        store = Store(cls.git_dir(state, repo_id), state / "tmp")
        _sweep(private_dir(store.tmp))
        await transport.make_git_dir(store.git_dir, base)
        await transport.bring_in(store, root, base)
        return cls(store, root, repo_id, CommitId(base))

    @staticmethod
    def git_dir(state: Path, repo_id: str) -> Path:
        """Return where the Git directory of a repository is, whether or not it exists.

        Raises:
            NotFound: No repository can have that id.
        """
        if not re.fullmatch(r"[a-z0-9-]{1,64}", repo_id):
            raise NotFound(f"{repo_id[:80]!r} is no repository's id")
        return state / "git" / f"{repo_id}.git"

    @property
    def repo_id(self) -> str:
        """Return the name both machines know this repository by."""
        return self._id

    async def files(self, commit: CommitId) -> list[str]:
        """Return the paths in a commit, sorted; links, nested repositories and names that are not UTF-8 left out."""
        return sorted(path for path, entry in (await self._list(commit)).items() if entry.is_file and _is_text(path))

    async def read(self, commit: CommitId, path: str, limit_bytes: int = 1 << 20) -> str | None:
        """Return a file's text, or None where it is missing, too large or no text (not UTF-8, a zero character)."""
        entry = (await self._list(commit)).get(path)
        if entry is None or not entry.is_file or entry.size > limit_bytes:
            return None
        blob = (await self._store.run("cat-file", "blob", entry.oid)).stdout
        try:
            return None if b"\0" in blob else blob.decode()
        except UnicodeDecodeError:
            return None

    async def contents(self, commit: CommitId, paths: Sequence[str], limit_bytes: int = 1 << 18) -> dict[str, str]:
        """Return the texts of many files at once; what is missing, too large or not UTF-8 is left out."""
        known = await self._list(commit)
        wanted = {p: known[p] for p in paths if p in known and known[p].is_file and known[p].size <= limit_bytes}
        return await reading.contents(self._store, {path: entry.oid for path, entry in wanted.items()})

    async def grep(
        self, tree: CommitId | TreeId, pattern: str, *, path: str = "", regex: bool = False, limit: int = 100
    ) -> list[Hit]:
        """Return the lines of a tree's text files that hold `pattern`, at most `limit`."""
        return await reading.grep(self._store, tree, pattern, path=path, regex=regex, limit=limit)

    async def edited(self, parent: CommitId, edits: Sequence[Edit]) -> TreeId:
        """Return the tree of `parent` with `edits` applied."""
        changed = await objects.edited_tree(self._store, parent, await self._list(parent), edits)
        return await self.tree(parent) if changed is None else changed[0]

    async def commit(
        self, *, parent: CommitId, edits: Sequence[Edit], persona: str, message: str, at_s: int
    ) -> CommitId:
        """Write a commit of `edits` over `parent`; where they change nothing, return `parent` itself.

        Raises:
            BadReply: An edit's path leads out of the tree, through a link, or into `.git`, or the change is too large.
        """
        changed = await objects.edited_tree(self._store, parent, await self._list(parent), edits)
        if changed is None:
            return parent
        tree, after = changed
        made = await self._write(tree, parent, persona, message, at_s)
        self._remember(made, after)  # it is asked for next
        return made

    async def squash(self, *, base: CommitId, head: CommitId, persona: str, message: str, at_s: int) -> CommitId:
        """Write one commit with `head`'s tree directly over `base`."""
        return await self._write(await self.tree(head), base, persona, message, at_s)

    async def tree(self, commit: CommitId, paths: Sequence[str] | None = None) -> TreeId:
        """Return the tree of a commit, or of only those `paths` of it (files, or folders with all in them)."""
        if paths is None:
            return TreeId((await self._store.run("rev-parse", "--verify", f"{commit}^{{tree}}")).text)
        wanted = tuple(paths)
        kept = {
            path: entry
            for path, entry in (await self._list(commit)).items()
            if any(path == name or path.startswith(f"{name}/") for name in wanted)
        }
        return await objects.tree_of(self._store, kept)

    async def message(self, commit: CommitId) -> str:
        """Return a commit's message."""
        return (await self._store.run("show", "--no-patch", "--format=%B", commit)).stdout.decode("utf-8", "replace")

    async def diff(self, base: CommitId, head: CommitId) -> bytes:
        """Return the unified diff, made without the tree's attributes, filters or external tools."""
        return (await self._store.run("diff", *_DIFF, base, head, "--")).stdout

    async def changed(self, base: CommitId, head: CommitId) -> list[str]:
        """Return the paths that differ between two commits, sorted; links and nested repositories are named too."""
        before, after = await self._list(base), await self._list(head)
        return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))

    async def replant(
        self, *, base: CommitId, head: CommitId, onto: CommitId, persona: str, message: str, at_s: int
    ) -> CommitId | None:
        """Write `head`'s change since `base` as one commit over `onto`, or None where they conflict."""
        await self._have(onto)
        tree = await objects.three_way(self._store, base=base, ours=onto, theirs=head)
        return None if tree is None else await self._write(tree, onto, persona, message, at_s)

    async def tip(self, branch: str) -> CommitId | None:
        """Return where the checkout's branch stands now, or None where it is gone; what it names is then here too.

        Raises:
            BadRepository: The checkout is gone, or another one is in its place.
        """
        await delivery.must_be_there(self._root, self._base)
        tip = await delivery.tip(self._root, branch)
        if tip is not None:
            await self._have(tip)
        return tip

    async def keep(self, run_id: RunId, name: str, commit: CommitId) -> None:
        """Hold a commit under a reference of the run, so that Git never collects it."""
        ref = f"refs/tandem/runs/{self.ref_part(run_id)}/{self.ref_part(name)}"
        said = await self._store.run("update-ref", ref, commit, check=False)
        if said.returncode != 0:
            clearing.drop_lock(self._store.git_dir / f"{ref}.lock", _STALE_LOCK_S)
            await self._store.run("update-ref", ref, commit)

    async def packed(self, run_id: RunId, base: CommitId) -> bytes:
        """Return a run's own commits as a pack: what its references lead to and its base does not."""
        names = await clearing.references(self._store.git_dir, f"refs/tandem/runs/{self.ref_part(run_id)}/")
        wanted = "".join(f"{name}\n" for name in names) + f"^{base}\n"
        said = await self._store.run("pack-objects", "--revs", "--stdout", "-q", stdin=wanted.encode())
        return said.stdout

    async def references(self, run_id: RunId) -> dict[str, str]:
        """Return what a run holds: the last part of each reference's name, and its commit."""
        prefix = f"refs/tandem/runs/{self.ref_part(run_id)}/"
        said = await self._store.run("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        return {
            name.removeprefix(prefix): oid for name, _, oid in (line.partition(" ") for line in said.text.splitlines())
        }

    async def unpack(self, run_id: RunId, pack: bytes, references: Mapping[str, str]) -> None:
        """Take a run's commits in, as strictly as from any stranger, and hold them.

        Raises:
            BadInput: The pack holds objects that Tandem will not take, or lacks one that a reference names.
        """
        if pack:
            said = await self._store.run(
                "index-pack", "--stdin", "--strict", "--fsck-objects", f"--max-input-size={PACK_BYTES_MAX}",
                stdin=pack, check=False, timeout_s=300,
            )  # fmt: skip
            if is_full(said.stderr):
                raise failure("index-pack", said)
            if said.returncode != 0:
                raise BadInput(f"the run's commits were refused: {' '.join(said.stderr.split())[-300:]}")
        for name, commit in references.items():
            if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit) or self.ref_part(name) != name:
                raise BadInput(f"the run's reference {name[:80]!r} to {commit[:80]!r} is none")
            known = await self._store.run("rev-list", "-1", "--objects", commit, "--not", "--all", check=False)
            if known.returncode != 0:
                raise BadInput(f"the run's commit {commit[:10]} is not in what was imported; export it again")
            await self.keep(run_id, name, CommitId(commit))

    @staticmethod
    def ref_part(text: str) -> str:
        """Return `text` as one part of a reference's name; what Git does not allow there is spelled in hexadecimal."""
        return re.sub(r"[^A-Za-z0-9_.-]|^[.-]|\.(?=\.|$|lock$)", lambda found: f"={ord(found[0]):x}", text) or "="

    async def deliver(self, *, commit: CommitId, branch: str, expected: CommitId, note: str) -> Delivery:
        """Move `branch` of the checkout from `expected` to `commit`, or leave it on a branch of its own and say why.

        Raises:
            BadRepository: The checkout is gone, or another one is in its place.
        """
        await delivery.must_be_there(self._root, self._base)
        return await delivery.deliver(
            self._store, self._root, commit=commit, branch=branch, expected=expected, note=note
        )

    async def deliver_branch(self, *, commit: CommitId, branch: str, note: str) -> Delivery:
        """Create `branch` at `commit` in the checkout's repository, and touch nothing else.

        Raises:
            BadRepository: The checkout is gone, or another one is in its place.
        """
        await delivery.must_be_there(self._root, self._base)
        return await delivery.deliver_branch(self._store, self._root, commit=commit, branch=branch, note=note)

    async def undo(self, commit: CommitId, branch: str, at_s: int | None = None) -> Delivery:
        """Take a delivered commit back by a new commit over `branch`; history is never rewritten.

        `at_s` dates it; now, where it is None. Once undone, doing it again changes nothing.

        Raises:
            Conflict: The branch does not have the commit, or later work needs what it brought.
        """
        tip = await self.tip(branch)
        if tip is None:
            raise undoing.nothing_to_undo(commit, branch)
        done = await undoing.find_undone(self._root, commit, branch)
        if done is not None:
            return done
        parent = await undoing.only_parent(self._root, commit)
        await self._have(commit)
        tree = await objects.three_way(self._store, base=commit, ours=tip, theirs=parent)
        if tree is None:
            raise undoing.undo_conflict(self._root, commit)
        message = await undoing.undo_message(self._root, commit)
        when = int(time.time()) if at_s is None else at_s
        made = await self._write(tree, tip, "undo", message, when)
        return await self.deliver(commit=made, branch=branch, expected=tip, note="")

    async def _write(self, tree: str, parent: str, persona: str, message: str, at_s: int) -> CommitId:
        return await objects.write_commit(
            self._store, tree=tree, parents=[parent], persona=persona, message=message, at_s=at_s
        )

    async def _have(self, commit: str) -> None:
        """Fetch a commit from the checkout, unless it is a base fetched before or was made here."""
        made_here = await self._store.run("cat-file", "-e", f"{commit}^{{commit}}", check=False)
        if made_here.returncode != 0:  # a fetched pack is whole or not there at all
            await transport.bring_in(self._store, self._root, commit)

    async def _list(self, commit: str) -> dict[str, Entry]:
        known = self._listings.pop(commit, None)
        if known is None:
            known = await objects.listing(self._store, commit)
        self._remember(commit, known)
        return known

    def _remember(self, commit: str, known: dict[str, Entry]) -> None:
        self._listings[commit] = known  # last used, last out
        while len(self._listings) > _LISTINGS:
            self._listings.pop(next(iter(self._listings)))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sweep(tmp: Path) -> None:
    """Remove the temporary folders of processes that were killed."""
    with contextlib.suppress(OSError):
        for folder in tmp.glob("git-*"):
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)
