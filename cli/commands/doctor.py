"""`tandem doctor`: what is there, what is missing, and the remedy."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli import output
from cli.examine import Finding, findings
from cli.render.text import visible


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def doctor(as_json: bool) -> int:
    """Look at this machine and say what is missing, with the remedy. Exits with 1 where something is."""
    seen: list[Finding] = []
    for finding in findings():
        seen.append(finding)
        if as_json:
            continue
        output.say(f"{'✓' if finding.ok else '✗'} {finding.name}: {visible(finding.text)}")
        for line in visible(finding.remedy, keep="\n").splitlines():
            output.say(f"    {line}")
    ok = all(finding.ok for finding in seen)
    if as_json:
        output.say_json({"ok": ok, "checks": [asdict(finding) for finding in seen]})
    return 0 if ok else 1
