from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.repomap import languages, reader, store, tags
from agents.repomap.tags import SIZE_BYTES_MAX

SAMPLES = {
    "a.py": ("class Lamp:\n    def glow(self):\n        pass\n", ["Lamp", "glow"]),
    "a.js": ("class Lamp {\n  glow() { return 1 }\n}\nfunction dim() {}\n", ["Lamp", "glow", "dim"]),
    "a.ts": ("export interface Lamp { on: boolean }\nexport type Shade = string\n", ["Lamp", "Shade"]),
    "a.tsx": ("export function Lamp() { return <div/> }\n", ["Lamp"]),
    "a.go": ("package a\n\ntype Lamp struct{}\n\nfunc (l *Lamp) Glow() {}\n", ["Lamp", "Glow"]),
    "a.rs": ("struct Lamp;\nimpl Lamp { fn glow(&self) {} }\nconst WATT: u8 = 1;\n", ["Lamp", "glow", "WATT"]),
    "a.c": ("#define WATT 1\nstruct lamp { int on; };\nint glow(void) { return WATT; }\n", ["WATT", "lamp", "glow"]),
    "a.cpp": ("class Lamp { public: void glow() {} };\n", ["Lamp", "glow"]),
    "a.java": ("class Lamp { void glow() {} }\n", ["Lamp", "glow"]),
    "a.rb": ("class Lamp\n  def glow; end\nend\n", ["Lamp", "glow"]),
    "a.cs": ("class Lamp { void Glow() {} }\n", ["Lamp", "Glow"]),
    "a.php": ("<?php class Lamp { function glow() {} }\n", ["Lamp", "glow"]),
    "a.swift": ("class Lamp { func glow() {} }\n", ["Lamp", "glow"]),
    "a.scala": ("class Lamp { def glow = 1 }\n", ["Lamp", "glow"]),
    "a.kt": ("class Lamp { fun glow() {} }\n", ["Lamp", "glow"]),
    "a.lua": ("function glow() end\n", ["glow"]),
    "a.ex": ("defmodule Lamp do\n  def glow(x), do: x\nend\n", ["Lamp", "glow"]),
    "a.sh": ("glow() { echo 1; }\n", ["glow"]),
    "a.zig": ("pub fn glow() void {}\n", ["glow"]),  # no grammar: the scan
    "a.proto": ("message Lamp {\n}\n", ["Lamp"]),
    "a.md": ("# The lamp\n\ntext\n", ["The lamp"]),
}


@pytest.mark.parametrize("path", SAMPLES)
def test_finds_what_a_file_defines_in_each_language(path: str) -> None:
    text, expected = SAMPLES[path]
    assert [one.name for one in tags.read(path, text).definitions if one.name in expected] == expected


@pytest.mark.parametrize("name", languages.GRAMMARS)
def test_every_grammar_that_is_named_can_be_loaded_with_its_query(name: str) -> None:
    assert languages.load(name) is not None


def test_lines_count_from_one_and_point_at_the_definition() -> None:
    assert [(d.line, d.kind) for d in tags.read("a.py", "\n\ndef glow():\n    pass\n").definitions] == [(3, "function")]


def test_a_file_too_large_or_not_text_has_no_tags() -> None:
    assert tags.read("a.py", "x = 1\n" * (SIZE_BYTES_MAX // 6 + 1)) is tags.NOTHING
    assert tags.read("a.py", "\u00e9" * (SIZE_BYTES_MAX // 2 + 1)) is tags.NOTHING  # the limit is in bytes
    assert tags.read("a.py", "def f(): pass\0") is tags.NOTHING


@given(st.text(max_size=400), st.sampled_from(["a.md", "a.unknown", "Makefile", "a.proto"]))
def test_the_scan_takes_any_text_and_points_inside_it(text: str, path: str) -> None:
    for one in tags.scan(path, text).definitions:
        assert 1 <= one.line <= text.count("\n") + 1


@given(st.text(max_size=300))
def test_what_is_encoded_is_decoded_to_the_same(text: str) -> None:
    found = tags.scan("a.md", text)
    assert tags.decode(tags.encode(found)) == found


@given(st.text(max_size=100))
def test_decoding_anything_else_gives_nothing_and_raises_nothing(text: str) -> None:
    assert tags.decode(text) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AsyncReader", ("async", "reader")),
        ("parse_URLs", ("pars", "url")),
        ("HTTPServer", ("http", "server")),
        ("retries", ("retry",)),
        ("x", ()),
    ],
)
def test_a_name_is_cut_into_the_stems_of_its_words(name: str, words: tuple[str, ...]) -> None:
    assert tags.stems(name) == words


def test_one_word_in_several_forms_has_one_stem() -> None:
    assert {tags.stems(word) for word in ("retry", "retries")} == {("retry",)}
    assert {tags.stems(word) for word in ("cache", "caches", "caching", "cached")} == {("cach",)}


def test_a_file_the_child_is_lost_over_is_scanned_and_the_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROGRAM", "import sys; " + _DIES_OF_BAD + reader._PROGRAM)
    good = "def glow(): pass\n"
    files = {"a.py": good, "bad.py": good, "c.py": good + "x = 1\n"}
    found = {path: (one, keep) for path, one, keep in reader.read_all(files)}
    assert [one.definitions[0].kind for one, _ in found.values()] == ["function", "definition", "function"]
    assert all(keep for _, keep in found.values())


def test_after_a_few_losses_the_rest_is_scanned_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROGRAM", "raise SystemExit")
    files = {f"a{number}.py": "def glow(): pass\n" for number in range(8)}
    assert [keep for _, _, keep in reader.read_all(files)] == [True] * 5 + [False] * 3


def test_a_child_that_hangs_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(reader, "_START_S", 0.3)
    assert [one.definitions[0].name for _, one, _ in reader.read_all({"a.py": "def glow(): pass\n"})] == ["glow"]


_DIES_OF_BAD = (
    "sys.path.insert(0, sys.argv[1]); import os; from agents.repomap import tags; real = tags.read; "
    "tags.read = lambda path, text: os.abort() if path.startswith('bad') else real(path, text); "
)


@pytest.mark.parametrize("piece", ["(", "{", "a<", "if x:\n", "a=>", "`${"])
@pytest.mark.parametrize("path", ["a.py", "a.ts", "a.c", "a.java"])
def test_no_deep_nesting_hangs_or_crashes_the_reader(piece: str, path: str) -> None:
    [(_, found, _)] = reader.read_all({path: piece * (20_000 // len(piece))})
    assert found.definitions == () or found.definitions[0].line == 1


def test_tags_are_kept_in_a_folder_and_a_damaged_folder_costs_only_time(tmp_path: Path) -> None:
    files = {"a.py": f"def glow_{id(tmp_path)}(): pass\n"}
    first = store.tags_of(files, tmp_path)
    store.forget()
    assert store.tags_of(files, tmp_path) == first
    for damage in (b"", b"no database at all, and longer than a header of one would be" * 40):
        (tmp_path / "tags.sqlite3").write_bytes(damage)
        store.forget()
        assert store.tags_of(files, tmp_path) == first
    store.forget()
    assert store.tags_of(files, tmp_path / "a.py\0") == first  # a folder that cannot be


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}\.(md|txt)", fullmatch=True), st.text(max_size=60), max_size=6))
def test_every_path_gets_tags_of_its_own_text(files: dict[str, str]) -> None:
    assert store.tags_of(files) == {path: tags.scan(path, text) for path, text in files.items()}
