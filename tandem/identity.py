"""Who this machine is to other machines: a key, a certificate it signed itself, and the id that follows from it.

Made when first needed, in `identity/` of the state folder. Nobody vouches for the certificate: another machine trusts
it because a person paired the two (`tandem.pairing`), byte for byte. An address or a name never stands for a machine.
The id is the certificate's SHA-256 in base32, as Syncthing writes device ids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import ssl
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NewType

from tandem import disk
from tandem.errors import BadConfig
from tandem.paths import private_dir

NodeId = NewType("NodeId", str)
TLS_NAME = "tandem"  # what every certificate is made out to; which machine it is, its bytes say
_GROUP = 4
# A pinned certificate is trusted until it is unpaired, so its dates decide nothing. They span all that a clock may show:
# a machine that comes up in 1970, or a year ahead, still reaches the other.
_FROM = datetime(1970, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A machine's own key and certificate, both PEM. The key leaves neither this process nor the state folder."""

    id: NodeId
    key: bytes = field(repr=False)
    certificate: bytes
    folder: Path

    @property
    def key_file(self) -> Path:
        """Return where the key is, for libraries that only take files."""
        return self.folder / "key.pem"

    @property
    def certificate_file(self) -> Path:
        """Return where the certificate is."""
        return self.folder / "certificate.pem"


def load(state: Path) -> Identity:
    """Return the identity kept in `state`, made now if there is none; two programs that begin at once get the same.

    Raises:
        BadConfig: It is damaged, belongs to somebody else, or others may read it; the message says what to do.
        DiskFull: There is no room for it.
    """
    folder = state / "identity"
    if not folder.exists() and not folder.is_symlink():
        _make(state, folder)
    return _read(folder)


def id_of(certificate: bytes | str) -> NodeId:
    """Return the id of the machine that a certificate (PEM) is of.

    Raises:
        ValueError: It is not exactly one certificate in PEM.
    """
    text = certificate.decode("ascii") if isinstance(certificate, bytes) else certificate
    if text.count("-----BEGIN") != 1:
        raise ValueError("not exactly one certificate")
    try:
        return id_of_der(ssl.PEM_cert_to_DER_cert(text.strip()))
    except binascii.Error as error:
        raise ValueError(f"not a certificate: {error}") from None


def id_of_der(certificate: bytes) -> NodeId:
    """Return the id of the machine that a certificate (DER) is of."""
    return NodeId(base64.b32encode(hashlib.sha256(certificate).digest()).decode().rstrip("="))


def checked(certificate: str) -> str:
    """Return another machine's certificate (PEM) as it may be stored: one, of the kind that `load` makes, and no more.

    Raises:
        ValueError: It is something else; a library that trusts it could trust more than one machine, or none at all.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    id_of(certificate)
    found = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    key = found.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("its key is not of the kind P-256")
    try:
        found.verify_directly_issued_by(found)
        signs = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, TypeError, x509.ExtensionNotFound) as error:
        raise ValueError(f"it is not one that a machine signed itself ({error})") from None
    if signs or names.get_values_for_type(x509.DNSName) != [TLS_NAME]:
        raise ValueError("it could vouch for others, or is made out to another name")
    return found.public_bytes(serialization.Encoding.PEM).decode("ascii")


def grouped(node: NodeId) -> str:
    """Return an id as two people compare it: thirteen groups of four characters."""
    return "-".join(node[at : at + _GROUP] for at in range(0, len(node), _GROUP))


def _make(state: Path, folder: Path) -> None:
    """Make both files in a folder beside their place and move it there, so that nobody sees or keeps half of one."""
    private_dir(state)
    with disk.watched("this machine's identity could not be made", state):
        fresh = Path(tempfile.mkdtemp(prefix=".identity-", dir=state))  # 0700
        try:
            key, certificate = _generate()
            _write(fresh / "key.pem", key)
            _write(fresh / "certificate.pem", certificate)
            disk.sync_folder(fresh)
            with suppress(OSError):  # another program was quicker; `_read` judges its work
                fresh.rename(folder)
            disk.sync_folder(state)
        finally:
            if fresh.exists():
                for file in fresh.iterdir():
                    file.unlink()
                fresh.rmdir()


def _generate() -> tuple[bytes, bytes]:
    """Return a new key and its certificate. It may sign nothing else, so that pairing one machine trusts one machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, TLS_NAME)])
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
            "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem)


def _write(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _read(folder: Path) -> Identity:
    remedy = f"move {folder} away and start again: a new identity is made, and this machine has to be paired anew"
    try:
        for path in (folder, folder / "key.pem", folder / "certificate.pem"):
            _must_be_private(path)
        key, certificate = (folder / "key.pem").read_bytes(), (folder / "certificate.pem").read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(  # does the key fit the certificate?
            folder / "certificate.pem", folder / "key.pem", password=lambda: b""
        )
        found = id_of(certificate)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadConfig(f"this machine's identity in {folder} cannot be used ({error}); {remedy}") from error
    return Identity(id=found, key=key, certificate=certificate, folder=folder)


def _must_be_private(path: Path) -> None:
    """Refuse what others may have read or put there: whoever has the key is this machine to all that it is paired with.

    Raises:
        BadConfig: It is a link, another user's, or open to others.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
        raise BadConfig(f"{path} is a link or belongs to another user; remove it, and pair this machine anew")
    if status.st_mode & 0o077:
        raise BadConfig(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); if nobody else can have read it, "
            f"`chmod go= {path}`; else remove the folder identity and pair this machine anew"
        )
