"""The backend `openai` against real servers, each with a tiny model that is held to schemas and tool grammars."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agents.replies import Review
from agents.tools.catalogue import TOOLS
from tandem.config import OpenAIConfig
from tandem.errors import DeadlineExceeded, UnknownModel
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId, Sampling
from tests.support.mlx_servers import Server, serving
from tests.support.stack import Stack, git, repository
from worker.backends.openai import OpenAIBackend

pytestmark = pytest.mark.needs("model servers")
T = TypeVar("T")


@pytest.fixture(scope="module", params=["lm", "vlm"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with mlx_lm.server (a model like qwen3-coder-next) and with mlx_vlm.server (one like qwen2.5)."""
    with serving(request.param, tmp_path_factory.mktemp("server")) as started:
        yield started


def question(server: Server, **more: Any) -> CompleteRequest:
    given: dict[str, Any] = {
        "request_id": RequestId("q"),
        "run_id": RunId("r"),
        "persona": "coder",
        "turn": 1,
        "model": f"openai/{server.model}",
        "messages": (Message(role="system", content="Be brief."), Message(role="user", content="What is this?")),
        "sampling": Sampling(max_tokens=60, temperature=0.7),
        **more,
    }
    return CompleteRequest(**given)


def within(server: Server, scenario: Callable[[OpenAIBackend], Coroutine[Any, Any, T]], **config: Any) -> T:
    async def run() -> T:
        backend = OpenAIBackend(OpenAIConfig(url=server.url, **{"first_token_s": 30.0, **config}))
        try:
            async with asyncio.timeout(40):
                return await scenario(backend)
        finally:
            await backend.close()

    return asyncio.run(run())


async def answer(backend: OpenAIBackend, asked: CompleteRequest) -> tuple[list[Chunk], Reply]:
    parts = [part async for part in backend.complete(asked, asked.model.removeprefix("openai/"))]
    assert isinstance(parts[-1], Reply)
    chunks = [part for part in parts if isinstance(part, Chunk)]
    assert "".join(chunk.text for chunk in chunks) == parts[-1].text
    return chunks, parts[-1]


def test_lists_the_model_it_serves(server: Server) -> None:
    async def scenario(backend: OpenAIBackend) -> list[str]:
        return [model.name for model in await backend.models()]

    assert f"openai/{server.model}" in within(server, scenario)


def test_streams_a_reply_with_its_counts_up_to_the_limit(server: Server) -> None:
    chunks, reply = within(server, lambda backend: answer(backend, question(server)))
    assert len(chunks) > 10
    assert (reply.finish, reply.completion_tokens) == ("length", 60)
    assert reply.prompt_tokens > 10
    assert 0 < reply.first_token_ms < reply.total_ms


def test_a_schema_makes_a_reply_that_follows_it(server: Server) -> None:
    asked = question(server, schema=Review.model_json_schema(), sampling=Sampling(max_tokens=400, temperature=0.7))
    reply = within(server, lambda backend: answer(backend, asked))[1]
    assert reply.finish == "stop"
    assert Review.model_validate(json.loads(reply.text), strict=True).verdict in ("approve", "changes")


def test_tools_make_calls_that_come_as_calls(server: Server) -> None:
    tools = (TOOLS["read_file"], TOOLS["search"], TOOLS["write_file"])
    asked = question(server, tools=tools, sampling=Sampling(max_tokens=400, temperature=0.7))
    reply = within(server, lambda backend: answer(backend, asked))[1]
    assert reply.finish == "tool_calls"
    assert "tool_call" not in reply.text
    made = reply.tool_calls[0]
    known = next(tool for tool in tools if tool.name == made.name)
    assert set(made.arguments) <= set(known.parameters["properties"])  # type: ignore[arg-type]


def test_a_conversation_with_calls_and_their_answers_goes_on(server: Server) -> None:
    async def scenario(backend: OpenAIBackend) -> Reply:
        sampling = Sampling(max_tokens=400)  # room for a whole call
        asked = question(server, tools=(TOOLS["list_files"],), sampling=sampling)
        first = (await answer(backend, asked))[1]
        results = tuple(Message(role="tool", content="a.py", tool_call_id=call.id) for call in first.tool_calls)
        said = Message(role="assistant", content=first.text, tool_calls=first.tool_calls)
        history = (*asked.messages, said, *results)
        again = question(server, messages=history, tools=asked.tools, sampling=sampling)
        return (await answer(backend, again))[1]

    assert within(server, scenario).tool_calls[0].name == "list_files"


def test_calls_at_the_same_time_get_each_their_own_reply(server: Server) -> None:
    async def scenario(backend: OpenAIBackend) -> list[Reply]:
        sampling = Sampling(max_tokens=300, temperature=0.7)
        asked = [question(server, schema=Review.model_json_schema(), sampling=sampling) for _ in range(4)]
        return [reply for _, reply in await asyncio.gather(*(answer(backend, one) for one in asked))]

    for reply in within(server, scenario):
        Review.model_validate(json.loads(reply.text), strict=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the server's processor time from /proc")
def test_closing_a_reply_stops_the_work(server: Server) -> None:
    async def scenario(backend: OpenAIBackend) -> float:
        asked = question(server, sampling=Sampling(max_tokens=20_000))
        stream = backend.complete(asked, server.model)
        for _ in range(5):
            await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0.5)
        before = server.cpu_s()
        await asyncio.sleep(1.0)
        return server.cpu_s() - before

    assert within(server, scenario) < 0.5


def test_a_deadline_stops_a_reply_that_does_not_begin(server: Server) -> None:
    long = Message(role="user", content="word " * 20_000)
    with pytest.raises(DeadlineExceeded, match="first_token_s"):
        within(server, lambda backend: answer(backend, question(server, messages=(long,))), first_token_s=0.3)


def test_a_model_it_does_not_have_is_an_error_in_words(server: Server) -> None:
    async def scenario(backend: OpenAIBackend) -> None:
        await answer(backend, question(server, model="openai/nobody/has-this"))

    with pytest.raises(UnknownModel, match="nobody/has-this"):
        within(server, scenario)


# --- a whole run --------------------------------------------------------------------------------------------------

# Who is asked shows in the tools on offer; in the text of a message, a quotation mark has a backslash before it.
ANSWERED = '"role": "tool"'  # a tool has answered in this call
PLANNER, REVIEWER, CODER, TESTER = '"scenarios": {', '"verdict": {', '"dispute": {', '"name": "write_file"'
NOTHING: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 0}
TEST = (
    "import unittest\n\n\nclass More\\(unittest\\.TestCase\\):\n    def test_[a-z]{4,8}\\(self\\):\n"
    "        self\\.assertEqual\\([1-4], [5-9]\\)\n"
)
RULES: list[dict[str, Any]] = [
    # What decides where the run goes is fixed; everything else, and the reviewer's verdict, is the model's.
    {
        "where": [],
        "properties": {
            "difficulty": {"enum": ["low"]}, "kind": {"enum": ["code"]}, "sure": {"const": True},
            "reflect": {"const": False}, "question": {"enum": [""]}, "check": {"enum": [""]}, "dispute": {"enum": [""]},
            "path": {"enum": ["price.py"]}, "start": {"enum": [1]}, "end": {"enum": [0]},
        },
    },
    {"where": [PLANNER], "tools": ["read_file"]},
    {"where": [PLANNER, ANSWERED], "tools": ["finish"]},
    {
        "where": [TESTER], "but": [CODER],
        "tools": ["write_file"],
        "properties": {
            "path": {"enum": ["tests/test_more.py"]}, "files": NOTHING,
            "content": {"type": "string", "pattern": f"^{TEST}$"},
        },
    },
    {"where": [TESTER, ANSWERED], "but": [CODER], "tools": ["finish"]},
    {
        "where": [CODER],
        "tools": ["write_file"],
        "properties": {
            "path": {"enum": ["more.py"]}, "files": NOTHING,
            "content": {"type": "string", "pattern": "^[A-Z]{3,8} = [1-9]{1,3}\n$"},
        },
    },
    {"where": [CODER, ANSWERED], "tools": ["run_tests"]},
    {"where": [CODER, ANSWERED, "Not yet"], "tools": ["finish"]},
    {"where": [REVIEWER], "tools": ["read_file"]},
    {"where": [REVIEWER, ANSWERED], "tools": ["finish"]},
]  # fmt: skip
REPOSITORY = {
    "price.py": "def total(items):\n    return sum(items)\n",
    "tests/__init__.py": "",
    "tests/test_price.py": "import unittest\n\nfrom price import total\n\n\nclass Total(unittest.TestCase):\n"
    "    def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n",
}


@pytest.mark.parametrize("kind", ["lm", "vlm"])
def test_a_whole_run_goes_to_its_last_round_and_ends(kind: Any, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", REPOSITORY)
    with serving(kind, tmp_path, RULES) as server:
        name = f"openai/{server.model}"
        stack = Stack(
            tmp_path,
            {
                "TANDEM_OPENAI_URL": server.url, "TANDEM_MODELS_ROUTER": name, "TANDEM_MODELS_WORKER": name,
                "TANDEM_ROUNDS_LOW": "1", "TANDEM_OPENAI_FIRST_TOKEN_S": "60",
            },
        )  # fmt: skip
        stack.start()
        try:
            run = stack.submit(repo, "Take a discount off the total", yes=True)
            body = stack.wait(run)
            events = list(stack.events(run))
            replayed = stack.call("POST", f"/v1/runs/{run}/replay")
        finally:
            stack.stop()
    assert body["state"] == "rounds spent", body["message"]
    asked = [data for name, data in events if name == "call.finished"]
    assert {data["persona"] for data in asked} == {"assessor", "planner", "tester", "coder", "reviewer"}
    assert all(data["backend"] == "openai" and data["completion_tokens"] > 0 for data in asked)
    used = {(data["persona"], data["tool"], data["said"][:6]) for name, data in events if name == "call.tool"}
    handed_over = {(persona, "finish", "Taken.") for persona in ("planner", "tester", "coder", "reviewer")}
    assert handed_over <= used  # each a reply that follows its persona's schema
    assert {("tester", "write_file"), ("coder", "write_file"), ("coder", "run_tests"), ("reviewer", "read_file")} <= {
        (persona, tool) for persona, tool, _ in used
    }
    checks = [(data["what"].split(".")[0], data["verdict"]) for name, data in events if name == "check.finished"]
    assert checks == [("base", "passed"), ("red", "failed"), ("try", "failed"), ("draft", "failed")]
    assert git(repo, "rev-list", "--count", "--all") == "1"
    assert replayed[1]["same"] is True, replayed
