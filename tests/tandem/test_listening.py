import pytest

from tandem import config, endpoints, interfaces, listening
from tandem.endpoints import Endpoint
from tandem.errors import BadConfig, BadInput

NEARBY = ("10.0.0.2", "169.254.7.7", "fe80::1%en5")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.2", "10.0.0.2", 7),
        ("10.0.0.2:80", "10.0.0.2", 80),
        ("mini.local:80", "mini.local", 80),
        ("fe80::1%en5", "fe80::1%en5", 7),
        ("[fe80::1%en5]:80", "fe80::1%en5", 80),
        ("[::1]", "::1", 7),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, host: str, port: int) -> None:
    found = endpoints.parse(text, 7)
    assert found == Endpoint(host, port)
    assert endpoints.parse(str(found), 7) == found


@pytest.mark.parametrize("text", ["", "a b", "10.0.0.2:", "10.0.0.2:0", "10.0.0.2:65536", "[mini]:1", "1::2::3", "x/y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no address; write HOST"):
        endpoints.parse(text, 7)


@pytest.mark.parametrize("text", ["0.0.0.0", "8.8.8.8", "[::]", "2001:db8::1", "mini.local", "localhost"])
def test_nothing_listens_on_a_public_address_or_on_all(text: str) -> None:
    with pytest.raises(BadInput, match=r"worker\.listen: .* is no private address"):
        endpoints.to_listen_on(text, 7, "worker.listen")


def test_grpc_is_told_an_interface_as_it_wants_it() -> None:
    assert Endpoint("fe80::1%en5", 7).target == "[fe80::1%25en5]:7"


def test_a_worker_listens_only_for_paired_routers_or_where_it_is_told() -> None:
    assert listening.endpoints_of((), NEARBY, paired=False) == ()
    everywhere = listening.endpoints_of((), NEARBY, paired=True)
    assert [at.host for at in everywhere] == [*NEARBY, "127.0.0.1"]
    assert {at.port for at in everywhere} == {endpoints.WORKER_PORT}
    named = listening.endpoints_of(("10.0.0.2:70",), NEARBY, paired=True)
    assert named == (Endpoint("10.0.0.2", 70), Endpoint("127.0.0.1", 70))


def test_another_machine_is_told_only_what_it_can_use() -> None:
    assert listening.told(listening.endpoints_of((), NEARBY, paired=True)) == ("10.0.0.2:7432", "169.254.7.7:7432")
    assert listening.told(listening.endpoints_of(("127.0.0.1:70",), NEARBY, paired=True)) == ("127.0.0.1:70",)
    assert listening.told(listening.endpoints_of((), ("fe80::1%en5",), paired=True)) == ()


def test_listen_is_read_from_the_environment_and_checked() -> None:
    read = config.load(env={"TANDEM_WORKER_LISTEN": "10.0.0.2, 127.0.0.1:70", "HOME": "/nowhere"})
    assert read.worker.listen == ["10.0.0.2:7432", "127.0.0.1:70"]
    with pytest.raises(BadConfig, match=r"worker\.listen = .*8\.8\.8\.8.*no private address"):
        config.load(env={"TANDEM_WORKER_LISTEN": "8.8.8.8", "HOME": "/nowhere"})


def test_no_loopback_and_no_tunnel_leads_to_a_machine_nearby() -> None:
    up, loopback, tunnel, other = 0x1, 0x8, 0x10, 0x8042
    found = [
        (up | other, "192.168.1.2"),
        (up | other, "fe80::1%en5"),
        (up | loopback, "fe80::1%lo0"),
        (up | loopback, "10.9.9.9"),
        (up | tunnel, "10.8.0.2"),
        (up | tunnel, "fe80::2%utun3"),
        (other, "10.0.0.3"),
        (up, "127.0.0.1"),
        (up, "8.8.8.8"),
    ]
    assert interfaces.chosen(found) == ("192.168.1.2", "fe80::1%en5")


def test_the_addresses_of_this_machine_are_the_ones_the_system_names() -> None:
    found = interfaces.nearby()
    assert not any(host.startswith(("127.", "::1", "0.")) for host in found)
    import socket

    for host in found:  # each can be listened on, which is what they are for
        family, _, _, _, where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.bind(where)
