"""What of an event may leave: names, numbers and fixed words.

Pure. Prompts, replies, titles, paths, messages and test output are never read here; a value that should be a word and is
none becomes "other". Spans and metrics have their attributes from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from agents.tools.catalogue import FINISH, TOOLS
from tandem.types import CheckVerdict, Json, RunState

Kind = Literal["step", "call", "check"]
Value = str | int | float | bool
Key = tuple[str, ...]
_STATES = frozenset(get_args(RunState))
_CHECKED = frozenset(get_args(CheckVerdict))
_HOLDS = frozenset(("waiting-for-worker", "paused-disk-full", "retrying"))
_NAME = re.compile(r"\w[\w.:@+-]{0,79}")
_MODEL = re.compile(r"\w[\w.:@+/-]{0,159}")
_NUMBER_MAX = 2**53  # what a batch can carry without being refused as a whole
_WEIGHTS = (".gguf", ".safetensors", ".bin")


def of(kind: Kind, data: Mapping[str, Json]) -> dict[str, Value]:
    """Return what may be told of a step, a call or a check."""
    return _ABOUT[kind](data)


def of_tool(data: Mapping[str, Json]) -> dict[str, Value]:
    """Return what may be told of a tool's use."""
    about: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": _word(data.get("tool"), {*TOOLS, FINISH}),  # the model says it, and may say anything
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": name_of(data.get("persona")),
        "tandem.step": name_of(data.get("step")),
    }
    return {**about, "error.type": "tool_failed"} if data.get("failed") else about


def key_of(kind: Kind, data: Mapping[str, Json]) -> Key:
    """Return what joins an event that begins something to the one that ends it; its second part is the step."""
    inner = {"step": "", "call": str(data.get("persona")), "check": str(data.get("what"))}[kind]
    return (kind, name_of(data.get("step")), inner) if inner else (kind, name_of(data.get("step")))


def state_of(value: object) -> str:
    """Return a run's state, or "other"."""
    return _word(value, _STATES)


def verdict_of(value: object) -> str:
    """Return what came of a run's proof, or "other"."""
    return _word(value, _CHECKED | {"unproven"})


def hold_of(value: object) -> str:
    """Return what a run waits for, "none" where it goes on, or "other"."""
    return _word(value, _HOLDS) if value else "none"


def name_of(value: object) -> str:
    """Return a name that is short and one word, or "other"."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "other"


def model_name(model: str) -> str:
    """Return a model's name as it may leave; servers that name a model by its file are left with the last part of it."""
    backend, _, rest = model.partition("/")
    if model.startswith(("/", "~", ".")) or (not rest and "\\" in model):
        backend, rest = "", model
    if rest.startswith(("/", "~", ".")) or "\\" in rest or rest.lower().endswith(_WEIGHTS):
        last = re.split(r"[\\/]", rest.rstrip("\\/"))[-1]
        model = f"{backend}/{last}" if backend else last
    return model if _MODEL.fullmatch(model) else "other"


def number_of(value: object) -> float | None:
    """Return a number that a batch can carry, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_NUMBER_MAX < value < _NUMBER_MAX else None  # False for NaN, too


def _step_about(data: Mapping[str, Json]) -> dict[str, Value]:
    return {"tandem.step": name_of(data.get("step"))}


def _call_about(data: Mapping[str, Json]) -> dict[str, Value]:
    """Return what may be told of a model call; a name without a backend means Ollama (`worker/backends/base.py`)."""
    model = str(data.get("model") or "")
    backend = data.get("backend") or (model.partition("/")[0] if "/" in model else "ollama")
    about: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": name_of(backend),
        "gen_ai.request.model": model_name(model),
        "gen_ai.agent.name": name_of(data.get("persona")),
        "tandem.step": name_of(data.get("step")),
    }
    if data.get("response_model"):
        about["gen_ai.response.model"] = model_name(str(data["response_model"]))
    if data.get("node"):
        about["tandem.node"] = name_of(data["node"])
    if isinstance(data.get("rehearsed"), bool):
        about["tandem.rehearsed"] = bool(data["rehearsed"])
    counts = {"gen_ai.usage.input_tokens": "prompt_tokens", "gen_ai.usage.output_tokens": "completion_tokens"}
    for attribute, key in counts.items():
        if count := number_of(data.get(key)):  # 0 is a server that does not count
            about[attribute] = int(count)
    if first_ms := number_of(data.get("first_token_ms")):
        about["gen_ai.response.time_to_first_chunk"] = first_ms / 1000
    return about


def _check_about(data: Mapping[str, Json]) -> dict[str, Value]:
    about: dict[str, Value] = {"tandem.step": name_of(data.get("step")), "tandem.check.what": _what(data)}
    if "verdict" in data:
        about["tandem.check.verdict"] = _word(data["verdict"], _CHECKED)
        about["tandem.check.sandbox"] = name_of(data.get("sandbox"))
    for key in ("passed", "failed", "seconds"):
        if (number := number_of(data.get(key))) is not None:
            about[f"tandem.check.{key}"] = number if key == "seconds" else int(number)
    return about


_ABOUT: Mapping[Kind, Callable[[Mapping[str, Json]], dict[str, Value]]] = {
    "step": _step_about,
    "call": _call_about,
    "check": _check_about,
}


def _what(data: Mapping[str, Json]) -> str:
    return name_of(str(data.get("what") or "").partition(".")[0])  # after the dot comes the commit


def _word(value: object, known: frozenset[str] | set[str]) -> str:
    return value if isinstance(value, str) and value in known else "other"
