import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import router.recorder as recorder_module
from router.journal import Entry, Journal, RunRow
from router.recorder import RunRecorder, is_new
from tandem.errors import BadReply, ReplayDiffers, StaleApproval, Unavailable
from tandem.types import Decision, Json, Question, RunId

RUN = RunId("r1")
Told = list[tuple[str, dict[str, Json]]]


class Bench:
    """A journal on disk and recorders over it, each as after a restart."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.told: Told = []
        self.asked: list[int] = []

    async def recorder(self, *, offline: bool = False) -> RunRecorder:
        entries = await self.journal.entries(RUN)
        return RunRecorder(self.journal, RUN, entries, emit=lambda k, d: self.told.append((k, d)), offline=offline)

    def live(self, *answers: Json) -> Callable[[int], Awaitable[Json]]:
        left = list(answers)

        async def ask(attempt: int) -> Json:
            self.asked.append(attempt)
            value = left.pop(0)
            if value == "broken":
                raise Unavailable("the worker does not answer")
            return value

        return ask


def with_bench(path: Path, scenario: Callable[[Bench], Awaitable[None]]) -> Bench:
    async def run() -> Bench:
        journal = await Journal.open(path / "j.db")
        await journal.add_run(RunRow(run=RUN, created_s=0, stamp="1", task={}))
        bench = Bench(journal)
        try:
            await scenario(bench)
        finally:
            await journal.close()
        return bench

    return asyncio.run(run())


def test_an_answered_question_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            recorder = await bench.recorder()
            assert await recorder.ask("plan.1", "reply", {"q": 1}, bench.live("first")) == "first"
            assert await recorder.ask("plan.1", "reply", {"q": 1}, bench.live("second")) == "second"

    assert with_bench(tmp_path, scenario).asked == [1, 1]


def test_a_failed_question_is_asked_again_under_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "AGAIN_S", (0.0, 0.0))

    async def scenario(bench: Bench) -> None:
        with pytest.raises(Unavailable):
            await (await bench.recorder()).ask("plan.1", "reply", {}, bench.live("broken", "broken", "broken"))
        assert await (await bench.recorder()).ask("plan.1", "reply", {}, bench.live("broken", "well")) == "well"

    assert with_bench(tmp_path, scenario).asked == [1, 2, 3, 4, 5]


def test_another_question_cuts_the_journal_and_says_so(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.recorder()
        await first.ask("plan.1", "reply", {"prompt": "old"}, bench.live("a"))
        await first.ask("code.1", "reply", {"prompt": "x"}, bench.live("b"))
        again = await bench.recorder()
        assert await again.ask("plan.1", "reply", {"prompt": "new"}, bench.live("c")) == "c"
        assert await again.ask("code.1", "reply", {"prompt": "x"}, bench.live("d")) == "d"
        third = await bench.recorder()
        assert await third.ask("plan.1", "reply", {"prompt": "new"}, bench.live()) == "c"

    told = with_bench(tmp_path, scenario).told
    assert any("from step 'plan.1' on" in str(data.get("text")) for kind, data in told if kind == "note")


def test_a_step_whose_answers_led_nowhere_can_be_asked_again_as_another_attempt(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.recorder()
        await first.ask("plan.1", "reply", {}, bench.live("a plan"))
        await first.ask("code.1", "reply", {}, bench.live("rubbish"))
        await first.ask("code.1", "reply", {}, bench.live("rubbish again"))
        await (await bench.recorder()).forget_last_step()
        again = await bench.recorder()
        assert await again.ask("plan.1", "reply", {}, bench.live()) == "a plan"
        assert await again.ask("code.1", "reply", {}, bench.live("sense")) == "sense"

    assert with_bench(tmp_path, scenario).asked == [1, 1, 1, 2]


def test_no_attempt_comes_twice_whatever_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "AGAIN_S", (0.0, 0.0))

    async def scenario(bench: Bench) -> None:
        first = await bench.recorder()
        await first.ask("plan.1", "clock", {}, bench.live(1))
        await first.ask("plan.1", "reply", {}, bench.live("broken", "broken", "rubbish"))
        await (await bench.recorder()).forget_last_step()
        again = await bench.recorder()
        await again.ask("plan.1", "clock", {}, bench.live(2))
        assert await again.ask("plan.1", "reply", {}, bench.live("broken", "sense")) == "sense"
        assert [e.attempt for e in await bench.journal.entries(RUN) if e.kind == "failed"] == [1, 2, 4]

    assert with_bench(tmp_path, scenario).asked == [1, 1, 2, 3, 2, 4, 5]


def test_a_call_that_failed_leaves_no_answer_behind(tmp_path: Path) -> None:
    async def unusable(attempt: int) -> Json:
        raise BadReply(f"attempt {attempt} was no reply")

    async def scenario(bench: Bench) -> None:
        first = await bench.recorder()
        await first.ask("assess.1", "reply", {}, bench.live("low"))
        with pytest.raises(BadReply):
            await first.ask("plan.1", "reply", {}, unusable)
        await (await bench.recorder()).forget_last_step()
        again = await bench.recorder()
        assert await again.ask("assess.1", "reply", {}, bench.live()) == "low"
        assert await again.ask("plan.1", "reply", {}, bench.live("a plan")) == "a plan"

    assert with_bench(tmp_path, scenario).asked == [1, 2]


def test_offline_the_first_difference_is_named(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await (await bench.recorder()).ask("plan.1", "reply", {"prompt": "old"}, bench.live("a"))
        with pytest.raises(ReplayDiffers, match=r"'plan\.1', entry 1: another question"):
            await (await bench.recorder(offline=True)).ask("plan.1", "reply", {"prompt": "new"}, bench.live())
        offline = await bench.recorder(offline=True)
        await offline.ask("plan.1", "reply", {"prompt": "old"}, bench.live())
        with pytest.raises(ReplayDiffers, match=r"ends before step 'code\.1'"):
            await offline.ask("code.1", "reply", {}, bench.live("x"))

    with_bench(tmp_path, scenario)


def test_offline_a_derived_value_that_came_out_otherwise_is_named(tmp_path: Path) -> None:
    async def value(text: str) -> Json:
        return text

    async def scenario(bench: Bench) -> None:
        await (await bench.recorder()).derive("code.1", "commit", lambda: value("abc"))
        assert await (await bench.recorder(offline=True)).derive("code.1", "commit", lambda: value("abc")) == "abc"
        with pytest.raises(ReplayDiffers, match="'abd' and was 'abc'"):
            await (await bench.recorder(offline=True)).derive("code.1", "commit", lambda: value("abd"))

    with_bench(tmp_path, scenario)


def test_an_effect_cut_short_by_cancel_still_gets_its_record(tmp_path: Path) -> None:
    done: list[str] = []

    async def scenario(bench: Bench) -> None:
        begun = asyncio.Event()

        async def do() -> Json:
            begun.set()
            await asyncio.sleep(0.05)
            done.append("merged")
            return "merged"

        recorder = await bench.recorder()
        task = asyncio.create_task(recorder.effect("merge.1", "delivery", {}, do))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await (await bench.recorder()).effect("merge.1", "delivery", {}, do) == "merged"
        kinds = [e.kind for e in await bench.journal.entries(RUN)]
        assert kinds == ["intent", "delivery"]

    with_bench(tmp_path, scenario)
    assert done == ["merged"]


QUESTION = Question(id="approve.1", kind="approve", text="?", choices=("approve", "reject"), digest="d1")


def decision(choice: str = "approve", digest: str = "d1", question: str = "approve.1") -> Decision:
    return Decision(question=question, choice=choice, digest=digest)


def test_an_answer_is_taken_once_and_the_same_again_changes_nothing() -> None:
    assert is_new(QUESTION, decision(), None)
    assert not is_new(None, decision(), decision())


@pytest.mark.parametrize(
    ("question", "given", "earlier", "says"),
    [
        (QUESTION, decision(digest="d2"), None, "the answer is about d2"),
        (QUESTION, decision(choice="yes"), None, "no choice here"),
        (QUESTION, decision(question="plan.1"), None, "is not open"),
        (None, decision(), None, "waits for nothing"),
        (None, decision("reject"), decision("approve"), "already answered with 'approve'"),
    ],
)
def test_an_answer_to_anything_else_is_refused(
    question: Question | None, given: Decision, earlier: Decision | None, says: str
) -> None:
    with pytest.raises(StaleApproval, match=says):
        is_new(question, given, earlier)


def test_entries_survive_as_they_were(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        recorder = await bench.recorder()
        assert await recorder.now("x") == await (await bench.recorder()).now("x")
        entries: list[Entry] = await bench.journal.entries(RUN)
        assert [e.kind for e in entries] == ["clock"]

    with_bench(tmp_path, scenario)
