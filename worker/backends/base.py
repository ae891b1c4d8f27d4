"""What a model runtime must do, and how the one that serves a model is found by the model's name.

`ollama/qwen2.5:7b` names the backend and the model; a bare name means Ollama. A backend streams pieces of text and then
exactly one reply; closing the stream stops the work behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from tandem.errors import BadConfig, TandemError, UnknownModel
from tandem.types import Chunk, CompleteRequest, ModelInfo, Reply

DEFAULT = "ollama"


class Backend(Protocol):
    """One model runtime."""

    name: str
    rehearsal: bool

    async def models(self) -> list[ModelInfo]:
        """Return the models it offers.

        Raises:
            Unavailable: It does not answer; the message says how to start it.
        """
        ...

    def named(self) -> list[ModelInfo]:
        """Return the models that the configuration names and that are there for all this backend knows."""
        ...

    def complete(self, request: CompleteRequest, model: str) -> AsyncGenerator[Chunk | Reply]:
        """Yield pieces of the reply as they come, then the reply itself."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def clean(text: str) -> str:
    """Return `text` with what UTF-8 cannot carry (half a surrogate pair, as JSON may name it) replaced by `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class Backends:
    """All runtimes of a worker."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._by_name: Mapping[str, Backend] = {backend.name: backend for backend in backends}

    def pick(self, model: str) -> tuple[Backend, str]:
        """Return the backend that serves `model`, and the model's name there.

        Raises:
            UnknownModel: No backend of that name is configured.
        """
        name, slash, rest = model.partition("/")
        if slash and name in self._by_name:
            return self._by_name[name], rest
        if DEFAULT in self._by_name and not (slash and name == "rehearsal"):
            return self._by_name[DEFAULT], model
        offered = ", ".join(f"{known}/…" for known in self._by_name) or "none"
        raise UnknownModel(f"no backend here serves the model {model!r}; configured are {offered}")

    async def models(self) -> tuple[list[ModelInfo], str]:
        """Return all models on offer, and what is wrong with the backends that list none."""
        found: list[ModelInfo] = []
        trouble: list[str] = []
        for backend in self._by_name.values():
            try:
                found += await backend.models()
            except BadConfig as error:  # asked, it says so under that class, and nobody asks a second time
                trouble.append(error.message)
                found += backend.named()
            except TandemError as error:
                trouble.append(error.message)
        return found, "; ".join(trouble)

    async def close(self) -> None:
        """Let go of every backend."""
        for backend in self._by_name.values():
            await backend.close()
