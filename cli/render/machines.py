"""Say in lines what is known of paired machines: where each is used, over what, and why there. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cli.render.loose import items, number, objects, text
from cli.render.table import table
from cli.render.text import cell_width, duration, one_line, wrap
from tandem import identity
from tandem.identity import NodeId

_WIDE = 1 << 16  # cells; no table is cut, it becomes paragraphs instead
_HEAD = ("", "address", "network", "round trip", "carries", "looked at")


def machine_lines(machine: Mapping[str, Any], width: int) -> list[str]:
    """Return a paragraph about one paired machine, as `tandem nodes --json` tells of it."""
    trouble = one_line(text(machine, "trouble"))
    lines = [
        f"{one_line(text(machine, 'name'))}: {_use(machine)}",
        f"  id: {identity.grouped(NodeId(text(machine, 'id')))}",
        f"  paired since {time.strftime('%Y-%m-%d %H:%M', time.localtime(number(machine, 'paired_s')))}",
    ]
    routes = objects(machine.get("routes"))
    if machine.get("role") == "worker" and not routes:
        known = ", ".join(one_line(str(address)) for address in items(machine.get("addresses")))
        lines.append(f"  addresses: {known or 'none known'}")
    if models := items(machine.get("models")):
        lines.append(f"  models: {', '.join(one_line(str(model)) for model in models)}")
    lines += [f"  {line}" for line in route_lines(routes, width - 2)]
    if why := one_line(text(machine, "why")):
        lines.append(f"  at that address because: {why}")
    return lines + ([f"  ! {trouble}"] if trouble else [])


def own_port_lines(worker: Mapping[str, Any]) -> list[str]:
    """Return where this machine's worker listens for paired routers, and what is in its way; nothing where it need not."""
    if not worker.get("expected"):
        return [f"! {one_line(str(line))}" for line in items(worker.get("trouble"))]
    places = ", ".join(one_line(str(place)) for place in items(worker.get("listening")))
    closed = "its worker does not listen for paired routers; `tandem up` starts it, `tandem doctor` looks why"
    lines = [f"its worker listens for paired routers at {places}" if places else f"! {closed}"]
    return lines + [f"! {one_line(str(line))}" for line in items(worker.get("trouble"))]


def _use(machine: Mapping[str, Any]) -> str:
    if machine.get("role") == "router":
        return "a router that this machine works for"
    if machine.get("trouble"):
        return "a worker that cannot be used"
    address, version = one_line(text(machine, "address")), one_line(text(machine, "version"))
    return (
        f"a worker, used at {address}{f', Tandem {version}' if version else ''}"
        if address
        else "a worker, not looked at yet"
    )


def route_lines(routes: list[dict[str, Any]], width: int) -> list[str]:
    """Return a table of a worker's addresses, the one in use marked; nothing where none was looked at.

    Why one does not answer stands under it. Where the table is too wide, each address has a paragraph.
    """
    if not routes:
        return []
    head, *rows = table(_HEAD, [_row(route) for route in routes], width=_WIDE, grow=0)
    if max(map(cell_width, (head, *rows))) > width:
        return [line for route in routes for line in _paragraph(route, width)]
    return [head, *(line for row, route in zip(rows, routes, strict=True) for line in (row, *_why_not(route, width)))]


def _paragraph(route: Mapping[str, Any], width: int) -> list[str]:
    mark, address, network, trip, carries, ago = _row(route)
    words = (
        network,
        f"round trip {trip}" if trip else "",
        f"carries {carries}" if route.get("bytes_s") else carries,
        f"looked at {ago}",
    )
    told = wrap(", ".join(filter(None, map(one_line, words))), max(width - 4, 8))
    return [f"{mark or ' '} {one_line(address)}", *(f"    {line}" for line in told), *_why_not(route, width)]


def _why_not(route: Mapping[str, Any], width: int) -> list[str]:
    trouble = one_line(text(route, "trouble"))
    return [f"    {line}" for line in wrap(trouble, max(width - 4, 8))] if trouble else []


def _row(route: Mapping[str, Any]) -> tuple[str, ...]:
    mark = "→" if route.get("used") else ""
    network = text(route, "network") or text(route, "medium")
    ago = f"{duration(number(route, 'seen_ago_s'))} ago"
    if route.get("trouble"):
        return (mark, text(route, "address"), network, "", "cannot be used", ago)
    trip = f"{number(route, 'rtt_s') * 1e3:.1f} ms" if route.get("rtt_s") is not None else ""
    if not route.get("allowed", True):
        return (mark, text(route, "address"), network, trip, "not allowed (link.wifi)", ago)
    carries = f"{number(route, 'bytes_s') / 1e6:.0f} MB/s" if route.get("bytes_s") else "not measured"
    return (mark, text(route, "address"), network, trip, carries, ago)


def news_of(machine: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what of a machine is news once it changes: not the last digit of a measurement."""
    routes = objects(machine.get("routes"))
    ups = sorted(f"{text(route, 'address')} {'down' if route.get('trouble') else 'up'}" for route in routes)
    return (text(machine, "name"), text(machine, "address"), text(machine, "trouble"), *ups)
