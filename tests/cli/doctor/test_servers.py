"""Model servers and the ways to them: real sockets, real HTTP, the system's own tables."""

import errno
import http.server
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from cli.doctor import Finding, listening, network, ollama
from tandem import hardware
from tandem.types import Hardware
from tests.cli.doctor.probing import elsewhere, look_at, model_server, named
from tests.support.needs import require

GIB = 1 << 30
# What `netstat -an -p tcp` prints on macOS, in the form its source (network_cmds) gives the columns; not recorded on a
# Mac of ours.
NETSTAT = """Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp46      0      0  *.11434                *.*                    LISTEN
tcp4       0      0  127.0.0.1.8080         *.*                    LISTEN
tcp4       0      0  192.168.1.7.52114      17.57.146.11.443       ESTABLISHED
tcp6       0      0  ::1.8080               *.*                    LISTEN
"""
# As printed on an M4 Pro with 24 GiB (archspec issue 201), and the limit as a person may set it.
SYSCTL = "machdep.cpu.brand_string: Apple M4 Pro\nhw.memsize: 25769803776\niogpu.wired_limit_mb: 0\n"


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def seen(folder: Path, port: int, **env: str) -> dict[str, Finding]:
    """Return what is seen of Ollama at `port`, by name."""
    look = look_at(folder, {"TANDEM_OLLAMA_URL": f"http://127.0.0.1:{port}", **env})
    return {finding.name: finding for finding in ollama.findings(look)}


def test_an_ollama_that_is_down_is_named(tmp_path: Path) -> None:
    found = seen(tmp_path, closed_port())["ollama"]
    assert "refused" in named(found, "ollama-down").text


def test_something_else_on_ollamas_port_is_told_as_that(tmp_path: Path) -> None:
    with model_server({}, body=b"<html>") as port:
        named(seen(tmp_path, port)["ollama"], "ollama-down")


def test_nobody_knocks_at_an_ollama_that_no_model_needs(tmp_path: Path) -> None:
    with model_server({}) as port:
        names = {"TANDEM_MODELS_ROUTER": "rehearsal/demo", "TANDEM_MODELS_WORKER": "openai/qwen"}
        assert seen(tmp_path, port, **names) == {}


def test_an_ollama_that_is_well_has_nothing_against_it(tmp_path: Path) -> None:
    with model_server({"qwen2.5:7b": 4_683_087_332, "qwen3-coder-next:q4_K_M": GIB}) as port:
        found = seen(tmp_path, port)
    assert all(finding.ok for finding in found.values()), found
    assert "127.0.0.1" in found["ollama's door"].text


def test_an_ollama_that_listens_on_all_interfaces_is_named(tmp_path: Path) -> None:
    with model_server({}, host="0.0.0.0") as port:
        named(seen(tmp_path, port)["ollama's door"], "ollama-open")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_interfaces_of_ipv6_are_all_too() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        (found,) = ollama.exposure(server.getsockname()[1])
        named(found, "ollama-open")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        (found,) = ollama.exposure(server.getsockname()[1])
        assert (found.ok, "::1" in found.text) == (True, True)


@pytest.mark.needs("lsof")
def test_what_lsof_says_is_read_the_same(tmp_path: Path) -> None:
    for host, wanted in (("127.0.0.1", {"127.0.0.1"}), ("0.0.0.0", {"*"})):
        with model_server({}, host=host) as port:
            argv = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fn"]
            said = subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout
            assert listening.in_lsof(said, port) == wanted


def test_what_netstat_says_on_a_mac_is_read() -> None:
    assert listening.in_netstat(NETSTAT, 11434) == {"*"}
    assert listening.in_netstat(NETSTAT, 8080) == {"127.0.0.1", "::1"}
    assert listening.in_netstat(NETSTAT, 443) == set()


def test_a_model_larger_than_what_models_may_take_is_named(tmp_path: Path) -> None:
    memory = hardware.here().memory_bytes
    assert memory
    with model_server({"qwen2.5:7b": memory + 1, "qwen3-coder-next:q4_K_M": memory // 2}) as port:
        found = seen(tmp_path, port)
    named(found["memory for qwen2.5:7b"], "model-too-large")
    assert found["memory for qwen3-coder-next:q4_K_M"].ok


def test_a_mac_is_told_to_raise_its_limit_only_where_it_has_the_memory() -> None:
    for memory, raised in ((64 * GIB, True), (48 * GIB, False)):
        mac = hardware.mac({"hw.memsize": str(memory)})
        assert mac.model_bytes
        found = named(ollama.fits("coder", 48 * GIB + 1, mac, mac.model_bytes), "model-too-large")
        assert ("iogpu.wired_limit_mb=" in found.remedy) == raised
    raised_to = hardware.mac({"hw.memsize": str(64 * GIB), "iogpu.wired_limit_mb": "57344"})
    assert raised_to.model_bytes == 56 * GIB
    assert ollama.fits("coder", 52 * GIB, raised_to, 56 * GIB).ok


def test_what_sysctl_says_is_read() -> None:
    found = hardware.mac(hardware.parsed(SYSCTL))
    assert (found.chip, found.memory_bytes, found.model_bytes) == ("Apple M4 Pro", 24 * GIB, 16 * GIB)
    assert hardware.mac({}) == Hardware(
        system="macOS", chip=None, memory_bytes=None, model_bytes=None, limit=hardware.mac({}).limit
    )
    # logs of Metal on Macs of 16, 32, 64 and 96 GB, in MiB
    for gib, mib in ((16, 10922), (32, 21845), (64, 49152), (96, 73728)):
        assert hardware.wired_by_default(gib * GIB) >> 20 == mib


def test_the_memory_of_another_machine_is_not_guessed() -> None:
    (found,) = ollama.sizes(("small",), {"small:latest": 5 * GIB}, None)
    assert found.ok is None


def test_a_machine_whose_clock_differs_is_named(tmp_path: Path) -> None:
    with model_server({}, apart_s=-90) as port:
        found = named(seen(tmp_path, port)["clocks"], "clock-differs")
    assert "s behind" in found.text


# --- the network ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "took_s", "pinged", "said"),
    [
        (errno.EHOSTUNREACH, 0.001, True, True),
        (errno.EHOSTUNREACH, 0.001, False, False),  # the host is away, or there is no route
        (errno.EHOSTUNREACH, 3.0, True, False),  # somebody on the way said so
        (errno.ECONNREFUSED, 0.001, True, False),  # it is there, and nothing listens
        (None, 3.0, True, False),  # a time-out
    ],
)
def test_the_local_network_is_denied_where_a_refusal_comes_at_once_and_a_ping_gets_through(
    number: int | None, took_s: float, pinged: bool, said: bool
) -> None:
    assert network.denied(number, took_s, pinged=pinged) == said


@pytest.mark.needs("unshare")
def test_a_connection_this_machine_refuses_at_once_is_named(tmp_path: Path) -> None:
    """A network namespace has a route that refuses; a program stands in for the ping that gets through elsewhere."""
    prefix = (
        "unshare",
        "-rn",
        "sh",
        "-c",
        'ip link set lo up && ip route add unreachable 10.66.0.0/16 && exec "$@"',
        "sh",
    )
    lent = subprocess.run([*prefix, "true"], capture_output=True, timeout=20).returncode == 0
    require("network namespaces", "" if lent else "this machine lends no network namespace")
    ping = tmp_path / "ping"
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def found() -> Finding | None:
        return elsewhere("cli.doctor.network:reach", "reach('10.66.0.1', 11434, 'ollama.url')", env, prefix)

    ping.write_text("#!/bin/sh\nexit 0\n")
    ping.chmod(0o755)
    named(found(), "local-network-denied")
    ping.write_text("#!/bin/sh\nexit 1\n")
    assert found() is None


def test_a_way_that_is_open_is_well_and_one_to_nobody_is_not_the_networks_fault() -> None:
    with model_server({}) as port:
        (found,) = network.reach("127.0.0.1", port, "ollama.url")
        assert found.ok
    assert list(network.reach("127.0.0.1", closed_port(), "ollama.url")) == []


def test_registries_are_not_asked_by_themselves(tmp_path: Path) -> None:
    (found,) = network.registries(look_at(tmp_path))
    assert (found.ok, "--network" in found.text) == (None, True)


def test_a_registry_that_does_not_answer_is_named_and_one_that_does_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    look = look_at(tmp_path, network=True)
    (found,) = network.registries(look)
    named(found, "registry-unreachable")
    page = tmp_path / "simple" / "pip"
    page.mkdir(parents=True)
    (page / "index.html").write_text('<!DOCTYPE html><a href="pip-99.0.tar.gz">pip-99.0.tar.gz</a>')
    with files_server(tmp_path) as port:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        (found,) = network.registries(look)
    assert found.ok, found


@pytest.mark.needs("go")
def test_gos_proxy_is_asked_where_the_repository_is_gos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "go.mod").write_text("module little\n")
    subprocess.run(["git", "-C", tmp_path, "add", "-A"], check=True)
    look = look_at(tmp_path, network=True)
    monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{closed_port()},direct")
    (found,) = network.registries(look)
    named(found, "registry-unreachable")
    with files_server(tmp_path) as port:
        monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{port}")
        (found,) = network.registries(look)
    assert found.ok, found


class files_server:
    """Serve a folder on a loopback port inside a `with` block."""

    def __init__(self, folder: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return self._server.server_address[1]

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
