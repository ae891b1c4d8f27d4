import subprocess
import sys
from pathlib import Path

import pytest

from tandem import identity
from tandem.errors import BadConfig

MAKE = "import sys; from pathlib import Path; from tandem import identity; print(identity.load(Path(sys.argv[1])).id)"


def test_an_identity_is_made_once_and_stays(tmp_path: Path) -> None:
    made = identity.load(tmp_path / "state")
    assert identity.load(tmp_path / "state") == made
    assert identity.id_of(made.certificate) == made.id
    assert identity.load(tmp_path / "another").id != made.id


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    made = identity.load(tmp_path / "state")
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in made.folder.iterdir()} == {
        "key.pem": 0o600,
        "certificate.pem": 0o600,
    }
    assert b"PRIVATE" not in repr(made).encode()


def test_programs_that_begin_at_once_get_one_identity_and_leave_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    programs = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(state)], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    said = {program.communicate(timeout=60)[0].strip() for program in programs}
    assert said == {identity.load(state).id}
    assert [path.name for path in state.iterdir()] == ["identity"]


def test_an_id_is_shown_in_groups(tmp_path: Path) -> None:
    made = identity.load(tmp_path)
    groups = identity.grouped(made.id).split("-")
    assert (len(groups), {len(group) for group in groups}, "".join(groups)) == (13, {4}, made.id)


def test_a_certificate_holds_whatever_the_clock_says_and_may_sign_no_other(tmp_path: Path) -> None:
    from cryptography import x509

    found = x509.load_pem_x509_certificate(identity.load(tmp_path).certificate)
    assert found.not_valid_before_utc.year == 1970
    assert found.not_valid_after_utc.year == 9999
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize("file", ["key.pem", "certificate.pem"])
def test_a_damaged_identity_is_named_and_not_replaced(tmp_path: Path, file: str) -> None:
    made = identity.load(tmp_path)
    (made.folder / file).write_text("-----BEGIN NOTHING-----")
    with pytest.raises(BadConfig, match=r"identity.*cannot be used.*paired anew"):
        identity.load(tmp_path)
    assert (made.folder / file).read_text() == "-----BEGIN NOTHING-----"


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    made, other = identity.load(tmp_path / "one"), identity.load(tmp_path / "two")
    made.key_file.write_bytes(other.key)
    with pytest.raises(BadConfig, match="cannot be used"):
        identity.load(tmp_path / "one")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    made = identity.load(tmp_path)
    made.key_file.chmod(0o640)
    with pytest.raises(BadConfig, match=r"key\.pem is open to other users \(mode 640\).*chmod go="):
        identity.load(tmp_path)


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    made = identity.load(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "identity").symlink_to(made.folder)
    with pytest.raises(BadConfig, match="is a link"):
        identity.load(tmp_path / "two")
