"""The append-only journal: one SQLite database, one process, the truth about every run."""

from router.journal.entries import Entry, RunRow, standing
from router.journal.formats import FORMAT
from router.journal.store import Journal

__all__ = ["FORMAT", "Entry", "Journal", "RunRow", "standing"]
