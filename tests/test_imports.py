"""Which room may import which, and what a process must have set before it imports a library."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _python(code: str, *arguments: str, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LANG", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="import-linter comes with `make check`")
def test_the_import_contracts_hold(tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkpoints_are_read_strictly_even_where_the_environment_says_otherwise() -> None:
    code = "import router\nfrom langgraph.checkpoint.serde import _msgpack\nprint(_msgpack.STRICT_MSGPACK_ENABLED)"
    assert _python(code, LANGGRAPH_STRICT_MSGPACK="false").strip() == "True"


def test_a_crafted_checkpoint_runs_no_code(tmp_path: Path) -> None:
    target = tmp_path / "made"
    code = """
import sys
import router
import ormsgpack
from langgraph.checkpoint.serde import jsonplus
call = ormsgpack.packb(("os", "mkdir", (sys.argv[1],)))
blob = ormsgpack.packb(ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, call))
print(repr(jsonplus.JsonPlusSerializer().loads_typed(("msgpack", blob))))
"""
    _python(code, str(target))
    assert not target.exists()


def test_the_workflow_brings_no_litellm_and_speaks_to_no_tracing_service() -> None:
    code = """
import json, os, sys
import router
import graphs.workflow
unwanted = [name for name in ("litellm", "openai", "anthropic", "guardrails", "uvloop") if name in sys.modules]
print(json.dumps([unwanted, os.environ["LANGSMITH_TRACING"], os.environ["OTEL_SDK_DISABLED"]]))
"""
    assert json.loads(_python(code, LANGSMITH_TRACING="true")) == [[], "false", "true"]


def _imports(node: ast.AST) -> list[str]:
    """Return what a statement imports; a text that only reads like one is none."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def test_nothing_of_ours_imports_litellm_or_a_testing_tool() -> None:
    rooms = ("agents", "bench", "cli", "graphs", "router", "tandem", "worker")
    banned = {"litellm", "pytest", "unittest.mock"}
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if not path.is_relative_to(ROOT / "worker" / "reporters")  # those run in the sandbox, under pytest itself
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _imports(node)
        if any(name == one or name.startswith(f"{one}.") for one in banned)
    ]
    assert found == []
