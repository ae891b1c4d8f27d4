"""What the craft around a model is worth: malformed tool calls, near-miss edits and loops, played through the real code.

The transcripts are synthetic and made here, the same each time: valid calls and edits, damaged in the ways local models are
known to damage them, and the answer that is right in each case. No model is asked. `play` also takes a file that
`tandem show RUN --export` wrote.
"""

from __future__ import annotations

from typing import Any

from bench.craft import calls, edits, transcripts


def run(quick: bool) -> dict[str, Any]:
    """Return what came of each corpus: counts, shares from 0 to 1, and the cases that failed."""
    del quick  # it takes two seconds either way
    return {
        "tool_calls": calls.play(),
        "edits": edits.play(),
        "loops": transcripts.play_loops(),
        "honest": transcripts.play_honest(),
    }
