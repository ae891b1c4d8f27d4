"""Run unittest's discovery and write what each test did: see `tandem_told.Wish` for the arguments.

Runs inside the sandbox, isolated (`python -I`), with the standard library alone: unittest is loaded before any module of
the tree can be found. A test has one entry, and the worst of its parts decides; a file or class that could not be set up
has an entry of its own.
"""

import os
import re
import sys
import traceback
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tandem_told as ours

sys.path.pop(0)
_LOADER = "unittest.loader."  # unittest's stand-ins for what it could not load; the proof knows them by this id


class _Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.told = {}

    def _tell(self, test, outcome, message="", cause=""):
        whole = getattr(test, "test_case", test)  # a subTest's parameters may hold anything, so it has no id of its own
        name = whole.id()
        known = self.told.get(name)
        if known is None or ours.WORST.index(outcome) < ours.WORST.index(known["outcome"]):
            self.told[name] = {
                "id": name,
                "outcome": outcome,
                "file": _file(whole, name),
                "message": message[-ours.MESSAGE :],
                "cause": cause or _cause(message),
            }

    def addSuccess(self, test):
        super().addSuccess(test)
        self._tell(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._tell(test, "failed", _words(err), err[0].__name__)

    def addError(self, test, err):
        super().addError(test, err)
        self._tell(test, "error", _words(err))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._tell(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._tell(test, "skipped", "expected to fail")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._tell(test, "failed", "passed, and was expected to fail")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._tell(test, "failed" if issubclass(err[0], test.failureException) else "error", _words(err))


def _file(test, name):
    """Return the path of the file a test stands in, seen from the working folder; empty where there is none."""
    if not isinstance(test, unittest.TestCase):  # unittest's note about a class or module: `setUpClass (module.Class)`
        name = "".join(re.findall(r"\(([\w.]+)\)", name)[-1:])
    elif name.startswith(_LOADER):
        name = name[len(_LOADER) :].partition(".")[2]
    else:
        name = type(test).__module__
    parts = name.split(".")
    while parts:
        module = sys.modules.get(".".join(parts))
        places = [getattr(module, "__file__", "")] if module else []
        places += [os.path.join(base, *parts) + end for base in sys.path for end in (".py", "/__init__.py")]
        for place in filter(None, places):
            inside = os.path.relpath(os.path.realpath(place), os.path.realpath(os.getcwd()))
            if os.path.isfile(place) and not inside.startswith(".."):
                return inside
        parts.pop()
    return ""


def _words(err):
    return "".join(traceback.format_exception(*err))


def _cause(message):
    """Return the class of the error in a traceback's last line; a file that did not load brings it as text alone."""
    last = [line for line in message.strip().splitlines() if line and not line.startswith(" ")][-1:]
    return last[0].partition(":")[0].rpartition(".")[2] if last else ""


def _flat(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from _flat(part)
        else:
            yield part


class _Runner(unittest.TextTestRunner):
    """Runs what is selected, file by file and class by class: tests in the order they are named, else turned about."""

    wish = None

    def run(self, test):
        if not (self.wish.only or self.wish.random or self.wish.tests):
            return super().run(test)
        placed = [(self.wish.place(_file(one, one.id())), one) for one in self.wish.turned(_flat(test))]
        chosen = [(place, type(one), one) for place, one in placed if place >= 0 and self.wish.wants(one.id())]
        if self.wish.tests:
            chosen.sort(key=lambda part: self.wish.tests.index(part[2].id()))
        groups = list(dict.fromkeys((place, group) for place, group, _ in chosen))  # a class is set up once
        groups.sort(key=lambda group: group[0])
        ordered = (one for group in groups for place, kind, one in chosen if (place, kind) == group)
        return super().run(unittest.TestSuite(ordered))


def main():
    """Run, report, and leave with unittest's own status: 0 passed, 1 failed, 5 nothing run."""
    wish = ours.Wish(sys.argv[1:])
    ours.open_the_tree()
    _Runner.wish = wish
    runner = _Runner(resultclass=_Result, verbosity=1)
    argv = ["python -m unittest", *wish.arguments]
    program = unittest.main(module=None, argv=argv, testRunner=runner, exit=False)
    told = list(program.result.told.values())
    ours.write(wish.report, told)
    sys.stdout.flush()
    sys.exit(0 if program.result.wasSuccessful() and told else 1 if told else 5)


if __name__ == "__main__":
    main()
