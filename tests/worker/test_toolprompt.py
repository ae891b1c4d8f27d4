"""Tools in words, for a model whose template knows none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tandem.config import OllamaConfig
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId, Tool
from tests.support.fake_ollama import FakeOllama, Say
from worker.backends.ollama import OllamaBackend
from worker.backends.toolprompt import in_words

TOOL = Tool(name="read_file", description="Read.", parameters={"type": "object", "properties": {}})
REQUEST = CompleteRequest(
    request_id=RequestId("r"),
    run_id=RunId("run"),
    persona="coder",
    turn=1,
    model="small",
    messages=(Message(role="system", content="You code."), Message(role="user", content="Go.")),
    tools=(TOOL,),
)


def test_the_system_prompt_keeps_its_first_bytes_and_names_the_tools() -> None:
    told = in_words(REQUEST)
    assert told.tools == ()
    assert told.messages[0].content.startswith("You code.")
    assert '"read_file"' in told.messages[0].content
    assert told.messages[1:] == REQUEST.messages[1:]


def test_a_prompt_without_a_system_message_gets_one() -> None:
    told = in_words(replace(REQUEST, messages=REQUEST.messages[1:]))
    assert [message.role for message in told.messages] == ["system", "user"]


def test_a_model_without_tools_is_asked_again_in_words_and_from_then_on_at_once() -> None:
    def behaviour(body: dict[str, object]) -> Say:
        if body.get("tools"):
            return Say(status=400, error="registry.ollama.ai/library/small does not support tools")
        return Say(text='<tool_call>{"name": "read_file", "arguments": {}}</tool_call>')

    with FakeOllama(behaviour) as server:
        backend = OllamaBackend(OllamaConfig(url=server.url))

        async def ask() -> list[Chunk | Reply]:
            return [part async for part in backend.complete(REQUEST, "small")]

        async def twice() -> list[Chunk | Reply]:
            await ask()
            said = await ask()
            await backend.close()
            return said

        said = asyncio.run(twice())
    assert isinstance(said[-1], Reply)
    assert "read_file" in said[-1].text
    assert [bool(body.get("tools")) for body in server.asked] == [True, False, False]
