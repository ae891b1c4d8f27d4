"""A person's checkout and Tandem's own Git directory for it.

`checkout` looks and never touches; `own` works in the directory that is Tandem's; `delivery` alone changes a person's
repository, and only its references, notes and the files of a fast-forward.
"""

from router.repository.checkout import Checkout, inspect
from router.repository.history import FoundCommit, commits_of, proof_commit, proof_note, read_commit
from router.repository.own import OwnRepository
from router.repository.transport import one_at_a_time, repo_id_of

__all__ = [
    "Checkout",
    "FoundCommit",
    "OwnRepository",
    "commits_of",
    "inspect",
    "one_at_a_time",
    "proof_commit",
    "proof_note",
    "read_commit",
    "repo_id_of",
]
