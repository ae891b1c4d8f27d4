"""A whole run in which the team works with tools: reads, searches, edits, tries the tests, is refused, and finishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stack import DEMO, TASK, Stack, git, rehearsal, sample

SLUGIFY = '''

def slugify(title):
    """Return a title as it may stand in an address."""
    words = re.findall(r"[^\\W_]+", title.lower())
    if not words:
        raise ValueError(f"no letter or digit in {title!r}")
    return "-".join(words)
'''
LAST = '    return text[: limit - 1].rstrip() + "…"\n'
FIRST = '"""Functions from one text to another."""\n'


def use(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def said(call: str) -> dict[str, Any]:
    return {"text": call}


def script(folder: Path, **turns: list[dict[str, Any]]) -> Path:
    """Write the demo's script with some personas' turns replaced by tool calls."""
    data = yaml.safe_load((DEMO / "good.yaml").read_text("utf-8"))
    kept = [entry for entry in data["replies"] if entry["persona"] not in turns]
    new = [
        {"persona": persona, "turn": turn, **entry}
        for persona, entries in turns.items()
        for turn, entry in enumerate(entries, 1)
    ]
    path = folder / "tools.yaml"
    path.write_text(yaml.safe_dump({"name": "demo", "replies": kept + new}, allow_unicode=True), "utf-8")
    return path


def demo_reply(persona: str) -> dict[str, Any]:
    replies = yaml.safe_load((DEMO / "good.yaml").read_text("utf-8"))["replies"]
    return next(entry["reply"] for entry in replies if entry["persona"] == persona)


def demo_tests() -> str:
    return demo_reply("tester")["files"][0]["content"]


WORKING: dict[str, list[dict[str, Any]]] = {
    "planner": [
        use("search", pattern="def "),
        {"reply": demo_reply("planner")},
    ],
    "tester": [
        use("read_file", path="words/text.py"),
        use("write_file", path="words/text.py", content="pass\n"),
        use("write_file", path="tests/test_slugify.py", content=demo_tests()),
        use("finish", note="one test for each scenario"),
    ],
    "coder": [
        use("read_file", path="words/text.py"),
        use("write_file", path="tests/test_slugify.py", content=""),
        use("replace_in_file", path="words/text.py", old=LAST, new=LAST + SLUGIFY),
        use("run_tests"),
        said(
            "<tool_call>\n<function=replace_in_file>\n<parameter=path>\nwords/text.py\n</parameter>\n<parameter=old>\n"
            f"{FIRST}</parameter>\n<parameter=new>\n{FIRST}\nimport re\n</parameter>\n</function>\n</tool_call>"
        ),
        use("run_tests"),
        use("finish", note="slugify joins runs of letters and digits", dispute=""),
    ],
    "reviewer": [use("read_file", path="words/text.py"), use("finish", findings=[], verdict="approve")],
}  # fmt: skip


@contextmanager
def playing(folder: Path, turns: dict[str, list[dict[str, Any]]]) -> Iterator[Stack]:
    made = Stack(folder, rehearsal(script(folder, **turns)))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with playing(tmp_path_factory.mktemp("working"), WORKING) as made:
        yield made


def test_a_task_is_done_with_tools_and_replays_to_the_same_commit(stack: Stack, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = stack.submit(repo, TASK, yes=True)
    body = stack.wait(run)
    assert body["state"] == "merged", body["message"]
    assert "import re" in (repo / "words" / "text.py").read_text("utf-8")
    used = [(data["tool"], data["failed"]) for kind, data in stack.events(run) if kind == "call.tool"]
    assert ("write_file", True) in used  # the coder's hand on the tests, and the tester's on the code
    assert used.count(("run_tests", False)) == 2
    checks = [data["verdict"] for kind, data in stack.events(run) if kind == "check.finished" and data["what"] == "try"]
    assert checks == ["failed", "passed"]
    status, replayed = stack.call("POST", f"/v1/runs/{run}/replay")
    assert (status, replayed["same"]) == (200, True), replayed
    assert git(repo, "rev-parse", "main") == body["commit"]


STUCK: dict[str, list[dict[str, Any]]] = {
    "coder": [use("write_file", path="words/extra.py", content="EXTRA = 1\n"), use("read_file", path="words/text.py")],
}


def test_a_coder_that_goes_in_circles_is_stopped_by_name_and_the_rounds_end(tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    with playing(tmp_path, STUCK) as stack:
        run = stack.submit(repo, TASK, yes=True)
        body = stack.wait(run)
        assert body["state"] == "rounds spent", body["message"]
        notes = [data["text"] for kind, data in stack.events(run) if kind == "note"]
    assert any("repetition" in text for text in notes), notes
    assert git(repo, "status", "--porcelain") == ""


def test_what_was_said_to_models_can_be_read_and_exported(stack: Stack, tmp_path: Path) -> None:
    repo = sample(tmp_path / "repo")
    run = stack.submit(repo, TASK, yes=True)
    assert stack.wait(run)["state"] == "merged"
    shown = stack.cli("show", run, "--calls", "--persona", "coder")
    assert shown.returncode == 0, shown.stderr
    edit = next(line for line in shown.stdout.splitlines() if "→ replace_in_file" in line)
    assert "path='words/text.py'" in edit
    assert "rehearsal: no model was asked" in shown.stdout
    assert "messages before are as in the last turn" in shown.stdout
    file = tmp_path / "calls.jsonl"
    assert stack.cli("show", run, "--export", str(file)).returncode == 0
    assert file.stat().st_mode & 0o077 == 0
    calls = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    coder = [call for call in calls if call["persona"] == "coder"]
    assert [call["turn"] for call in coder] == list(range(1, 8))
    assert [message["role"] for message in coder[-1]["messages"]][:3] == ["system", "user", "assistant"]
    assert coder[-1]["messages"][: len(coder[0]["messages"])] == coder[0]["messages"]
    assert coder[-1]["reply"]["tool_calls"][0]["name"] == "finish"
    assert {tool["name"] for tool in coder[0]["tools"]} >= {"read_file", "run_tests", "finish"}
    again = stack.cli("show", run, "--export", str(file))
    assert again.returncode == 2
    assert "exists" in again.stderr
    kept = stack.state / "flight" / f"{run}.jsonl"
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.stat().st_size < file.stat().st_size / 2  # each message is kept once
