"""Bring here what a check left, once its report is in. The report does not wait for it longer than `BRING_S`.

What came whole is kept; that the rest did not come, and why, is told beside it. A broken connection is picked up at the
piece where it broke.
"""

from __future__ import annotations

import asyncio
import random
import time

from router.artefacts import Taking
from router.node import Node
from tandem import channel
from tandem.errors import DeadlineExceeded, TandemError
from tandem.types import CheckRequest
from tandem.wire.checks import artefact_in, check_out

BRING_S = 60.0  # 8 MiB over the slowest network that is not taken for a cut one
PAUSES_S = (0.1, 0.2, 0.5, 1.0)  # before another connection; so many in a row may bring nothing
_WHY_CHARS = 500


async def bring(node: Node, asked: CheckRequest, taking: Taking) -> None:
    """Take in what the worker holds of the check that it just answered as `asked`.

    Nothing is raised but a cancel: where it does not come, `taking` is told so.
    """
    try:
        await _insist(node, asked, taking, time.monotonic() + BRING_S)
    except DeadlineExceeded:
        await asyncio.to_thread(taking.cut, f"what the tests left did not come within {BRING_S:g} s")
    except TandemError as error:
        await asyncio.to_thread(taking.cut, f"what the tests left did not come: {error.message[:_WHY_CHARS]}")


async def _insist(node: Node, asked: CheckRequest, taking: Taking, end_s: float) -> None:
    """Take in all there is, over as many connections as it needs as long as each brings a piece.

    Raises:
        DeadlineExceeded: `end_s`, of the monotonic clock, came first.
        TandemError: As the worker said, or as its connections broke.
    """
    fruitless = 0
    while True:
        before = taking.messages
        try:
            await _once(node, asked, taking, end_s)
            return
        except TandemError as error:
            fruitless = 0 if taking.messages > before else fruitless + 1
            if not channel.is_lost(error) or node.gone or fruitless > len(PAUSES_S):
                raise
            await asyncio.sleep(PAUSES_S[max(fruitless - 1, 0)] * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            node.doubt()


async def _once(node: Node, asked: CheckRequest, taking: Taking, end_s: float) -> None:
    try:
        async with asyncio.timeout(_left_s(end_s)):
            await node.describe()  # of its addresses, one that still answers
    except TimeoutError as error:
        raise DeadlineExceeded("the worker did not answer in time") from error
    sent = check_out(asked, spool=taking.spool, spool_messages=taking.messages)
    with channel.translated(f"worker {node.name}"):
        # the deadline is the call's own: a write to the disk is never left alone in the middle
        call = node.stub.Check(sent, timeout=_left_s(end_s))
        try:
            async for response in call:
                if response.HasField("artefact") and response.artefact.spool == taking.spool:
                    await asyncio.to_thread(taking.take, artefact_in(response.artefact))
        finally:
            call.cancel()


def _left_s(end_s: float) -> float:
    return max(end_s - time.monotonic(), 0.01)
