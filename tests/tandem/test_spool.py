import gc
import os
from pathlib import Path

import pytest

from tandem import wire
from tandem.artefacts import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX
from tandem.spool import Spool
from tests.support import smalldisk
from tests.support.smalldisk import small_disk


def put(spool: Spool, name: str, data: bytes) -> None:
    spool.add(data)
    spool.keep(name)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - names alone


def test_files_come_out_in_pieces_from_any_one_on_and_the_same_each_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    large = os.urandom(2 * wire.DATA_BYTES + 7)
    for name, data in (("large", large), ("empty", b""), ("even", b"x" * wire.DATA_BYTES)):
        put(spool, name, data)
    spool.leave_out("out", 9 << 20, "larger than 4 MiB")
    pieces = list(spool.pieces())
    assert [(piece.name, len(piece.data), piece.last) for piece in pieces] == [
        ("large", wire.DATA_BYTES, False), ("large", wire.DATA_BYTES, False), ("large", 7, True), ("empty", 0, True),
        ("even", wire.DATA_BYTES, True), ("out", 0, True),
    ]  # fmt: skip
    assert b"".join(piece.data for piece in pieces[:3]) == large
    assert {piece.spool for piece in pieces} == {spool.id}
    for skipped in range(len(pieces) + 2):
        assert list(spool.pieces(skipped)) == pieces[skipped:]


def test_it_has_no_name_and_is_gone_with_whoever_holds_it_last(tmp_path: Path) -> None:
    gc.collect()
    before = descriptors()
    spool = Spool(tmp_path)
    put(spool, "a", b"some bytes")
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before + 1
    reading = spool.pieces()
    del spool
    assert next(reading).data == b"some bytes", "who reads holds it"
    del reading
    assert descriptors() == before


def test_what_was_dropped_leaves_no_trace(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    put(spool, "a", b"first")
    spool.add(b"this one turned out to be of another size")
    spool.drop()
    put(spool, "b", b"2nd")
    assert [(file.name, b"".join(spool.read(file))) for file in spool.held] == [("a", b"first"), ("b", b"2nd")]
    assert spool.size_bytes == 8


def test_what_is_too_much_is_refused_before_a_byte_of_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.refuses("a", FILE_BYTES_MAX + 1) == "larger than 4 MiB"
    assert spool.refuses("a", -1) == "larger than 4 MiB"
    assert spool.refuses("", 1) == "its name cannot be used"
    put(spool, "a", b"x" * (BYTES_MAX - 10))
    assert spool.refuses("A", 1) == "another file has that name"
    assert spool.refuses("b", 11) == "with it, it would be more than 8 MiB"
    assert spool.refuses("b", 10) == ""
    for number in range(FILES_MAX - 1):
        put(spool, f"n{number}", b"")
    assert spool.refuses("b", 0) == f"{FILES_MAX} files came before it"


def test_a_disk_without_room_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 2 << 20) as disk:
        spool = Spool(disk.seen)
        put(spool, "a", b"kept")
        with pytest.raises(OSError, match="No space left"):
            spool.add(b"x" * (3 << 20))
        spool.drop()
        assert [b"".join(spool.read(file)) for file in spool.held] == [b"kept"]
        del spool
