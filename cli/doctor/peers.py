"""The machines that are paired with this one: whether each answers at one of its addresses, and if not, why.

Looked at by a handshake of the doctor's own, apart from the router: nothing is asked of them, and no work is sent.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

from cli.doctor.finding import Cause, Finding, ill, well
from cli.doctor.look import Look
from cli.doctor.network import denied, pings
from cli.render.text import one_line
from tandem import endpoints, identity, probe
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
    for peer in workers:
        yield _one(me, peer)


def _one(me: identity.Identity, peer: Peer) -> Finding:
    name = f"paired worker {one_line(peer.name)}"
    seen: dict[probe.Kind, str] = {}
    for address in peer.addresses:
        at = endpoints.parse(address, endpoints.WORKER_PORT)
        found = probe.look(me, peer.id, at)
        if found.kind == "open":
            missed = f"; not at {len(seen)} before it" if seen else ""
            return well(name, f"answers at {address}{missed}")
        kind: probe.Kind = found.kind
        if found.number == errno.EHOSTUNREACH and denied(found.number, found.took_s, pinged=pings(at.host)):
            kind = "denied"
        seen.setdefault(kind, found.words)
    if not seen:
        return ill(name, "peer-no-way", "no address of it is known", "pair the two anew")
    (cause, remedy), words = next((told, seen[kind]) for kind, told in _CAUSES.items() if kind in seen)
    return ill(name, cause, one_line(words), remedy)
