import json
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.detect import CheckPlan, adapter_for, detect_check, is_documentation, is_test_file, parse_command
from tandem.errors import BadInput
from tandem.language import detect_language
from tandem.types import Adapter

PYTEST = ("python", "-m", "pytest")
UNITTEST = ("python", "-m", "unittest", "discover")


def found(files: Mapping[str, str], folder: str = "") -> CheckPlan | None:
    return detect_check(list(files), files.get, folder)


def package(test: str | None) -> str:
    return json.dumps({"name": "x", "scripts": {"test": test} if test is not None else {}})


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "", "pytest.ini": ""},
        {"a.py": "", "tests/conftest.py": ""},
        {"a.py": "", "pyproject.toml": "[tool.pytest.ini_options]\n"},
        {"a.py": "", "pyproject.toml": "[project.optional-dependencies]\ntest = ['pytest>=8']\n"},
        {"a.py": "", "requirements-dev.txt": "pytest==9.0\n"},
        {"a.py": "", "setup.cfg": "[tool:pytest]\n"},
        {"a.py": "", "tests/test_a.py": "import pytest\n"},
        {"a.py": "", "tests/test_a.py": "from a import b\n\ndef test_b():\n    assert b\n"},
        {"a.py": "", "pytest.ini": "", "package.json": package(None)},
    ],
)
def test_signs_of_pytest_are_seen(files: dict[str, str]) -> None:
    plan = found(files)
    assert plan is not None
    assert (plan.command, plan.adapter) == (PYTEST, "pytest")


@pytest.mark.parametrize(
    ("files", "rest"),
    [
        ({"calc.py": ""}, ()),
        ({"calc.py": "", "test_calc.py": "import unittest\n"}, ()),
        ({"calc.py": "", "tests/test_calc.py": "import unittest\n"}, ("-s", "tests")),
        ({"calc.py": "", "test/test_calc.py": "import unittest\n"}, ("-s", "test")),
        (
            {"calc.py": "", "tests/__init__.py": "", "tests/test_calc.py": "import unittest\n"},
            ("-s", "tests", "-t", "."),
        ),
        ({"calc.py": "", "pyproject.toml": "[project]\nname='pytestify'\n"}, ()),
    ],
)
def test_other_python_is_unittest(files: dict[str, str], rest: tuple[str, ...]) -> None:
    plan = found(files)
    assert plan is not None
    assert (plan.command, plan.adapter) == ((*UNITTEST, *rest), "unittest")


@pytest.mark.parametrize(
    ("script", "command", "adapter"),
    [
        ("node --test", ("node", "--test"), "node"),
        ("node --test test/", ("node", "--test", "test/"), "node"),
        ("node --test tests/*.test.js", ("node", "--test"), "node"),
        ("node --test 'lib/**/*.spec.js'", ("npm", "test"), "plain"),
        ("node --test && echo done", ("npm", "test"), "plain"),
        ("vitest run", ("npx", "vitest", "run"), "vitest"),
        ("vitest", ("npx", "vitest"), "vitest"),
        ("jest --coverage", ("npx", "jest", "--coverage"), "jest"),
        ("A=1 jest", ("env", "A=1", "jest"), "jest"),
        ("cross-env A=1 jest", ("cross-env", "A=1", "jest"), "jest"),
        (
            "node --no-warnings node_modules/jest/bin/jest.js",
            ("node", "--no-warnings", "node_modules/jest/bin/jest.js"),
            "jest",
        ),
        ("react-scripts test", ("npm", "test"), "plain"),
        ("jest && echo done", ("npm", "test"), "plain"),
        ('echo "Error: no test specified" && exit 1', ("node", "--test"), "node"),
        (None, ("node", "--test"), "node"),
    ],
)
def test_package_json_says_how_javascript_is_tested(script: str | None, command: tuple[str, ...], adapter: str) -> None:
    plan = found({"package.json": package(script), "index.js": ""})
    assert plan is not None
    assert (plan.command, plan.adapter) == (command, adapter)


def test_what_runs_around_a_test_script_is_kept() -> None:
    for tool, command, adapter in (("jest", "npm test", "jest"), ("vitest", "npm test", "plain")):
        text = json.dumps({"scripts": {"pretest": "tsc", "test": tool}})
        plan = found({"package.json": text, "index.js": ""})
        assert plan is not None
        assert (" ".join(plan.command), plan.adapter) == (command, adapter)


@pytest.mark.parametrize("text", ["{", "[]", '{"scripts": 1}', '{"scripts": {"test": 1}}', "[" * 100_000])
def test_a_package_json_that_makes_no_sense_has_no_script(text: str) -> None:
    plan = found({"package.json": text})
    assert plan is not None
    assert plan.command == ("node", "--test")


def test_the_language_with_more_files_goes_first() -> None:
    both = {"package.json": package("jest"), "a.js": "", "conftest.py": ""}
    assert found(both).adapter == "jest"  # pyright: ignore[reportOptionalMemberAccess] - a None fails the test too
    more = {**both, "a.py": "", "b.py": ""}
    assert found(more).adapter == "pytest"  # pyright: ignore[reportOptionalMemberAccess] - as above


@pytest.mark.parametrize(
    ("files", "command", "adapter"),
    [
        ({"go.mod": "", "a.go": ""}, ("go", "test", "./..."), "go"),
        ({"Cargo.toml": "", "src/lib.rs": ""}, ("cargo", "test"), "cargo"),
        ({"Makefile": "all: x\n\ntest: all\n\tsh t.sh\n"}, ("make", "test"), "plain"),
    ],
)
def test_other_tools_are_known_by_their_files(files: dict[str, str], command: tuple[str, ...], adapter: str) -> None:
    plan = found(files)
    assert plan is not None
    assert (plan.command, plan.adapter) == (command, adapter)


@pytest.mark.parametrize("files", [{}, {"README.md": ""}, {"Makefile": "test := 1\nall:\n"}, {"a.c": ""}])
def test_where_nothing_tells_there_is_no_command(files: dict[str, str]) -> None:
    assert found(files) is None


def test_a_folder_is_looked_at_alone() -> None:
    files = {"package.json": package("jest"), "api/calc.py": "", "api/tests/test_a.py": "import pytest\n"}
    plan = found(files, "api")
    assert plan is not None
    assert plan.adapter == "pytest"
    assert found(files, "docs") is None


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("make test", ("make", "test")),
        ("python -m pytest -k 'a and b' \"x y\"", ("python", "-m", "pytest", "-k", "a and b", "x y")),
        ("pytest 'a|b' \"c;d\" e\\&f", ("pytest", "a|b", "c;d", "e&f")),
        ("env A=1 pytest", ("env", "A=1", "pytest")),
        ("pytest '$HOME' 'it`s'", ("pytest", "$HOME", "it`s")),
        ("  pytest\n", ("pytest",)),
    ],
)
def test_commands_are_split_without_a_shell(text: str, argv: tuple[str, ...]) -> None:
    assert parse_command(text) == argv


@pytest.mark.parametrize(
    "text",
    [
        "a && b",
        "a | b",
        "a > b",
        "a; b",
        "a &",
        "(a)",
        "a `b`",
        "a $(b)",
        'a "$(b)"',
        "a $B",
        'a "${B}"',
        "a\nb",
        "a<b",
    ],
)
def test_a_command_for_a_shell_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(BadInput, match="put it in a script"):
        parse_command(text)


@pytest.mark.parametrize("text", ["", "  ", "''", "pytest 'open", "A=1 pytest", "a\0b", "x" * 2001])
def test_a_command_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="check command"):
        parse_command(text)


@settings(deadline=None, database=None)
@given(st.text(max_size=60))
def test_a_command_is_an_argv_or_refused(text: str) -> None:
    try:
        argv = parse_command(text)
    except BadInput:
        return
    assert argv[0]
    assert adapter_for(argv) in get_args(Adapter)


@pytest.mark.parametrize(
    ("command", "adapter"),
    [
        ("pytest -q", "pytest"),
        (".venv/bin/pytest", "pytest"),
        ("python3.12 -W error -m pytest tests", "pytest"),
        ("python -m unittest", "unittest"),
        ("python run_tests.py -m pytest", "plain"),
        ("python -m tox", "plain"),
        ("node --test test", "node"),
        ("node test.js", "plain"),
        ("npm test", "plain"),
        ("npx jest -i", "jest"),
        ("node_modules/.bin/jest", "jest"),
        ("yarn jest", "jest"),
        ("env A=1 npx jest", "jest"),
        ("env A=1 pytest", "plain"),
        ("npx --no-install vitest run", "vitest"),
        ("node node_modules/vitest/vitest.mjs", "vitest"),
        ("npx eslint jest", "plain"),
        ("go test ./...", "go"),
        ("go vet", "plain"),
        ("cargo test", "cargo"),
        ("cargo t -p x", "cargo"),
        ("cargo build", "plain"),
        ("coverage run -m pytest", "plain"),
    ],
)
def test_a_persons_command_tells_the_adapter(command: str, adapter: str) -> None:
    assert adapter_for(command.split()) == adapter


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "docs/a.rst",
        "LICENSE",
        "CHANGELOG",
        "docs/x/pic.png",
        "notes.txt",
        "Guide.ADOC",
        "src/pkg/README.md",
    ],
)
def test_prose_for_people_is_documentation(path: str) -> None:
    assert is_documentation(path)


@pytest.mark.parametrize(
    "path",
    [
        "requirements.txt",
        "dev-requirements.in",
        "docs/requirements.txt",
        "constraints.txt",
        "CMakeLists.txt",
        "public/robots.txt",
        "robots.txt",
        "docs/conf.py",
        "docs/x.js",
        "mkdocs.yml",
        "tests/data/expected.txt",
        "app/templates/mail.txt",
        "personas/coder.md",
        "AGENTS.md",
        "docs/CLAUDE.md",
        ".github/copilot-instructions.md",
        ".cursor/rules.md",
        "logo.png",
        "src/a.py",
        "../README.md",
        "/README.md",
        "docs/../../x.md",
        "",
        "Makefile",
    ],
)
def test_what_a_program_reads_is_not(path: str) -> None:
    assert not is_documentation(path)


@pytest.mark.parametrize(
    ("path", "adapters"),
    [
        ("tests/test_a.py", "pytest unittest plain"),
        ("a_test.py", "pytest plain"),
        ("tests/helper.py", "plain"),
        ("conftest.py", ""),
        ("src/a.py", ""),
        ("a.test.js", "node jest vitest plain"),
        ("src/a-test.mjs", "node plain"),
        ("test/anything.js", "node plain"),
        ("test.js", "node jest vitest plain"),
        ("latest.js", ""),
        ("a.spec.ts", "jest vitest plain"),
        ("src/__tests__/a.jsx", "jest plain"),
        ("src/__tests__/a.css", "plain"),
        ("types/test.d.ts", ""),
        ("pkg/a_test.go", "go plain"),
        ("pkg/_a_test.go", "plain"),
        ("tests/shop.rs", "cargo plain"),
        ("tests/common/mod.rs", "cargo plain"),
        ("src/tests/unit.rs", "plain"),
        ("src/lib.rs", ""),
        ("src/latest.py", ""),
        ("src/contest.py", ""),
    ],
)
def test_test_files_are_known_by_their_names(path: str, adapters: str) -> None:
    kinds = [kind for kind in get_args(Adapter) if is_test_file(path, kind)]
    assert kinds == adapters.split()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Add a function that adds two numbers", "en"),
        ("calc.py에 두 수를 더하는 add 함수를 추가해 주세요", "ko"),
        ("`Calculator` 클래스의 subtract 메서드 버그 수정", "ko"),
        ("在 calc.py 中添加一个把两个数相加的函数", "zh"),
        ("calc.py に二つの数を足す関数を追加してください", "ja"),
        ("Translate the greeting 你好 into English in greet.py", "en"),
        ("```python\ndef add(a, b):\n    return a + b\n```\n이 코드를 고쳐 주세요", "ko"),
        ("修复 https://example.invalid/very/long/path/to/an/issue/with/many/letters 中的错误", "zh"),
        ("大韓民國 헌법을 요약하는 문서를 작성해 주세요", "ko"),
        ("", "en"),
        ("123 !?", "en"),
        ("Ajoute une fonction qui additionne", "en"),
    ],
)
def test_the_script_tells_the_language(text: str, language: str) -> None:
    assert detect_language(text) == language


@settings(deadline=None, database=None)
@given(st.text(max_size=200))
def test_any_text_has_a_language(text: str) -> None:
    assert detect_language(text) in ("en", "ko", "zh", "ja")
