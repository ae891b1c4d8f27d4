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
        load(shipped=tmp_path)


def test_the_stamp_changes_with_a_prompt() -> None:
    team = dict(load())
    other = {**team, "coder": parse(GOOD, "x")}
    assert personas.stamp(team) != personas.stamp(other)


def own(folder: Path, name: str, text: str, mode: int = 0o644) -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    file.chmod(mode)
    return file


def test_a_person_s_file_replaces_a_persona_and_another_adds_to_it(tmp_path: Path) -> None:
    own(tmp_path, "coder.add.md", "Prefer small functions.\n")
    team = load(tmp_path)
    assert team["coder"].prompt.startswith(load()["coder"].prompt)
    assert team["coder"].prompt.endswith("\n\nPrefer small functions.")
    assert (team["coder"].source, team["tester"].source) == ("added to", "shipped")
    own(tmp_path, "coder.md", GOOD)
    assert load(tmp_path)["coder"].prompt == "Write code.\n\nPrefer small functions."


@pytest.mark.parametrize(
    ("name", "text", "mode", "why"),
    [
        ("poet.md", GOOD, 0o644, "no such persona"),
        ("coder.md", GOOD.replace("name: coder", "name: tester"), 0o644, "name = 'tester'"),
        ("coder.md", GOOD.replace("reply: code", "reply: review"), 0o644, "must answer with 'code'"),
        ("coder.md", GOOD.replace("reply: code", "reply: code\ntools: [bash]"), 0o644, "tools = 'bash'"),
        ("coder.md", GOOD, 0o666, "written by others"),
        ("coder.add.md", "x" * 70_000, 0o644, "64,000 it may have"),
    ],
)
def test_a_file_of_a_person_s_own_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, text: str, mode: int, why: str
) -> None:
    own(tmp_path, name, text, mode)
    with pytest.raises(BadPersona, match=why):
        load(tmp_path)


def test_every_persona_fits_on_a_page_and_shows_two_examples() -> None:
    for name in NAMES:
        text = (personas.SHIPPED / f"{name}.md").read_text("utf-8")
        assert len(text.splitlines()) <= 70, name
        assert text.count("Example") >= 2, name


def test_the_folder_is_beside_the_configuration_or_where_the_person_says(tmp_path: Path) -> None:
    assert personas.own_folder({"HOME": "/h"}) == Path("/h/.config/tandem/personas")
    assert personas.own_folder({"HOME": "/h", "TANDEM_PERSONAS": str(tmp_path)}) == tmp_path
