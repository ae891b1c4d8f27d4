import stat
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tandem.errors import BadConfig, DiskFull, Unreachable
from tests.support import smalldisk
from tests.support.smalldisk import small_disk
from worker.fence import Fence


def test_the_newest_holds_and_an_older_one_is_refused_with_its_number(tmp_path: Path) -> None:
    first = Fence.take(tmp_path)
    first.check()
    second = Fence.take(tmp_path)
    second.check()
    assert (first.holds, second.holds) == (False, True)
    with pytest.raises(
        Unreachable, match=r"^this worker \(number 1\) was replaced by a later one, and does nothing more$"
    ):
        first.check()
    assert (first.number, second.number) == (1, 2)


def test_the_file_is_its_owners_alone_and_for_people_to_read(tmp_path: Path) -> None:
    for _ in range(11):
        Fence.take(tmp_path)
    assert (tmp_path / "fence").read_text() == "11\n"
    assert stat.S_IMODE((tmp_path / "fence").stat().st_mode) == 0o600


def test_of_many_that_start_at_once_each_has_its_own_number_and_one_holds(tmp_path: Path) -> None:
    taken: list[Fence] = []

    def start() -> None:
        for _ in range(10):
            taken.append(Fence.take(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fence.number for fence in taken) == list(range(1, 81))
    assert [fence.number for fence in taken if fence.holds] == [80]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=30) | st.integers(0, 10**25).map(lambda number: str(number).encode()))
@example(b"9" * 20)
@example(b"9" * 19)
@example(b"9" * 18)
@example(b"12")
def test_whatever_stands_in_the_file_the_newest_holds(tmp_path_factory: pytest.TempPathFactory, left: bytes) -> None:
    state = tmp_path_factory.mktemp("state")
    (state / "fence").write_bytes(left)
    first = Fence.take(state)
    assert first.holds
    second = Fence.take(state)
    assert (first.holds, second.holds) == (False, True)
    assert second.number != first.number


def test_where_the_folder_is_gone_nobody_holds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    fence = Fence.take(state)
    (state / "fence").unlink()
    assert not fence.holds
    state.rmdir()
    with pytest.raises(Unreachable):
        fence.check()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "fence").symlink_to(victim)
    with pytest.raises(BadConfig, match=r"the worker could not start: .*/fence: .*; move it away"):
        Fence.take(tmp_path)
    assert victim.read_text() == "precious"
    (tmp_path / "fence").unlink()
    (tmp_path / "fence").mkdir()
    with pytest.raises(BadConfig):
        Fence.take(tmp_path)


def test_a_full_disk_is_said_and_the_earlier_worker_stays(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 1 << 20) as disk:
        disk.fill()
        with pytest.raises(DiskFull, match="the worker could not start"):
            Fence.take(disk.seen)
        disk.free()
        fence = Fence.take(disk.seen)
        disk.remount_read_only()
        with pytest.raises(BadConfig, match="may not be written"):
            Fence.take(disk.seen)
        assert fence.holds
