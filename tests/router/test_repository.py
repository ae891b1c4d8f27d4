import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from router.repository import OwnRepository
from tandem.errors import BadReply, BadRepository, TandemError
from tandem.git import git
from tandem.types import CommitId, Edit, RunId
from tests.support.checkouts import Checkout

AT_S = 1_760_000_000


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    return made


async def opened(checkout: Checkout, base: str | None = None) -> OwnRepository:
    return await OwnRepository.open(checkout.state, checkout.root, base or checkout.base)


async def edited(own: OwnRepository, parent: str, *edits: Edit, **more: Any) -> CommitId:
    words: dict[str, Any] = {"persona": "coder", "message": "a change", "at_s": AT_S} | more
    return await own.commit(parent=CommitId(parent), edits=edits, **words)


def raw(own: OwnRepository, checkout: Checkout, *args: str) -> str:
    return checkout.git(*args, at=OwnRepository.git_dir(checkout.state, own.repo_id))


def test_a_commit_is_the_same_twice_and_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    async def main() -> None:
        own = await opened(checkout)
        edits = (
            Edit(path="calc.py", content="def add(a, b):\n    return a + b\n"),
            Edit(path="new/ü.py", content="x\n"),
        )
        first = await edited(own, checkout.base, *edits)
        assert await edited(own, checkout.base, *reversed(edits)) == first
        elsewhere = await OwnRepository.open(tmp_path / "other state", checkout.root, checkout.base)
        assert await edited(elsewhere, checkout.base, *edits) == first
        assert await edited(own, checkout.base, *edits, at_s=AT_S + 1) != first
        assert await edited(own, checkout.base, *edits, persona="tester") != first

    asyncio.run(main())


def test_commits_bear_the_personas_name_and_the_given_date(checkout: Checkout) -> None:
    async def main() -> str:
        own = await opened(checkout)
        made = await edited(own, checkout.base, Edit(path="a.txt", content="a"), message="Subject\n\nTandem-Run: r1")
        return raw(own, checkout, "cat-file", "commit", made)

    text = asyncio.run(main())
    assert f"author Tandem Coder <coder@tandem.invalid> {AT_S} +0000\n" in text
    assert f"committer Tandem Coder <coder@tandem.invalid> {AT_S} +0000\n" in text
    assert f"parent {checkout.base}\n" in text
    assert text.endswith("Subject\n\nTandem-Run: r1")


def test_contents_are_stored_as_given_whatever_the_trees_attributes_say(checkout: Checkout) -> None:
    base = checkout.commit({".gitattributes": "* text=auto eol=crlf filter=evil ident\n"})
    content = "a\r\nb\n$Id$\nno end"

    async def main() -> None:
        own = await opened(checkout, base)
        one = await edited(own, base, Edit(path="x.txt", content=content))
        both = await edited(own, one, Edit(path="x.txt", content=content + "2"), Edit(path="y.txt", content=content))
        assert await own.read(one, "x.txt") == content
        assert await own.read(both, "y.txt") == content

    asyncio.run(main())


def test_edits_add_change_and_delete_and_keep_the_mode(checkout: Checkout) -> None:
    script = checkout.root / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    base = checkout.commit({"old/one.txt": "1", "old/two.txt": "2"})

    async def main() -> None:
        own = await opened(checkout, base)
        made = await edited(
            own,
            base,
            Edit(path="run.sh", content="#!/bin/sh\nexit 0\n"),
            Edit(path="old/one.txt", content=None),
            Edit(path="fresh.sh", content="#!/bin/sh\n"),
        )
        assert await own.files(made) == ["README.md", "calc.py", "fresh.sh", "old/two.txt", "run.sh"]
        modes = raw(own, checkout, "ls-tree", "-r", made)
        assert "100755 blob" in next(line for line in modes.split("\n") if line.endswith("run.sh"))
        assert "100644 blob" in next(line for line in modes.split("\n") if line.endswith("fresh.sh"))
        assert await own.changed(CommitId(base), made) == ["fresh.sh", "old/one.txt", "run.sh"]
        anew = await opened(checkout, base)  # what is remembered of a commit is what git says of it
        assert await anew.files(made) == await own.files(made)
        assert await anew.changed(CommitId(base), made) == await own.changed(CommitId(base), made)
        assert await anew.tree(made, ["run.sh", "fresh.sh"]) == await own.tree(made, ["run.sh", "fresh.sh"])

    asyncio.run(main())


def test_a_change_that_changes_nothing_is_the_parent_itself(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        same = Edit(path="README.md", content="# calc\n")
        assert await edited(own, checkout.base, same, Edit(path="not there", content=None)) == checkout.base
        assert await edited(own, checkout.base) == checkout.base

    asyncio.run(main())


def test_writes_never_go_through_or_over_links_folders_files_and_nested_repositories(checkout: Checkout) -> None:
    (checkout.root / "link").symlink_to("/etc")
    (checkout.root / "file-link").symlink_to("calc.py")
    checkout.git("update-index", "--add", "--cacheinfo", f"160000,{checkout.base},nested")
    base = checkout.commit({"folder/inside.txt": "x"})
    refused = {
        "link/passwd": "symbolic link",
        "link": "symbolic link",
        "file-link": "symbolic link",
        "calc.py/below": "is a file",
        "folder": "is a folder",
        "Folder/other.txt": "only in case",
        "README.MD": "only in case",
    }

    async def main() -> None:
        own = await opened(checkout, base)
        assert "link" not in await own.files(CommitId(base))
        assert await own.read(CommitId(base), "file-link") is None
        for path, why in refused.items():
            with pytest.raises(BadReply, match=why):
                await edited(own, base, Edit(path=path, content="x"))
        with pytest.raises(BadReply, match="leads through 'a'"):
            await edited(own, base, Edit(path="a", content="x"), Edit(path="a/b", content="x"))
        with pytest.raises(BadReply, match="only in case"):
            await edited(own, base, Edit(path="new.txt", content="x"), Edit(path="NEW.txt", content="x"))
        renamed = await edited(own, base, Edit(path="README.md", content=None), Edit(path="readme.md", content="x"))
        assert "readme.md" in await own.files(renamed)

    asyncio.run(main())


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"


def test_large_files_and_attributes_that_are_there_stay_and_new_ones_are_refused(checkout: Checkout) -> None:
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    base = checkout.commit({".gitattributes": attributes, "model.bin": POINTER, "sub/.gitattributes": "* text\n"})
    refused = {
        "model.bin": ("x", "stands for a large file"),
        "other.bin": (POINTER, "would stand for a large file"),
        ".gitattributes": (attributes + "*.py filter=evil\n", "'filter=evil'"),
        "sub/.gitattributes": ("* merge=ours\n", "'merge=ours'"),
        "new/.gitattributes": ("* diff=exec\n", "'diff=exec'"),
        "new/.GITATTRIBUTES": ("* filter=python\n", "'filter=python'"),
        ".gitmodules": ("[submodule]\n", "belongs to Git"),
    }

    async def main() -> None:
        own = await opened(checkout, base)
        for path, (text, why) in refused.items():
            with pytest.raises(BadReply, match=why):
                await edited(own, base, Edit(path=path, content=text))
        more = await edited(own, base, Edit(path=".gitattributes", content=attributes + "*.py text diff=python\n"))
        assert await own.read(more, "model.bin") == POINTER
        assert await own.read(more, ".gitattributes") == attributes + "*.py text diff=python\n"
        gone = await edited(own, base, Edit(path="model.bin", content=None))
        assert "model.bin" not in await own.files(gone)

    asyncio.run(main())


def test_nested_repositories_are_neither_listed_nor_entered(checkout: Checkout) -> None:
    checkout.git("update-index", "--add", "--cacheinfo", f"160000,{checkout.base},nested")
    checkout.git("commit", "-q", "-m", "a nested repository")
    base = checkout.tip()

    async def main() -> None:
        own = await opened(checkout, base)
        assert "nested" not in await own.files(CommitId(base))
        for path in ("nested", "nested/x"):
            with pytest.raises(BadReply, match="nested repository"):
                await edited(own, base, Edit(path=path, content="x"))

    asyncio.run(main())


def test_too_many_or_too_large_edits_are_refused(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        with pytest.raises(BadReply, match="201 edits"):
            await edited(own, checkout.base, *(Edit(path=f"{n}", content="") for n in range(201)))
        with pytest.raises(BadReply, match="'big' has 2,097,153 bytes"):
            await edited(own, checkout.base, Edit(path="big", content="x" * (2 << 20) + "x"))
        with pytest.raises(BadReply, match="not valid Unicode"):
            await edited(own, checkout.base, Edit(path="a", content="\ud800"))
        with pytest.raises(BadReply, match="zero character"):
            await edited(own, checkout.base, Edit(path="a", content="a"), message="a\0b")
        many = await edited(own, checkout.base, *(Edit(path=f"n{n}", content=f"{n}") for n in range(200)))
        assert len(await own.files(many)) == 202

    asyncio.run(main())


def test_reads_give_none_for_what_is_missing_too_large_or_not_text(checkout: Checkout) -> None:
    (checkout.root / "binary").write_bytes(b"\xff\xfe\x00")
    base = CommitId(checkout.commit({"long.txt": "x" * 100, "empty": ""}))

    async def main() -> None:
        own = await opened(checkout, base)
        assert await own.read(base, "README.md") == "# calc\n"
        assert await own.read(base, "empty") == ""
        assert await own.read(base, "long.txt", limit_bytes=100) == "x" * 100
        for path in ("binary", "not there", "../secret", "/etc/passwd", "", "README.md/x"):
            assert await own.read(base, path) is None
        assert await own.read(base, "long.txt", limit_bytes=99) is None

    asyncio.run(main())


def test_a_tree_of_some_paths_changes_only_with_them(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        one = await edited(own, checkout.base, Edit(path="tests/test_a.py", content="a"))
        two = await edited(own, one, Edit(path="calc.py", content="b"))
        three = await edited(own, one, Edit(path="tests/test_a.py", content="c"))
        paths = ["tests/test_a.py", "not there"]
        assert await own.tree(one, paths) == await own.tree(two, paths) == await own.tree(two, ["tests"])
        assert await own.tree(one, paths) != await own.tree(three, paths)
        assert await own.tree(one, []) == raw(own, checkout, "hash-object", "-t", "tree", "/dev/null")
        assert await own.tree(one) == raw(own, checkout, "rev-parse", f"{one}^{{tree}}")

    asyncio.run(main())


def test_squash_holds_the_heads_tree_over_the_base(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        one = await edited(own, checkout.base, Edit(path="a", content="a"))
        two = await edited(own, one, Edit(path="b", content="b"))
        made = await own.squash(base=CommitId(checkout.base), head=two, persona="coder", message="all", at_s=AT_S)
        assert await own.tree(made) == await own.tree(two)
        assert raw(own, checkout, "rev-parse", f"{made}^") == checkout.base

    asyncio.run(main())


def test_a_diff_shows_the_bytes_whatever_the_tree_says_about_them(checkout: Checkout) -> None:
    base = checkout.commit({".gitattributes": "*.py -diff\n*.md diff=evil\n"})

    async def main() -> bytes:
        own = await opened(checkout, base)
        head = await edited(
            own, base, Edit(path="calc.py", content="import os\n"), Edit(path="README.md", content="# other\n")
        )
        assert await own.diff(CommitId(base), CommitId(base)) == b""
        return await own.diff(CommitId(base), head)

    diff = asyncio.run(main())
    assert b"+import os\n" in diff
    assert b"+# other\n" in diff
    assert b"\x1b" not in diff


def test_replant_carries_a_change_onto_a_moved_branch_or_says_that_it_conflicts(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        head = await edited(own, checkout.base, Edit(path="calc.py", content="def add(a, b):\n    return a + b\n"))
        aside = CommitId(checkout.commit({"other.txt": "other"}))
        words: dict[str, Any] = {"persona": "coder", "message": "again", "at_s": AT_S}
        base = CommitId(checkout.base)
        assert await own.tip("main") == aside
        made = await own.replant(base=base, head=head, onto=aside, **words)
        assert made is not None
        assert made == await own.replant(base=base, head=head, onto=aside, **words)
        assert await own.files(made) == ["README.md", "calc.py", "other.txt"]
        assert await own.diff(aside, made) == await own.diff(base, head)
        across = CommitId(checkout.commit({"calc.py": "def add(a, b):\n    return b\n"}))
        assert await own.replant(base=base, head=head, onto=across, **words) is None

    asyncio.run(main())


def test_tip_follows_the_checkouts_branch_and_is_none_where_it_is_gone(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        assert await own.tip("main") == checkout.base
        moved = checkout.commit({"x": "x"})
        assert await own.tip("main") == moved
        assert await own.files(CommitId(moved)) == ["README.md", "calc.py", "x"]  # it came along
        assert await own.tip("nothing") is None

    asyncio.run(main())


def test_kept_commits_outlive_a_collection(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        made = await edited(own, checkout.base, Edit(path="a", content="a"))
        lost = await edited(own, checkout.base, Edit(path="b", content="b"))
        for name in ("code.1", "..", "x.lock", "a b/~^:", "한글"):
            await own.keep(RunId("1009-abc"), name, made)
        raw(own, checkout, "gc", "-q", "--prune=now")
        again = await opened(checkout)
        assert await again.files(made) == ["README.md", "a", "calc.py"]
        with pytest.raises(TandemError, match="ls-tree"):
            await again.files(lost)

    asyncio.run(main())


def test_a_lock_left_by_a_killed_git_does_not_stop_keeping(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        lock = OwnRepository.git_dir(checkout.state, own.repo_id) / "refs/tandem/runs/r1/code.1.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        os.utime(lock, (time.time() - 60,) * 2)
        await own.keep(RunId("r1"), "code.1", CommitId(checkout.base))

    asyncio.run(main())


def test_opening_leaves_the_checkout_as_it_is_and_its_own_folder_private(checkout: Checkout) -> None:
    checkout.write({"calc.py": "dirty", "untracked": "x"})
    before = checkout.shape()

    async def main() -> OwnRepository:
        own = await opened(checkout)
        await edited(own, checkout.base, Edit(path="a", content="a"))
        assert own.repo_id == (await opened(checkout)).repo_id
        return own

    own = asyncio.run(main())
    assert checkout.shape() == before
    assert OwnRepository.git_dir(checkout.state, own.repo_id).stat().st_mode & 0o777 == 0o700
    assert list((checkout.state / "tmp").iterdir()) == []


def test_an_opened_base_needs_the_checkout_no_more(checkout: Checkout) -> None:
    async def main() -> None:
        first = await opened(checkout)
        checkout.root.rename(checkout.root.with_name("moved away"))
        again = await opened(checkout)
        assert first.repo_id == again.repo_id
        assert await again.read(CommitId(checkout.base), "README.md") == "# calc\n"

    asyncio.run(main())


def test_opening_at_the_same_time_makes_one_directory(checkout: Checkout) -> None:
    async def main() -> None:
        several = await asyncio.gather(*(opened(checkout) for _ in range(6)))
        for own in several:
            assert await own.files(CommitId(checkout.base)) == ["README.md", "calc.py"]

    asyncio.run(main())
    assert len(list((checkout.state / "git").iterdir())) == 1


def test_a_git_directory_half_made_is_made_anew(checkout: Checkout) -> None:
    async def main() -> None:
        own = await opened(checkout)
        git_dir = OwnRepository.git_dir(checkout.state, own.repo_id)
        await git("update-ref", "-d", f"refs/tandem/base/{checkout.base}", git_dir=git_dir)  # killed before the marker
        assert await (await opened(checkout)).files(CommitId(checkout.base)) == ["README.md", "calc.py"]

    asyncio.run(main())


def test_what_a_checkout_plants_never_runs(checkout: Checkout, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\necho $0 >> {ran}\ncat\n")
    evil.chmod(0o755)
    for hook in ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "post-index-change"):
        (checkout.root / ".git/hooks").mkdir(exist_ok=True)
        (checkout.root / ".git/hooks" / hook).symlink_to(evil)
    base = checkout.commit({".gitattributes": "* filter=evil diff=evil merge=evil\n"})
    keys = ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "diff.external", "diff.evil.textconv")
    keys += ("diff.evil.command", "merge.evil.driver", "uploadpack.packObjectsHook", "core.sshCommand", "core.pager")
    for key in keys:
        checkout.git("config", key, str(evil))
    ran.unlink(missing_ok=True)

    async def main() -> None:
        own = await opened(checkout, base)
        head = await edited(own, base, Edit(path="calc.py", content="1\n"), Edit(path="new.md", content="2\n"))
        await own.diff(CommitId(base), head)
        await own.replant(
            base=CommitId(base), head=head, onto=CommitId(checkout.base), persona="coder", message="m", at_s=AT_S
        )
        assert await own.read(head, "new.md") == "2\n"
        assert await own.tip("main") == base

    asyncio.run(main())
    assert not ran.exists()
    checkout.git("status")
    assert ran.exists()  # the trap works: a plain git springs it


def _object(checkout: Checkout, kind: str, data: bytes) -> str:
    return checkout.git("hash-object", "-t", kind, "-w", "--literally", "--stdin", stdin=data)


def _odd_commit(checkout: Checkout, tree: bytes, author: str = "A <a@b.invalid> 1700000000 +0000") -> str:
    text = f"tree {_object(checkout, 'tree', tree)}\nauthor {author}\ncommitter {author}\n\nodd\n"
    return _object(checkout, "commit", text.encode())


def test_harmless_oddities_of_old_histories_are_let_through(checkout: Checkout) -> None:
    blob = bytes.fromhex(_object(checkout, "blob", b"x\n"))
    inner = bytes.fromhex(_object(checkout, "tree", b"100644 a\0" + blob))
    odd = {
        "zero-padded": _odd_commit(checkout, b"040000 d\0" + inner),
        "no space": _odd_commit(checkout, b"100644 a\0" + blob, "A <a@b.invalid>1700000000 +0000"),
        "time zone": _odd_commit(checkout, b"100644 a\0" + blob, "A <a@b.invalid> 1700000000 +051800"),
        "no address": _odd_commit(checkout, b"100644 a\0" + blob, "A 1700000000 +0000"),
    }

    async def main() -> None:
        for name, commit in odd.items():
            own = await opened(checkout, commit)
            assert await own.files(CommitId(commit)), name

    asyncio.run(main())


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT", b"git~1", b".gi\xe2\x80\x8ct"])
def test_trees_that_would_reach_git_itself_are_refused(checkout: Checkout, name: bytes) -> None:
    blob = bytes.fromhex(_object(checkout, "blob", b"x\n"))
    inner = bytes.fromhex(_object(checkout, "tree", b"100644 config\0" + blob))
    commit = _odd_commit(checkout, b"40000 " + name + b"\0" + inner)
    with pytest.raises(BadRepository, match="will not take"):
        asyncio.run(opened(checkout, commit))


def test_a_base_that_is_not_there_or_no_id_is_named(checkout: Checkout) -> None:
    with pytest.raises(BadRepository, match="commit 111111111111 cannot be fetched"):
        asyncio.run(opened(checkout, "1" * 40))
    with pytest.raises(BadRepository, match="'main' is no full commit id"):
        asyncio.run(opened(checkout, "main"))


def test_shallow_clones_and_sha256_work(checkout: Checkout, tmp_path: Path) -> None:
    tip = checkout.commit({"b": "b"})
    checkout.git("clone", "-q", "--depth=1", f"file://{checkout.root}", str(tmp_path / "shallow"))
    modern = Checkout(tmp_path / "modern", form="sha256")

    async def main() -> None:
        shallow = await OwnRepository.open(checkout.state, tmp_path / "shallow", tip)
        made = await edited(shallow, tip, Edit(path="c", content="c"))
        done = await shallow.deliver(commit=made, branch="main", expected=CommitId(tip), note="n")
        assert done.merged
        own = await opened(modern)
        made = await edited(own, modern.base, Edit(path="c", content="c"))
        assert len(made) == 64
        assert (await own.deliver(commit=made, branch="main", expected=CommitId(modern.base), note="n")).merged

    asyncio.run(main())


def test_a_commit_takes_few_processes(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs: list[str] = []
    start = asyncio.create_subprocess_exec

    async def counted(*args: str, **more: Any) -> asyncio.subprocess.Process:
        verbs.append(next(a for a in args[1:] if not a.startswith("-") and "=" not in a))
        return await start(*args, **more)

    async def main() -> None:
        own = await opened(checkout)
        monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
        await edited(own, checkout.base, Edit(path="a", content="a"), Edit(path="b", content="b"))

    asyncio.run(main())
    assert len(verbs) <= 7, verbs
