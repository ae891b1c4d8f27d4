"""`tandem doctor`: what is there, what is missing, and the remedy."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli import output
from cli.doctor import Finding, Look, findings
from cli.render.text import visible

_MARKS = {True: "✓", False: "✗", None: "·"}


@click.command()
@click.option("--network", is_flag=True, help="Also ask the package registries that environments are built from.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def doctor(network: bool, as_json: bool) -> int:
    """Look at this machine and say what is missing, with the remedy. Exits with 1 where something is.

    Inside a repository, also what its tests need. Nothing is changed; the router is started where none runs.
    """
    seen: list[Finding] = []
    for finding in findings(Look.here(network=network)):
        seen.append(finding)
        if as_json:
            continue
        output.say(f"{_MARKS[finding.ok]} {finding.name}: {visible(finding.text)}")
        for line in visible(finding.remedy, keep="\n").splitlines():
            output.say(f"    {line}")
    ok = all(finding.ok is not False for finding in seen)
    if as_json:
        output.say_json({"ok": ok, "checks": [asdict(finding) for finding in seen]})
    return 0 if ok else 1
