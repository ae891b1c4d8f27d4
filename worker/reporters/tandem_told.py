"""What our Python reporters share: their own arguments, the tree's places, and the report's lines.

Runs inside the sandbox, under the environment's own Python, with the standard library alone.
"""

import json
import os
import random
import sys

MESSAGE = 2000
WORST = ("error", "failed", "skipped", "passed")


class Wish:
    """What the worker asked for: `REPORT [--only=FILE]... [--seed=N] [--test=ID]... -- the framework's own arguments`."""

    def __init__(self, argv):
        at = argv.index("--")
        self.report, *own = argv[:at]
        self.arguments = argv[at + 1 :]
        self.only = [part.split("=", 1)[1] for part in own if part.startswith("--only=")]
        seeds = [part.split("=", 1)[1] for part in own if part.startswith("--seed=")]
        self.seed = int(seeds[0]) if seeds else None
        self.tests = [part.split("=", 1)[1] for part in own if part.startswith("--test=")]
        self.random = random.Random(self.seed) if seeds else None  # noqa: S311 - an order, no secret

    def turned(self, items):
        """Return items in an order of which no three stand as before: backwards, begun at a random place.

        Without a seed, as they are.
        """
        if self.random is None:
            return list(items)
        items = list(items)[::-1]
        cut = self.random.randrange(len(items)) if len(items) > 2 else 0
        return items[cut:] + items[:cut]

    def wants(self, name):
        """Return whether a test of this id is to run."""
        return not self.tests or name in self.tests

    def place(self, file):
        """Return where a file stands among those that are wanted, or -1 where it is not; 0 where all are."""
        if not self.only:
            return 0
        return self.only.index(file) if file in self.only else -1


def open_the_tree():
    """Let the tree's modules be found, as `python -m` and PYTHONPATH have it; not before what must come from elsewhere."""
    sys.dont_write_bytecode = True
    places = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = list(dict.fromkeys(places))


def entry(name, file, outcome, message="", cause=""):
    """Return one test's entry; what passed or was skipped has nothing to say."""
    bad = outcome in ("failed", "error")
    message = message[:MESSAGE] if bad else ""
    return {"id": name, "outcome": outcome, "file": file, "message": message, "cause": cause if bad else ""}


def write(report, told):
    """Write one line a test, and a last one that says how many there were."""
    with open(report, "w", encoding="utf-8") as file:
        for entry in told:
            file.write(json.dumps(entry) + "\n")
        file.write(json.dumps({"end": len(told)}) + "\n")
