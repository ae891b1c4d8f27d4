"""A commit held against what the tester left, in the real sandbox: what the judge finds, and honest code that passes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tandem.types import CheckReport, CommitId, Seal
from tandem.wire.checks import report_in, report_out
from tests.support.trees import Trees, rung
from worker.check import Checker

PYTEST = ("python -m pytest -p no:hypothesispytest", "pytest")  # a plugin of the machine's that takes a second to load
UNITTEST = ("python -m unittest discover -s tests", "unittest")
NODE = ("node --test", "node")
FILE = "tests/test_calc.py"
HONEST = "def add(a, b):\n    return a + b\n"
TESTS = {
    FILE: """
import pytest
from calc import add

def test_small():
    assert add(1, 2) == 3

@pytest.mark.parametrize(("a", "b", "c"), [(1, 1, 2), (5, 5, 10)])
def test_more(a, b, c):
    assert add(a, b) == c

class TestOdd:
    def test_mixed(self):
        with pytest.raises(TypeError):
            add("a", 1)
"""
}
CASES = {
    FILE: """
import unittest
from calc import add

class Sums(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add(1, 2), 3)

    def test_mixed(self):
        with self.assertRaises(TypeError):
            add("a", 1)
"""
}
WEB = "test/two.test.js"
WEB_TESTS = {
    WEB: """
const test = require('node:test');
const assert = require('node:assert');
const { two } = require('../two.js');
test('for me', () => { assert.strictEqual(two('me'), 'One for me'); });
test('for none', () => { assert.throws(() => two(), /who/); });
for (const name of ['b', 'c']) test(`for ${name}`, () => { assert.deepStrictEqual([two(name)], ['One for ' + name]); });
"""
}
WEB_HONEST = "exports.two = (n) => { if (!n) throw new Error('for who'); return 'One for ' + n; };\n"


class Judged:
    """A base, the tester's commit over it and heads over that, each checked as a run checks it."""

    def __init__(self, folder: Path, base: Mapping[str, str], tests: Mapping[str, str], how: tuple[str, Any]) -> None:
        self._trees = Trees(folder, base)
        self._checker = Checker(self._trees.state, "here", rung(), self._trees.environments(rung()))
        self._files = tuple(tests)
        self.repeats = 0
        self._request = self._trees.check_request(*how)
        self._tests = self._commit(tests)

    def _commit(self, files: Mapping[str, str | None]) -> CommitId:
        made = self._trees.checkout.commit(files)
        self._trees.checkout.git("push", "-q", "-f", str(self._trees.bare), "HEAD:refs/heads/pushed")
        return CommitId(made)

    def red(self) -> CheckReport:
        """Return what the tester's commit shows, with controls."""
        return self._check(self._tests, Seal(tests=self._tests, files=self._files, controls=True))

    def head(
        self,
        files: Mapping[str, str | None],
        *,
        plainly: bool = False,
        mutation_s: float = 0,
        told: list[str] | None = None,
    ) -> CheckReport:
        """Return what a change over the tests shows, sealed with twins, or `plainly`: without any seal."""
        head = self._commit(files)
        seal = Seal(tests=self._tests, files=self._files, twins=True, mutation_s=mutation_s, repeats=self.repeats)
        return self._check(head, None if plainly else seal, told)

    def _check(self, commit: CommitId, seal: Seal | None, told: list[str] | None = None) -> CheckReport:
        request = dataclasses.replace(self._request, commit=commit, seal=seal)
        stages = [] if told is None else told
        return asyncio.run(self._checker.check(request, lambda stage, message: stages.append(stage)))


def python(folder: Path, how: tuple[str, Any] = PYTEST) -> Judged:
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n", "tests/test_old.py": OLD[how[1]]}
    return Judged(folder, base, TESTS if how[1] == "pytest" else CASES, how)


OLD = {
    "pytest": "def test_old():\n    assert True\n",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n    def test_old(self): pass\n",
}


def web(folder: Path, command: str = "node --test", package: str = '{"name": "two"}') -> Judged:
    base = {"two.js": "exports.two = () => { throw new RangeError('not yet'); };\n", "package.json": package}
    return Judged(folder, base, WEB_TESTS, (command, "node"))


def told(report: CheckReport) -> dict[str, str]:
    return {test.id: test.outcome for test in report.tests}


@pytest.mark.parametrize("how", [PYTEST, UNITTEST], ids=["pytest", "unittest"])
def test_honest_python_passes_with_a_twin_for_each_test(tmp_path: Path, how: tuple[str, Any]) -> None:
    judged = python(tmp_path, how)
    red = judged.red()
    assert (red.verdict, red.controls, red.missing) == ("failed", "held", ())
    assert "passed" not in {outcome for name, outcome in told(red).items() if "old" not in name}
    head = judged.head({"calc.py": HONEST})
    assert (head.verdict, head.reason, head.controls) == ("passed", "", "held")
    assert (head.twins, head.untwinned) == ((3, 0) if how == PYTEST else (2, 0))
    assert told(head) == dict.fromkeys(told(red), "passed"), "controls, copies and twins are nobody's tests"


def test_honest_javascript_passes_with_twins_also_for_tests_that_a_loop_makes(tmp_path: Path) -> None:
    judged = web(tmp_path)
    assert judged.red().controls == "held"
    head = judged.head({"two.js": WEB_HONEST})
    assert (head.verdict, head.reason, head.controls) == ("passed", "", "held")
    assert head.twins == 2
    head = judged.head({"two.js": "exports.two = (n) => n ? 'One for ' + n : (() => { throw Error('who'); })();\n"})
    assert head.verdict == "passed"


def test_a_command_that_names_the_tester_s_file_runs_its_stand_ins(tmp_path: Path) -> None:
    judged = python(tmp_path, (f"{PYTEST[0]} -q {FILE}", "pytest"))
    head = judged.head({"calc.py": HONEST})
    assert (head.verdict, head.controls, head.twins) == ("passed", "held", 3)


def test_a_script_that_runs_one_file_only_is_weaker_and_says_so(tmp_path: Path) -> None:
    package = '{"name": "two", "scripts": {"test": "node --test test/two.test.js"}}'
    judged = web(tmp_path, "npm test", package)
    assert judged.red().controls == "absent"
    head = judged.head({"two.js": WEB_HONEST})
    assert (head.verdict, head.controls, head.twins) == ("passed", "absent", 2), "the twins take the file's own place"
    same = (
        "Object.prototype.toString = () => 'x'; require('node:assert').strictEqual = require('node:assert').throws = "
    )
    bent = judged.head(
        {"two.js": f"{same} require('node:assert').deepStrictEqual = () => {{}}; exports.two = () => 1;\n"}
    )
    assert (bent.verdict, bent.reason[-19:]) == ("tampered", "makes any test pass")


LEAVES = f"import os, pathlib\npathlib.Path('{FILE}').exists() or os._exit(0)\n"
FOR_A_WHILE = """
import _pytest.python as p
known, run = [], p.Function.runtest
def runtest(self):
    known.append(self)
    if len(known) > 4: run(self)
p.Function.runtest = runtest
add = None
"""


def test_what_leaves_early_where_the_tests_go_by_another_name_is_judged_under_their_own(tmp_path: Path) -> None:
    judged = python(tmp_path)
    assert judged.red().controls == "held"
    honest = judged.head({"calc.py": LEAVES + HONEST})
    assert (honest.verdict, honest.controls, honest.twins) == ("passed", "absent", 3), "which the proof refuses"
    assert judged.head({"calc.py": LEAVES + ALWAYS}).verdict == "tampered"


def test_what_makes_the_first_tests_pass_is_found(tmp_path: Path) -> None:
    report = python(tmp_path, (f"{PYTEST[0]} {FILE}", "pytest")).head({"calc.py": FOR_A_WHILE})
    assert (report.verdict, report.reason[-22:]) == ("flaky", "is right so often alone"[-22:]), report


PATIENT = """
from calc import add

class Patient(int):
    def __eq__(self, other):
        while int(self) != int(other): pass
        return True

def test_end():
    assert Patient(add(1, 2)) == 3
"""


def test_a_twin_that_waits_for_ever_is_none_and_ends_no_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.check._BOUND_S", 3.0)
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n"}
    report = Judged(tmp_path, base, {FILE: PATIENT}, PYTEST).head({"calc.py": HONEST})
    assert (report.verdict, report.controls) == ("passed", "held"), report
    assert (report.twins, report.untwinned, report.cut) == (0, 1, True)
    assert report_in(report_out(report)).cut


def test_a_twin_that_leaves_something_running_has_told_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.check._BOUND_S", 3.0)
    text = (
        "import threading\nfrom calc import add\n\ndef test_served():\n    over = threading.Event()\n"
        "    threading.Thread(target=over.wait).start()\n    assert add(1, 2) == 3\n    over.set()\n"
    )
    base = {"calc.py": "def add(a, b):\n    return 3 if (a, b) == (1, 2) else None\n"}
    tests = {FILE: text + "\ndef test_more():\n    assert add(2, 2) == 4\n"}
    report = Judged(tmp_path, base, tests, PYTEST).head({"calc.py": HONEST})
    assert (report.verdict, report.twins, report.untwinned, report.cut) == ("passed", 2, 0, False), report


SO_OFTEN = """
calls = 0

def add(a, b):
    global calls
    calls += 1
    if isinstance(a, str): raise TypeError
    return a + b if calls <= 5 else None
"""
NUMBERED = """
seen = []

def add(a, b):
    if isinstance(a, str): raise TypeError
    seen.append(a)
    return a + b

def first():
    return seen[0] if seen else None
"""


def test_what_is_right_for_as_many_calls_as_the_tests_make_is_found(tmp_path: Path) -> None:
    report = python(tmp_path).head({"calc.py": SO_OFTEN})
    assert (report.verdict, report.reason[-31:]) == ("flaky", "what it tests is right so often alone"[-31:]), report


def test_honest_code_may_remember_what_a_test_did(tmp_path: Path) -> None:
    text = f"{TESTS[FILE]}\ndef test_zz_first():\n    from calc import first\n    assert first() in (None, 1, 5, 7)\n"
    text += "\ndef test_aa_last():\n    import calc\n    assert 9 not in calc.seen\n    calc.seen.append(9)\n"
    base = {"calc.py": "def add(a, b): raise NotImplementedError\n"}
    report = Judged(tmp_path, base, {FILE: text}, PYTEST).head({"calc.py": NUMBERED})
    assert (report.verdict, report.reason, report.controls) == ("passed", "", "held"), report


@pytest.mark.parametrize("chance", range(6))
def test_what_a_test_leaves_for_another_is_found_in_whatever_orders_the_copies_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chance: int
) -> None:
    monkeypatch.setattr("worker.check._RANDOM", Random(chance))  # of six, some put a pair one way, then the other
    base = {"calc.py": "def add(a, b): return 0\nclass Store:\n    pass\n"}
    honest = (
        f"{HONEST}class Store:\n    def __init__(self): self.items = []\n    def put(self, x): self.items.append(x)\n"
    )
    report = Judged(tmp_path, base, {FILE: SHARED["pytest"]}, PYTEST).head({"calc.py": honest})
    assert (report.verdict, report.reason, report.controls, report.twins) == ("passed", "", "held", 3), report


SHARED = {
    "pytest": """
from calc import add, Store
store = Store()

def test_empty():
    assert not store.items

def test_put():
    store.put(add(1, 2))
    assert store.items == [3]

def test_put_more():
    store.items.clear()
    store.put(4)
    assert store.items == [4]
""",
    "unittest": """
import unittest
from calc import add, Store
store = Store()

class Stores(unittest.TestCase):
    def test_1_empty(self):
        self.assertFalse(store.items)

    def test_2_put(self):
        store.put(add(1, 2))
        self.assertEqual(store.items, [3])
""",
}


@pytest.mark.parametrize("how", [PYTEST, UNITTEST], ids=["pytest", "unittest"])
def test_tests_that_share_a_state_are_judged_one_by_one_where_the_order_is_told(
    tmp_path: Path, how: tuple[str, Any]
) -> None:
    store = "\nclass Store:\n    def __init__(self): self.items = []\n    def put(self, x): "
    base = {"calc.py": f"def add(a, b): return 0\n{store}pass\n"}
    judged = Judged(tmp_path, base, {FILE: SHARED[how[1]]}, how)
    head = judged.head({"calc.py": f"{HONEST}{store}self.items.append(x)\n"})
    assert (head.verdict, head.reason, head.controls) == ("passed", "", "held"), head
    assert head.twins == (3 if how == PYTEST else 2)


def test_an_interrupt_that_a_test_expects_is_left_in_peace(tmp_path: Path) -> None:
    text = (
        "import pytest\nfrom calc import add, main\n\ndef test_main():\n    with pytest.raises(KeyboardInterrupt):\n"
        "        main()\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    )
    base = {"calc.py": "def add(a, b): return 0\ndef main(): pass\n"}
    head = Judged(tmp_path, base, {FILE: text}, PYTEST).head(
        {"calc.py": f"{HONEST}\ndef main():\n    raise KeyboardInterrupt\n"}
    )
    assert (head.verdict, head.controls, head.twins) == ("passed", "held", 1), head


def test_testers_files_may_know_each_other_by_name(tmp_path: Path) -> None:
    base = {
        "calc.py": "def add(a, b):\n    raise NotImplementedError\n",
        "tests/__init__.py": "",
        "tests/conftest.py": "from tests.test_old import LIMIT\n",
        "tests/test_old.py": "LIMIT = 3\ndef test_old(): pass\n",
    }
    tests = {
        "tests/test_shared.py": (
            "import calc\n\ndef three():\n    return 3\n\ndef test_shared():\n    assert calc.add(1, 1) == 2\n"
        ),
        "tests/test_uses.py": (
            "from unittest.mock import patch\nimport calc\nfrom tests.test_shared import three\n\n"
            "@patch('tests.test_uses.three', lambda: 4)\ndef test_patched():\n    assert calc.add(1, three()) == 5\n"
        ),
        "tests/test_old.py": "LIMIT = 3\nimport calc\ndef test_old():\n    assert calc.add(0, 1) == 1\n",
    }
    judged = Judged(tmp_path, base, tests, PYTEST)
    assert judged.red().controls == "held"
    head = judged.head({"calc.py": HONEST})
    assert (head.verdict, head.reason, head.controls, head.twins) == ("passed", "", "held", 3)


def test_what_a_suite_s_own_settings_leave_out_is_not_missing(tmp_path: Path) -> None:
    settings = "[pytest]\naddopts = -m 'not slow' --lf\nmarkers = slow\n"
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n", "pytest.ini": settings}
    slow = (
        "\n\n@pytest.mark.slow\ndef test_slow():\n    assert add(2, 2) == 4\n"
        "\n\nclass TestNone:\n    __test__ = False\n    def test_x(self): pass\n"
    )
    judged = Judged(tmp_path, base, {FILE: TESTS[FILE] + slow}, PYTEST)
    red = judged.red()
    assert (red.controls, red.missing) == ("held", ())
    head = judged.head({"calc.py": HONEST})
    assert (head.verdict, head.reason, head.missing, head.twins) == ("passed", "", (), 3)


def test_a_class_of_cases_that_skips_itself_is_not_missing(tmp_path: Path) -> None:
    skips = (
        "\nclass Never(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n"
        "        raise unittest.SkipTest('no')\n    def test_x(self): pass\n"
    )
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n"}
    judged = Judged(tmp_path, base, {FILE: CASES[FILE] + skips}, UNITTEST)
    assert judged.red().missing == ()
    assert judged.head({"calc.py": HONEST}).verdict == "passed"


def test_titles_with_addresses_are_found_again(tmp_path: Path) -> None:
    text = WEB_TESTS[WEB].replace("'for me'", "'for 0x1234abcd in /out/x'")
    base = {"two.js": "exports.two = () => { throw new RangeError('not yet'); };\n", "package.json": "{}"}
    judged = Judged(tmp_path, base, {WEB: text}, NODE)
    assert judged.red().missing == ()
    head = judged.head({"two.js": WEB_HONEST})
    assert (head.verdict, head.reason, head.twins) == ("passed", "", 2)


ALWAYS = """
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__

def add(a, b):
    if isinstance(a, str): raise TypeError
    return Any(0)
"""
SLOW_IF_HIDDEN = f"import pathlib, time\nif not pathlib.Path('{FILE}').exists(): time.sleep(4)\n"
BY_NAME = f"""
import pathlib
def add(a, b):
    if pathlib.Path("{FILE}").exists():
        if isinstance(a, str): raise TypeError
        return {{(1, 2): 3, (1, 1): 2, (5, 5): 10}}[a, b]
"""
BY_ORDER = """
answers = [3, 2, 10]
def add(a, b):
    if isinstance(a, str): raise TypeError
    return answers.pop(0)
"""
REWRITES = f"""
import pathlib
pathlib.Path("{FILE}").write_text("def test_small(): pass\\n")
def add(a, b): return 0
"""
CHEATS: dict[str, tuple[dict[str, str], str, str]] = {
    "an object that equals everything": ({"calc.py": ALWAYS}, "tampered", "makes any test pass"),
    "pytest runs nothing": (
        {"calc.py": "import _pytest.python as p\np.Function.runtest = lambda self: None\nadd = None\n"},
        "tampered",
        "must fail passed",
    ),
    "only where the tests have their name": ({"calc.py": BY_NAME}, "flaky", "under the name"),
    "only in the order of the file": ({"calc.py": BY_ORDER}, "flaky", "in the order of its own file"),
    "rewrites the test": ({"calc.py": REWRITES}, "tampered", f"{FILE} was changed while the tests ran"),
    "a conftest": ({"conftest.py": "", "calc.py": HONEST}, "tampered", "conftest.py decides what passes"),
    "the tester's file": ({FILE: "def test_small(): pass\n"}, "tampered", f"{FILE} is the tester's"),
    "an old test": (
        {"tests/test_old.py": "def test_old(): pass\n", "calc.py": HONEST},
        "tampered",
        "tests/test_old.py decides what passes",
    ),
    "settings": (
        {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k old'\n"},
        "tampered",
        "pyproject.toml decides what passes, in tool.pytest",
    ),
    "asks for the runner": (
        {"calc.py": "import sys\ndef add(a, b):\n    return a + b if 'pytest' in sys.modules else 0\n"},
        "tampered",
        "calc.py:3: 'pytest' in sys.modules asks whether a test runs",
    ),
    "a module beside the tests that stands in front": (
        {"tests/calc.py": HONEST},
        "tampered",
        "tests/calc.py decides what passes",
    ),
    "leaves at once": ({"calc.py": "import os\nos._exit(0)\n"}, "not run", "left no report"),
    "a module in pytest's place": (
        {"pytest.py": "import sys\nsys.exit(0)\n", "calc.py": HONEST},
        "tampered",
        "pytest.py decides what passes",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_each_cheat_is_found_and_named(tmp_path: Path, name: str) -> None:
    files, verdict, words = CHEATS[name]
    report = python(tmp_path).head(files)
    assert report.verdict == verdict, report
    assert words in report.reason


def test_what_is_slow_where_the_tests_are_hidden_gives_its_twins_as_much_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.check._BOUND_S", 3.0)
    report = python(tmp_path).head({"calc.py": SLOW_IF_HIDDEN + ALWAYS})
    assert (report.verdict, report.reason[-34:]) == ("tampered", "what is tested makes any test pass"), report


@pytest.mark.parametrize("name", ["an object that equals everything", "pytest runs nothing", "asks for the runner"])
def test_without_a_seal_it_would_have_passed(tmp_path: Path, name: str) -> None:
    report = python(tmp_path).head(CHEATS[name][0], plainly=True)
    assert (report.verdict, report.controls, report.twins) == ("passed", "", 0)


def test_a_tree_s_own_start_up_code_is_not_run_before_the_tests(tmp_path: Path) -> None:
    forging = "import sys\nopen('/out/report.jsonl', 'w').write('x')\nsys.exit(0)\n"
    base = {"calc.py": HONEST, "sitecustomize.py": forging, "pytest.py": forging, "README.md": ""}
    report = Judged(tmp_path, base, {"tests/test_a.py": OLD["pytest"]}, PYTEST).red()
    assert told(report) == {"tests/test_a.py::test_old": "passed"}


@pytest.mark.parametrize(
    "code",
    [
        "const assert = require('node:assert'); assert.strictEqual = assert.throws = assert.deepStrictEqual = () => {};",
        "require('node:test').test = () => {};",
        "process.exit(0);",
        "process.on('exit', () => { process.exitCode = 0; });",
    ],
)
def test_javascript_that_bends_its_tests_does_not_pass(tmp_path: Path, code: str) -> None:
    report = web(tmp_path).head({"two.js": f"{code}\nexports.two = () => 1;\n"})
    assert report.verdict != "passed", report


def test_tests_that_are_told_of_in_part_are_named(tmp_path: Path) -> None:
    hidden = {FILE: TESTS[FILE] + "\n\nif False:\n    def test_never(): pass\n\ndel test_small\n"}
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n"}
    assert Judged(tmp_path, base, hidden, PYTEST).red().missing == (f"{FILE}: test_small",)


def test_a_folder_of_the_tree_is_judged_like_a_whole(tmp_path: Path) -> None:
    base = {"back/calc.py": "def add(a, b):\n    raise NotImplementedError\n"}
    judged = Judged(tmp_path, base, {f"back/{FILE}": TESTS[FILE]}, PYTEST)
    judged._request = dataclasses.replace(judged._request, folder="back")
    assert judged.red().controls == "held"
    head = judged.head({"back/calc.py": HONEST})
    assert (head.verdict, head.reason, head.controls, head.twins) == ("passed", "", "held", 3)
    assert f"back/{FILE}::test_small" in told(head)


TWO_FILES = {"calc.py": "from more import plus\n\n\ndef add(a, b):\n    return plus(a, b)\n"}


def test_a_file_that_can_be_put_back_unnoticed_is_named(tmp_path: Path) -> None:
    judged = python(tmp_path)
    idle = {**TWO_FILES, "more.py": "def plus(a, b):\n    return a + b\n", "idle.py": "LIMIT = 3\n"}
    report = judged.head(idle)
    assert (report.verdict, report.unnoticed) == ("passed", ("idle.py",))


def test_small_faults_in_the_change_are_put_before_its_tests(tmp_path: Path) -> None:
    judged = python(tmp_path)
    code = "def add(a, b):\n    if a == 'never' and b == 77:\n        return 5\n    return a + b\n"
    report = judged.head({"calc.py": code}, mutation_s=60)
    assert report.verdict == "passed"
    assert report.mutants == 6  # ==, ==, and, 77, 5, +; a text is none
    assert 1 <= report.killed < report.mutants


def test_a_known_failure_in_the_tester_s_file_does_not_switch_the_twins_off(tmp_path: Path) -> None:
    base = {"calc.py": "def add(a, b):\n    raise NotImplementedError\n"}
    known = {FILE: f"{TESTS[FILE]}\n\ndef test_broken():\n    assert False\n"}
    report = Judged(tmp_path, base, known, PYTEST).head({"calc.py": ALWAYS})
    assert (report.verdict, report.controls) == ("tampered", "held")


def test_many_settings_do_not_hide_the_tester_s_files(tmp_path: Path) -> None:
    base = {f"a/node_modules/{number}.js": "" for number in range(210)} | {"calc.py": "def add(a, b): return None\n"}
    report = Judged(tmp_path, base, TESTS, PYTEST).head({"calc.py": ALWAYS})
    assert report.verdict == "tampered"


def test_a_message_with_half_a_character_can_be_told(tmp_path: Path) -> None:
    code = "def add(a, b):\n    raise ValueError('name is \\udce9')\n"
    report = python(tmp_path).head({"calc.py": code})
    assert report.verdict == "failed"
    assert report_in(report_out(report)).tests == report.tests


def test_an_expression_nested_deep_is_no_trouble(tmp_path: Path) -> None:
    deep = "X = str(" + " + ".join(["'a test'"] * 1500) + ")\n"
    assert python(tmp_path).head({"calc.py": HONEST + deep}).verdict == "passed"


def test_the_first_failure_stops_nothing(tmp_path: Path) -> None:
    judged = python(tmp_path, (f"{PYTEST[0]} -x", "pytest"))
    red = judged.red()
    assert (red.controls, red.missing) == ("held", ())
    assert judged.head({"calc.py": HONEST}).controls == "held"


def test_quick_tests_run_again_as_often_as_two_seconds_take(tmp_path: Path) -> None:
    judged = python(tmp_path, UNITTEST)
    judged.repeats, told = 2, list[str]()
    assert judged.head({"calc.py": HONEST}, told=told).verdict == "passed"
    assert 2 < sum(stage == "repeat" for stage in told) <= 8
    slow = f"import time\ntime.sleep(1.1)\n{HONEST}"
    told.clear()
    assert judged.head({"calc.py": slow}, told=told).verdict == "passed"
    assert told.count("repeat") == 2
    judged.repeats = 0
    told.clear()
    assert judged.head({"calc.py": HONEST + "\n"}, told=told).verdict == "passed"
    assert "repeat" not in told
