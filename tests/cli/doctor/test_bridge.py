"""A cable that is out, and the Wi-Fi that is still there: seen by the real command in a network of its own.

Needs root and Linux's network namespaces.
"""

import json

import pytest

from cli.doctor import Finding
from tests.cli.doctor.probing import named
from tests.support.pairs import paired
from tests.support.town import Town

pytestmark = pytest.mark.needs("network namespaces")
NAME = "paired worker mini"


def said(town: Town, **settings: str) -> Finding:
    """Return what the doctor says of the paired worker, where its loopback passes for Wi-Fi."""
    env = {**town.env("router"), "TANDEM_LINK_MEDIA": "lo=wifi", **settings}
    done = town.net.run("router", "-m", "tandem", "cli", "doctor", "--json", env=env)
    found = json.loads(done.stdout)
    return next(Finding(**one) for one in found["checks"] if one["name"] == NAME)


def test_a_bridge_that_is_down_is_told_from_wifi_that_must_not_be_used(town: Town) -> None:
    mini = town.folder / "mini"
    env = {**town.env("router"), "TANDEM_STATE": str(mini), "TANDEM_WORKER_LISTEN": "127.0.0.1"}
    paired(town.state("router"), mini, "10.77.0.99:7432", "127.0.0.1:7432")  # a cable's, where nobody is now
    town.start("router", "-m", "tandem", "worker", "--socket", str(town.folder / "w.sock"), env=env)
    town.eventually(lambda: said(town, TANDEM_LINK_WIFI="true").cause == "bridge-down")
    down = named(said(town, TANDEM_LINK_WIFI="true"), "bridge-down")
    assert "bridge down (using Wi-Fi at 127.0.0.1:7432)" in down.text
    assert "link.wifi = true" in named(said(town), "wifi-not-allowed").remedy
    paired(town.state("router"), mini, "127.0.0.1:7432")
    assert said(town, TANDEM_LINK_WIFI="true").ok is True
    assert said(town, TANDEM_LINK_MEDIA="").ok is True
