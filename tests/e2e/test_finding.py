"""Machines that find each other in their network, and what an announcement is worth: a place to look, and nothing more.

Needs root and Linux's network namespaces.
"""

import json
import select
import subprocess
import time

import pytest

from tandem.peers import Peers
from tests.support.pairs import paired
from tests.support.town import SECRET, Town

pytestmark = pytest.mark.needs("network namespaces")


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


def test_a_paired_worker_is_found_again_at_another_address_and_nobody_else_is_taken_for_it(town: Town) -> None:
    router, worker = town.state("router"), town.state("worker")
    mini = paired(router, worker, f"{town.net.address['worker']}:7432")
    town.net.readdress("worker", "10.77.0.77")
    # somebody says that he is that worker, which is not there yet; he has not its key
    attacker = town.net.address["attacker"]
    lure, _ = town.start("attacker", "-m", "tests.support.namespaces", "lure", attacker, "7432", mini.id, "worker")
    kind, *words = town.play("router", "call", str(router), "where are you", "15")  # type: ignore[misc]
    assert kind == "Unreachable", words
    assert lure.stdout is not None
    assert select.select([lure.stdout], [], [], 0.2)[0], "he was looked at, and got no further than his certificate"

    town.start("worker", "-m", "tandem", "worker", "--socket", str(town.folder / "w.sock"))
    said = town.play("router", "call", str(router), "where are you", "40")
    assert said == ["said", SECRET, "10.77.0.77:7432"]
    assert Peers(router).read().peers[0].addresses[0] == "10.77.0.77:7432"  # and the next time it is known
    assert f"{attacker}:7432" not in Peers(router).read().peers[0].addresses


PLAY = ("-m", "tests.support.namespaces")
MINI = "MINI" * 13


def heard(child: subprocess.Popen[str]) -> list[str]:
    out, _ = child.communicate(timeout=30)
    places: list[str] = json.loads(out.splitlines()[-1])
    return places


def test_a_goodbye_in_its_name_does_not_hide_a_worker(town: Town) -> None:
    worker, router, attacker = (town.net.address[name] for name in ("worker", "router", "attacker"))
    town.start("worker", *PLAY, "lure", worker, "7432", MINI, "worker")
    hearing, _ = town.start("router", *PLAY, "hear", router, MINI, "10")
    time.sleep(3)  # it has heard it by now, and asks no more for a while
    town.start("attacker", *PLAY, "dismiss", attacker, MINI[:20])
    assert heard(hearing) == [f"{worker}:7432"]


def test_a_crowd_that_claims_to_be_a_worker_does_not_hide_it(town: Town) -> None:
    worker, router, attacker = (town.net.address[name] for name in ("worker", "router", "attacker"))
    town.start("attacker", *PLAY, "crowd", attacker, MINI, "80")
    hearing, _ = town.start("router", *PLAY, "hear", router, MINI, "14")
    time.sleep(5)  # the table is full of lies by now
    town.start("worker", *PLAY, "lure", worker, "7432", MINI, "worker")
    places = heard(hearing)
    assert f"{worker}:7432" in places
    assert len(places) > 40, "the crowd was heard, too"


def test_a_worker_met_over_ipv6_alone_is_reached_there_and_by_ipv4_once_that_is_back(town: Town) -> None:
    for name in ("router", "worker"):
        town.net.without_ipv4(name)
        town.eventually(lambda name=name: bool(town.net.link_local(name)))
    host, state = f"{town.net.link_local('worker')}%eth0", town.state("router")
    argv = ("-m", "tandem", "cli", "pair", "--json", "--name", "mini", "--on", f"[{host}]:7431")
    _, told = town.start("worker", *argv)
    assert isinstance(told, dict)
    found = town.tandem("router", "pair", told["code"])
    assert (found.returncode, "looked for over IPv4" in found.stderr) == (4, True), found.stderr
    entered = town.tandem("router", "pair", told["code"], "--at", f"[{host}]:7431")
    assert entered.returncode == 0, entered.stderr
    assert Peers(state).read().peers[0].addresses == (f"[{host}]:7432",)

    town.start("worker", "-m", "tandem", "worker", "--socket", str(town.folder / "w.sock"))
    assert town.play("router", "call", str(state), "where are you", "40") == ["said", SECRET, f"[{host}]:7432"]
    for name in ("router", "worker"):
        town.net.with_ipv4(name)
    again = f"{town.net.address['worker']}:7432"
    town.eventually(lambda: town.play("router", "look", *again.split(":"), str(state), _mini(town)) == "open")
    assert town.play("router", "call", str(state), "and now", "40")
    assert again in Peers(state).read().peers[0].addresses


def _mini(town: Town) -> str:
    return Peers(town.state("router")).read().peers[0].id
