"""Run a worker: `python -m worker --socket PATH --state DIR [--home DIR] [--name NAME] [--lifeline | --service]`.

Listens on an owner-only Unix socket, and on the network for paired routers alone (`worker.paired`). With `--lifeline` it
leaves when its standard input ends, so that it never outlives the router that started it. Without, routers use it instead
of starting one. With `--service` it is the one that a service manager keeps running, and takes the place of a router's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tandem import __version__, build, descriptors, held, memory
from tandem.config import Config, load
from tandem.entry import APP_ROOT
from tandem.errors import AlreadyRunning, BadConfig, TandemError
from tandem.faults import failpoint
from tandem.paths import SOCKET_PATH_MAX, private_dir, socket_path, state_dir
from tandem.telemetry import start_logging
from worker.fence import Fence

if TYPE_CHECKING:
    from grpc import aio

    from worker.servicer import Offer, Servicer

log = logging.getLogger(__name__)
FENCED = 75  # exit status of one that was replaced
BEAT_S = 5.0  # between two signs of life
GRACE_S = 2.0  # for calls under way when asked to leave; shorter than a router waits before it kills


def main() -> NoReturn:
    """Serve until told to leave; the exit status is an error's own."""
    options = _options()
    memory.stay_compact()
    descriptors.allow_many()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else whoever knocks in vain writes a line into our log each time
    try:
        config = load(options.config)
        state = private_dir(options.state)
        start_logging(private_dir(state / "logs") / "worker.log")
        if not options.lifeline:
            _say_aloud("worker.paired")
            _own(state, options.home, replace=options.service)
        places = Places(state=state, home=options.home, socket=options.socket)
        asyncio.run(serve(config, places, options.name, lifeline=options.lifeline, service=options.service))
    except TandemError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tandem worker", description="Serve models, checks and Git to a router.")
    parser.add_argument(
        "--socket", default=str(socket_path(state_dir(), "worker")), help="the Unix socket to listen on"
    )
    parser.add_argument("--state", type=Path, default=state_dir() / "worker", help="where trees and environments are")
    parser.add_argument("--home", type=Path, default=state_dir(), help="where this machine's identity and peers are")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--name", default=platform.node().split(".")[0] or "worker")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--lifeline", action="store_true", help="leave when standard input ends")
    kept.add_argument("--service", action="store_true", help="be the worker that routers here use (`tandem install`)")
    options = parser.parse_args()
    if "/" not in options.socket:
        parser.error(f"{options.socket!r} is no path; between machines Tandem listens only once they are paired")
    options.socket = Path(options.socket)
    return options


def _say_aloud(logger: str) -> None:
    """Have what goes wrong there said to whoever started this, too; of a router's own, the log and the doctor tell."""
    aloud = logging.StreamHandler()
    aloud.setLevel(logging.WARNING)
    aloud.setFormatter(logging.Formatter("warning: %(message)s: %(why)s", defaults={"why": "see the log"}))
    logging.getLogger(logger).addHandler(aloud)


def _own(state: Path, home: Path, *, replace: bool) -> None:
    """Have the state folder until the process ends; with `replace`, from a router's own worker, which then leaves.

    Raises:
        AlreadyRunning: A worker that no router started has it, or one that a router did.
    """
    if theirs := held.owner(state / held.SERVICE):
        raise AlreadyRunning(f"a worker (process {theirs}) has {state} already; use it, or stop that one first")
    held.hold(state / held.SERVICE)
    router = held.owner(home / held.ROUTER) if state.resolve() == (home / "worker").resolve() else ""
    if router and not replace:
        raise AlreadyRunning(
            f"the router here (process {router}) keeps a worker over {state} already, which paired machines use, too;"
            " use it, or `tandem down` first"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a worker keeps its work, where this machine's identity and paired machines are, and where it listens."""

    state: Path
    home: Path
    socket: Path


async def serve(config: Config, places: Places, name: str, *, lifeline: bool, service: bool = False) -> None:
    """Listen until a signal comes, the lifeline ends, or a later worker takes the state folder.

    Raises:
        AlreadyRunning: Another worker answers on the socket.
        BadConfig: The socket cannot be made, or the rehearsal script does not fit.
    """
    from grpc import aio
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_health.v1._async import HealthServicer

    from tandem import channel
    from tandem.v1.worker_pb2_grpc import add_WorkerServiceServicer_to_server
    from worker.servicer import Servicer

    socket_file = places.socket
    _free(socket_file, replace=lifeline or service)
    fence = Fence.take(places.state)
    servicer = Servicer(await _offer(config, places, name, fence))
    server = aio.server(options=channel.SERVER_OPTIONS)
    add_WorkerServiceServicer_to_server(servicer, server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)  # pyright: ignore[reportUnknownMemberType] - no types
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    leave = _leave_when_told(lifeline=lifeline)  # before anybody can know that there is a worker to stop
    _listen(server, socket_file)
    await server.start()
    failpoint("worker.ready")
    print(json.dumps({"ready": True, "socket": str(socket_file), "name": name}), flush=True)
    paired = asyncio.create_task(_paired_port(config, places.home, name, servicer))
    beating = asyncio.create_task(_beat(fence, leave, aloud=lifeline))
    try:
        await leave.wait()
    finally:
        beating.cancel()
        if not fence.holds:  # the socket at that path is a later worker's by now, and gRPC would remove it
            words = f"another worker was started over {places.state}, or the folder is gone: this one does nothing more"
            log.error("replaced", extra={"number": fence.number, "why": words})
            print(f"error: {words}, and ends", file=sys.stderr, flush=True)
            await servicer.close()
            os._exit(FENCED)
        paired.cancel()
        await asyncio.gather(server.stop(GRACE_S), paired, return_exceptions=True)
        await servicer.close()
        socket_file.unlink(missing_ok=True)


async def _paired_port(config: Config, home: Path, name: str, servicer: Servicer) -> None:
    """Keep the port for paired routers; whatever goes wrong with it, the worker's own socket still answers."""
    from tandem import identity
    from tandem.peers import Peers
    from worker.host import Host
    from worker.paired import FOLLOW_S, PairedPort

    host = Host(config, servicer, lambda: identity.load(home).id, name)
    port = PairedPort(lambda: identity.load(home), Peers(home), config.worker.listen, host)
    said = ""
    try:
        while True:
            try:
                await port.run()
            except (TandemError, OSError) as error:
                if str(error) != said:
                    log.error("the port for paired routers failed", extra={"why": str(error)})
                said = str(error)
            await asyncio.sleep(FOLLOW_S)
    finally:
        await host.close()


async def _beat(fence: Fence, leave: asyncio.Event, *, aloud: bool) -> None:
    """Tell whoever started this, again and again, that it is not stuck; end quietly where nobody listens any more.

    Only a router listens, so for everybody else nothing is said `aloud`.

    One that was replaced, or whose number somebody removed, leaves.
    """
    while True:
        await asyncio.sleep(BEAT_S)
        if not fence.holds:
            leave.set()
            return
        if not aloud:
            continue
        try:
            print(json.dumps({"beat": round(time.monotonic(), 1)}), flush=True)
        except OSError:
            return


async def _offer(config: Config, places: Places, name: str, fence: Fence) -> Offer:
    from tandem.hardware import Lately
    from tandem.types import NodeInfo
    from tandem.wire import PROTOCOL
    from worker import sandbox
    from worker.backends.base import Backend, Backends
    from worker.backends.ollama import OllamaBackend
    from worker.check import Checker
    from worker.collecting import Collector
    from worker.environments import Environments
    from worker.replies import Replies
    from worker.scheduler import Scheduler
    from worker.servicer import Offer

    state = places.state
    backends: list[Backend] = []
    if config.rehearsal.script:
        from worker.backends import rehearsal

        script = rehearsal.load(_script(config.rehearsal.script))
        backends.append(
            rehearsal.RehearsalBackend(script, tokens_s=config.rehearsal.tokens_s, seed=config.rehearsal.seed)
        )
    if _wants_ollama(config):
        backends.append(OllamaBackend(config.ollama))
    wanted = tuple(name.removeprefix("openai/") for name in _models(config) if name.startswith("openai/"))
    if wanted:
        from worker.backends.openai import OpenAIBackend

        backends.append(OpenAIBackend(config.openai, wanted))
    rung = await asyncio.to_thread(sandbox.select)
    collector = Collector(state, fence)
    environments = Environments(state, rung, fence, share_registries=config.worker.share_registries)
    node = NodeInfo(
        name=name,
        boot_id=uuid.uuid4().hex,
        version=__version__,
        protocol=PROTOCOL,
        platform=f"{platform.system()} {platform.machine()}",
        sandbox=rung.name,
        sandbox_remedy=rung.remedy,
        build=build.commit(),
    )
    return Offer(
        node=node,
        state=state,
        home=places.home,
        backends=Backends(backends),
        checks=Checker(state, name, rung, environments),
        prepares=environments,
        calls=Scheduler(config.worker.calls, config.worker.queue),
        check_places=Scheduler(config.worker.checks, config.worker.queue),
        collects=collector.collect,
        keeps_only=collector.keep_only,
        replies=Replies(state / "replies"),
        fence=fence,
        hardware=Lately(config.ollama.url).here,
        may_upgrade=config.worker.upgrade,
    )


def _script(name: str) -> Path:
    """Return a script's file; `demo` is the one that ships."""
    return APP_ROOT / "cli" / "demo" / "good.yaml" if name == "demo" else Path(name).expanduser().absolute()


def _wants_ollama(config: Config) -> bool:
    """Return whether any model is Ollama's: a rehearsal must not knock at a server nobody named."""
    return any(not name.startswith(("rehearsal/", "openai/")) for name in _models(config))


def _models(config: Config) -> tuple[str, ...]:
    return config.models.router, config.models.worker


def _listen(server: aio.Server, socket_file: Path) -> None:
    """Bind the socket, its owner's alone from its first moment."""
    before = os.umask(0o177)
    try:
        bound = server.add_insecure_port(f"unix:{socket_file}")
    except RuntimeError:  # gRPC's own words name neither the path nor the cause
        bound = 0
    finally:
        os.umask(before)
    if not bound:
        raise BadConfig(f"cannot listen on {socket_file}; name another with --socket")


def _free(socket_file: Path, *, replace: bool) -> None:
    """Make room for the socket: its folder, if there is none, and nobody's socket in it.

    With `replace`, whoever listens there is replaced: of a router there is one, and what it did not start is a leftover
    that may not even move. The fence keeps that one from doing harm.

    A folder that is there stays as it is, because it may be anybody's, `/tmp` even.

    Raises:
        AlreadyRunning: Somebody does.
        BadConfig: Something else than a socket is there, or its path is too long.
    """
    size = len(os.fsencode(socket_file))
    if size > SOCKET_PATH_MAX:
        raise BadConfig(
            f"{socket_file} has {size} bytes and a socket's path may have {SOCKET_PATH_MAX}; name another with --socket"
        )
    if not socket_file.parent.exists():
        private_dir(socket_file.parent)
    if not socket_file.exists():
        return
    if not socket_file.is_socket():
        raise BadConfig(f"{socket_file} is not a socket; name another with --socket")
    if replace:
        socket_file.unlink(missing_ok=True)
        return
    probe = socket.socket(socket.AF_UNIX)
    probe.settimeout(1)
    try:
        probe.connect(str(socket_file))
    except OSError:
        socket_file.unlink(missing_ok=True)
    else:
        raise AlreadyRunning(
            f"a worker listens on {socket_file} already; stop it, or name another socket with --socket"
        )
    finally:
        probe.close()


def _leave_when_told(*, lifeline: bool) -> asyncio.Event:
    """Return what is set once a signal comes or the lifeline ends.

    Raises:
        BadConfig: Standard input cannot be a lifeline.
    """
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    if lifeline:
        line = sys.stdin.fileno()

        def heard() -> None:
            if not os.read(line, 4096):
                loop.remove_reader(line)  # an ended pipe would be heard again at once, without end
                leave.set()

        try:
            loop.add_reader(line, heard)
        except PermissionError:  # a file or `/dev/null`: nothing that ends with a parent
            raise BadConfig("--lifeline needs a pipe as standard input, held open by whoever started this") from None
    return leave


if __name__ == "__main__":
    main()
