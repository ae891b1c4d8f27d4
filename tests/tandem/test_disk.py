import errno
import os
import shutil
import sqlite3
from collections.abc import Generator
from pathlib import Path

import pytest

from tandem import disk
from tandem.errors import BadConfig, DiskFull
from tests.support import smalldisk
from tests.support.smalldisk import SmallDisk, small_disk


@pytest.fixture
def small(tmp_path: Path) -> Generator[SmallDisk]:
    smalldisk.require()
    with small_disk(tmp_path, 1 << 20) as made:
        yield made


def test_free_space_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    free = disk.free_bytes(tmp_path / "not" / "yet" / "there")
    assert 0 < free <= shutil.disk_usage(tmp_path).total
    (tmp_path / "file").touch()
    assert disk.free_bytes(tmp_path / "file" / "below") > 0


def test_free_space_follows_the_disk(small: SmallDisk) -> None:
    before = disk.free_bytes(small.seen)
    assert disk.free_bytes(small.seen / "new" / "folder") == before <= 1 << 20
    small.fill()
    assert disk.free_bytes(small.seen) == 0


def test_free_space_of_a_path_no_system_takes_is_a_number_all_the_same(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path / ("n" * 300)) >= 0


def test_a_disk_that_filled_up_is_our_error_with_the_place_and_what_is_left(small: SmallDisk) -> None:
    small.fill()
    told = r"^the tree could not be written: the disk that holds .* is full \(0\.0 MB free\)"
    with pytest.raises(DiskFull, match=told), disk.watched("the tree could not be written", small.seen):
        (small.seen / "a").write_bytes(b"x")
    assert disk.is_full(os.strerror(errno.ENOSPC))


def test_a_disk_that_is_read_only_is_a_matter_of_configuration(small: SmallDisk) -> None:
    small.remount_read_only()
    told = r"the tree could not be written: .*/a may not be written \(Read-only.*TANDEM_STATE"
    with pytest.raises(BadConfig, match=told), disk.watched("the tree could not be written", small.seen):
        (small.seen / "a").write_bytes(b"x")


@pytest.mark.parametrize(("number", "kind"), [
    (errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EROFS, BadConfig), (errno.EACCES, BadConfig),
    (errno.EPERM, BadConfig), (errno.ENOENT, None), (errno.EIO, None), (None, None),
])  # fmt: skip
def test_only_errors_about_the_disk_become_ours(tmp_path: Path, number: int | None, kind: type | None) -> None:
    raised = OSError("odd") if number is None else OSError(number, os.strerror(number))
    found = disk.trouble(raised, "x", tmp_path)
    assert (None if found is None else type(found)) is kind
    with pytest.raises(kind or OSError) as caught, disk.watched("x", tmp_path):
        raise raised
    assert caught.value is raised if kind is None else caught.value.__cause__ is raised


def test_what_passes_through_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), disk.watched("x", tmp_path):
        raise KeyError
    with disk.watched("x", tmp_path):
        pass


def test_the_room_that_is_needed_is_asked_for_before_work_begins(small: SmallDisk) -> None:
    disk.must_have_room("x", small.seen, 1 << 10)
    with pytest.raises(DiskFull, match="free some space there, and the work goes on by itself"):
        disk.must_have_room("x", small.seen)
    left = disk.free_bytes(small.seen)
    disk.must_have_room("x", small.seen, left)
    with pytest.raises(DiskFull):
        disk.must_have_room("x", small.seen, left + 1)


def test_a_file_that_could_not_be_replaced_is_the_old_one_and_leaves_nothing_beside_it(small: SmallDisk) -> None:
    file = small.seen / "peer.json"
    disk.replace_file(file, b"old")
    small.fill()
    with pytest.raises(OSError, match="No space left"):
        disk.replace_file(file, b"new" * 10_000)
    assert [path.read_bytes() for path in small.seen.glob("*peer*")] == [b"old"]
    assert list(small.seen.glob(".*peer*")) == []


def test_what_git_and_sqlite_say_of_a_full_disk_is_known(small: SmallDisk) -> None:
    db = sqlite3.connect(small.seen / "a.db", isolation_level=None)
    db.execute("CREATE TABLE t (x)")
    small.fill()
    with pytest.raises(sqlite3.OperationalError) as raised:
        db.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    db.close()
    assert disk.is_full(raised.value)
    assert disk.is_full("fatal: sha1 file '<stdout>' write error: No space left on device")
    assert disk.is_full("error: Disk quota exceeded")
    assert not disk.is_full("fatal: not a git repository")


def test_a_folder_that_cannot_be_synced_stops_nothing(tmp_path: Path) -> None:
    disk.sync_folder(tmp_path)
    disk.sync_folder(tmp_path / "gone")
    (tmp_path / "file").touch()
    disk.sync_folder(tmp_path / "file")
