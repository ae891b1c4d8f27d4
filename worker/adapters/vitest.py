"""vitest, run by a script of ours inside the sandbox, because its command line takes no reporter from outside of the tree.

Each file is run by itself, so files have no order; a seed shuffles the tests within each.
"""

from __future__ import annotations

import re

from worker.adapters import web
from worker.adapters.base import Framework, Plan, Selection, misfit, replaced
from worker.adapters.node import alias
from worker.adapters.reports import ended
from worker.sandbox.spec import OUT, REPORTERS
from worker.twins import javascript as twins

_VERBS = ("run", "watch", "dev", "related")
_OURS = (
    "--reporter",
    "--outputFile",
    "--outputFile.json",
    "--outputFile.junit",
    "--watch",
    "-w",
    "--run",
    "--ui",
    "--bail",
)
_CHOOSING = ("--shard", "--changed", "--coverage", "--coverage.enabled", "--sequence.shuffle", "--sequence.seed")
_VALUED = (
    *("--reporter", "--outputFile", "--outputFile.json", "--outputFile.junit", "--bail", "--shard", "--sequence.seed"),
    *("--config", "-c", "--root", "-r", "--dir", "--testNamePattern", "-t", "--environment", "--project", "--pool"),
    *("--maxWorkers", "--minWorkers", "--testTimeout", "--hookTimeout", "--teardownTimeout", "--retry", "--mode"),
    *("--exclude", "--maxConcurrency", "--tags", "--workspace"),
)


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return vitest under our script; where files are selected, with these and none of its own choosing."""
    found = web.call(command, "vitest")
    if found is None:
        raise misfit(command, "vitest", "npx vitest run")
    said = found.arguments
    arguments = web.without(said[1:] if said[:1] and said[0] in _VERBS else said, _OURS, _VALUED)
    arguments = replaced(arguments, selection.stand_ins)
    if selection.only:
        arguments = (*web.options(web.without(arguments, _CHOOSING, _VALUED), _VALUED), *selection.only)
    shuffled: tuple[str, ...] = ()
    if selection.seed is not None:
        shuffled = ("--sequence.shuffle.tests", f"--sequence.seed={selection.seed}")
    script = (f"{REPORTERS}/vitest_run.mjs", f"{OUT}/report.jsonl", "--", "run")
    argv = (*(found.node or ("node",)), *script, *shuffled, "--bail=0", *arguments)
    return Plan(argv=argv, report="report.jsonl", env=found.env)


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one test, which has `test` and `expect` from where the file beside it has them."""
    del path
    imported = re.search(r"from\s+['\"]vitest['\"]", text)
    return web.control("import { expect, test } from 'vitest';\n\n" if imported else "", word, holds)


VITEST = Framework(
    name="vitest", plan=plan, read=ended, control=control, alias=alias, twin=twins.twin, tests=twins.tests
)
