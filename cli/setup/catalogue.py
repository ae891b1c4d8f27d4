"""The models that may be proposed: read from the table that ships, `models.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Slot = Literal["router", "worker"]
_TABLE = Path(__file__).with_name("models.toml")


class Model(BaseModel):
    """One model: its name at Ollama, for which slot, what it takes, and where each number is from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    slot: Slot
    download_bytes: Annotated[int, Field(gt=0)]
    size_source: str
    context_bytes_per_token: Annotated[int, Field(gt=0)]
    context_source: str
    licence: str
    tokens_s: float | None = None
    tokens_s_on: str = ""
    tokens_s_source: str = ""

    def memory_bytes(self, context_tokens: int) -> int:
        """Return what it takes in memory with a context of so many tokens: its weights and what a call holds."""
        return self.download_bytes + self.context_bytes_per_token * context_tokens

    @property
    def speed(self) -> str:
        """Return its speed in words, with the machine it was measured on; that is hardly ever this one."""
        if self.tokens_s is None:
            return "speed not known"
        return f"{self.tokens_s:g} tokens/s on {self.tokens_s_on} ({self.tokens_s_source})"


def catalogue() -> Sequence[Model]:
    """Return the models that may be proposed, best first in each slot."""
    table = tomllib.loads(_TABLE.read_text("utf-8"))
    return [Model.model_validate(entry) for entry in table["model"]]
