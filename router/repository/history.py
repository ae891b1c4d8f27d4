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

NOTES = "refs/notes/tandem"
RANGE_MAX = 1000  # commits of one range


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


async def commits_of(repo: Path, span: str) -> list[str]:
    """Return the commits of a range such as `main..topic`, the oldest first.

    Raises:
        BadRepository: It is no repository, or the range names no commit, or too many.
    """
    if not span.isprintable() or span.startswith("-"):
        raise BadRepository(f"{span!r} is no range of commits; write one as in 'main..topic'")
    listed = await user_git(
        "rev-list", "--reverse", "--topo-order", f"--max-count={RANGE_MAX + 1}", span, "--", checkout=repo, check=False
    )
    found = listed.text.split()
    if listed.returncode != 0 or not found:
        why = " ".join(listed.stderr.split())[:200]
        raise BadRepository(f"{repo} has no commit in {span!r}{f' ({why})' if why else ''}; look with `git log {span}`")
    if len(found) > RANGE_MAX:
        raise BadRepository(f"{span!r} names more than {RANGE_MAX} commits; take a shorter range")
    return found


async def proof_note(repo: Path, commit: CommitId) -> bytes | None:
    """Return the bytes of the note on a commit, or None where this clone has none."""
    listed = await user_git("notes", f"--ref={NOTES}", "list", commit, checkout=repo, check=False)
    if listed.returncode != 0 or not listed.text:
        return None
    return (await user_git("cat-file", "blob", listed.text, checkout=repo)).stdout


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
    except (LookupError, UnicodeError):  # no such encoding, or one that is no text's
        return body.decode("utf-8", "replace")
