"""Turn whatever the client of an OpenAI-compatible server raises into our errors, each with its remedy.

The server's own words are quoted, cut short and without the key, which some servers repeat in full.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from tandem.config import OpenAIConfig
from tandem.errors import (
    BadConfig,
    BadInput,
    BadReply,
    DeadlineExceeded,
    ResourceExhausted,
    TandemError,
    Unavailable,
    UnknownModel,
)
from worker import keys

if TYPE_CHECKING:
    import openai

ACCOUNT = "openai"
_WORDS = 200
_NO_MODEL = re.compile(
    r"(?i)model.{0,80}(?:not found|does not exist|not loaded|unknown)|(?:failed to load|unknown) model"
)
_SPENT = re.compile(r"(?i)billing|credit|balance")  # what no waiting mends
_WAIT = re.compile(r"\d{1,6}(?:\.\d{1,6})?")


def ours(error: Exception, config: OpenAIConfig, model: str, key: str) -> TandemError:
    """Return our error for `error`; `model` is "" where a list of models was asked for."""
    import httpx
    import openai

    url = config.url
    if isinstance(error, TandemError):
        return error
    if isinstance(error, openai.APIStatusError):
        return _status(error.status_code, words(_said(error), key), config, model)
    if isinstance(error, TimeoutError | openai.APITimeoutError | httpx.TimeoutException):
        return DeadlineExceeded(
            f"the model server at {url} stayed silent too long with {model or 'a list of models'!r}; raise "
            f"openai.first_token_s ({config.first_token_s:g} s) or openai.idle_s ({config.idle_s:g} s), or use a smaller "
            f"model"
        )
    if isinstance(error, openai.APIConnectionError | httpx.TransportError):
        if nobody_there(error):
            return Unavailable(f"no model server answers at {url}; start it, or set openai.url")
        kind = type(error.__cause__ or error).__name__
        return Unavailable(f"the connection to the model server at {url} broke ({kind}); ask again, or look at its log")
    if isinstance(error, openai.APIError):  # told inside a stream
        return _told(words(_said(error), key), config, model)
    if isinstance(error, ValueError | AttributeError | TypeError | RecursionError):
        said = words(str(error), key)
        return BadReply(
            f"the model server at {url} answered with something that is not its protocol ({said}); look at its log"
        )
    return TandemError(f"the client of the model server failed unforeseen: {type(error).__name__}")


def nobody_there(error: Exception) -> bool:
    """Return whether the connection was refused, so that there is no server at all."""
    import httpx

    return isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, httpx.ConnectError)


def wait_s(error: openai.APIStatusError, longest_s: float) -> float | None:
    """Return how long a server that is too busy wants to be left alone, None where that is not said or is too long."""
    said = error.response.headers.get("retry-after", "")
    if error.status_code != 429 or not _WAIT.fullmatch(said) or float(said) > longest_s:
        return None
    return float(said)


def words(text: str, key: str) -> str:
    """Return a server's words fit for a message: one short line without the key and without control characters."""
    safe = text.replace(key, "(key)") if key else text
    line = " ".join("".join(c if c.isprintable() else " " for c in safe[: _WORDS * 4]).split())
    return line[:_WORDS] or "it gave no reason"


def _said(error: Exception) -> str:
    """Return what the server itself said; the client's message has its own words around it."""
    body: Any = getattr(error, "body", None)
    inner: Any = _field(body, "error") or body
    return str(_field(inner, "message") or _field(inner, "detail") or inner or error)


def _field(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _status(status: int, said: str, config: OpenAIConfig, model: str) -> TandemError:
    url = config.url
    if status in (401, 403):
        how = keys.how_to_store(config.key_env, ACCOUNT)
        return BadConfig(f"the model server at {url} refused the key ({status}: {said}); {how}")
    if status == 404 or (status == 400 and model and _NO_MODEL.search(said)):
        asked = f"the model {model!r}" if model else "a list of models"
        return UnknownModel(
            f"the model server at {url} cannot serve {asked} ({status}: {said}); load it there, or set openai.url: "
            f"`{url}/models` lists what it has"
        )
    if status == 429 and _SPENT.search(said):
        return ResourceExhausted(f"the model server at {url} refuses more (429: {said}); see to the account there")
    if status == 429:
        return Unavailable(f"the model server at {url} is too busy (429: {said}); ask again later")
    if 300 <= status < 400:
        return BadConfig(
            f"{url} leads elsewhere ({status}), where nothing is sent unasked; set openai.url to the place"
        )
    if status >= 500:
        return _told(f"{status}: {said}", config, model)
    if "context" in said.lower() or "too long" in said.lower():
        return _too_long(said, config, model)
    return BadInput(
        f"the model server at {url} refused the question to {model!r} ({status}: {said}); use a model or a server that "
        f"takes it (pictures, tools), or mend its settings"
    )


def _told(said: str, config: OpenAIConfig, model: str) -> TandemError:
    lowered = said.lower()
    if "memory" in lowered:
        return ResourceExhausted(
            f"the model server at {config.url} cannot load {model!r} ({said}); use a smaller one, or close others"
        )
    if "context" in lowered and ("exceed" in lowered or "length" in lowered or "too long" in lowered):
        return _too_long(said, config, model)
    return Unavailable(
        f"the model server at {config.url} failed with {model!r} ({said}); ask again when it is ready, or look at its log"
    )


def _too_long(said: str, config: OpenAIConfig, model: str) -> TandemError:
    return ResourceExhausted(
        f"the model server at {config.url} takes fewer tokens with {model!r} than context.* says ({said}); start it with a "
        f"larger context, or set context.router or context.worker lower"
    )
