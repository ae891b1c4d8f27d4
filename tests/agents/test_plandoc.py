"""The plan as a document: what is written can be read back, and what a person does to it by hand is understood."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.plandoc import SUGGESTED, parse, render
from agents.plantidy import read_answers, tidy
from agents.replies import Option, Plan
from tandem.errors import BadInput

# What Markdown, lists and checklists are made of comes up often.
_PIECES = st.sampled_from(
    ["- ", "# ", "## Steps", "```", "~~~", "1. ", " — ", "--", "[x]", "\n", "<!-- -->", "`", "how: "]
)
TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=8)), max_size=6).map("".join)
LISTS = st.lists(TEXTS, max_size=4)
FOLDERS = st.one_of(st.just(""), st.just("packages/app"), st.text(st.characters(codec="utf-8"), max_size=8))
OPTIONS = st.lists(
    st.builds(
        lambda name, how, pro, con, best: Option.model_validate(
            {"name": name, "how": how, "for": pro, "against": con, "recommended": best}
        ),
        st.one_of(TEXTS, st.just("Keep it (recommended)")), TEXTS, TEXTS, TEXTS, st.booleans(),
    ),
    max_size=3,
)  # fmt: skip
PLANS = st.builds(
    lambda options, **rest: Plan.model_validate({**rest, "options": [o.model_dump(by_alias=True) for o in options]}),
    options=OPTIONS,
    summary=TEXTS,
    scenarios=st.lists(st.fixed_dictionaries({"name": TEXTS, "gherkin": TEXTS}), max_size=3),
    checklist=st.lists(st.fixed_dictionaries({"question": TEXTS, "suggestion": TEXTS}), max_size=4),
    files=LISTS, risks=LISTS, steps=LISTS, resources=LISTS, done=LISTS, question=TEXTS, rollback=TEXTS, check=TEXTS,
)  # fmt: skip

DOCUMENT = """# Plan: Add a shout

- base: `0123456789abcdef0123456789abcdef01234567`

## Task

```text
Add `shout(text)`.
```

## Options

### A function (recommended)

- how: one function beside `whisper`
- for: small
- against: one more name

### A flag

- how: a parameter of `say`

## Steps

1. Write it.
2. Say so in the README.

## Files

- `words.py`

## Scenarios

### it is loud

```gherkin
Given "hey"
When it is shouted
Then the result is "HEY"
```

## Check

```sh
pytest -q
```

## Rollback

- Revert the commit.

## Definition of done

- The scenario passes.

## Checklist

- [x] Keep the old name? — yes, until summer
  - suggestion: no
- [ ] Which languages?
  - suggested, not answered: all
- [ ] Who reads this?
"""


def edited(old: str, new: str) -> str:
    assert old in DOCUMENT
    return DOCUMENT.replace(old, new, 1)


@settings(max_examples=300, deadline=None)
@given(plan=PLANS, task=TEXTS, answers=LISTS, folder=FOLDERS)
def test_what_is_written_is_read_back(plan: Plan, task: str, answers: list[str], folder: str) -> None:
    fit = tidy(plan)
    given_answers = {item.question: words for item, words in zip(fit.checklist, answers, strict=False)}
    text = render(plan, task=f"Do {task}", base="c0ffee00", folder=folder, answers=given_answers, language="en")
    found = parse(text)
    assert found.plan == fit
    assert found.answers == {q: " ".join(a.split()) for q, a in read_back(fit, given_answers).items()}
    assert (found.base, found.folder) == ("c0ffee00", folder)
    again = render(found.plan, task=found.task, base=found.base, folder=folder, answers=found.answers, language="en")
    assert again == text


def read_back(plan: Plan, answers: dict[str, str]) -> dict[str, str]:
    return read_answers(plan, json.dumps({"answers": answers}))[0]


@given(PLANS)
def test_what_was_made_to_fit_fits(plan: Plan) -> None:
    assert tidy(tidy(plan)) == tidy(plan)


@given(st.text())
def test_any_text_is_a_plan_or_a_trouble_with_a_line(text: str) -> None:
    with contextlib.suppress(BadInput):
        parse(text)
    with pytest.raises(BadInput, match=r"^line \d+: "):
        parse(f"{text}\n## Nowhere\n")


def test_a_document_says_what_stands_in_it() -> None:
    found = parse(DOCUMENT)
    plan = found.plan
    assert (plan.summary, plan.files, plan.check) == ("Add a shout", ["words.py"], "pytest -q")
    assert found.task == "Add `shout(text)`."
    assert found.base == "0123456789abcdef0123456789abcdef01234567"
    assert [(o.name, o.recommended) for o in plan.options] == [("A function", True), ("A flag", False)]
    assert plan.options[0].against == "one more name"
    assert plan.scenarios[0].gherkin.splitlines()[1] == "When it is shouted"
    assert found.answers == {"Keep the old name?": "yes, until summer"}
    assert [(i.question, i.suggestion) for i in plan.checklist] == [
        ("Keep the old name?", "no"), ("Which languages?", "all"), ("Who reads this?", ""),
    ]  # fmt: skip
    assert render(plan, task=found.task, base=found.base, answers=found.answers, language="xx").endswith(
        DOCUMENT[DOCUMENT.index("## Task") :]
    )


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("- [ ] Which languages?", "- [x] Which languages?", "all"),  # ticked: as suggested
        ("- [ ] Which languages?", "* [X]  Which languages? -- English", "English"),
        ("- [ ] Which languages?", "- [ ] Which languages? – Korean", "Korean"),  # words are an answer without a tick
        ("- [ ] Which languages?", "- [x] Which\n  languages? — both\n  of them", "both of them"),
        ("- [ ] Who reads this?", "- [x] Who reads this?", "yes"),
    ],
)
def test_an_answer_is_taken_as_people_write_it(old: str, new: str, answer: str) -> None:
    assert answer in parse(edited(old, new)).answers.values()


def test_lists_may_be_written_with_any_mark_and_go_on_in_the_next_line() -> None:
    steps = parse(edited("1. Write it.\n2. Say so in the README.", "* Write\n  it.\n\n3) Say so.")).plan.steps
    assert steps == ["Write it.", "Say so."]


def test_a_scenario_needs_no_fence() -> None:
    text = edited('```gherkin\nGiven "hey"', 'Given "hey"').replace('Then the result is "HEY"\n```', "Then it is loud")
    assert parse(text).plan.scenarios[0].gherkin.splitlines()[-1] == "Then it is loud"


def test_windows_line_ends_and_a_mark_of_byte_order_change_nothing() -> None:
    assert parse("\ufeff" + DOCUMENT.replace("\n", "\r\n")) == parse(DOCUMENT)


def test_a_heading_inside_a_fence_is_text() -> None:
    assert parse(edited("Add `shout(text)`.", "## Steps\n# not a title")).task == "## Steps\n# not a title"


def test_what_the_lead_notes_is_kept() -> None:
    assert parse(f"{DOCUMENT}\n## Notes\n\nMind the old clients.\n").notes == "Mind the old clients."


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("# Plan: Add a shout", "", 1, "no title"),
        ("## Steps", "## Stepps", 23, "'Stepps' is no section"),
        ("## Files", "## Steps", 28, "stands in line 23 already"),
        ("pytest -q\n```", "pytest -q", 44, "never closed"),
        ("### it is loud\n", "it is loud\n", 34, "begin each scenario with a heading"),
        ('```gherkin\nGiven "hey"\nWhen it is shouted\nThen the result is "HEY"\n```\n', "", 34, "is empty"),
        ("Add `shout(text)`.", "", 5, "names no task"),
        ("- [ ] Who reads this?", "- [ ]", 62, "asks nothing"),
        ("1. Write it.", f"1. {'x' * 501}", 23, "Steps does not fit"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(BadInput, match=rf"^line {line}: ") as caught:
        parse(edited(old, new))
    assert words in caught.value.message


def test_what_was_not_answered_is_said_to_be_suggested() -> None:
    plan = Plan.model_validate({"summary": "x", "checklist": [{"question": "Now?", "suggestion": "later"}]})
    text = render(plan, task="t", base="", answers={}, language="ko")
    assert f"- [ ] Now?\n  - {SUGGESTED}: later" in text
    assert "고치세요" in text


def test_the_planners_own_question_is_on_the_list() -> None:
    plan = tidy(Plan.model_validate({"summary": "x", "question": "Which — a or b?"}))
    assert (plan.question, plan.checklist[0].question) == ("", "Which : a or b?")


@pytest.mark.parametrize("control", ["\x1b[2J", "\u202e", "\x00", "\r", "\ud800"])
def test_nothing_that_moves_a_cursor_or_turns_text_around_gets_into_a_document(control: str) -> None:
    many: dict[str, Any] = {"summary": f"a{control}b", "steps": [control], "rollback": control}
    scenarios = [{"name": control, "gherkin": f"Given{control}"}]
    plan = Plan.model_construct(**{**Plan(summary="").__dict__, **many})
    plan = (
        plan.model_copy(update={"scenarios": Plan(summary="", scenarios=scenarios).scenarios})
        if control != "\ud800"
        else plan
    )  # pyright: ignore[reportArgumentType]
    assert control[0] not in render(plan, task=f"t{control}", base="", answers={}, language="en")


@pytest.mark.parametrize(
    ("text", "answers", "words"),
    [
        ('{"answers": {"Now?": " later ", "Else?": "x"}}', {"Now?": "later"}, ""),
        ("go ahead, but slowly", {}, "go ahead, but slowly"),
        ('{"answers": ["x"]}', {}, '{"answers": ["x"]}'),
        ("", {}, ""),
        ("[" * 100_000, {}, "[" * 100_000),
    ],
)
def test_answers_are_those_to_the_list_and_all_else_is_words(text: str, answers: dict[str, str], words: str) -> None:
    plan = Plan.model_validate({"summary": "x", "checklist": [{"question": "Now?"}]})
    assert read_answers(plan, text) == (answers, words)


def test_a_folder_of_half_a_character_is_bad_input() -> None:
    text = render(Plan(summary="s"), task="t", base="b" * 40, answers={}, language="en", folder="a`b")
    assert parse(text).folder == "a`b"
    with pytest.raises(BadInput, match="is no folder"):
        parse(text.replace('"a`b"', '"\\ud800"'))
