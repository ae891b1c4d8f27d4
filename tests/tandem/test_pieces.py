import asyncio

from tandem.pieces import BULK_BYTES, pieces
from tandem.wire import DATA_BYTES


async def cut(*said: bytes) -> list[bytes]:
    """Return the pieces of what somebody says bit by bit, with a turn of the loop between."""
    reader = asyncio.StreamReader(limit=DATA_BYTES)

    async def say() -> None:
        for words in said:
            reader.feed_data(words)
            await asyncio.sleep(0)
        reader.feed_eof()

    saying = asyncio.create_task(say())
    found = [piece async for piece in pieces(reader)]
    await saying
    return found


def test_a_pack_that_is_written_bit_by_bit_goes_in_few_pieces() -> None:
    said = [bytes([number]) * (8 << 10) for number in range(60)]
    found = asyncio.run(cut(*said))
    assert b"".join(found) == b"".join(said)
    assert len(found) <= 6
    assert max(map(len, found)) <= DATA_BYTES


def test_what_is_said_in_turn_is_passed_on_at_once() -> None:
    async def scenario() -> None:
        reader = asyncio.StreamReader(limit=DATA_BYTES)
        heard = pieces(reader)
        for words in (b"0000", b"x" * (BULK_BYTES - 1), b"y" * BULK_BYTES):
            reader.feed_data(words)
            assert await anext(heard) == words  # nothing follows it, and it is not waited for
        reader.feed_eof()
        assert [piece async for piece in heard] == []

    asyncio.run(scenario())
