import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tandem import identity
from tandem.errors import BadInput, Conflict, NotFound
from tandem.peers import Peer, Peers


@pytest.fixture
def mini(tmp_path: Path) -> Peer:
    return peer(tmp_path / "mini", "mini")


def peer(folder: Path, name: str, role: str = "worker") -> Peer:
    made = identity.load(folder)
    return Peer(
        id=made.id,
        name=name,
        role=role,  # type: ignore[arg-type]
        certificate=made.certificate.decode(),
        addresses=("10.0.0.2:7432",),
        paired_s=1.0,
    )


def test_what_is_stored_is_read_by_every_program(tmp_path: Path, mini: Peer) -> None:
    Peers(tmp_path).add(mini)
    assert Peers(tmp_path).read().peers == (mini,)
    assert Peers(tmp_path).read().of("router") == ()
    file = tmp_path / "peers" / f"{mini.id}.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_change_by_another_program_is_seen_at_once(tmp_path: Path, mini: Peer) -> None:
    here, there = Peers(tmp_path), Peers(tmp_path)
    assert here.read().peers == ()
    for round_ in range(50):
        there.add(replace(mini, paired_s=float(round_)))
        assert here.read().peers[0].paired_s == round_
        there.rename(mini.id, f"mini {round_}")
        assert here.read().peers[0].name == f"mini {round_}"
        assert there.remove(mini.id)
        assert here.read().peers == ()


def test_removing_what_is_not_there_says_so(tmp_path: Path, mini: Peer) -> None:
    assert not Peers(tmp_path).remove(mini.id)
    with pytest.raises(NotFound):
        Peers(tmp_path).rename(mini.id, "other")


def test_names_stay_apart(tmp_path: Path, mini: Peer) -> None:
    peers = Peers(tmp_path)
    other = peer(tmp_path / "other", "mini")
    assert peers.add(mini).name == "mini"
    assert peers.add(other).name == "mini-2"
    assert peers.add(mini).name == "mini"  # paired again
    with pytest.raises(Conflict, match="called 'mini' already"):
        peers.rename(other.id, "mini")


def test_nobody_gets_the_name_of_this_machine_and_one_paired_anew_keeps_its_own(tmp_path: Path, mini: Peer) -> None:
    peers = Peers(tmp_path, "book")
    assert peers.add(replace(mini, name="book")).name == "book-2"
    with pytest.raises(Conflict, match="this machine itself is called 'book'"):
        peers.rename(mini.id, "book")
    peers.rename(mini.id, "Mini Büro (1)")
    assert peers.add(replace(mini, name="mac-mini", paired_s=2.0)).name == "Mini Büro (1)"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65, "mini\u202e", "\x1b[31m", "a/b"])
def test_a_name_that_could_pass_for_something_else_is_refused(tmp_path: Path, mini: Peer, name: str) -> None:
    peers = Peers(tmp_path)
    peers.add(mini)
    with pytest.raises(BadInput, match="is no machine's name"):
        peers.rename(mini.id, name)
    with pytest.raises(BadInput, match="is no machine's name"):
        peers.add(replace(mini, name=name))
    assert [one.name for one in peers.read().peers] == ["mini"]


def test_a_peer_is_found_by_its_name_and_by_the_beginning_of_its_id(tmp_path: Path, mini: Peer) -> None:
    peers = Peers(tmp_path)
    peers.add(mini)
    book = peers.read()
    assert book.find("mini") == book.find(mini.id) == book.find(identity.grouped(mini.id)[:9].lower()) == mini
    for text in ("", "min", mini.id[:3], "ZZZZZZ"):
        with pytest.raises(NotFound, match="there are: mini"):
            book.find(text)


def test_a_damaged_file_is_named_and_trusts_nobody(tmp_path: Path, mini: Peer) -> None:
    peers = Peers(tmp_path)
    good = peers.add(peer(tmp_path / "good", "good"))
    peers.add(mini)
    file = tmp_path / "peers" / f"{mini.id}.json"
    whole = file.read_text()
    other = identity.load(tmp_path / "good").certificate.decode()
    for text in (
        "",
        "{",
        "[]",
        whole.replace('"worker"', '"lead"'),
        whole.replace('"addresses"', '"adresses"'),
        whole.replace("mini", "mi\\u0000ni"),
        whole.replace(repr(mini.certificate)[1:-1], repr(other)[1:-1]),
        whole + " " * (40 << 10),
    ):
        file.unlink()
        file.write_text(text)
        file.chmod(0o600)
        book = peers.read()
        assert book.peers == (good,), text[:60]
        assert len(book.damaged) == 1
        assert str(file) in book.damaged[0]
        assert "pair anew" in book.damaged[0]
    file.unlink()
    file.write_text(whole)
    file.chmod(0o622)
    assert "others could have written it" in peers.read().damaged[0]
    file.unlink()
    file.with_suffix(".away").write_text(whole)
    file.symlink_to(file.with_suffix(".away"))
    assert peers.read().peers == (good,)
    file.unlink()
    (tmp_path / "peers" / "OTHER.json").write_text(whole)
    assert "not the one of its name" in peers.read().damaged[0]


def test_the_address_that_worked_last_comes_first(tmp_path: Path, mini: Peer) -> None:
    peers = Peers(tmp_path)
    peers.add(mini)
    peers.reached(mini.id, "169.254.1.2:7432")
    assert peers.read().peers[0].addresses == ("169.254.1.2:7432", "10.0.0.2:7432")
    for number in range(40):
        peers.reached(mini.id, f"10.0.1.{number}:1")
    assert len(peers.read().peers[0].addresses) == 16
    peers.remove(mini.id)
    peers.reached(mini.id, "10.0.0.9:1")
    assert peers.read().peers == ()


def test_changes_of_many_programs_at_once_are_all_kept(tmp_path: Path, mini: Peer) -> None:
    Peers(tmp_path).add(mini)
    work = (
        "import sys; from pathlib import Path; from tandem.peers import Peers; p = Peers(Path(sys.argv[1]))\n"
        "for n in range(3): p.reached(p.read().peers[0].id, f'10.0.{sys.argv[2]}.{n}:1')"
    )
    programs = [subprocess.Popen([sys.executable, "-c", work, str(tmp_path), str(n)]) for n in range(4)]
    assert [program.wait(60) for program in programs] == [0] * 4
    assert len(Peers(tmp_path).read().peers[0].addresses) == 13


def test_a_reader_sees_everybody_while_another_program_changes_the_folder(tmp_path: Path, mini: Peer) -> None:
    Peers(tmp_path).add(mini)
    work = (
        "import sys; from pathlib import Path; f = Path(sys.argv[1]); whole = (f / sys.argv[2]).read_bytes()\n"
        "while True: (f / 'a.new').write_bytes(whole); (f / 'a.new').chmod(0o600); (f / 'a.new').replace(f / sys.argv[2])"
    )
    program = subprocess.Popen([sys.executable, "-c", work, str(tmp_path / "peers"), f"{mini.id}.json"])
    try:
        end = time.monotonic() + 1.5
        peers, seen = Peers(tmp_path), 0
        while time.monotonic() < end:
            assert [peer.id for peer in peers.read().peers] == [mini.id]
            seen += 1
        assert program.poll() is None
        assert seen > 100
    finally:
        program.kill()
        program.wait(20)
