"""A commit's tree as files: raw bytes, nothing that leads out, nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.errors import NotFound, ResourceExhausted
from tests.support.trees import Trees
from worker import workspace as rooms
from worker.workspace import scratch, sweep, workspace


def write(trees: Trees, commit: str) -> tuple[dict[str, bytes], tuple[str, ...]]:
    async def look() -> tuple[dict[str, bytes], tuple[str, ...]]:
        async with workspace(trees.state, trees.bare, commit) as space:
            files = {
                str(path.relative_to(space.tree)): str(path.readlink()).encode()
                if path.is_symlink()
                else path.read_bytes()
                for path in space.tree.rglob("*")
                if path.is_symlink() or path.is_file()
            }
            return files, space.left_out

    return asyncio.run(look())


def pushed(trees: Trees) -> str:
    trees.checkout.git("push", "-q", "-f", str(trees.bare), "HEAD:refs/heads/main")
    return trees.checkout.tip()


def test_attributes_of_the_tree_have_no_power(tmp_path: Path) -> None:
    attributes = (
        "*.txt text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16\n*.f filter=evil\n*.x export-ignore\n"
    )
    files = {
        ".gitattributes": attributes,
        "a.txt": "a\nb\n",
        "b.id": "$Id$\n",
        "c.u16": "c\n",
        "d.f": "d\n",
        "e.x": "e\n",
    }
    trees = Trees(tmp_path, {"start": ""})
    for name, text in files.items():
        (trees.checkout.root / name).write_text(text)
        blob = trees.checkout.git("hash-object", "-w", "--no-filters", name)
        trees.checkout.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    trees.checkout.git("commit", "-q", "--no-verify", "-m", "raw")
    marker = tmp_path / "ran"
    subprocess.run(["git", "-C", str(trees.bare), "config", "filter.evil.smudge", f"touch {marker}"], check=True)
    written, left_out = write(trees, pushed(trees))
    assert written == {"start": b"", **{name: text.encode() for name, text in files.items()}}
    assert left_out == ()
    assert not marker.exists()


def test_links_that_lead_out_nested_repositories_and_git_look_alikes_are_left_out(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"a/b/file": "x"})
    links = {
        "good": "a/b/file",
        "a/up": "../a/b",
        "absolute": "/etc/passwd",
        "above": "../outside",
        "a/b/above": "../../../outside",
        "a/b/top": "../..",  # the tree itself
        "chain": "a/b/top/../../outside",  # two above the tree, though its words stay inside
    }
    for path, target in links.items():
        (trees.checkout.root / path).symlink_to(target)
    trees.checkout.git("add", "-A")
    blob = trees.checkout.git("hash-object", "-w", "--stdin", stdin=b"evil")
    trees.checkout.git("update-index", "--add", "--cacheinfo", f"160000,{trees.checkout.base},nested")
    for odd in (".gi\u200bt/config", "GIT~1/config"):
        trees.checkout.git(
            "-c", "core.protectNTFS=false", "update-index", "--add", "--cacheinfo", f"100644,{blob},{odd}"
        )
    trees.checkout.git("commit", "-q", "--no-verify", "-m", "odd")
    written, left_out = write(trees, pushed(trees))
    assert set(written) == {"a/b/file", "good", "a/up", "a/b/top"}
    assert set(left_out) == {"absolute", "above", "a/b/above", "chain", "nested", ".gi\u200bt/config", "GIT~1/config"}


def test_the_folder_goes_whatever_happens(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"deep/er/file": "x"})

    async def fail() -> None:
        async with workspace(trees.state, trees.bare, trees.checkout.base) as space:
            (space.tree / "deep" / "er").chmod(0)
            (space.tree / "deep").chmod(0)
            (space.out / "link").symlink_to(tmp_path)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        asyncio.run(fail())
    assert trees.leftovers() == []
    assert trees.checkout.root.exists()


def test_what_a_killed_worker_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    root = str(Path(rooms.__file__).resolve().parents[1])
    code = (
        f"import sys, os; sys.path.insert(0, {root!r})\nfrom pathlib import Path\nfrom worker.workspace import scratch\n"
        f"with scratch(Path({str(tmp_path)!r})) as folder:\n    (folder / 'tree').mkdir(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 9
    with scratch(tmp_path) as mine:
        assert len(list(tmp_path.iterdir())) == 2
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []


def test_a_tree_too_large_is_refused_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = Trees(tmp_path, {"a": "x", "b": "y"})
    monkeypatch.setattr(rooms, "FILES_MAX", 1)
    with pytest.raises(ResourceExhausted, match="2 files"):
        write(trees, trees.checkout.base)
    assert trees.leftovers() == []


def test_an_unknown_commit_is_said(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"a": "x"})
    with pytest.raises(NotFound, match="router pushes it first"):
        write(trees, "0" * 40)
    assert trees.leftovers() == []


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    with scratch(tmp_path / "tmp") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
