"""Run unittest's discovery and write what each test did: `unittest_report.py REPORT [arguments of discover]`.

Runs inside the sandbox, under the environment's own Python, with the standard library alone.
"""

import json
import os
import sys
import traceback
import unittest

_MESSAGE = 2000


class _Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.told = {}

    def _tell(self, test, outcome, message=""):
        known = self.told.get(test.id())
        if known is None or known["outcome"] == "passed":  # a failing part makes the whole fail
            file = getattr(sys.modules.get(type(test).__module__), "__file__", "") or ""
            inside = os.path.relpath(file, os.getcwd()) if file else ""
            self.told[test.id()] = {
                "id": test.id(),
                "outcome": outcome,
                "file": "" if inside.startswith("..") else inside,
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
            self._tell(test, "failed", _words(err))


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
