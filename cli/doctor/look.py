"""What the doctor is asked to look at: this user's folders, the configuration, the folder the command was given in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tandem.config import Config, load
from tandem.errors import BadConfig
from tandem.paths import config_path, state_dir

_NOT_OLLAMA = ("rehearsal/", "openai/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at this machine. `config` is None where it cannot be used, and then `broken` says why."""

    state: Path
    folder: Path
    config_file: Path
    config: Config | None = None
    broken: BadConfig | None = None
    network: bool = False

    @classmethod
    def here(cls, *, network: bool = False) -> Look:
        """Return the look at this user's own state and configuration, from the folder the command was given in."""
        config: Config | None = None
        broken: BadConfig | None = None
        try:
            config = load()
        except BadConfig as error:
            broken = error
        return cls(
            state=state_dir(),
            folder=Path.cwd(),
            config_file=config_path(),
            config=config,
            broken=broken,
            network=network,
        )

    @property
    def ollama_models(self) -> tuple[str, ...]:
        """Return the configured models that are Ollama's, without a backend's name; a script's or another's are not."""
        if self.config is None:
            return ()
        names = dict.fromkeys((self.config.models.router, self.config.models.worker))
        return tuple(name.removeprefix("ollama/") for name in names if not name.startswith(_NOT_OLLAMA))

    @property
    def servers(self) -> dict[str, str]:
        """Return the addresses of the model servers that are used, by the setting that names them."""
        if self.config is None:
            return {}
        models = (self.config.models.router, self.config.models.worker)
        found = {"ollama.url": self.config.ollama.url} if self.ollama_models else {}
        if any(name.startswith("openai/") for name in models):
            found["openai.url"] = self.config.openai.url
        return found
