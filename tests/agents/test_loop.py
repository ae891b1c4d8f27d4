"""Work with tools, turn by turn, over a real Git directory; the model's lines are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents import personas
from agents.context import Section, estimate_tokens
from agents.loop import Bounds, Worked, weigh, work
from agents.personas import Persona
from agents.replies import Code, ReplyModel, Review
from agents.tools.worktree import Tested, Worktree
from router.repository import OwnRepository
from tandem.errors import BadReply
from tandem.types import CommitId, Edit, Json, Message, Reply, Tool, ToolCall
from tests.support.checkouts import Checkout

CODER, REVIEWER = personas.load()["coder"], personas.load()["reviewer"]
TASK = Section(title="task", text="add must add", keep=9)


def native(name: str, **arguments: Json) -> Reply:
    return Reply(text="", tool_calls=(ToolCall(id="c1", name=name, arguments=arguments),), finish="tool_calls")


def textual(name: str, **arguments: str) -> Reply:
    rows = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return Reply(text=f"<tool_call>\n<function={name}>\n{rows}</function>\n</tool_call>")


FINISH = native("finish", note="done")


class Model:
    """Says its lines, the last one again and again, and keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = replies
        self.asked: list[tuple[tuple[Message, ...], dict[str, Json] | None, tuple[Tool, ...]]] = []

    async def __call__(
        self, messages: tuple[Message, ...], schema: dict[str, Json] | None, tools: tuple[Tool, ...]
    ) -> Reply:
        self.asked.append((messages, schema, tools))
        return self._replies[min(len(self.asked), len(self._replies)) - 1]

    @property
    def last(self) -> str:
        return self.asked[-1][0][-1].content


class Bench:
    """A worktree over a checkout, and a test run that counts."""

    tree: Worktree

    def __init__(self, folder: Path) -> None:
        self.checkout = Checkout(folder)
        self.tests: list[Sequence[Edit]] = []

    def do(
        self,
        model: Model,
        persona: Persona = CODER,
        *,
        leaves: ReplyModel | None = None,
        context: int = 32768,
        seconds: float = 600,
    ) -> Worked:
        async def run_tests(edits: Sequence[Edit]) -> Tested:
            self.tests.append(edits)
            return Tested(text="1 failed", seconds=400)

        async def go() -> Worked:
            repo = await OwnRepository.open(self.checkout.state, self.checkout.root, self.checkout.base)
            tree = Worktree(repo, CommitId(self.checkout.base), may_write=lambda _: "", run_tests=run_tests)
            self.tree = tree
            return await work(
                persona,
                [TASK],
                tree,
                language="en",
                bounds=Bounds(context_tokens=context, seconds=seconds),
                ask=model,
                count=estimate_tokens,
                leaves=leaves,
            )

        return asyncio.run(go())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_tools_change_the_worktree_and_finish_hands_over(bench: Bench) -> None:
    model = Model(
        native("read_file", path="calc.py"),
        native("replace_in_file", path="calc.py", old="a - b", new="a + b"),
        FINISH,
    )
    worked = bench.do(model)
    assert isinstance(worked.value, Code)
    assert (worked.value.note, worked.failure, worked.turns) == ("done", "", 3)
    assert bench.tree.edits == (Edit(path="calc.py", content="def add(a, b):\n    return a + b\n"),)


def test_calls_written_as_text_work_the_same_and_are_answered_as_text(bench: Bench) -> None:
    model = Model(textual("replace_in_file", path="calc.py", old="a - b", new="a + b"), textual("finish", note="ok"))
    worked = bench.do(model)
    assert worked.turns == 2
    assert bench.tree.edits[0].content == "def add(a, b):\n    return a + b\n"
    assert model.asked[1][0][-1].role == "user"
    assert model.asked[1][0][-1].content.startswith("<tool_response>")


def test_a_whole_json_reply_ends_the_work_as_well(bench: Bench) -> None:
    worked = bench.do(Model(Reply(text='{"files": [{"path": "a.py", "content": "x"}], "note": "n"}')))
    assert isinstance(worked.value, Code)
    assert worked.value.files[0].path == "a.py"


def test_some_other_json_is_not_taken_for_a_reply(bench: Bench) -> None:
    worked = bench.do(Model(Reply(text='{"thoughts": "hm"}'), FINISH))
    assert worked.turns == 2


def test_the_history_is_exact_and_only_grows(bench: Bench) -> None:
    model = Model(native("read_file", path="calc.py"), native("list_files"), native("search", pattern="add"), FINISH)
    bench.do(model)
    asked = [messages for messages, _, _ in model.asked]
    for before, after in pairwise(asked):
        assert after[: len(before)] == before
    assert len({json.dumps([tool.name for tool in tools]) for _, _, tools in model.asked}) == 1


def test_a_loop_is_nudged_and_ended_with_a_name_and_what_is_in_the_worktree_stays(bench: Bench) -> None:
    model = Model(native("write_file", path="new.py", content="x = 1\n"), native("read_file", path="calc.py"))
    worked = bench.do(model, leaves=Code())
    assert worked.failure == "repetition"
    assert bench.tree.edits == (Edit(path="new.py", content="x = 1\n"),)
    assert any("exactly this before" in message.content for message in model.asked[-1][0])


def test_a_persona_whose_work_is_its_reply_is_asked_for_it_without_tools(bench: Bench) -> None:
    stuck = [native("read_file", path="calc.py")] * 4
    model = Model(*stuck, Reply(text='{"findings": [], "verdict": "approve"}'))
    worked = bench.do(model, REVIEWER)
    assert isinstance(worked.value, Review)
    assert worked.failure == "repetition"
    assert model.asked[-1][1] is not None
    assert model.asked[-1][2] == ()


def test_nothing_usable_at_the_end_is_an_error_that_says_how_it_ended(bench: Bench) -> None:
    with pytest.raises(BadReply, match=r"empty replies.*could not be understood, twice"):
        bench.do(Model(Reply(text="")), REVIEWER)


def test_steps_tokens_and_time_end_the_work(bench: Bench) -> None:
    many = [native("search", pattern=f"w{n}") for n in range(100)]
    assert bench.do(Model(*many), leaves=Code()).failure == "steps spent"
    slow = [native("run_tests"), FINISH]
    assert bench.do(Model(*slow), leaves=Code(), seconds=300).failure == "time spent"
    wordy = [
        Reply(text="", tool_calls=one.tool_calls, finish="tool_calls", completion_tokens=60_000) for one in many[:3]
    ]
    assert bench.do(Model(*wordy), leaves=Code()).failure == "tokens spent"


def test_finish_beside_a_call_that_failed_is_not_taken(bench: Bench) -> None:
    both = Reply(
        text="",
        tool_calls=(
            ToolCall(id="a", name="read_file", arguments={"path": "nowhere.py"}),
            ToolCall(id="b", name="finish", arguments={"note": "done"}),
        ),
        finish="tool_calls",
    )
    assert bench.do(Model(both, FINISH)).turns == 2


def test_finish_beside_a_call_that_nobody_could_read_is_not_taken(bench: Bench) -> None:
    lost = (
        textual("finish", note="all done").text + '\n<tool_call>\n{"name": "write_file", "arguments": {"path": "a.py"'
    )
    model = Model(Reply(text=lost), FINISH)
    assert bench.do(model).turns == 2
    said = [message.content for message in model.asked[1][0][-2:]]
    assert "Not taken" in said[0]
    assert "was not carried out" in said[1]


def test_finish_with_wrong_fields_is_answered_with_what_is_wrong(bench: Bench) -> None:
    model = Model(native("finish", verdict="perfect"), native("finish", verdict="approve", findings=[]))
    worked = bench.do(model, REVIEWER)
    assert isinstance(worked.value, Review)
    assert "verdict" in model.last


def test_tests_are_run_by_the_tool_and_by_nothing_else(bench: Bench) -> None:
    bench.do(Model(native("write_file", path="n.py", content="x = 1\n"), native("run_tests"), FINISH))
    assert [len(edits) for edits in bench.tests] == [1]


WORDS = st.builds(lambda text, times: text * times, st.text(max_size=60), st.integers(0, 400))


def written(text: str) -> Reply:
    return native("write_file", path="big.py", content=text)


def searched(text: str) -> Reply:
    return native("search", pattern=text or "x")


def talked(text: str) -> Reply:
    return Reply(text=text)


LINES = st.one_of(
    st.builds(written, WORDS),
    st.builds(searched, st.text(max_size=8)),
    st.builds(talked, WORDS),
    st.just(native("read_file", path="calc.py")),
    st.just(native("list_files")),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=st.lists(LINES, min_size=1, max_size=40))
def test_no_prompt_is_ever_larger_than_the_context(bench: Bench, replies: list[Reply]) -> None:
    context = 16384
    for persona, leaves in ((CODER, Code()), (REVIEWER, None)):
        model = Model(*replies)
        with contextlib.suppress(BadReply):  # nothing usable was handed over
            bench.do(model, persona, leaves=leaves, context=context)
        for messages, _, tools in model.asked:
            spent = sum(weigh(message, estimate_tokens) for message in messages)
            spent += sum(estimate_tokens(tool.name + tool.description + str(dict(tool.parameters))) for tool in tools)
            assert spent + persona.max_tokens <= context


@given(st.lists(st.text(min_size=1, max_size=400), min_size=1, max_size=3))
def test_prompts_of_a_persona_share_their_first_bytes(tasks: list[str]) -> None:
    from agents.context import build

    first = [
        build(CODER, [Section(title="task", text=task, keep=9)], language="en", context_tokens=32768)[0].content
        for task in tasks
    ]
    assert len(set(first)) == 1
    assert first[0].startswith(CODER.prompt)
