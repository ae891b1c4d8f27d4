"""`python -m router [--linger] [--state DIR] [--config FILE]`: run the router in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from router.feed import Watch
from router.lifecycle import Options, Router
from router.tracing import observer
from tandem import descriptors, memory
from tandem.config import load, state_dir
from tandem.errors import TandemError
from tandem.paths import private_dir
from tandem.telemetry import start_logging


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tandem router", description="Run the router in the foreground.")
    parser.add_argument("--linger", action="store_true", help="leave when there has been nothing to do for a while")
    parser.add_argument("--state", type=Path, help="the state folder (otherwise TANDEM_STATE, or the usual place)")
    parser.add_argument(
        "--config", type=Path, help="the configuration file (otherwise TANDEM_CONFIG, or the usual place)"
    )
    return parser.parse_args()


async def _run(options: Options, watch: Watch | None) -> int:
    router = Router(options, watch)
    status = await router.run()
    if router.failed is not None:
        raise router.failed
    return status


def _serve(options: Options) -> int:
    """Run a router, watched where a collector's address is set; what is left for the collector goes when all has stopped.

    Raises:
        BadConfig: The address is none, or OpenTelemetry is not installed; the router did not begin.
    """
    watch = observer(options.config.telemetry.endpoint)
    try:
        return asyncio.run(_run(options, watch))
    finally:
        if watch is not None:
            watch.close()


def main() -> int:
    """Run a router and return its exit status."""
    arguments = _arguments()
    memory.stay_compact()
    descriptors.allow_many()
    os.environ.setdefault(
        "GRPC_VERBOSITY", "ERROR"
    )  # why a paired machine is away is told once, and not every two seconds
    try:
        state = arguments.state.absolute() if arguments.state else state_dir()
        options = Options(
            config=load(arguments.config), state=state, config_file=arguments.config, linger=arguments.linger
        )
        os.environ["TANDEM_STATE"] = str(state)  # for everything that is started from here
        logs = private_dir(private_dir(state) / "logs")
        start_logging(logs / "router.log")
        return _serve(options)
    except TandemError as error:
        sys.stderr.write(f"tandem router: {error.message}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
