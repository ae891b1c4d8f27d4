"""A run against an Ollama server at the wire, with the real client, on repositories the demo has never seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_ollama import FakeOllama, Say, persona_of
from tests.support.needs import require
from tests.support.stack import Stack, git, repository

ASSESS = {"reason": "two files", "difficulty": "low", "kind": "code", "reflect": False, "sure": True}


class Team:
    """Answers as a model would, by which reply is asked for; one list of replies a persona."""

    def __init__(self, **replies: list[Any]) -> None:
        self.replies = {"assessment": [ASSESS], "review": [{"findings": [], "verdict": "approve"}], **replies}
        self.spoken: dict[str, int] = {}

    def __call__(self, body: Mapping[str, Any]) -> Say:
        name = persona_of(body)
        number = self.spoken.get(name, 0)
        self.spoken[name] = number + 1
        known = self.replies[name]
        reply = known[min(number, len(known) - 1)]
        return Say(reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False))


def ollama(fake: FakeOllama) -> dict[str, str]:
    return {
        "TANDEM_OLLAMA_URL": fake.url,
        "TANDEM_MODELS_ROUTER": "small",
        "TANDEM_MODELS_WORKER": "large",
        "TANDEM_OLLAMA_FIRST_TOKEN_S": "20",
    }


def plan(summary: str, *files: str) -> dict[str, Any]:
    scenario = {"name": summary, "gherkin": "Given it\nWhen it is called\nThen it answers"}
    return {"summary": summary, "scenarios": [scenario], "files": list(files), "risks": [], "question": ""}


PYTHON = {
    "requirements.txt": "six==1.16.0\n",
    "shop/__init__.py": "",
    "shop/price.py": "import six\n\n\ndef total(items):\n    return sum(six.itervalues(items))\n",
    "shop/text.py": "def line(name, price):\n    return f'{name}: {price}'\n",
    "tests/test_price.py": "from shop.price import total\n\n\ndef test_total():\n    assert total({'a': 1, 'b': 2}) == 3\n",
}
PYTHON_TEAM = {
    "plan": [plan("Add a discount to total and show it", "shop/price.py", "shop/text.py")],
    "tests": [
        {
            "files": [
                {
                    "path": "tests/test_discount.py",
                    "content": "from shop.price import total\nfrom shop.text import line\n\n\n"
                    "def test_discount_is_taken_off():\n    assert total({'a': 10}, discount=3) == 7\n\n\n"
                    "def test_line_shows_the_discount():\n    assert line('tea', 7, discount=3) == 'tea: 7 (-3)'\n",
                }
            ],
            "note": "",
        }
    ],
    "code": [
        "Here you are: I changed it.",  # no JSON: one repair
        {
            "files": [
                {
                    "path": "shop/price.py",
                    "content": "import six\n\n\ndef total(items, discount=0):\n"
                    "    return sum(six.itervalues(items)) - discount\n",
                },
                {
                    "path": "shop/text.py",
                    "content": "def line(name, price, discount=0):\n"
                    "    return f'{name}: {price} (-{discount})' if discount else f'{name}: {price}'\n",
                },
            ],
            "note": "both",
            "dispute": "",
        },
    ],
    "report": [{"title": "Discount added", "body": "Done."}],
}
NODE = {
    "package.json": json.dumps({"name": "clock", "type": "module", "scripts": {"test": "node --test"}}),
    "src/clock.js": "export const pad = (n) => String(n);\n",
    "src/show.js": "import { pad } from './clock.js';\nexport const show = (h, m) => `${h}:${m}`;\n",
    "test/clock.test.js": "import test from 'node:test';\nimport assert from 'node:assert';\n"
    "import { pad } from '../src/clock.js';\ntest('pads nothing long', () => assert.equal(pad(12), '12'));\n",
}
NODE_TEAM = {
    "plan": [plan("Show times with two digits", "src/clock.js", "src/show.js")],
    "tests": [
        {
            "files": [
                {
                    "path": "test/show.test.js",
                    "content": "import test from 'node:test';\nimport assert from 'node:assert';\n"
                    "import { pad } from '../src/clock.js';\nimport { show } from '../src/show.js';\n"
                    "test('pads one digit', () => assert.equal(pad(7), '07'));\n"
                    "test('shows both padded', () => assert.equal(show(7, 5), '07:05'));\n",
                }
            ],
            "note": "",
        }
    ],
    "code": [
        {
            "files": [
                {"path": "src/clock.js", "content": "export const pad = (n) => String(n).padStart(2, '0');\n"},
                {
                    "path": "src/show.js",
                    "content": "import { pad } from './clock.js';\n"
                    "export const show = (h, m) => `${pad(h)}:${pad(m)}`;\n",
                },
            ],
            "note": "padStart",
            "dispute": "",
        }
    ],
    "report": [{"title": "Padded", "body": "Done."}],
}


def registry_answers() -> bool:
    asked = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", "/dev/null/x", "six==1.16.0"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    return "No matching distribution" not in done.stderr and "Connection" not in done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, FakeOllama]]:
    with FakeOllama(Team()) as fake:
        made = Stack(tmp_path_factory.mktemp("ollama"), ollama(fake))
        made.start()
        yield made, fake
        made.stop()


@pytest.fixture
def stack(running: tuple[Stack, FakeOllama], request: pytest.FixtureRequest) -> tuple[Stack, Team, FakeOllama]:
    """Return the stack that all share, and the server of its models, at which a team of the test's own answers."""
    (made, fake), team = running, Team(**request.param)
    fake.behaviour = team
    fake.asked.clear()
    return made, team, fake


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", [PYTHON_TEAM], indirect=True)
def test_a_python_repository_whose_dependency_prepare_installs(
    stack: tuple[Stack, Team, FakeOllama], tmp_path: Path
) -> None:
    away = "" if registry_answers() else "no package registry can be reached, and Prepare has to install from one"
    require("a package registry", away, may_be_had=False)
    running, team, fake = stack
    repo = repository(tmp_path / "repo", PYTHON)
    done = running.cli("run", "Add a discount", "--repo", str(repo), "--json", "--no-input", timeout=200)
    assert done.returncode == 3, done.stdout + done.stderr
    run = json.loads(done.stdout.splitlines()[-1])
    assert run["question"]["kind"] == "prepare"
    assert "requirements.txt" in run["question"]["text"]
    assert running.cli("answer", run["run"], "allow", "--json", timeout=200).returncode in (0, 3)
    body = running.wait(run["run"], timeout=200)
    assert body["question"]["kind"] == "approve", body["message"]
    approved = running.cli("approve", run["run"], "--json", timeout=200)
    assert approved.returncode == 0, approved.stdout + approved.stderr
    last = json.loads(approved.stdout.splitlines()[-1])
    assert (last["state"], last["verdict"]) == ("merged", "passed")
    assert git(repo, "diff", "--name-only", "HEAD~1").split() == [
        "shop/price.py",
        "shop/text.py",
        "tests/test_discount.py",
    ]
    assert team.spoken["code"] == 2
    asked = [body for body in fake.asked if body["model"] == "large"]
    assert {body["options"]["num_ctx"] for body in asked} == {32768}
    verified = running.cli("verify", "HEAD", "--repo", str(repo), "--json", timeout=200)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.needs("node")
@pytest.mark.parametrize("stack", [NODE_TEAM], indirect=True)
def test_a_javascript_repository_with_node_test(stack: tuple[Stack, Team, FakeOllama], tmp_path: Path) -> None:
    running, _, _ = stack
    repo = repository(tmp_path / "repo", NODE)
    done = running.cli("run", "Two digits, please", "--repo", str(repo), "--json", "--yes", timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["state"], last["verdict"]) == ("merged", "passed")
    assert set(git(repo, "diff", "--name-only", "HEAD~1").split()) == {
        "src/clock.js",
        "src/show.js",
        "test/show.test.js",
    }
    verified = running.cli("verify", "HEAD", "--repo", str(repo), "--json")
    assert json.loads(verified.stdout.splitlines()[-1])["verdict"] == "holds"


@pytest.mark.parametrize("stack", [{"report": [{"title": "아니요", "body": "없습니다."}]}], indirect=True)
def test_a_question_is_answered_without_a_commit_in_its_own_language(
    stack: tuple[Stack, Team, FakeOllama], tmp_path: Path
) -> None:
    running, team, fake = stack
    team.replies["assessment"] = [{**ASSESS, "kind": "question"}]
    repo = repository(tmp_path / "repo", NODE)
    body = running.wait(running.submit(repo, "이 저장소는 시간대를 다룹니까?"))
    assert (body["state"], body["commit"], body["report"]["title"]) == ("answered", None, "아니요")
    assert all("in Korean" in asked["messages"][0]["content"] for asked in fake.asked)
    assert git(repo, "rev-list", "--count", "--all") == "1"


@pytest.mark.parametrize("stack", [{**NODE_TEAM}], indirect=True)
@pytest.mark.parametrize(
    ("task", "words"), [("시간을 두 자리로 표시해 주세요", "병합"), ("请用两位数字显示时间", "合并")]
)
def test_the_approval_is_asked_in_the_language_of_the_task(
    stack: tuple[Stack, Team, FakeOllama], tmp_path: Path, task: str, words: str
) -> None:
    running, _, _ = stack
    body = running.wait(running.submit(repository(tmp_path / "repo", NODE), task))
    assert body["state"] == "waiting", body["message"]
    assert words in body["question"]["text"]


@pytest.mark.parametrize("stack", [NODE_TEAM], indirect=True)
@pytest.mark.parametrize(
    ("say", "error", "says"),
    [
        (Say(json.dumps(ASSESS), fault="cut"), "Unavailable", "broke"),
        (Say(json.dumps(ASSESS)[:-20]), "", "cannot decide"),
        (Say(json.dumps(ASSESS), fault="garbage"), "", "cannot decide"),
        (Say(status=500, error="boom"), "Unavailable", "boom"),
    ],
)
def test_a_model_server_at_fault_ends_in_words_and_the_run_can_go_on(
    stack: tuple[Stack, Team, FakeOllama], tmp_path: Path, say: Say, error: str, says: str
) -> None:
    running, team, fake = stack
    fake.behaviour = lambda body: say
    run = running.submit(repository(tmp_path / "repo", NODE), "Two digits, please")
    body = running.wait(run)
    if not error:  # an answer nobody can read: the lead decides
        assert (body["state"], body["question"]["kind"]) == ("waiting", "route")
        return
    assert (body["state"], body["error"]) == ("failed", error), body["message"]
    assert says in body["message"]
    fake.behaviour = team
    running.call("POST", f"/v1/runs/{run}/resume")
    assert running.wait(run, until=("waiting",))["question"]["kind"] == "approve"


@pytest.mark.parametrize("stack", [NODE_TEAM], indirect=True)
def test_a_run_that_failed_over_unusable_replies_gets_fresh_ones_on_resume(
    stack: tuple[Stack, Team, FakeOllama], tmp_path: Path
) -> None:
    running, team, _ = stack
    good = team.replies["plan"]
    team.replies["plan"] = ["I would rather not."]
    run = running.submit(repository(tmp_path / "repo", NODE), "Two digits, please")
    body = running.wait(run)
    assert (body["state"], body["error"]) == ("failed", "BadReply"), body["message"]
    assert "Planner" in body["message"]
    team.replies["plan"] = good
    running.call("POST", f"/v1/runs/{run}/resume")
    assert running.wait(run, until=("waiting",))["question"]["kind"] == "approve"
    running.answer(run, "approve")
    assert running.wait(run, until=("merged",))["state"] == "merged"
    status, replayed = running.call("POST", f"/v1/runs/{run}/replay")
    assert (status, replayed["same"]) == (200, True), replayed
