import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tandem import clearing
from tandem.errors import TandemError
from tandem.git import git

HOUR_S = 3600.0


class Bare:
    """A bare repository with commits that references lead to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self("init", "-q", "--bare", "--template=", str(folder))

    def __call__(self, *args: str, stdin: str = "") -> str:
        env = {"PATH": os.environ["PATH"], "GIT_DIR": str(self.path), "HOME": os.devnull,
               **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}  # fmt: skip
        done = subprocess.run(
            ["git", *args], env=env, input=stdin, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def commit(self, name: str, text: str, *, age_s: float = 0.0) -> str:
        """Write a commit with one file, and hold it under refs/tandem/`name`; none where that is empty."""
        before = set(self.objects())
        blob = self("hash-object", "-w", "--stdin", stdin=text)
        made = self("commit-tree", "-m", text[:9], self("mktree", stdin=f"100644 blob {blob}\ta\n"))
        if name:
            self("update-ref", f"refs/tandem/{name}", made)
        for path in set(self.objects()) - before:
            os.utime(path, (time.time() - age_s,) * 2)
        return made

    def objects(self) -> list[Path]:
        return [path for path in self.path.glob("objects/*/*") if path.is_file()]

    def has(self, commit: str) -> bool:
        try:
            self("cat-file", "-e", f"{commit}:a")
        except subprocess.CalledProcessError:
            return False
        return True

    def clear(self, *stale: str, before_s: float | None = None) -> int:
        names = [f"refs/tandem/{name}" for name in stale]
        when_s = time.time() + 2 if before_s is None else before_s
        return asyncio.run(clearing.clear(self.path, names, before_s=when_s))


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path / "r.git")


def test_what_only_a_deleted_reference_led_to_goes_and_the_rest_stays(bare: Bare) -> None:
    kept, gone = bare.commit("kept", "k" * 50_000), bare.commit("gone", os.urandom(200_000).hex())
    before = clearing.size_of(bare.path)
    freed = bare.clear("gone")
    assert (bare.has(kept), bare.has(gone)) == (True, False)
    assert asyncio.run(clearing.references(bare.path, "refs/")) == ["refs/tandem/kept"]
    assert freed == before - clearing.size_of(bare.path) > 100_000
    assert not (bare.path / "tandem-clearing").exists()


def test_packed_or_loose_it_goes(bare: Bare) -> None:
    kept, gone = bare.commit("kept", "kept"), bare.commit("gone", "gone")
    bare("repack", "-a", "-d", "-q")
    bare.clear("gone")
    assert (bare.has(kept), bare.has(gone)) == (True, False)


def test_what_was_written_since_stays_though_nothing_leads_to_it_yet(bare: Bare) -> None:
    bare.commit("gone", "gone", age_s=2 * HOUR_S)
    old, new = bare.commit("", "old", age_s=2 * HOUR_S), bare.commit("", "new")
    bare.clear("gone", before_s=time.time() - HOUR_S)
    assert (bare.has(old), bare.has(new)) == (False, True)


def test_what_was_too_young_goes_with_a_later_call(bare: Bare) -> None:
    kept, gone = bare.commit("kept", "kept"), bare.commit("gone", "gone")
    bare.clear("gone", before_s=time.time() - HOUR_S)
    assert bare.has(gone)
    bare.clear(before_s=time.time() - HOUR_S)
    assert bare.has(gone)
    bare.clear()
    assert (bare.has(kept), bare.has(gone)) == (True, False)
    assert not (bare.path / "tandem-clearing").exists()


@pytest.mark.parametrize("stage", ["marked", "dropped", "repacked"])
def test_cut_off_anywhere_the_next_call_ends_it(bare: Bare, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = bare.commit("kept", "kept"), bare.commit("gone", "gone")
    last = {"marked": "update-ref", "dropped": "pack-refs", "repacked": "prune"}[stage]

    async def until(*args: str, **more: object) -> object:
        if args[0] == last:
            raise TandemError("killed")
        return await git(*args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(clearing, "git", until)
        with pytest.raises(TandemError):
            bare.clear("gone")
    left = [name for name in ("kept", "gone") if f"refs/tandem/{name}" in bare("for-each-ref")]
    assert left == (["kept", "gone"] if stage == "marked" else ["kept"])
    bare.clear(*left[1:])
    assert (bare.has(kept), bare.has(gone)) == (True, False)


def test_where_there_is_nothing_to_clear_nothing_is_packed_anew(bare: Bare) -> None:
    bare.commit("kept", "kept")
    loose = bare.objects()
    assert bare.clear() == 0
    assert bare.objects() == loose


def test_references_are_deleted_all_or_none(bare: Bare) -> None:
    bare.commit("a", "a")
    bare.commit("b", "b")
    (bare.path / "refs" / "tandem" / "b.lock").touch()
    with pytest.raises(TandemError):
        bare.clear("a", "b")
    assert len(asyncio.run(clearing.references(bare.path, "refs/tandem/"))) == 2


def test_sizes_are_those_on_disk_and_links_are_not_followed(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (far / "large").write_bytes(os.urandom(1 << 20))
    near = tmp_path / "near"
    near.mkdir()
    (near / "file").write_bytes(os.urandom(10_000))
    (near / "link").symlink_to(far)
    (tmp_path / "top").symlink_to(far)
    assert 10_000 <= clearing.size_of(near) < 100_000
    assert clearing.size_of(tmp_path / "top") < 100_000
    assert clearing.size_of(far / "large") >= 1 << 20
    assert clearing.size_of(tmp_path / "gone") == 0


def test_age_is_that_of_the_last_change_and_what_is_gone_has_none(tmp_path: Path) -> None:
    now_s = time.time()
    for name, age_s in (("old", 100.0), ("new", 10.0), ("tomorrow", -1e5)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now_s - age_s,) * 2)
    paths = [tmp_path / name for name in ("old", "new", "tomorrow", "gone")]
    assert clearing.older_than(paths, 50, now_s) == [tmp_path / "old"]
    assert clearing.older_than(paths, 0, now_s) == [tmp_path / "old", tmp_path / "new"]
    assert clearing.older_than(paths, 100.5, now_s) == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_says_the_same_and_removes_nothing(tmp_path: Path, dry_run: bool) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(os.urandom(5000))
    removed: list[Path] = []
    remove: Callable[[Path], None] = removed.append
    assert clearing.remove_all(paths, remove, dry_run=dry_run) >= 10_000
    assert removed == ([] if dry_run else paths)


def gather(bare: Bare) -> bool:
    return asyncio.run(clearing.gather(bare.path))


def packs(bare: Bare) -> int:
    return len(list(bare.path.glob("objects/pack/*.pack")))


def references(bare: Bare, count: int) -> str:
    made = bare.commit("", "many")
    bare("update-ref", "--stdin", stdin="".join(f"update refs/tandem/runs/{n}/draft {made}\n" for n in range(count)))
    return made


def loose(bare: Bare) -> int:
    return sum(path.is_file() for path in (bare.path / "refs").rglob("*"))


def test_many_references_lie_in_one_file_and_a_few_as_they_are(bare: Bare) -> None:
    references(bare, 20)
    assert (gather(bare), loose(bare)) == (False, 20)
    made = references(bare, 200)
    assert (gather(bare), loose(bare)) == (True, 0)
    names = asyncio.run(clearing.references(bare.path, "refs/tandem/"))
    assert (len(names), bare("rev-parse", "refs/tandem/runs/7/draft")) == (200, made)
    bare.clear(*(name.removeprefix("refs/tandem/") for name in names))
    assert not bare.has(made)


def test_many_packs_become_few_and_what_nothing_leads_to_stays(bare: Bare) -> None:
    kept = [bare.commit("", f"lost {n}") for n in range(3)]
    for number in range(clearing.PACKS_MAX + 1):
        commit = bare.commit(f"c{number}", f"text {number}")
        bare("pack-objects", "-q", "--revs", f"{bare.path}/objects/pack/pack", stdin=f"{commit}\n")
        bare("prune-packed")
        kept.append(commit)
    assert gather(bare)
    assert packs(bare) == 1
    assert all(map(bare.has, kept))
    assert not gather(bare)


def test_many_loose_objects_go_into_a_pack(bare: Bare) -> None:
    blobs = bare("hash-object", "-w", "--stdin-paths", stdin="".join(f"{path}\n" for path in texts(bare.path, 4000)))
    assert gather(bare)
    assert (packs(bare), bare("count-objects").split()[0]) == (1, "0")
    assert all(bare("cat-file", "-t", blob) == "blob" for blob in blobs.splitlines()[:3])


def texts(folder: Path, count: int) -> list[Path]:
    paths = [folder.parent / f"{number}.txt" for number in range(count)]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_a_lock_somebody_holds_is_left_and_one_of_a_killed_git_is_not(
    bare: Bare, caplog: pytest.LogCaptureFixture
) -> None:
    references(bare, 300)
    lock = bare.path / "packed-refs.lock"
    lock.touch()
    assert not gather(bare)
    assert "packed-refs.lock" in str(caplog.records[-1].__dict__["why"])
    assert (loose(bare), lock.exists()) == (300, True)
    os.utime(lock, (time.time() - HOUR_S,) * 2)
    assert gather(bare)
    assert (loose(bare), lock.exists()) == (0, False)


def test_references_go_though_a_killed_git_left_its_lock(bare: Bare) -> None:
    bare.commit("gone", "gone")
    bare("pack-refs", "--all")
    lock = bare.path / "packed-refs.lock"
    lock.touch()
    os.utime(lock, (time.time() - HOUR_S,) * 2)
    bare.clear("gone")
    assert asyncio.run(clearing.references(bare.path, "refs/")) == []


def test_a_clearing_that_was_cut_off_goes_on_though_a_killed_git_left_its_lock(bare: Bare) -> None:
    gone = bare.commit("gone", "gone")
    bare("update-ref", "-d", "refs/tandem/gone")
    (bare.path / "tandem-clearing").touch()
    lock = bare.path / "packed-refs.lock"
    lock.touch()
    os.utime(lock, (time.time() - HOUR_S,) * 2)
    bare.clear()
    assert not bare.has(gone)
