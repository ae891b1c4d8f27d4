"""Read a commit as it was written: its parents, its message, and the proof it claims.

Reads objects raw, so that no configuration, signature program or encoding of the checkout has a say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tandem.errors import BadRepository
from tandem.git import git_version, user_git
from tandem.trailers import Proof, parse_trailers, read_trailers
from tandem.types import CommitId, TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCommit:
    """A commit of a checkout; `proof` is what its trailers claim, None where they claim nothing."""

    root: Path
    commit: CommitId
    tree: TreeId
    parents: tuple[CommitId, ...]
    message: str
    proof: Proof | None


async def proof_commit(repo: Path, commit: str) -> FoundCommit:
    """Return the commit that `commit` names in the repository at `repo`, with the proof in its trailers.

    Raises:
        BadRepository: It is no repository, or has no such commit.
        BadInput: Its trailers claim a proof and are malformed.
    """
    await git_version()
    found = await read_commit(repo, commit)
    top = await user_git("rev-parse", "--show-toplevel", checkout=repo, check=False)
    root = Path(top.text) if top.returncode == 0 and top.text else repo
    return FoundCommit(
        root=root,
        commit=found.commit,
        tree=found.tree,
        parents=found.parents,
        message=found.message,
        proof=parse_trailers(found.message),
    )


async def read_commit(repo: Path, commit: str) -> FoundCommit:
    """Return a commit without looking at its trailers.

    Raises:
        BadRepository: It is no repository, or has no such commit.
    """
    if not commit or not commit.isprintable() or commit.startswith("-"):
        raise BadRepository(f"{commit!r} names no commit; look one up with `git log`")
    named = await user_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", checkout=repo, check=False)
    if named.returncode != 0:
        why = " ".join(named.stderr.split())[:200]
        raise BadRepository(f"{repo} has no commit {commit!r}{f' ({why})' if why else ''}; look it up with `git log`")
    raw = (await user_git("cat-file", "commit", named.text, checkout=repo)).stdout
    head, _, body = raw.partition(b"\n\n")
    fields = [line.partition(b" ")[::2] for line in head.split(b"\n")]
    encoding = next((value.decode("ascii", "replace") for key, value in fields if key == b"encoding"), "utf-8")
    return FoundCommit(
        root=repo,
        commit=CommitId(named.text),
        tree=TreeId(next(value.decode() for key, value in fields if key == b"tree")),
        parents=tuple(CommitId(value.decode()) for key, value in fields if key == b"parent"),
        message=_decoded(body, encoding),
        proof=None,
    )


def claimed_run(message: str) -> str:
    """Return the run a commit's message names, or nothing."""
    return next((value for key, value in read_trailers(message) if key.lower() == "tandem-run"), "")


def _decoded(body: bytes, encoding: str) -> str:
    try:
        return body.decode(encoding, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
