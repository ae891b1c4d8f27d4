"""Offer tools in words to a model that has no template for them: it answers with calls as text.

The form is the one Qwen and Hermes models are trained on; whoever reads the reply understands it, and many others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from tandem.types import CompleteRequest, Message, Tool

_HOW = """

# Tools
You may call these tools, given as JSON schemas:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON between these marks, and nothing after them:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>"""


def in_words(request: CompleteRequest) -> CompleteRequest:
    """Return the request with its tools described in the system prompt instead of offered as such."""
    told = _HOW.format(tools="\n".join(_line(tool) for tool in request.tools))
    return replace(request, tools=(), messages=_told(request.messages, told))


def _told(messages: Sequence[Message], words: str) -> tuple[Message, ...]:
    if messages and messages[0].role == "system":
        return (replace(messages[0], content=messages[0].content + words), *messages[1:])
    return (Message(role="system", content=words.strip()), *messages)


def _line(tool: Tool) -> str:
    return json.dumps({"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)})
