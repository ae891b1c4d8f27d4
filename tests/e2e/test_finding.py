"""Machines that find each other in their network, and what an announcement is worth: a place to look, and nothing more.

Needs root and Linux's network namespaces. As root it fails where they cannot be had; it never passes unseen.
"""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.peers import Peers
from tests.e2e.test_attacker import Town
from tests.support.namespaces import Net, needs_namespaces

pytestmark = needs_namespaces


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Net("router", "worker", "attacker") as net:
        made = Town(tmp_path, net)
        try:
            yield made
        finally:
            made.stop()


def test_a_code_is_enough_and_an_announcement_more_is_not_believed(town: Town) -> None:
    alone = town.tandem("router", "pair", "1234-5678")
    assert alone.returncode == 4, alone.stderr
    assert "no machine in this network says that it shows a code" in alone.stderr

    showing, told = town.start("worker", "-m", "tandem", "cli", "pair", "--json", "--name", "mini")
    assert isinstance(told, dict)
    entered = town.tandem("router", "pair", told["code"])
    assert entered.returncode == 0, entered.stderr
    assert showing.wait(20) == 0
    (mini,) = Peers(town.state("router")).read().peers
    assert mini.name == "mini"
    assert town.net.address["worker"] in mini.addresses[0]

    # somebody else says that he shows a code, too: nobody is asked, and he is not connected to
    lure, _ = town.start(
        "attacker", "-m", "tests.support.namespaces", "lure", town.net.address["attacker"], "7431", "A" * 52
    )
    _, told = town.start("worker", "-m", "tandem", "cli", "pair", "--json", "--name", "mini")
    assert isinstance(told, dict)
    both = town.tandem("router", "pair", told["code"])
    assert both.returncode == 4, both.stderr
    assert "2 machines say that they show a code" in both.stderr
    assert "\x1b[2J" not in both.stderr
    assert lure.stdout is not None
    assert not select.select([lure.stdout], [], [], 0.2)[0], "nobody came to him"
    assert town.tandem("router", "pair", told["code"], "--at", town.net.address["worker"]).returncode == 0
