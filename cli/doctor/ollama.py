"""The Ollama server the configuration names: whether it answers, to whom, and whether its models fit into memory.

It is asked over its own HTTP API, and only where a configured model is Ollama's. Its silence is nothing wrong by itself
where a paired worker may have the models.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cli.doctor import listening
from cli.doctor.clocks import clock
from cli.doctor.finding import Finding, ill, unseen, well
from cli.doctor.look import Look
from cli.render.loose import mapping, objects, text, whole
from cli.render.text import size
from tandem import hardware
from tandem.addresses import is_here
from tandem.peers import Peers
from tandem.types import Hardware

ANSWER_S = 5.0
_PORT = 11434
_CONTEXT_BYTES = 4 << 30  # beside the weights, for what a call holds
_SYSTEM_BYTES = 8 << 30  # left to macOS and everything else; the reserve that oMLX calls balanced
_START = "`ollama serve`, or open the Ollama app; ollama.url says where it is looked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Ollama said: the size of each model in bytes by name, and the date on its machine, in s since 1970."""

    sizes: Mapping[str, int]
    date_s: float | None


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of Ollama; nothing where no model is its."""
    if look.config is None or not look.ollama_models:
        return
    url = look.config.ollama.url
    parts = urlsplit(url)
    if is_here(parts):
        yield from exposure(parts.port or _PORT)
    try:
        answer = ask(url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        silent = f"does not answer at {url}: {_why(error)}"
        if Peers(look.state).read().of("worker"):  # which may have all the models; the router knows
            yield unseen("ollama", f"{silent}; whether it is needed beside the paired workers, the models below tell")
        else:
            yield ill("ollama", "ollama-down", silent, _START)
        return
    yield well("ollama", f"answers at {url}, {len(answer.sizes)} models")
    if answer.date_s is not None:
        yield clock(answer.date_s, time.time(), parts.hostname or url)
    yield from sizes(look.ollama_models, answer.sizes, hardware.here() if is_here(parts) else None)


def ask(url: str, wait_s: float = ANSWER_S) -> Answer:
    """Ask an Ollama server which models it has.

    Raises:
        OSError, HTTPException, ValueError: It does not answer, or not as Ollama does.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not see what is meant for home
    with opener.open(f"{url.rstrip('/')}/api/tags", timeout=wait_s) as response:
        date, body = response.headers.get("Date"), json.load(response)
    models = objects(mapping(body).get("models"))
    return Answer(sizes={text(model, "name"): whole(model, "size") for model in models}, date_s=_seconds(date))


def exposure(port: int) -> Iterator[Finding]:
    """Check that what listens on Ollama's port of this machine does not listen on every interface."""
    found = listening.addresses(port)
    if found is None:
        yield unseen("ollama's door", f"not looked at: the system does not say who listens on port {port}")
    elif found & listening.EVERYWHERE:
        remedy = (
            "unset OLLAMA_HOST, or set it to 127.0.0.1, and start Ollama again; Tandem needs it on this machine only"
        )
        text = f"port {port} listens on all interfaces: whoever is in your network may use and change your models"
        yield ill("ollama's door", "ollama-open", text, remedy)
    elif found:
        yield well("ollama's door", f"port {port} listens on {', '.join(sorted(found))}")


def sizes(wanted: tuple[str, ...], there: Mapping[str, int], machine: Hardware | None) -> Iterator[Finding]:
    """Compare each wanted model's size with what models may take on Ollama's machine; None where that is another."""
    for name in wanted:
        found = there.get(name) or there.get(f"{name}:latest")
        if not found:
            continue  # that it is missing is seen by the worker, and told as that
        if machine is None or machine.model_bytes is None:
            yield unseen(f"memory for {name}", f"{size(found)} of weights; the memory of Ollama's machine is not known")
        else:
            yield fits(name, found, machine, machine.model_bytes)


def fits(name: str, size_bytes: int, machine: Hardware, limit_bytes: int) -> Finding:
    """Decide whether a model's weights go into memory; the room its context takes comes on top and is not counted."""
    against = f"{size(size_bytes)} of weights, and models may take {size(limit_bytes)} ({machine.limit})"
    if size_bytes <= limit_bytes:
        return well(f"memory for {name}", against)
    remedy = "take a smaller model or a smaller quantisation; `tandem init` names some that fit"
    raised = size_bytes + _CONTEXT_BYTES
    if machine.system == "macOS" and raised + _SYSTEM_BYTES <= (machine.memory_bytes or 0):
        remedy += f"; or raise the limit until the next start: `sudo sysctl iogpu.wired_limit_mb={raised >> 20}`"
    return ill(f"memory for {name}", "model-too-large", against, remedy)


def _seconds(date: Any) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(str(date)).timestamp()
    except (TypeError, ValueError):
        return None


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(getattr(reason, "strerror", None) or reason)
