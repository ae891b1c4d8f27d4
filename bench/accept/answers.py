"""How soon the configured models answer, asked as a persona asks them: by a dispatcher, a worker and its model server."""

from __future__ import annotations

import statistics
import time
import uuid
import zlib
from collections.abc import Sequence
from struct import pack

from bench.accept.figures import Figure, untaken
from router.dispatcher import Dispatcher
from tandem.config import Config
from tandem.errors import TandemError
from tandem.types import CompleteRequest, Message, ModelInfo, Reply, RequestId, RunId, Sampling

_TIMES = 5
_WAIT_S = 90.0
_TOKENS = 64
_ASKED = "In one short sentence: what is a unit test for?"
_ASKED_OF_PICTURE = "In one word: which colour has this picture?"
_NAMES = ("load", "first-answer", "text-answer", "later-answers", "model-size")
_SEEING = ("-vl", "vision", "llava", "gemma3", "gemma4", "moondream", "minicpm-v")  # in the names of models with eyes


async def figures(models: Dispatcher, config: Config) -> list[Figure]:
    """Return the figures of each configured model."""
    found: list[Figure] = []
    slots = {config.models.router: config.context.router, config.models.worker: config.context.worker}
    for model, context in slots.items():
        found += await _of(models, model, context)
    seeing = [model for model in slots if any(word in model.lower() for word in _SEEING)]
    if not seeing:
        found += untaken("no configured model takes pictures, by its name", "image-answer")
    for model in seeing:
        found += await _of_picture(models, model, slots[model])
    return found


async def _of(models: Dispatcher, model: str, context: int) -> list[Figure]:
    if model.startswith("rehearsal/"):
        return untaken("it is a script that plays replies, and no model", *_NAMES, of=model)
    try:
        before = await _info(models, model)
        first, first_s = await _ask(models, model, context, _ASKED)
        later = [await _ask(models, model, context, _ASKED) for _ in range(_TIMES)]
        after = await _info(models, model)
    except TandemError as error:
        return untaken(error.message, *_NAMES, of=model)
    times = [took_s for _, took_s in later]
    note = f"{first.node}, {first.backend}; {later[-1][0].completion_tokens} tokens"
    size = after.size_bytes if after else 0
    return [
        _load(model, before, first, [reply for reply, _ in later]),
        Figure(name="first-answer", value=first_s, note=note, of=model),
        Figure(name="text-answer", value=statistics.median(times), note=note, of=model),
        Figure(name="later-answers", value=max(times), note=note, of=model),
        Figure(name="model-size", value=size / 1e9 if size else None, note="" if size else "not said", of=model),
    ]


def _load(model: str, before: ModelInfo | None, first: Reply, later: Sequence[Reply]) -> Figure:
    """Return what loading took: the first answer's first token, less what that takes of a model in memory."""
    if before is None or before.resident is None:
        return Figure(name="load", value=None, note="its server does not say what is in memory", of=model)
    if before.resident:
        return Figure(name="load", value=None, note=f"it was in memory already; `ollama stop {model}` first", of=model)
    warm_ms = statistics.median(reply.first_token_ms for reply in later)
    return Figure(name="load", value=max(first.first_token_ms - warm_ms, 0) / 1e3, of=model)


async def _of_picture(models: Dispatcher, model: str, context: int) -> list[Figure]:
    try:
        await _ask(models, model, context, _ASKED_OF_PICTURE, picture())
        reply, took_s = await _ask(models, model, context, _ASKED_OF_PICTURE, picture())
    except TandemError as error:
        return untaken(error.message, "image-answer", of=model)
    return [Figure(name="image-answer", value=took_s, note=f"said {reply.text.strip()[:60]!r}", of=model)]


async def _info(models: Dispatcher, model: str) -> ModelInfo | None:
    bare = model.rpartition("/")[2]
    infos = [info for node in await models.describe() for info in node.models]
    return next((info for info in infos if info.name in (model, bare) or info.name.endswith(f"/{bare}")), None)


async def _ask(models: Dispatcher, model: str, context: int, text: str, image: bytes = b"") -> tuple[Reply, float]:
    request = CompleteRequest(
        request_id=RequestId(f"accept-{uuid.uuid4().hex[:12]}"),
        run_id=RunId("accept"),
        persona="accept",
        turn=1,
        model=model,
        messages=(Message(role="user", content=text, images=(image,) if image else ()),),
        sampling=Sampling(max_tokens=_TOKENS),
        context_tokens=context,
        deadline_s=_WAIT_S,
    )
    began = time.monotonic()
    reply = await models.complete(request, lambda chunk: None)
    return reply, time.monotonic() - began


def picture(side: int = 256) -> bytes:
    """Return a red square as PNG."""
    rows = (b"\0" + b"\xd0\x20\x20" * side) * side

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    head = pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
