"""Run unittest's discovery and write what each test did: `unittest_report.py REPORT [arguments of discover]`.

Runs inside the sandbox, under the environment's own Python, with the standard library alone. A test has one entry, and
the worst of its parts decides; a file or class that could not be set up has an entry of its own.
"""

import json
import os
import re
import sys
import traceback
import unittest

_MESSAGE = 2000
_WORST = ("error", "failed", "skipped", "passed")
_LOADER = "unittest.loader."  # unittest's stand-ins for what it could not load; the proof knows them by this id


class _Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.told = {}

    def _tell(self, test, outcome, message=""):
        whole = getattr(test, "test_case", test)  # a subTest's parameters may hold anything, so it has no id of its own
        name = whole.id()
        known = self.told.get(name)
        if known is None or _WORST.index(outcome) < _WORST.index(known["outcome"]):
            self.told[name] = {
                "id": name,
                "outcome": outcome,
                "file": _file(whole, name),
                "message": message[-_MESSAGE:],
            }

    def addSuccess(self, test):
        super().addSuccess(test)
        self._tell(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._tell(test, "failed", _words(err))

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


def main():
    """Run, report, and leave with unittest's own status: 0 passed, 1 failed, 5 nothing run."""
    report, arguments = sys.argv[1], sys.argv[2:]
    sys.path[0] = os.getcwd()  # as `python -m` has it
    runner = unittest.TextTestRunner(resultclass=_Result, verbosity=1)
    program = unittest.main(module=None, argv=["python -m unittest", *arguments], testRunner=runner, exit=False)
    with open(report, "w", encoding="utf-8") as file:
        json.dump(list(program.result.told.values()), file)
    sys.stdout.flush()
    sys.exit(0 if program.result.wasSuccessful() and program.result.told else 1 if program.result.told else 5)


if __name__ == "__main__":
    main()
