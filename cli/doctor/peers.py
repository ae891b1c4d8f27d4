"""The machines that are paired with this one: whether each answers at one of its addresses, and if not, why.

Looked at by a handshake of the doctor's own, apart from the router: nothing is asked of them, and no work is sent.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from cli.doctor.finding import Cause, Finding, ill, well
from cli.doctor.look import Look
from cli.doctor.network import denied, pings
from cli.launch import spinner
from cli.render.text import one_line
from tandem import endpoints, identity, media, probe
from tandem.config import Config, LinkConfig
from tandem.errors import BadConfig
from tandem.peers import Peer, Peers

# Of several addresses the most telling one is told: that a machine answers and does not know us says more than silence.
_CAUSES: Mapping[probe.Kind, tuple[Cause, str]] = {
    "not paired": ("peer-not-paired", "`tandem pair` there shows a code; `tandem pair CODE` here enters it"),
    "other machine": (
        "peer-another-machine",
        "see which machine has that address now; if yours has a new identity, `tandem unpair` it here and pair it anew",
    ),
    "not tls": ("peer-not-tandem", "see what listens there, and with which port its worker does (`worker.listen`)"),
    "refused": ("peer-nothing-listens", "`tandem up` there, or `tandem install worker` to have it always"),
    "denied": ("local-network-denied", "allow Tandem's Python to reach the local network, in the firewall's settings"),
    "silent": ("peer-off", "is it on and awake, and the cable in? `tandem install worker` there keeps it reachable"),
    "no way": (
        "peer-no-way",
        "see that this machine's cable or network is up; a bridge needs an address on both sides",
    ),
}


def findings(look: Look) -> Iterator[Finding]:
    """Yield what each paired worker's addresses show; nothing where none is paired."""
    book = Peers(look.state).read()
    for line in book.damaged:
        yield ill(
            "paired machines", "peer-damaged", one_line(line), "`tandem nodes` names the file; pair that one anew"
        )
    workers = book.of("worker")
    if not workers:
        return
    try:
        me = identity.load(look.state)
    except BadConfig as error:
        yield ill("this machine's identity", "identity-broken", error.message, "move it away and pair anew")
        return
    link = (look.config or Config()).link

    def one(peer: Peer) -> Finding:
        return _one(me, peer, link)

    with spinner("looking at paired machines"), ThreadPoolExecutor(max_workers=16) as threads:
        seen = list(threads.map(one, workers))
    yield from seen


def _one(me: identity.Identity, peer: Peer, link: LinkConfig) -> Finding:
    """Look at a worker's addresses until one answers over a cable; Wi-Fi counts only where no cable does."""
    name = f"paired worker {one_line(peer.name)}"
    seen: dict[probe.Kind, str] = {}
    over_air: list[str] = []
    missed = 0  # over a cable
    places = [endpoints.parse(address, endpoints.WORKER_PORT) for address in peer.addresses]
    looks = probe.look_all(me, peer.id, places)
    for address, at, found in zip(peer.addresses, places, looks, strict=True):
        is_air = media.towards(at.host, link.media) == "wifi"
        if found.kind == "open" and not is_air:
            return well(name, f"answers at {address}" + (f"; not at {missed} before it" if missed else ""))
        if found.kind == "open":
            over_air.append(address)
            continue
        missed += not is_air
        kind: probe.Kind = found.kind
        if found.number == errno.EHOSTUNREACH and denied(found.number, found.took_s, pinged=pings(at.host)):
            kind = "denied"
        seen.setdefault(kind, found.words)
    if over_air:
        return _over_air(name, over_air[0], missed, allowed=link.wifi)
    if not seen:
        return ill(name, "peer-no-way", "no address of it is known", "pair the two anew")
    (cause, remedy), words = next((told, seen[kind]) for kind, told in _CAUSES.items() if kind in seen)
    return ill(name, cause, one_line(words), remedy)


def _over_air(name: str, address: str, missed: int, *, allowed: bool) -> Finding:
    cables = f"at none of its {missed} addresses by cable" if missed else "by cable no address of it is known"
    if not allowed:
        text = f"answers over Wi-Fi alone, at {address}; {cables}"
        return ill(name, "wifi-not-allowed", text, "put the cable in, or set link.wifi = true")
    if missed:
        text = f"bridge down (using Wi-Fi at {address}): it answers {cables}"
        return ill(name, "bridge-down", text, "see that the cable is in and the bridge has an address on both machines")
    return well(name, f"answers at {address}, over Wi-Fi")
