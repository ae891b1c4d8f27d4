import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.render.table import table
from cli.render.text import cell_width, clip, clip_left, duration, fold, one_line, pad, visible, wrap


@pytest.mark.parametrize(
    "hidden",
    ["\x1b", "\x00", "\x07", "\x7f", "\x9b", "\r", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028", "\u00ad",
     "\u3164", "\u115f", "\u2800", "\ufe0f", "\U000e0041", "\U000e0101", "\u00a0", "\ue000", "\ud800"],
)  # fmt: skip
def test_what_could_hide_or_move_something_is_spelled_out(hidden: str) -> None:
    assert visible(f"a{hidden}b") == f"a⟨U+{ord(hidden):04X}⟩b"


@pytest.mark.parametrize(
    "plain", ["déjà vu", "한국어 작업", "中文任务，全角", "日本語　テスト", "naïve ½ → ✓", "🙂", "e\u0301"]
)
def test_ordinary_words_of_any_language_stay_as_they_are(plain: str) -> None:
    assert visible(plain) == plain


@given(st.text())
def test_nothing_that_is_drawn_is_a_control_or_format_character(text: str) -> None:
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in visible(text))
    assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in one_line(text))


def test_wide_characters_count_two_cells() -> None:
    assert [cell_width(text) for text in ("abc", "한국", "中文", "e\u0301", "全角！")] == [3, 4, 4, 1, 6]


@given(st.text(), st.integers(2, 40))
def test_a_clipped_text_never_takes_more_cells_than_it_may(text: str, cells: int) -> None:
    assert cell_width(clip(text, cells)) <= cells
    assert cell_width(clip_left(text, cells)) <= cells


@given(st.text(), st.integers(2, 40))
def test_folding_loses_nothing_and_fits(text: str, cells: int) -> None:
    pieces = fold(text, cells)
    assert "".join(pieces) == text
    assert all(cell_width(piece) <= cells for piece in pieces)


@given(st.text(alphabet="ab 한中\u0301", max_size=60), st.integers(2, 20))
def test_wrapping_loses_no_letter_and_fits(text: str, cells: int) -> None:
    wrapped = wrap(text, cells)
    assert "".join(wrapped).replace(" ", "") == text.replace(" ", "")
    assert all(cell_width(line) <= cells for line in wrapped)


def test_wrapping_breaks_between_words() -> None:
    assert wrap("one two three", 8) == ["one two", "three"]
    assert wrap("给标题加连字符", 6) == ["给标题", "加连字", "符"]
    assert wrap("", 5) == [""]


def test_columns_of_a_table_align_with_korean_and_chinese() -> None:
    rows = [
        ["0001", "단어를 하이픈으로 잇기", "done"],
        ["0002", "plain words", "done"],
        ["0003", "给标题加连字符", "done"],
    ]
    lines = table(["run", "task", "state"], rows, width=60, grow=1)
    starts = {cell_width(line[: line.rindex("done")]) for line in lines[1:]}
    assert starts == {cell_width(lines[0][: lines[0].rindex("state")])}


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=5))
def test_a_table_keeps_to_its_width_whatever_is_in_the_column_that_gives_way(rows: list[list[str]]) -> None:
    short = [["run1", one_line(row[1]), "ok"] for row in rows]
    assert all(cell_width(line) <= 40 for line in table(["run", "task", "s"], short, width=40, grow=1))


def test_padding_counts_cells() -> None:
    assert pad("한", 4) == "한  "


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.42, "0.4 s"), (-1, "0.0 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
