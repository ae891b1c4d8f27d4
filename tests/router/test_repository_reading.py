"""Reading many files at once and searching, out of Git's objects."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.repository import OwnRepository
from tandem.errors import BadInput
from tandem.types import CommitId, Edit, Hit
from tests.support.checkouts import Checkout

FILES = {
    "a.py": "import b\nprint('one')\n",
    "sub/b.py": "x = 'one'\n" * 30,
    "sub/c d.txt": "spaced one: two\n",
    "same.py": "import b\nprint('one')\n",
    "empty.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path, FILES)
    (made.root / "data.bin").write_bytes(b"one\0two")
    (made.root / "latin.txt").write_bytes("é one\n".encode("latin-1"))
    (made.root / "link").symlink_to("/etc/passwd")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "more")
    return made


def opened(checkout: Checkout) -> OwnRepository:
    return asyncio.run(OwnRepository.open(checkout.state, checkout.root, checkout.tip()))


def test_many_files_are_read_at_once_and_what_is_no_text_is_left_out(checkout: Checkout) -> None:
    wanted = [*FILES, "data.bin", "latin.txt", "link", "nowhere.py"]
    found = asyncio.run(opened(checkout).contents(CommitId(checkout.tip()), wanted))
    assert found == FILES


def test_what_is_larger_than_the_limit_is_left_out(checkout: Checkout) -> None:
    found = asyncio.run(opened(checkout).contents(CommitId(checkout.tip()), list(FILES), limit_bytes=30))
    assert set(found) == {"a.py", "same.py", "sub/c d.txt", "empty.py"}


def test_a_search_names_path_and_line_and_bounds_each_file(checkout: Checkout) -> None:
    hits = asyncio.run(opened(checkout).grep(CommitId(checkout.tip()), "one"))
    assert Hit(path="a.py", line=2, text="print('one')") in hits
    assert Hit(path="sub/c d.txt", line=1, text="spaced one: two") in hits
    assert sum(hit.path == "sub/b.py" for hit in hits) == 20
    assert not any(hit.path in ("data.bin", "link") for hit in hits)


def test_a_search_in_a_folder_or_a_file_takes_the_name_as_it_stands(checkout: Checkout) -> None:
    repo, tip = opened(checkout), CommitId(checkout.tip())
    assert {hit.path for hit in asyncio.run(repo.grep(tip, "one", path="sub/"))} == {"sub/b.py", "sub/c d.txt"}
    assert [hit.path for hit in asyncio.run(repo.grep(tip, "two", path="sub/c d.txt"))] == ["sub/c d.txt"]
    assert asyncio.run(repo.grep(tip, "one", path="*.py")) == []


def test_a_pattern_is_literal_unless_it_is_asked_to_be_more(checkout: Checkout) -> None:
    repo, tip = opened(checkout), CommitId(checkout.tip())
    assert asyncio.run(repo.grep(tip, "o.e")) == []
    assert len(asyncio.run(repo.grep(tip, "^import (a|b)$", regex=True))) == 2
    assert asyncio.run(repo.grep(tip, "--help")) == []


@pytest.mark.parametrize("pattern", ["", "a\nb", "x" * 1001, "a\0b"])
def test_a_pattern_that_is_none_is_bad_input(checkout: Checkout, pattern: str) -> None:
    with pytest.raises(BadInput, match="pattern"):
        asyncio.run(opened(checkout).grep(CommitId(checkout.tip()), pattern))


def test_a_tree_of_edits_is_searched_without_a_commit(checkout: Checkout) -> None:
    repo, tip = opened(checkout), CommitId(checkout.tip())

    async def go() -> list[Hit]:
        tree = await repo.edited(tip, [Edit(path="new.py", content="fresh = 1\n"), Edit(path="a.py", content=None)])
        return await repo.grep(tree, "fresh") + await repo.grep(tree, "print('one')")

    assert asyncio.run(go()) == [
        Hit(path="new.py", line=1, text="fresh = 1"),
        Hit(path="same.py", line=2, text="print('one')"),
    ]


def test_no_edits_give_the_commit_s_own_tree(checkout: Checkout) -> None:
    repo, tip = opened(checkout), CommitId(checkout.tip())
    assert asyncio.run(repo.edited(tip, [])) == asyncio.run(repo.tree(tip))


def test_a_search_reads_letters_of_all_languages_and_names_with_any_character(tmp_path: Path) -> None:
    made = Checkout(tmp_path, {"new\nline.py": "가나다 one\n", "plain.py": "가나다\n"})
    found = asyncio.run(opened(made).grep(CommitId(made.tip()), "가.다", regex=True))
    assert sorted((hit.path, hit.line) for hit in found) == [("new\nline.py", 1), ("plain.py", 1)]


def test_half_a_character_is_bad_input_and_no_traceback(checkout: Checkout) -> None:
    with pytest.raises(BadInput):
        asyncio.run(opened(checkout).grep(CommitId(checkout.tip()), "\ud800"))


def test_a_file_with_a_nul_is_no_text(checkout: Checkout) -> None:
    assert asyncio.run(opened(checkout).read(CommitId(checkout.tip()), "data.bin")) is None
