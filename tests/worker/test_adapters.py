"""What is added to a test command so that it leaves a report."""

from __future__ import annotations

import pytest

from tandem.errors import BadInput
from tandem.types import Adapter
from worker.adapters import plan


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        ("python -m pytest tests -x", "python -m pytest tests -x -o"),
        ("pytest tests", "python -m pytest tests -o"),
        ("/env/bin/py.test", "python -m pytest -o"),
        ("uv run pytest -k a", "python -m pytest -k a -o"),
        ("python -W error -m pytest", "python -W error -m pytest -o"),
        ("python -m coverage run -m pytest tests", "python -m coverage run -m pytest tests -o"),
    ],
)
def test_pytest_runs_as_a_module_and_writes_xml(command: str, begins: str) -> None:
    planned = plan("pytest", tuple(command.split()))
    assert " ".join(planned.argv).startswith(begins)
    assert "--junitxml=/out/report.xml" in planned.argv
    assert planned.report == "report.xml"


def test_unittest_runs_under_our_reporter_with_its_own_arguments() -> None:
    planned = plan("unittest", ("python", "-X", "dev", "-m", "unittest", "discover", "-s", "tests"))
    script = ["/reporters/unittest_report.py", "/out/report.json"]
    assert list(planned.argv) == ["python", "-X", "dev", *script, "discover", "-s", "tests"]


def test_node_gets_a_reporter_also_behind_a_script() -> None:
    direct = plan("node", ("node", "--test", "test/"))
    assert direct.argv[:2] == ("node", "--test")
    assert direct.argv[-1] == "test/"
    assert any(part.startswith("--test-reporter=/reporters/") for part in direct.argv)
    behind = plan("node", ("npm", "test"))
    assert behind.argv == ("npm", "test")
    assert "--test-reporter=/reporters/" in behind.env["NODE_OPTIONS"]


@pytest.mark.parametrize(
    ("adapter", "command"),
    [
        ("unittest", ("python", "manage.py", "test")),
        ("pytest", ("make", "test")),
        ("node", ("jest",)),
        ("plain", ()),
        ("plain", ("",)),
        ("plain", ("sh", "a\0b")),
    ],
)
def test_a_command_of_another_kind_is_refused_with_the_remedy(adapter: Adapter, command: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="--check"):
        plan(adapter, command)
