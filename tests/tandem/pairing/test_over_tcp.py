import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem import identity
from tandem.endpoints import Endpoint
from tandem.errors import BadConfig, BadInput, BadReply, Conflict, DeadlineExceeded, Refused, Unavailable
from tandem.pairing import code as codes
from tandem.pairing.code import Code
from tandem.pairing.entering import Entered, enter
from tandem.pairing.exchange import Exchange, WrongCode
from tandem.pairing.lines import Lines
from tandem.pairing.messages import Card, Stored
from tandem.pairing.showing import TROUBLES_MAX, Showing, reachable
from tandem.peers import Peer, Peers, Role

HERE = [Endpoint("127.0.0.1", 0)]
WRONG = Code("00000000")


class Place:
    """A machine: its identity, its peers, and what it says of itself."""

    def __init__(self, folder: Path, name: str, role: Role) -> None:
        self.identity = identity.load(folder)
        self.peers = Peers(folder)
        addresses = ("127.0.0.1:7000", "10.0.0.2:7000") if role == "worker" else ()
        self.card = Card(name=name, role=role, certificate=self.identity.certificate.decode(), addresses=addresses)

    def card_of(self, theirs: Card) -> Card:
        return self.card

    def known(self) -> list[str]:
        return [peer.name for peer in self.peers.read().peers]


@pytest.fixture
def mini(tmp_path: Path) -> Place:
    return Place(tmp_path / "mini", "mini", "worker")


@pytest.fixture
def book(tmp_path: Path) -> Place:
    return Place(tmp_path / "book", "book", "router")


class Open:
    """An open window on `mini`."""

    def __init__(self, showing: Showing, code: Code, at: Endpoint) -> None:
        self.showing, self.code, self.at = showing, code, at
        self.waiting = asyncio.create_task(showing.wait())

    async def refused(self) -> None:
        """Wait until the window has told of a refusal."""
        while not self.showing.troubles:  # noqa: ASYNC110 - it is told in a list, for a person
            await asyncio.sleep(0.01)


@asynccontextmanager
async def window(mini: Place, valid_s: float = 60.0) -> AsyncGenerator[Open]:
    code = codes.new()
    showing = Showing(code, mini.card, mini.peers, valid_s=valid_s)
    async with showing.opened(HERE) as bound:
        opened = Open(showing, code, bound[0])
        try:
            yield opened
        finally:
            opened.waiting.cancel()
            await asyncio.gather(opened.waiting, return_exceptions=True)


def test_both_store_the_other_and_nobody_listens_any_more(mini: Place, book: Place) -> None:
    async def scenario() -> tuple[Peer, Entered]:
        async with window(mini) as opened:
            entered = await enter(opened.code, opened.at, book.card_of, book.peers)
            shown = await opened.waiting
            with pytest.raises(Refused, match="used already"):  # the listener is not closed yet in here
                await enter(opened.code, opened.at, book.card_of, book.peers)
        with pytest.raises(Unavailable, match="nobody shows a code"):
            await enter(opened.code, opened.at, book.card_of, book.peers)
        return shown, entered

    shown, entered = asyncio.run(scenario())
    assert (shown.id, shown.name, shown.role) == (book.identity.id, "book", "router")
    assert (entered.peer.id, entered.peer.name, entered.confirmed) == (mini.identity.id, "mini", True)
    assert entered.peer.addresses == ("127.0.0.1:7000", "10.0.0.2:7000")
    assert mini.peers.read().peers == (shown,)
    assert book.peers.read().peers == (entered.peer,)
    assert shown.certificate == book.identity.certificate.decode()


def test_three_wrong_codes_close_the_window_and_say_so(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            for left in ("2 tries are left", "1 try is left", "closed the pairing"):
                with pytest.raises(WrongCode, match=left):
                    await enter(WRONG, opened.at, book.card_of, book.peers)
            with pytest.raises(Refused, match=r"wrong 3 times.*closed"):
                await opened.waiting
            with pytest.raises(WrongCode, match="too often"):  # the right one, too late
                await enter(opened.code, opened.at, book.card_of, book.peers)

    asyncio.run(scenario())
    assert mini.known() == book.known() == []


def test_wrong_codes_at_once_count_each(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            tries = [enter(WRONG, opened.at, book.card_of, book.peers) for _ in range(4)]
            said = [str(found) for found in await asyncio.gather(*tries, return_exceptions=True)]
            assert sorted("left" in words for words in said) == [False, False, True, True]
            with pytest.raises(Refused, match="3 times"):
                await opened.waiting

    asyncio.run(scenario())


def test_a_late_code_is_refused(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini, valid_s=0.2) as opened:
            with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s.*no longer counts"):
                await opened.waiting
            with pytest.raises(Refused, match="no longer counts"):  # also by one who was connected in time
                await enter(opened.code, opened.at, book.card_of, book.peers)

    asyncio.run(scenario())
    assert mini.known() == book.known() == []


def test_the_code_of_one_window_is_none_for_another(mini: Place, book: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other", "other", "worker")

    async def scenario() -> None:
        async with window(mini) as one, window(other) as two:
            with pytest.raises(WrongCode):
                await enter(one.code, two.at, book.card_of, book.peers)
            assert (await enter(two.code, two.at, book.card_of, book.peers)).peer.name == "other"
            assert (await enter(one.code, one.at, book.card_of, book.peers)).peer.name == "mini"

    asyncio.run(scenario())
    assert sorted(book.known()) == ["mini", "other"]


def test_one_address_takes_one_window(mini: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            with pytest.raises(BadInput, match=r"cannot listen on 127\.0\.0\.1.*another pairing"):
                async with Showing(codes.new(), mini.card, mini.peers).opened([opened.at]):
                    raise AssertionError("two listen on one address")

    asyncio.run(scenario())


def test_an_address_that_cannot_be_used_is_left_out_unless_it_was_asked_for(mini: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as taken:
            showing = Showing(codes.new(), mini.card, mini.peers)
            async with showing.opened([taken.at, *HERE], every=False) as bound:
                assert len(bound) == 1
            with pytest.raises(BadInput, match="cannot listen on"):
                async with showing.opened([taken.at], every=False):
                    raise AssertionError("nothing is left")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("told", "far", "tried"),
    [
        (("10.0.0.2:70", "169.254.1.2:70"), "169.254.1.2", ("169.254.1.2:70", "10.0.0.2:70")),
        ((), "fe80::2%en1", ("[fe80::2%en1]:7432",)),
        (("10.0.0.2:70",), "fe80::2%en1", ("[fe80::2%en1]:70", "10.0.0.2:70")),
        (("[fe80::2%bridge0]:70", "127.0.0.1:70", "10.0.0.2:70"), "10.0.0.2", ("10.0.0.2:70",)),
        (("127.0.0.1:70",), "127.0.0.1", ("127.0.0.1:70",)),
    ],
)
def test_a_worker_is_tried_first_where_it_was_met_and_never_at_what_means_another_machine(
    told: tuple[str, ...], far: str, tried: tuple[str, ...]
) -> None:
    assert reachable(told, far) == tried


def test_a_machine_is_not_paired_with_itself(mini: Place) -> None:
    router = mini.card.model_copy(update={"role": "router"})

    async def scenario() -> None:
        async with window(mini) as opened:
            with pytest.raises(Conflict, match="this machine itself"):
                await enter(opened.code, opened.at, lambda theirs: router, mini.peers)

    asyncio.run(scenario())
    assert mini.known() == []


Talk = Callable[[Lines], Awaitable[None]]


async def rubbish(lines: Lines) -> None:
    await lines.send(b"GET / HTTP/1.1\r\nHost: mini\r\n\r\n")
    assert b'"malformed"' in await lines.read()


async def too_long(lines: Lines) -> None:
    await lines.send(b"x" * 100_000)
    assert b'"malformed"' in await lines.read()


async def endless(lines: Lines) -> None:
    with contextlib.suppress(Unavailable):
        for _ in range(100):
            await lines.send(b"x" * 100_000)
    with contextlib.suppress(Unavailable):
        assert b'"refusal"' in await lines.read()


async def silence(lines: Lines) -> None:
    await lines.close()


@pytest.mark.parametrize("talk", [rubbish, too_long, endless, silence])
def test_what_is_no_pairing_gets_no_answer_and_is_no_try(mini: Place, book: Place, talk: Talk) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            for _ in range(5):
                lines = await Lines.to(*opened.at, 5)
                assert b'"hello"' in await lines.read()
                await talk(lines)
                await lines.close()
            assert (await enter(opened.code, opened.at, book.card_of, book.peers)).confirmed

    asyncio.run(scenario())


def test_no_words_of_a_stranger_are_repeated_and_no_noise_hides_a_guess(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            hello = json.loads(Exchange("enters", WRONG, book.card).hello) | {"\x1b[2Jall is well": 1}
            for _ in range(TROUBLES_MAX + 1):
                lines = await Lines.to(*opened.at, 5)
                await lines.read()
                await lines.send(json.dumps(hello).encode() + b"\n")
                await lines.read()
                await lines.close()
            assert len(opened.showing.troubles) == TROUBLES_MAX
            assert "well" not in "".join(opened.showing.troubles)
            with pytest.raises(WrongCode):
                await enter(WRONG, opened.at, book.card_of, book.peers)
            assert "a wrong code; 2 of 3" in opened.showing.troubles[-1]

    asyncio.run(scenario())


def test_who_is_killed_before_the_others_last_word_has_stored_nothing(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            lines = await Lines.to(*opened.at, 5)
            exchange = Exchange("enters", opened.code, book.card)
            exchange.meet(await lines.read())
            await lines.send(exchange.hello, exchange.proof())
            exchange.check(await lines.read())
            assert mini.known() == []  # what a process that is killed here leaves
            await lines.send(Stored().line())
            assert b'"stored"' in await lines.read()
            assert mini.known() == ["book"]
            await lines.close()

    asyncio.run(scenario())


def test_who_says_nothing_is_shown_out_and_holds_nobody_up(
    mini: Place, book: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.pairing.showing.VISIT_S", 0.5)

    async def scenario() -> None:
        async with window(mini) as opened:
            silent = [await Lines.to(*opened.at, 5) for _ in range(4)]
            with pytest.raises(Unavailable, match="too many machines"):
                await enter(opened.code, opened.at, book.card_of, book.peers)
            for lines in silent:
                await lines.read()
                with pytest.raises(Unavailable, match="closed"):
                    await lines.read(5)
                await lines.close()
            assert (await enter(opened.code, opened.at, book.card_of, book.peers)).confirmed
            assert "longer than 0.5 s" in opened.showing.troubles[0]

    asyncio.run(scenario())


async def half(opened: Open, book: Place, *, until: str) -> None:
    """Enter the right code, and break off at a point."""
    lines = await Lines.to(*opened.at, 5)
    exchange = Exchange("enters", opened.code, book.card)
    exchange.meet(await lines.read())
    if until != "hello":
        await lines.send(exchange.hello, *([exchange.proof()] if until != "proof" else []))
    if until == "stored":
        exchange.check(await lines.read())
    await lines.close()


@pytest.mark.parametrize("until", ["hello", "proof", "answer", "stored"])
def test_a_connection_cut_anywhere_before_the_last_word_leaves_neither(mini: Place, book: Place, until: str) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            await half(opened, book, until=until)
            await opened.refused()
            assert mini.known() == []
            assert not opened.waiting.done()
            await enter(opened.code, opened.at, book.card_of, book.peers)  # the code still counts
            await opened.waiting

    asyncio.run(scenario())
    assert (mini.known(), book.known()) == (["book"], ["mini"])


def test_an_earlier_pairing_survives_one_that_is_cut(mini: Place, book: Place) -> None:
    async def scenario() -> None:
        async with window(mini) as opened:
            await enter(opened.code, opened.at, book.card_of, book.peers)
            await opened.waiting
        mini.peers.rename(book.identity.id, "laptop")
        async with window(mini) as opened:
            await half(opened, book, until="stored")
            await opened.refused()
            assert "did not say that it stored this machine" in opened.showing.troubles[0]

    asyncio.run(scenario())
    assert mini.known() == ["laptop"]


def test_a_machine_that_cannot_store_the_other_leaves_neither(mini: Place, book: Place, tmp_path: Path) -> None:
    (tmp_path / "book" / "peers").write_text("not a folder")

    async def scenario() -> None:
        async with window(mini) as opened:
            with pytest.raises(BadConfig):
                await enter(opened.code, opened.at, book.card_of, book.peers)
            await opened.refused()

    asyncio.run(scenario())
    assert mini.known() == []


@pytest.mark.parametrize("last", [b"", b"no\n", Stored().line()])
def test_the_entering_side_says_whether_the_other_had_the_last_word(mini: Place, book: Place, last: bytes) -> None:
    async def shows(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines, exchange = Lines(reader, writer), Exchange("shows", WRONG, mini.card)
        await lines.send(exchange.hello)
        exchange.meet(await lines.read())
        exchange.check(await lines.read())
        await lines.send(exchange.proof())
        await lines.read()
        await lines.send(last)
        await lines.close()

    async def scenario() -> Entered:
        async with await asyncio.start_server(shows, "127.0.0.1", 0) as server:
            at = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
            return await enter(WRONG, at, book.card_of, book.peers)

    assert asyncio.run(scenario()).confirmed is (last == Stored().line())


def test_something_else_that_answers_is_named(book: Place) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
            at = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
            with pytest.raises(BadReply, match="no hello of a pairing"):
                await enter(WRONG, at, book.card_of, book.peers)

    asyncio.run(scenario())
    assert book.known() == []


def test_a_man_in_the_middle_learns_nothing_and_is_counted(mini: Place, book: Place, tmp_path: Path) -> None:
    """It speaks to each as the other, with its own certificate and a guess at the code."""
    eve, fake = Place(tmp_path / "eve", "book", "router"), Place(tmp_path / "fake", "mini", "worker")

    async def scenario() -> None:
        async with window(mini) as opened:
            guess = Code(f"{(int(opened.code) + 1) % 10**8:08}")
            there: list[str] = []

            async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await enter(guess, opened.at, eve.card_of, eve.peers)
                except WrongCode as error:
                    there.append(error.message)
                lines, exchange = Lines(reader, writer), Exchange("shows", guess, fake.card)
                await lines.send(exchange.hello)
                exchange.meet(await lines.read())
                with pytest.raises(WrongCode):
                    exchange.check(await lines.read())
                await lines.send(exchange.proof())
                await lines.close()

            async with await asyncio.start_server(between, "127.0.0.1", 0) as server:
                at = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
                with pytest.raises(WrongCode, match="stands between"):
                    await enter(opened.code, at, book.card_of, book.peers)
            assert there == ["the code is wrong; 2 tries are left, then the other machine closes the pairing"]

    asyncio.run(scenario())
    assert mini.known() == book.known() == eve.known() == []
