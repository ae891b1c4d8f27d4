"""Count tokens: with the model's own tokenizer where its file is at hand, else by a cautious estimate."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from agents.context import Count, estimate_tokens
from tandem.errors import BadConfig

_SURE_CHARS = 400_000  # beyond it counting costs more than it tells; the estimate is cautious enough


def counter(file: str) -> Count:
    """Return how to count for the tokenizer in `file` (a `tokenizer.json`), or the estimate where it is empty.

    Raises:
        BadConfig: The file is not there or is no tokenizer, or the `tokenizers` package is not installed.
    """
    if not file:
        return estimate_tokens
    try:
        tokenizers: Any = importlib.import_module("tokenizers")  # by name: it is optional, for the type checker too
    except ImportError:
        raise BadConfig(f"counting with {file} needs the package `tokenizers`; install it, or leave it empty") from None
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(Path(file).expanduser()))
    except Exception as error:  # the library raises bare Exception
        raise BadConfig(
            f"cannot read the tokenizer {file}: {error}; name a tokenizer.json, or leave it empty"
        ) from None

    def count(text: str) -> int:
        if len(text) > _SURE_CHARS:
            return estimate_tokens(text)
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
