"""A run in a file: what is written is read the same, and nothing else is read at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import sqlite3
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import archive
from router.archive import Archive, read, write
from router.journal import Entry, RunRow
from tandem.errors import BadInput
from tandem.faults import KINDS
from tandem.types import RunId

RECORDED = Path(__file__).resolve().parents[1] / "data" / "journals"
MEMBERS = ("run.json", "entries.jsonl", "objects.pack", "calls.jsonl", "artefacts.jsonl", "SHA256SUMS")
TASK = {"text": "Make shout shout", "repo": "/somewhere", "base": "ab" * 20}
SAMPLE = Archive(
    row=RunRow(run=RunId("1120-abcdefg"), created_s=1.5, stamp="7.abc", task=TASK),
    state="merged",
    moved=False,
    references={"check.1.product": "ab" * 20},
    entries=[
        Entry(id=1, step="", ordinal=0, attempt=1, kind="state", question="", value={"state": "merged"}, at_s=2.25),
        Entry(
            id=4, step="plan.1", ordinal=0, attempt=2, kind="reply", question="q" * 24, value=["한글", None], at_s=3.5
        ),
    ],
    pack=b"PACK\0\1\2\3" * 90,
    calls=b'{"part": 1}\n',
    artefacts=b'{"check": "head"}\n',
)
RAW = write(SAMPLE)


def bodies(raw: bytes = RAW) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def packed(found: Mapping[str, bytes], **header: Any) -> bytes:
    """Return a tar of members as somebody else may make it, with sums that fit; `header` is changed in each."""
    out = io.BytesIO()
    said = {name: body for name, body in found.items() if name != "SHA256SUMS"}
    sums = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in said.items()).encode()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in {**said, "SHA256SUMS": sums}.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            for key, value in header.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


def changed(**about: Any) -> bytes:
    """Return the sample with other words in its run.json; its sums fit."""
    told = {**json.loads(bodies()["run.json"]), **about}
    return packed({**bodies(), "run.json": json.dumps(told).encode()})


def with_entry(**fields: Any) -> bytes:
    line = {**asdict(SAMPLE.entries[1]), **fields}
    return packed({**bodies(), "entries.jsonl": json.dumps(line).encode() + b"\n"})


# --- what is written is read --------------------------------------------------------------------------------------


def test_what_was_written_is_read_the_same() -> None:
    assert read(RAW) == SAMPLE
    assert write(read(RAW)) == RAW


def test_any_tar_opens_it_and_sha256sum_is_content(tmp_path: Path) -> None:
    (tmp_path / "r.tandem").write_bytes(RAW)
    subprocess.run(["tar", "xf", "r.tandem"], cwd=tmp_path, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*MEMBERS, "r.tandem"])
    sums = (tmp_path / "SHA256SUMS").read_text().split()
    assert sums[1::2] == list(MEMBERS[:5])
    assert sums[::2] == [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in MEMBERS[:5]]


def test_one_of_the_first_format_is_read_and_carries_nothing_that_checks_left() -> None:
    was = {**bodies(), "run.json": json.dumps({**json.loads(bodies()["run.json"]), "format": 1}).encode()}
    del was["artefacts.jsonl"]
    assert read(packed(was)) == replace(SAMPLE, artefacts=b"")
    with pytest.raises(BadInput):
        read(packed({**was, "artefacts.jsonl": b""}))
    with pytest.raises(BadInput):
        read(packed({**was, "run.json": bodies()["run.json"]}))


def test_another_python_s_tar_of_the_same_files_is_read_too() -> None:
    assert read(packed(bodies())) == SAMPLE
    assert read(packed(bodies(), mtime=1_700_000_000, uid=501, gid=20, uname="lead", mode=0o644)) == SAMPLE


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
MOMENTS = st.floats(0, 4e9).map(lambda moment: moment + 0.0)
COUNTS = st.integers(0, (1 << 63) - 1)
ENTRIES = st.builds(
    Entry, id=COUNTS, step=TEXTS, ordinal=COUNTS, attempt=COUNTS, kind=st.sampled_from([k for k in KINDS if k != "state"]),
    question=TEXTS, value=VALUES, at_s=MOMENTS,
)  # fmt: skip
ARCHIVES = st.builds(
    Archive,
    row=st.builds(
        RunRow,
        run=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", fullmatch=True).map(RunId),
        created_s=MOMENTS,
        stamp=TEXTS,
        task=st.dictionaries(TEXTS, VALUES, max_size=3),
    ),
    state=st.sampled_from(["merged", "failed", "cancelled", "waiting"]),
    moved=st.booleans(),
    references=st.dictionaries(TEXTS, TEXTS, max_size=3),
    entries=st.lists(ENTRIES, max_size=4),
    pack=st.binary(max_size=1500),
    calls=st.binary(max_size=600),
)


@settings(max_examples=60, deadline=None)
@given(ARCHIVES)
def test_every_run_comes_through(one: Archive) -> None:
    raw = write(one)
    assert read(raw) == one
    assert len(raw) % 512 == 0


@pytest.mark.parametrize("number", [1, 2])
def test_every_recorded_run_comes_through(tmp_path: Path, number: int) -> None:
    with tarfile.open(RECORDED / f"{number}.tar.gz") as recorded:
        body = recorded.extractfile("state/journal.db")
        assert body is not None
        (tmp_path / "j.db").write_bytes(body.read())
    db = sqlite3.connect(tmp_path / "j.db")
    runs = db.execute("SELECT run, created_s, stamp, task FROM runs").fetchall()
    assert runs
    for run, created_s, stamp, task in runs:
        query = "SELECT id, step, ordinal, attempt, kind, question, value, at_s FROM entries WHERE run=? ORDER BY id"
        names = ("id", "step", "ordinal", "attempt", "kind", "question", "value", "at_s")
        found = [dict(zip(names, row, strict=True)) for row in db.execute(query, (run,))]
        entries = [Entry(**{**one, "value": json.loads(one["value"])}) for one in found]
        row = RunRow(run=RunId(run), created_s=created_s, stamp=stamp, task=json.loads(task))
        one = replace(SAMPLE, row=row, entries=entries)
        assert read(write(one)) == one
    db.close()


# --- damage -------------------------------------------------------------------------------------------------------


def test_any_flipped_byte_is_refused() -> None:
    rnd = random.Random(3)
    for at in range(len(RAW)):
        spoiled = bytearray(RAW)
        spoiled[at] ^= rnd.randrange(1, 256)
        with pytest.raises(BadInput):
            read(bytes(spoiled))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_is_cut_out_put_in_or_swapped_is_refused(data: st.DataObject) -> None:
    begin, end = sorted(data.draw(st.tuples(*2 * [st.integers(0, len(RAW))])))
    put = data.draw(st.binary(max_size=20) | st.integers(0, len(RAW)).map(lambda at: RAW[at : at + end - begin]))
    spoiled = RAW[:begin] + put + RAW[end:]
    if spoiled.rstrip(b"\0") != RAW.rstrip(b"\0"):
        with pytest.raises(BadInput):
            read(spoiled)


def test_a_header_whose_fields_moved_is_refused_though_its_sum_is_right() -> None:
    with pytest.raises(BadInput):
        read(RAW[:157] + RAW[156:263] + RAW[264:])


def test_cut_off_at_any_length_it_is_refused() -> None:
    for length in range(0, len(RAW.rstrip(b"\0")), 97):
        with pytest.raises(BadInput):
            read(RAW[:length])


@pytest.mark.parametrize("raw", [
    b"", b"\0" * 10_240, b"this is no archive" * 100, b"\x1f\x8b\x08\0" * 200, b"PK\3\4" * 200, RAW[512:], RAW + RAW,
    RAW + b"x", b"x" + RAW,
])  # fmt: skip
def test_what_is_no_archive_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"no whole exported run|not what was exported|cut off|has format None"):
        read(raw)


# --- malice: the sums always fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../run.json", "/etc/passwd", "objects.pack/../x", "run.json\0x", "RUN.JSON", "", "x"]
)
def test_a_member_by_another_name_is_refused(name: str) -> None:
    for place, old in enumerate(MEMBERS[:5]):
        found = {**bodies(), name: b""} if place == 4 else {(name if n == old else n): b for n, b in bodies().items()}
        with pytest.raises(BadInput, match=r"no whole exported run: it has no [a-zA-Z0-9.]+ at byte \d+"):
            read(packed(found))


def test_members_in_another_order_or_twice_or_missing_are_refused() -> None:
    for names in (reversed(MEMBERS[:5]), MEMBERS[1:5], MEMBERS[:4], (), ("run.json",)):
        with pytest.raises(BadInput):
            read(packed({name: bodies()[name] for name in names}))
    twice = RAW[: RAW.index(b"SHA256SUMS")] + RAW
    with pytest.raises(BadInput):
        read(twice)


@pytest.mark.parametrize("kind", [
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
    tarfile.CONTTYPE, tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE,
])  # fmt: skip
def test_a_member_that_is_no_plain_file_is_refused(kind: bytes) -> None:
    with pytest.raises(BadInput, match="no whole exported run"):
        read(packed(bodies(), type=kind, linkname="/etc/passwd"))


def test_headers_that_stand_for_others_are_refused() -> None:
    with pytest.raises(BadInput, match=r"it has no run\.json at byte 0"):
        read(packed(bodies(), pax_headers={"path": "/etc/passwd", "comment": "x"}))
    with pytest.raises(BadInput, match=r"it has no run\.json at byte 0"):
        read(packed(bodies(), uname="n" * 40))  # does not fit a plain header


def sized(raw: bytes, field: bytes) -> bytes:
    """Return `raw` with another size in its first header, and a checksum that fits."""
    header = raw[:124] + field + raw[136:148] + b" " * 8 + raw[156:512]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:] + raw[512:]


def test_a_size_is_never_believed() -> None:
    assert read(sized(RAW, RAW[124:136])) == SAMPLE
    huge = [b"77777777777\0", b"%011o\0" % len(RAW), b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"\xff" * 12]
    odd = [
        b"-0000000001\0",
        b"           \0",
        b"0x000000010\0",
        b"1_000000000\0",
        b"00000000000\0",
        b"0" * 12,
        "²".encode() * 6,
    ]
    tracemalloc.start()
    for field in (*huge, *odd):
        with pytest.raises(BadInput):
            read(sized(RAW, field))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_sparse_file_does_not_unfold() -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "run.json",
              "GNU.sparse.realsize": str(1 << 40)}  # fmt: skip
    tracemalloc.start()
    with pytest.raises(BadInput):
        read(packed(bodies(), pax_headers=sparse))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("about", [
    {"format": 3}, {"format": 0}, {"format": "2"}, {"format": True}, {"format": None}, {"format": 1.0},
    {"more": 1}, {"state": "asleep"}, {"state": None}, {"moved": "yes"}, {"moved": 1}, {"tandem": 1},
    {"references": []}, {"references": {"a": 1}}, {"references": {f"r{n}": "ab" * 20 for n in range(1001)}},
    *({"run": {**json.loads(bodies()["run.json"])["run"], **run}} for run in (
        {"run": ""}, {"run": "../../x"}, {"run": "a/b"}, {"run": "-rf"}, {"run": "a\n"}, {"run": "한글"}, {"run": "x" * 41},
        {"run": 1}, {"run": None}, {"created_s": None}, {"created_s": "1"}, {"created_s": float("nan")},
        {"created_s": float("inf")}, {"created_s": -1}, {"stamp": 1}, {"task": None}, {"task": []}, {"task": "x"},
        {"more": 1},
    )),
])  # fmt: skip
def test_a_run_of_another_shape_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"run\.json does not fit|has format"):
        read(changed(**about))


def test_a_later_format_says_which_version_to_upgrade_whatever_else_it_holds() -> None:
    later = {"run.json": b'{"format": 7, "tandem": "0.9.0"}', "more": b""}
    with pytest.raises(
        BadInput, match=r"has format 7 \(Tandem 0\.9\.0\) and this version knows 1 to 2; upgrade the older"
    ):
        read(packed(later))


@pytest.mark.parametrize("field", [
    {"kind": "unheard"}, {"kind": ""}, {"kind": None}, {"id": "1"}, {"id": -1}, {"id": 1 << 63}, {"id": True}, {"id": 1.0},
    {"ordinal": 1 << 70}, {"ordinal": None}, {"attempt": [1]}, {"step": None}, {"step": 5}, {"question": {}},
    {"at_s": "now"}, {"at_s": float("nan")}, {"at_s": float("inf")}, {"at_s": -1}, {"at_s": None}, {"more": 1},
    {"step": "\ud800"}, {"value": ["\udfff"]}, {"kind": "state", "value": None}, {"kind": "state", "value": {}},
    {"kind": "state", "value": {"state": "asleep"}},
    *({"kind": "state", "value": {"state": "merged", **more}} for more in (
        {"facts": []}, {"facts": "x"}, {"message": 1}, {"class": []}, {"commit": 1}, {"branch": None}, {"ended_s": "x"},
        {"ended_s": float("nan")}, {"active_s": "1"}, {"active_s": None}, {"moved": "no"}, {"verdict": {}},
    )),
])  # fmt: skip
def test_an_entry_of_another_shape_is_refused_by_its_number(field: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="entry 1"):
        read(with_entry(**field))


@pytest.mark.parametrize("line", [
    b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"id": 1}', b'"\\ud800"',
])  # fmt: skip
def test_a_line_that_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(BadInput, match="entry 1"):
        read(packed({**bodies(), "entries.jsonl": line + b"\n"}))
    with pytest.raises(BadInput):
        read(packed({**bodies(), "run.json": line}))


def test_one_zero_is_as_good_as_another() -> None:
    assert str(read(with_entry(at_s=-0.0)).entries[0].at_s) == "0.0"


def test_what_is_too_large_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(write(replace(SAMPLE, pack=b"x" * (1 << 20)))).pack == b"x" * (1 << 20)
    monkeypatch.setattr(archive, "BYTES_MAX", 1 << 20)
    with pytest.raises(BadInput, match="an archive at most 1; it cannot be moved"):
        write(replace(SAMPLE, pack=b"x" * (1 << 20)))
    with pytest.raises(BadInput, match="has 2 MiB and may have 1"):
        read(RAW + b"\0" * (2 << 20))


FUZZ: list[Callable[[], bytes]] = [lambda: RAW, lambda: packed(bodies(), pax_headers={"comment": "x"})]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([0, 1]), st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=12)), max_size=4)
)
def test_nothing_but_our_error_comes_out_of_any_bytes(which: int, writes: list[tuple[int, bytes]]) -> None:
    raw = bytearray(FUZZ[which]())
    for at, data in writes:
        raw[at : at + len(data)] = data
    with contextlib.suppress(BadInput):
        assert read(bytes(raw)) == SAMPLE
