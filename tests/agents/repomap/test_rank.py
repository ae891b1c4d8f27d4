import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import repomap
from agents.context import estimate_tokens
from agents.repomap import Ranked, draw, rank, words

SHOP = {
    "shop/cart.py": "from shop.price import price_of\n\nclass Cart:\n    def total(self):\n        return price_of(self)\n",
    "shop/price.py": "def price_of(item):\n    return item.cents\n",
    "shop/mail.py": "def send_mail(to, text):\n    return True\n",
    "shop/discount.py": "def half(value):\n    return value // 2\n",
    "tests/test_mail.py": "from shop.mail import send_mail\n\ndef test_sends():\n    assert send_mail('a', 'b')\n",
    "tests/test_cart.py": "from shop.cart import Cart\n\ndef test_empty():\n    assert Cart()\n",
    "docs/guide.md": "# Guide\n\nHow to use the shop.\n",
}


def order(task: str, files: dict[str, str] = SHOP, **more: object) -> list[str]:
    return [one.path for one in rank(files, all_paths=sorted(files), task=task, **more)]  # type: ignore[arg-type]


def test_a_name_in_the_task_brings_the_file_that_defines_it_first() -> None:
    assert order("price_of() forgets the tax")[0] == "shop/price.py"


def test_a_path_in_the_task_brings_that_file_first() -> None:
    assert order("see shop/discount.py, it divides wrongly")[0] == "shop/discount.py"
    assert order("in discount.py the value is wrong")[0] == "shop/discount.py"


def test_a_name_in_other_spelling_brings_the_file_called_so() -> None:
    files = {**SHOP, "shop/gift_card.py": "X = 1\n", "shop/zebra.py": "X = 2\n"}
    assert order("`GiftCard` should expire", files)[0] == "shop/gift_card.py"


def test_a_word_in_any_form_finds_files() -> None:
    assert order("Mails are sent twice")[0] in {"shop/mail.py", "tests/test_mail.py"}


def test_the_test_of_a_file_stands_near_it() -> None:
    assert set(order("send_mail answers too early")[:2]) == {"shop/mail.py", "tests/test_mail.py"}


def test_what_a_likely_file_uses_comes_before_what_nothing_points_at() -> None:
    found = order("Cart totals are wrong")
    assert found.index("shop/price.py") < found.index("shop/discount.py")


def test_focus_brings_what_belongs_to_the_files_that_are_shown() -> None:
    found = order("zzz", focus=["shop/mail.py"])
    assert found[0] == "shop/mail.py"
    assert found[1] == "tests/test_mail.py"


def test_a_file_without_text_is_found_by_its_path() -> None:
    found = rank({}, all_paths=["a/logo.png", "b/invoice.bin"], task="the invoice is blank")
    assert [one.path for one in found] == ["b/invoice.bin", "a/logo.png"]
    assert found[0].lines == ()


def test_the_lines_of_a_file_are_its_definitions_those_of_the_task_first() -> None:
    text = "\n".join(f"def step_{number}():\n    pass" for number in range(60)) + "\ndef wanted():\n    pass\n"
    [only] = rank({"a.py": text}, all_paths=["a.py"], task="what does wanted() do")
    assert only.lines[0] == (121, "def wanted():")
    assert len(only.lines) == 40


def test_no_files_make_no_list_and_no_task_still_makes_one() -> None:
    assert rank({}, all_paths=[], task="anything") == []
    assert sorted(order("")) == sorted(SHOP)


def test_the_list_is_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from agents.repomap import rank; import json; "
        "files = json.loads(sys.argv[2]); "
        "print([(r.path, r.score) for r in rank(files, all_paths=sorted(files), task='Cart price total mail')])"
    )
    import json

    root = str(Path(repomap.__file__).parents[2])
    said = {
        subprocess.run(
            [sys.executable, "-c", program, root, json.dumps(SHOP)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}/[a-z]{1,4}\.(md|txt)", fullmatch=True), st.text(max_size=80), max_size=8
    ),
    st.text(max_size=80),
)
def test_any_files_and_any_task_give_each_path_once_best_first_whatever_their_order(
    files: dict[str, str], task: str
) -> None:
    found = rank(files, all_paths=list(files), task=task)
    assert sorted(one.path for one in found) == sorted(files)
    assert [(-one.score, one.path) for one in found] == sorted((-one.score, one.path) for one in found)
    backwards = dict(reversed(files.items()))
    assert rank(backwards, all_paths=list(backwards), task=task) == found


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_reading_a_task_takes_any_text(task: str) -> None:
    assert set(words.read(task, ["a/b.py"]).paths) <= {"a/b.py"}


@pytest.mark.parametrize("piece", ["a/", "a.", "`", "(", "a::", "_", "A", "/."])
def test_a_task_made_to_be_slow_is_read_in_a_second(piece: str) -> None:
    started = time.monotonic()
    words.read(piece * 100_000, [f"a/b{number}.py" for number in range(2000)])
    assert time.monotonic() - started < 2


def test_a_huge_repository_is_read_in_part_the_fitting_and_the_small_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repomap, "TEXT_CHARS_MAX", 1000)
    files = {
        "a.py": "def one(): pass\n" * 40,
        "big.py": "def two(): pass\n" * 50,
        "mail.py": "def three(): pass\n" * 20,
    }
    found = {one.path: one.lines for one in rank(files, all_paths=list(files), task="the mail is late")}
    assert found["mail.py"]
    assert found["a.py"]
    assert found["big.py"] == ()


def made(count: int, lines: int = 10) -> list[Ranked]:
    return [
        Ranked(path=f"src/file{n}.py", score=1 / (n + 1), lines=tuple((i + 1, f"def f{i}():") for i in range(lines)))
        for n in range(count)
    ]


def test_a_map_shows_paths_and_numbered_lines_in_the_order_of_the_list() -> None:
    assert draw(made(2, 2), 1000, estimate_tokens).split("\n") == [
        "src/file0.py",
        "    1  def f0():",
        "    2  def f1():",
        "src/file1.py",
        "    1  def f0():",
        "    2  def f1():",
    ]


def test_a_tight_map_shows_fewer_lines_before_it_shows_fewer_files() -> None:
    text = draw(made(20), 500, estimate_tokens)
    assert all(f"src/file{n}.py" in text.split("\n") for n in range(20))


def test_a_map_says_what_it_left_out() -> None:
    assert draw(made(400), 600, estimate_tokens).endswith(
        "more files are not in this map; list_files and search find them]"
    )


@given(st.integers(0, 60), st.integers(0, 30), st.integers(0, 3000))
def test_a_map_stays_within_its_budget(count: int, lines: int, budget: int) -> None:
    text = draw(made(count, lines), budget, estimate_tokens)
    assert not text or estimate_tokens(text) <= budget


def test_a_budget_too_small_for_anything_gives_an_empty_map() -> None:
    assert draw(made(3), 5, estimate_tokens) == ""
