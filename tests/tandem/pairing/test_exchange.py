import pytest

from tandem import identity
from tandem.errors import BadInput, Conflict
from tandem.pairing import code, messages
from tandem.pairing.code import Code
from tandem.pairing.exchange import Exchange, WrongCode
from tandem.pairing.messages import Card, Malformed
from tandem.pairing.window import Moment, Window

RIGHT, WRONG = Code("12345678"), Code("12345679")


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Card]:
    folder = tmp_path_factory.mktemp("cards")
    return {
        name: Card(name=name, role=role, certificate=identity.load(folder / name).certificate.decode())  # type: ignore[arg-type]
        for name, role in (("mini", "worker"), ("book", "router"), ("eve", "router"), ("fake mini", "worker"))
    }


def sides(cards: dict[str, Card], entered: Code = RIGHT) -> tuple[Exchange, Exchange]:
    return Exchange("shows", RIGHT, cards["mini"]), Exchange("enters", entered, cards["book"])


def test_two_who_know_the_code_come_to_know_each_other(cards: dict[str, Card]) -> None:
    shows, enters = sides(cards)
    assert shows.meet(enters.hello) == cards["book"]
    assert enters.meet(shows.hello) == cards["mini"]
    shows.check(enters.proof())
    enters.check(shows.proof())


def test_a_wrong_code_proves_nothing_on_either_side(cards: dict[str, Card]) -> None:
    shows, enters = sides(cards, WRONG)
    shows.meet(enters.hello)
    enters.meet(shows.hello)
    with pytest.raises(WrongCode, match="nothing was stored"):
        shows.check(enters.proof())
    with pytest.raises(WrongCode):
        enters.check(shows.proof())


def test_the_same_code_never_makes_the_same_lines(cards: dict[str, Card]) -> None:
    one, two = sides(cards), sides(cards)
    for shows, enters in (one, two):
        shows.meet(enters.hello)
        enters.meet(shows.hello)
    assert len({side.hello for side in (*one, *two)}) == 4
    assert len({side.proof() for side in (*one, *two)}) == 4


def test_a_replayed_try_proves_nothing(cards: dict[str, Card]) -> None:
    shows, enters = sides(cards)
    shows.meet(enters.hello)
    enters.meet(shows.hello)
    proof = enters.proof()
    again = Exchange("shows", RIGHT, cards["mini"])  # the same window, another connection
    again.meet(enters.hello)
    with pytest.raises(WrongCode):
        again.check(proof)


def test_what_is_sent_back_to_where_it_came_from_is_refused(cards: dict[str, Card]) -> None:
    shows, enters = sides(cards)
    with pytest.raises(Conflict, match="this machine itself"):
        shows.meet(shows.hello)
    relabelled = messages.read(messages.Hello, shows.hello).model_copy(update={"card": cards["eve"]}).line()
    with pytest.raises(Malformed, match="OffSides"):
        Exchange("shows", RIGHT, cards["mini"]).meet(relabelled)
    swapped = relabelled.replace(b'"element":"42', b'"element":"41')  # its own element, said to be the other side's
    assert swapped != relabelled
    with pytest.raises(Malformed, match="ReflectionThwarted"):
        shows.meet(swapped)
    shows = Exchange("shows", RIGHT, cards["mini"])
    shows.meet(enters.hello)
    with pytest.raises(WrongCode):
        shows.check(shows.proof())


def test_a_man_in_the_middle_with_a_guessed_code_is_known_to_both(cards: dict[str, Card]) -> None:
    shows, enters = sides(cards)
    to_shows = Exchange("enters", WRONG, cards["eve"])
    to_enters = Exchange("shows", WRONG, cards["fake mini"])
    shows.meet(to_shows.hello)
    to_shows.meet(shows.hello)
    enters.meet(to_enters.hello)
    to_enters.meet(enters.hello)
    for proof in (to_shows.proof(), enters.proof()):  # its own, and the honest one carried over
        with pytest.raises(WrongCode):
            shows.check(proof)
    for proof in (to_enters.proof(), shows.proof()):
        with pytest.raises(WrongCode):
            enters.check(proof)


@pytest.mark.parametrize("change", ["certificate", "name", "addresses", "spelling"])
def test_nothing_said_may_be_changed_on_the_way(cards: dict[str, Card], change: str) -> None:
    shows, enters = sides(cards)
    hello = messages.read(messages.Hello, enters.hello)
    other = {
        "certificate": cards["eve"].certificate,
        "name": "another",
        "addresses": ("10.6.6.6:7432",),
    }
    if change == "spelling":  # the same words, otherwise written: what is proven are the bytes
        line = enters.hello.replace(b'":"', b'": "', 1)
    else:
        card = hello.card.model_copy(update={change: other[change]})
        line = hello.model_copy(update={"card": card}).line()
    assert line != enters.hello
    shows.meet(line)
    enters.meet(shows.hello)
    with pytest.raises(WrongCode):
        shows.check(enters.proof())


def test_two_of_one_role_are_not_paired(cards: dict[str, Card]) -> None:
    shows, _ = sides(cards)
    with pytest.raises(Conflict, match="--as router"):
        shows.meet(Exchange("enters", RIGHT, cards["fake mini"]).hello)


def spoiled(cards: dict[str, Card]) -> list[bytes]:
    good = Exchange("enters", RIGHT, cards["book"]).hello
    hello = messages.read(messages.Hello, good)
    return [
        b"\n",
        b"{}\n",
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\n",
        good[:-1],
        good.replace(b'"version":1', b'"version":2'),
        good.replace(b'"kind"', b'"more":1,"kind"'),
        good.replace(hello.element.encode(), b"00" * 33),
        good.replace(hello.element.encode(), b"41" + b"ff" * 32),
        good.replace(hello.element.encode(), b"41" + b"00" * 32),
        good.replace(hello.element.encode(), hello.element.encode() + b"00"),
        good.replace(b'"name":"book"', b'"name":"bo\\u202eok"'),
        good.replace(b'"role":"router"', b'"role":"lead"'),
        good.replace(b'"addresses":[]', b'"addresses":["10.0.0.1"]'),
        good.replace(b'"addresses":[]', b'"addresses":[' + b",".join([b'"10.0.0.1:1"'] * 17) + b"]"),
        good.replace(b"BEGIN CERTIFICATE", b"BEGIN PRIVATE KEY"),
        good.replace(b"-----BEGIN", b"-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----\\n-----BEGIN"),
        good.replace(b"\n", b" " * 9000 + b"\n"),
    ]


@pytest.mark.parametrize("number", range(18))
def test_what_is_no_hello_is_refused_and_is_no_try(cards: dict[str, Card], number: int) -> None:
    line = spoiled(cards)[number]
    assert line != Exchange("enters", RIGHT, cards["book"]).hello
    shows, _ = sides(cards)
    with pytest.raises(Malformed):
        shows.meet(line)


def test_only_a_certificate_of_our_own_kind_is_taken(cards: dict[str, Card]) -> None:
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def made(*, name: str = "tandem", curve: ec.EllipticCurve | None = None, ca: bool = False) -> str:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    assert identity.checked(made())
    assert identity.checked(cards["mini"].certificate) == cards["mini"].certificate
    for certificate in (made(ca=True), made(name="other"), made(curve=ec.SECP384R1()), "", "-----BEGIN"):
        with pytest.raises(ValueError):
            identity.checked(certificate)


def test_a_code_is_read_as_people_type_it() -> None:
    made = code.new()
    assert code.read(code.shown(made)) == made
    assert code.read(" 1234 5678 ") == code.read("1234-5678") == "12345678"
    assert len({code.new() for _ in range(100)}) > 95
    for text in ("", "1234567", "123456789", "12345abc", "١٢٣٤٥٦٧٨"):
        with pytest.raises(BadInput, match="8 digits"):
            code.read(text)


def at(seconds: float) -> Moment:
    return Moment(monotonic_s=seconds, wall_s=1e9 + seconds)


def test_a_window_ends_with_the_time_while_the_machine_sleeps_and_does_not_open_again_when_the_clock_is_set() -> None:
    window = Window(at(100.0))
    assert window.state(Moment(101.0, 1e9 + 300.0)) == "late"
    assert window.left_s(Moment(101.0, 1e9 + 150.0)) == 70.0
    assert window.state(Moment(101.0, 0.0)) == "open"
    assert window.state(Moment(220.0, 0.0)) == "late"


def test_a_window_ends_with_the_time_the_third_wrong_code_or_the_first_right_one() -> None:
    window = Window(at(100.0))
    assert (window.state(at(100.0)), window.state(at(219.9)), window.state(at(220.0))) == ("open", "open", "late")
    for left in (2, 1, 0):
        assert window.state(at(101.0)) == "open"
        window.failed()
        assert window.tries_left == left
    assert window.state(at(101.0)) == "spent"
    another = Window(at(0.0))
    another.used()
    assert another.state(at(1.0)) == "used"
