"""The configuration: whether it can be used, and whether the interfaces it names are there."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Collection, Iterator
from typing import cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from cli.doctor.finding import Finding, ill, well
from cli.doctor.look import Look
from tandem import endpoints
from tandem.config import Config
from tandem.errors import BadConfig


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of the configuration."""
    yield configuration(look)
    there = [name for _, name in socket.if_nameindex()]
    for setting, named in interfaces_of(look):
        yield interface(named, setting, there)


def interfaces_of(look: Look) -> list[tuple[str, str]]:
    """Return each interface that the configuration names, after the setting that does."""
    if look.config is None:
        return []
    found = [(setting, interface_in(url)) for setting, url in look.servers.items()]
    listened = [endpoints.parse(text, endpoints.WORKER_PORT).host for text in look.config.worker.listen]
    found += [("worker.listen", host.partition("%")[2]) for host in listened]
    found += [("link.media", name) for name in look.config.link.media]
    return [(setting, named) for setting, named in dict.fromkeys(found) if named]


def configuration(look: Look) -> Finding:
    """Check that the configuration parses, and that every key in it means something."""
    if look.broken is None:
        return well("configuration", str(look.config_file) if look.config_file.exists() else "defaults (no file)")
    path = _unknown_key(look.broken)
    if path:
        hint = _nearest(path)
        remedy = f"{hint}take it out of {look.config_file}; deploy/tandem.example.toml has every key"
        return ill("configuration", "config-unknown-key", f"there is no setting {path!r}", remedy)
    return ill("configuration", "config-broken", look.broken.message, f"mend {look.config_file} or the variable")


def interface_in(url: str) -> str:
    """Return the interface an address such as `http://[fe80::1%en5]:11434` names, or nothing."""
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
    inside = host.partition("[")[2].partition("]")[0]
    return inside.partition("%")[2].removeprefix("25")  # %25 is how an address in a URL may write it


def interface(named: str, setting: str, there: Collection[str]) -> Finding:
    """Check that an interface a setting names is among those of this machine."""
    if named in there:
        return well(f"interface {named}", f"there, as {setting} says")
    text = f"{setting} names it, and this machine has {', '.join(sorted(there)) or 'none'}"
    return ill(f"interface {named}", "interface-missing", text, f"plug it in, or set {setting} to one that is there")


def _unknown_key(error: BadConfig) -> str:
    """Return the dotted name of a key nobody knows, where that is what is wrong."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return ""
    first = cause.errors()[0]
    return ".".join(map(str, first["loc"])) if first["type"] == "extra_forbidden" else ""


def _nearest(path: str) -> str:
    known = [
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in cast("type[BaseModel]", field.annotation).model_fields
    ]
    near = difflib.get_close_matches(path, [*known, *Config.model_fields], n=1)
    return f"perhaps {near[0]!r} is meant; if not, " if near else ""
