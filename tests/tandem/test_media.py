"""What carries an address: Linux' interfaces as they are here, macOS' as its manual describes them (none was recorded)."""

import socket
from pathlib import Path

import pytest

from tandem import interfaces, media
from tandem.config import load
from tandem.errors import BadConfig

LISTED = """
Hardware Port: Ethernet
Device: en0
Ethernet Address: 00:00:00:00:00:01

Hardware Port: Thunderbolt Bridge
Device: bridge0
Ethernet Address: 00:00:00:00:00:02

Hardware Port: Wi-Fi
Device: en1
Ethernet Address: 00:00:00:00:00:03

Hardware Port: Thunderbolt 1
Device: en2
Ethernet Address: N/A

Hardware Port: Thunderbolt Ethernet Slot 0
Device: en9
Ethernet Address: 00:00:00:00:00:04

VLAN Configurations
===================
"""


def test_ports_are_read_from_what_macos_lists() -> None:
    assert media.ports(LISTED) == {
        "en0": "ethernet",
        "bridge0": "thunderbolt",
        "en1": "wifi",
        "en2": "thunderbolt",
        "en9": "ethernet",
    }
    assert media.ports("") == media.ports("Hardware Port: Wi-Fi\n") == {}


def test_devices_are_told_apart_as_linux_shows_them(tmp_path: Path) -> None:
    for path in ("wlan0/wireless", "wlp1/phy80211", "eth0", "drivers/thunderbolt-net", "tb0/device"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "tb0/device/driver").symlink_to(tmp_path / "drivers/thunderbolt-net")
    found = [media._on_linux(name, tmp_path) for name in ("wlan0", "wlp1", "eth0", "tb0", "gone0")]
    assert found == ["wifi", "wifi", "ethernet", "thunderbolt", "ethernet"]


def test_loopback_is_inside_and_a_person_has_the_last_word() -> None:
    name = interfaces.carrier("127.0.0.1")
    assert socket.if_nametoindex(name) > 0
    assert media.towards("127.0.0.1", {}) == media.towards("localhost", {}) == "inside"
    assert media.towards("127.0.0.1", {name: "wifi"}) == "wifi"
    assert media.towards("a..b", {}) == "unknown"
    assert media.towards("no-such-machine.invalid", {}) == media.at("203.0.113.9", {}) == "unknown"


def test_what_interfaces_are_may_be_set() -> None:
    assert load(env={"TANDEM_LINK_MEDIA": "en7=thunderbolt, en1=wifi"}).link.media == {
        "en7": "thunderbolt",
        "en1": "wifi",
    }
    with pytest.raises(BadConfig, match=r"link\.media\.en7 = 'usb'"):
        load(env={"TANDEM_LINK_MEDIA": "en7=usb"})
