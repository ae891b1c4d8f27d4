"""What the workflow needs of the configuration."""

from __future__ import annotations

from agents.tokens import counter
from graphs.team import Settings
from router.pace import Pace
from tandem.config import Config
from tandem.types import Limits


def settings_of(config: Config) -> Settings:
    """Return what the workflow needs of the configuration."""
    pace = Pace()
    check = config.check
    return Settings(
        models={"router": config.models.router, "worker": config.models.worker},
        contexts={"router": config.context.router, "worker": config.context.worker},
        rounds={"low": config.rounds.low, "medium": config.rounds.medium, "high": config.rounds.high},
        limits=Limits(
            wall_s=check.wall_s,
            memory_bytes=int(check.memory_gib * (1 << 30)),
            processes=check.processes,
            output_bytes=check.output_mib << 20,
        ),
        repeats=check.repeats,
        mutation_s=check.mutation_s,
        artefacts=tuple(check.artefacts),
        call_s=config.router.call_s,
        work_s=config.router.work_s,
        counts={"router": counter(config.context.router_tokenizer), "worker": counter(config.context.worker_tokenizer)},
        prepare_s=config.prepare.wall_s,
        prepare_network=config.prepare.network,
        expected_s=pace.expected_s,
        took=pace.add,
    )
