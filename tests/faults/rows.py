"""The faults Tandem is built against, one a row: what goes wrong, and how it has to end.

Numbers are those under which the project keeps its list of faults; the missing ones belong to parts that are not built
yet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fault; `ends` is how the test's run, or the one it disturbs, has to come out of it."""

    fault: str
    ends: str


ROWS: dict[int, Row] = {
    1: Row("router killed at each failpoint", "the same run goes on; each effect once"),
    2: Row("worker killed during a persona call", "asked again under the same id; the partial answer dropped"),
    3: Row("worker killed with a reply that nobody was told", "the kept reply is told; no second model call"),
    4: Row("worker killed while tests run", "no orphan; tests run again; never 'passed' unseen"),
    5: Row("both killed at once", "the run goes on with no manual step"),
    6: Row("SIGTERM, Ctrl-C", "leaves within 10 s with status and text; the run goes on later"),
    7: Row("cable out in a call, in tests, in a push", "noticed within 10 s; waiting-for-worker; goes on"),
    8: Row("black hole between router and worker", "noticed within 10 s; waiting-for-worker; goes on"),
    9: Row("cable that flaps", "the run ends, once"),
    10: Row("cable that is slow and loses frames", "slower, the same result"),
    11: Row("reset in mid-message; cut at every offset", "asked again; never a half-parsed message"),
    12: Row("a request arrives twice", "the second gets the first one's result"),
    13: Row("late answer after the retry won", "refused by its attempt; logged"),
    14: Row("deadline shorter than the model's time", "the error names deadline and setting; the worker stops"),
    15: Row("cable out for good, and another one there", "goes on over that one, at the token where it stopped"),
    17: Row("older or newer worker or router", "refused by version, saying which to upgrade; unknown fields kept"),
    18: Row("message over the limit; compressed bomb", "refused; the process lives"),
    19: Row("model server down, failing, hanging, cut, empty, endless", "bounded retries, then a clear error"),
    20: Row("model missing, or too large to load", "says which model and what to do"),
    21: Row("disk full at the router's state", "paused-disk-full with path and bytes; goes on when there is room"),
    22: Row("disk full at the worker's state", "no verdict; paused-disk-full; goes on when there is room"),
    23: Row("disk full in the middle of a commit or push", "repository sound; no lock left; goes on"),
    24: Row("read-only file system; no permission", "stops before any model is asked"),
    25: Row("database locked; a second router", "the second names the first's pid; a lock is waited out or named"),
    26: Row("database truncated, emptied, gone or bit-flipped", "refused, a copy kept; never a silent fresh start"),
    27: Row("database of an older or newer format", "migrates with a backup, or refuses with the number"),
    28: Row("poisoned row", "that run refused by name; nothing executed; other runs go on"),
    29: Row("write-ahead log lost", "at worst the last unacknowledged step is repeated"),
    30: Row("wall clock jumps back or ahead", "no wait depends on it; the run merges"),
    31: Row("stopped and continued", "goes on; nothing twice"),
    32: Row("stopped worker replaced, then awake", "the old one is fenced off; its work is refused"),
    33: Row("merge not fast-forward", "rebased or on a branch of its own; never forced"),
    35: Row("index.lock left, dirty tree, detached HEAD, empty repository", "handled, or said; nothing lost"),
    36: Row("checkout edited or deleted in a run", "an error; nothing written elsewhere"),
    39: Row("answer twice, late, after cancel, for another diff", "one effect; the others refused clearly"),
    40: Row("lead away for three days", "the run waits, survives restarts, costs nothing"),
    41: Row("hosted model: 429, 401, cut stream, timeout", "backs off; 401 not repeated; state kept"),
    42: Row("test hangs, forks, eats memory, floods, ignores SIGTERM", "killed as a tree; 'resource limit'"),
    43: Row("client leaves in mid-stream", "the run goes on; nothing leaks"),
    45: Row("two runs on one repository", "one after the other; never a mixed commit"),
}
