import pytest

from agents.parse import parse
from agents.replies import Assessment, Code, Review
from tandem.errors import BadReply

GOOD = '{"findings": [], "verdict": "approve"}'


def test_takes_a_bare_object_without_repair() -> None:
    assert parse(GOOD, Review).repairs == ()


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (f"```json\n{GOOD}\n```", "fence"),
        (f"Here is my review: {GOOD} Thanks!", "around"),
        (f"<think>hm {{}}</think>{GOOD}", "thinking"),
    ],
)
def test_takes_the_object_out_of_its_wrapping_and_says_so(text: str, repair: str) -> None:
    parsed = parse(text, Review)
    assert parsed.value.verdict == "approve"
    assert any(repair in word for word in parsed.repairs)


@pytest.mark.parametrize("text", ["", "   ", "no json at all", '{"verdict": "appro', "[1, 2]", "{" * 5000])
def test_refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(BadReply):
        parse(text, Review)


def test_names_the_field_that_does_not_fit() -> None:
    with pytest.raises(BadReply, match="verdict"):
        parse('{"verdict": "LGTM, all tests passed"}', Review)


def test_says_that_a_cut_reply_was_cut() -> None:
    with pytest.raises(BadReply, match="token limit"):
        parse('{"verdict": "appr', Review, cut=True)


def test_unpaired_surrogates_and_zeros_cannot_reach_the_journal() -> None:
    value = parse('{"reason": "a\\ud800b\\u0000", "difficulty": "low", "kind": "code", "sure": true}', Assessment).value
    value.reason.encode("utf-8")
    assert "\x00" not in value.reason


def test_a_thinking_block_inside_a_file_is_content() -> None:
    text = '{"files": [{"path": "./a.py", "content": "re.compile(\'<think>.*?</think>\')"}]}'
    file = parse(text, Code).value.files[0]
    assert (file.path, file.content) == ("a.py", "re.compile('<think>.*?</think>')")


def test_a_path_without_content_is_no_empty_file() -> None:
    with pytest.raises(BadReply, match="has no content"):
        parse('{"files": [{"path": "README.md"}]}', Code)
