import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem import artefacts, config
from tandem.artefacts import Names, begin, below, fits, safe
from tandem.errors import BadConfig, BadInput


def place(path: str, *patterns: str) -> int | None:
    """Return the place of the first pattern that a path fits."""
    rest = begin(patterns)
    for part in path.split("/"):
        rest = below(rest, part)
    return fits(rest)


@pytest.mark.parametrize(
    ("path", "pattern", "is_wanted"),
    [
        ("coverage.xml", "coverage.xml", True),
        ("sub/coverage.xml", "coverage.xml", False),
        ("a.log", "*.log", True),
        ("a/b.log", "*.log", False),
        ("a/b.log", "*/*.log", True),
        ("b.log", "**/*.log", True),
        ("a/b/c/d.log", "**/*.log", True),
        ("htmlcov/a/b.html", "htmlcov/**", True),
        ("htmlco/a.html", "htmlcov/**", False),
        ("a/x/b/y/c", "a/**/b/**/c", True),
        ("a/b/c", "a/**/b/**/c", True),
        ("a/c", "a/**/b/**/c", False),
        ("A.LOG", "*.log", False),
        ("x1.log", "x[0-9].log", True),
    ],
)
def test_what_a_pattern_wants(path: str, pattern: str, is_wanted: bool) -> None:
    assert place(path, pattern) == (0 if is_wanted else None)


def test_a_path_that_fits_several_has_the_place_of_the_first() -> None:
    assert place("a/b.log", "x", "a/*", "**/*.log") == 1


def test_what_can_lead_nowhere_is_known_at_its_first_name() -> None:
    assert not below(begin(artefacts.DEFAULT), "node_modules")
    assert below(begin(artefacts.DEFAULT), "coverage")


@given(st.lists(st.sampled_from(["**", "*", "a*", "b"]), min_size=1, max_size=30), st.lists(st.sampled_from("ab")))
def test_patterns_of_many_stars_take_no_longer_than_others(parts: list[str], path: list[str]) -> None:
    rest = begin(["/".join(parts)])
    for name in path:
        rest = below(rest, name)
        assert len(rest) <= len(parts) + 1


@given(st.text(max_size=40).filter(bool))
def test_a_name_is_made_safe_once_and_stays_so(path: str) -> None:
    name = safe(path)
    assert safe(name) == name
    assert name.isprintable()
    assert not {"", ".", ".."} & set(name.split("/")) or not name


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "x" * 201])
def test_what_can_be_no_name_is_none(path: str) -> None:
    assert safe(path) == ""


def test_names_that_a_disk_may_take_for_one_are_one() -> None:
    names = Names()
    names.take("Logs/Größe.log")
    assert not names.are_free_for("logs/GRÖSSE.log")
    assert not names.are_free_for("Logs/Gro\u0308ße.log"), "the same, put together otherwise"
    assert not names.are_free_for("logs"), "a folder is there"
    assert not names.are_free_for("Logs/Größe.log/x"), "a file is there"
    assert names.are_free_for("logs/other.log")


def test_the_setting_is_a_list_in_the_environment_too_and_an_empty_one_switches_it_off() -> None:
    def found(**env: str) -> list[str]:
        return config.load(None, {"TANDEM_CONFIG": "/nowhere", **env}).check.artefacts

    assert found() == list(artefacts.DEFAULT)
    assert found(TANDEM_CHECK_ARTEFACTS="a.xml, htmlcov/** ,") == ["a.xml", "htmlcov/**"]
    assert found(TANDEM_CHECK_ARTEFACTS="") == []
    with pytest.raises(BadConfig, match=r"check\.artefacts.*'\.\./x' is no pattern of artefacts; write a path from"):
        found(TANDEM_CHECK_ARTEFACTS="a.xml,../x")


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(BadInput, match="65 patterns"):
        artefacts.patterns(["x"] * 65)
