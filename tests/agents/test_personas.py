from pathlib import Path

import pytest

from agents import personas
from agents.personas import NAMES, load, parse
from tandem.errors import BadPersona

GOOD = "---\nname: coder\ntitle: Coder\nslot: worker\nreply: code\n---\nWrite code.\n"


def test_the_six_that_ship_load() -> None:
    assert set(load()) == set(NAMES)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Write code.", "front matter"),
        ("---\nname: coder\n---\n", "front matter"),
        (GOOD.replace("slot: worker", "slot: cloud"), "slot = 'cloud'"),
        (GOOD.replace("reply: code", "reply: poem"), "reply = 'poem'"),
        (GOOD.replace("title: Coder", "title: [unclosed"), "not YAML"),
        (GOOD.replace("title: Coder", "titel: Coder"), "titel"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_field(text: str, names: str) -> None:
    with pytest.raises(BadPersona, match=r"coder\.md"):
        parse(text, "coder.md")
    with pytest.raises(BadPersona) as caught:
        parse(text, "coder.md")
    assert names in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadPersona, match=r"assessor\.md"):
        load(tmp_path)


def test_the_stamp_changes_with_a_prompt() -> None:
    team = dict(load())
    other = {**team, "coder": parse(GOOD, "x")}
    assert personas.stamp(team) != personas.stamp(other)
