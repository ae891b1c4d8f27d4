"""Run pytest and write what each test did: see `tandem_told.Wish` for the arguments.

Runs inside the sandbox, isolated (`python -I`): pytest is loaded before any module of the tree can be found, and only
then the tree is put on the path. A test has one entry, and the worst of its set-up, call and tear-down decides; a file
that could not be collected has an entry under its own path.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tandem_told as ours

sys.path.pop(0)
try:
    import pytest
except ImportError:  # not in this environment; the tree may bring its own
    ours.open_the_tree()
    import pytest


class Reporter:
    """A plugin that notes outcomes, and selects and shuffles where that is asked for."""

    def __init__(self, wish):
        self.wish = wish
        self.told = {}
        self.causes = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config):
        """Run a selection in one process: the order is part of it."""
        if self.wish.only and hasattr(config.option, "numprocesses"):
            config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []

    def pytest_ignore_collect(self, collection_path):
        """Leave out test files that are not selected; nothing else, or packages would lose their `__init__`."""
        module = collection_path.suffix == ".py" and collection_path.name != "__init__.py"
        return True if module and self.wish.place(os.path.relpath(collection_path)) < 0 else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        """Keep what is selected: tests in the order they are named, else file by file, turned about within each."""
        if self.wish.only:
            placed = [(self.wish.place(os.path.relpath(item.path)), item) for item in items]
            config.hook.pytest_deselected(items=[item for place, item in placed if place < 0])
            items[:] = [item for place, item in sorted(placed, key=lambda pair: pair[0]) if place >= 0]
        if self.wish.tests:
            config.hook.pytest_deselected(items=[item for item in items if not self.wish.wants(item.nodeid)])
            wanted = [item for item in items if self.wish.wants(item.nodeid)]
            items[:] = sorted(wanted, key=lambda item: self.wish.tests.index(item.nodeid))
        elif self.wish.random:
            places = {item: self.wish.place(os.path.relpath(item.path)) for item in items}
            items[:] = sorted(self.wish.turned(items), key=places.__getitem__)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Note the class of what a test ended with."""
        report = yield
        if call.excinfo is not None:
            report.cause = call.excinfo.typename
        return report

    def pytest_runtest_logreport(self, report):
        """Note one phase of one test."""
        outcome = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        if report.when != "call" and outcome == "passed":
            return
        self._tell(report.nodeid, report.location[0], outcome, report)

    def pytest_collectreport(self, report):
        """Note a file that could not be collected, or that skips itself."""
        if report.outcome == "passed":
            return
        path = report.nodeid or "collection"
        self._tell(path, path.partition("::")[0], "error" if report.failed else "skipped", report)

    def _tell(self, name, file, outcome, report):
        known = self.told.get(name)
        if known is None or ours.WORST.index(outcome) < ours.WORST.index(known["outcome"]):
            message = "" if outcome == "passed" else _words(report)
            cause = "" if outcome == "passed" else getattr(report, "cause", "") or _cause(message)
            self.told[name] = {"id": name, "outcome": outcome, "file": file, "message": message, "cause": cause}


def _words(report):
    try:
        return report.longreprtext[-ours.MESSAGE :]
    except Exception:  # a report's own words may be anything a plugin made
        return ""


def _cause(message):
    """Return the class of the error that a file could not be collected for: the last line pytest marks with E."""
    marked = [line[1:].strip() for line in message.splitlines() if line.startswith("E ")]
    return marked[-1].partition(":")[0].rpartition(".")[2] if marked else ""


def main():
    """Run, report, and leave with pytest's own status."""
    wish = ours.Wish(sys.argv[1:])
    ours.open_the_tree()
    sys.argv = ["pytest", *wish.arguments]
    reporter = Reporter(wish)
    status = pytest.main(wish.arguments, plugins=[reporter])
    ours.write(wish.report, list(reporter.told.values()))
    sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
