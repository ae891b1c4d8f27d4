"""What follows a test file to another name, and what does not."""

from __future__ import annotations

import pytest

from worker.judge.names import kept, renamed, snapshots


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("tests/test_base.py", "from tests.test_base import Base\n"),
        ("tests/test_base.py", "from . import (\n    test_base,\n)\nclass T(test_base.Base): pass\n"),
        ("tests/integration.rs", '[[test]]\nname = "integration"\npath = "tests/integration.rs"\n'),
        ("test/helpers.test.js", "const h = require('./helpers.test');\n"),
        ("calc_test.go", "// see calc_test.go\n"),
    ],
)
def test_a_file_that_another_names_stays(path: str, other: str) -> None:
    assert kept([path], {path: "", "other": other}) == {path}
    assert kept([path], {path: other}) == set(), "its own text is none"


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("tests/inspect.rs", 'Command::new("inspect");'),
        ("tests/latest.rs", "latest"),
        ("test/index.js", "require('./index')"),
        ("tests/test_a.py", "tests/test_ab.py my-test_a"),
    ],
)
def test_a_word_that_only_looks_alike_keeps_none(path: str, other: str) -> None:
    assert kept([path], {path: "", "other": other}) == set()


def test_a_file_that_patches_itself_patches_its_other_self() -> None:
    text = "@patch('tests.test_a.now')\nx = mocker.patch.object('test_a.x')\nmonkeypatch.setattr(\n    \"test_a.y.z\", 1)\n"
    assert renamed(text, "tests/test_a.py", "tests/test_zz.py") == text.replace("test_a", "test_zz")


@pytest.mark.parametrize(
    "text",
    [
        "open('data/test_a.json')\n",
        "HERE / 'test_a.json'\n",
        "def test_a(): pass\n",
        "import test_a\n",
        "patch('app.test_ab.x')\n",
        "patch('test_a')\n",
    ],
)
def test_data_of_its_name_keeps_its_own(text: str) -> None:
    assert renamed(text, "tests/test_a.py", "tests/test_zz.py") == text
    assert renamed("patch('a.test.x')", "a.test.js", "zz.test.js") == "patch('a.test.x')"


def test_snapshots_go_along() -> None:
    names = {"t/calc.test.js": "t/zz.test.js", "tests/test_a.py": "tests/test_yy.py", "tests/flow.rs": "tests/xx.rs"}
    texts = {
        "t/__snapshots__/calc.test.js.snap": "1",
        "t/calc.test.js.snapshot": "2",
        "tests/__snapshots__/test_a.ambr": "3",
        "tests/snapshots/flow__case.snap": "4",
        "tests/__snapshots__/test_ab.ambr": "5",
        "u/__snapshots__/calc.test.js.snap": "6",
        "t/calc.test.js": "7",
    }
    assert snapshots(names, texts) == {
        "t/__snapshots__/zz.test.js.snap": "1",
        "t/zz.test.js.snapshot": "2",
        "tests/__snapshots__/test_yy.ambr": "3",
        "tests/snapshots/xx__case.snap": "4",
    }
