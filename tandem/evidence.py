"""What reports say, brought into one order: outcomes by test, the digest in a proof, the note on its commit.

Judges nothing; that is `tandem.proof`.
"""

from __future__ import annotations

import hashlib
import json
import re

from tandem.secrets import redact
from tandem.trailers import Proof, trailers
from tandem.types import CheckReport, Json, Outcome

_WORST: tuple[Outcome, ...] = ("error", "failed", "skipped", "passed")
_NOTE_TESTS = 50  # names in the readable half of a note
_NOTE_MESSAGE = 600  # characters


def outcomes(report: CheckReport) -> dict[str, Outcome]:
    """Return each test's outcome by its id; where an id is there twice, the worse one."""
    found: dict[str, Outcome] = {}
    for test in report.tests:
        known = found.get(test.id)
        if known is None or _WORST.index(test.outcome) < _WORST.index(known):
            found[test.id] = test.outcome
    return found


def digest(base: CheckReport, red: CheckReport, green: CheckReport) -> str:
    """Return sha256 (hexadecimal) over which tests there were and what became of them in the three reports.

    Durations, messages and machines are left out: two honest runs of the same trees agree.
    """
    return hashlib.sha256(_canonical([_told(report) for report in (base, red, green)])).hexdigest()


def report_note(base: CheckReport, red: CheckReport, green: CheckReport, proof: Proof) -> str:
    """Return the text of the note on a proven commit: for people first, the whole reports as JSON at its end."""
    titles = (("Base", base), ("Base with the new tests", red), ("Head", green))
    sections = [_section(title, report) for title, report in titles]
    machine: Json = {
        "digest": f"sha256:{proof.digest}",
        "run": proof.run,
        "reports": {name: _told(r) for name, r in (("base", base), ("red", red), ("green", green))},
    }
    head = f"Tandem's proof of run {proof.run}: {dict(trailers(proof))['Tandem-Proof']}\n"
    data = json.dumps(machine, sort_keys=True, ensure_ascii=True)
    return _settled(redact("\n".join([head, *sections])) + f"\n```json\n{data}\n```")


def note_digest(note: bytes) -> str:
    """Return sha256 (hexadecimal) over a note's bytes."""
    return hashlib.sha256(note).hexdigest()


def _settled(text: str) -> str:
    """Return a text as `git notes` leaves it: without white space at the ends of lines, one empty line in a row."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"


def _told(report: CheckReport) -> Json:
    """Return what a report says, in one order; its verdict only where it names no test."""
    tests: list[Json] = [[name, outcome] for name, outcome in sorted((t.id, t.outcome) for t in report.tests)]
    return {"tests": tests, "verdict": "" if tests else report.verdict}


def _canonical(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def _section(title: str, report: CheckReport) -> str:
    counts = {word: sum(test.outcome == word for test in report.tests) for word in _WORST}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no test named"
    lines = [f"## {title}: {report.verdict} ({told})"]
    if report.reason:
        lines.append(_one_line(report.reason))
    failing = [test for test in report.tests if test.outcome in ("failed", "error")]
    lines += [f"- {_one_line(test.id)}: {test.outcome}. {_one_line(test.message)}" for test in failing[:_NOTE_TESTS]]
    if len(failing) > _NOTE_TESTS:
        lines.append(f"- and {len(failing) - _NOTE_TESTS} more")
    return "\n".join([*lines, ""])


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_NOTE_MESSAGE]
