"""Installing and uninstalling: what is written, that a system's own validator takes it, and that nothing is left."""

import json
import os
import plistlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.service import here
from cli.service.description import file_for, plist, unit
from cli.service.manager import Place, install, uninstall
from tandem.errors import BadInput, Unavailable
from tests.support.machine import ended

ROOT = Path(__file__).resolve().parents[3]
ODD = "a b$HOME %h \"q\" \\ 'x'"  # what a quoting rule may stumble over


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A person's environment, with a home that is named awkwardly."""
    home = tmp_path / ODD
    home.mkdir()
    return {"HOME": str(home), "PATH": os.environ["PATH"], "TANDEM_STATE": str(home / "state"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> Path:
    """Programs in the place of launchctl and systemctl that write down what they are told; returns that file."""
    said = tmp_path / "said"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("launchctl", "systemctl"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> "{said}"\n')
        (programs / name).chmod(0o755)
    for key, value in {**env, "PATH": f"{programs}:{os.environ['PATH']}"}.items():
        monkeypatch.setenv(key, value)
    return said


def files(folder: Path) -> dict[str, int]:
    """Return everything in a folder by name, with its mode."""
    return {str(path.relative_to(folder)): path.lstat().st_mode for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("role", ["router", "worker"])
def test_a_property_list_says_what_launchd_needs(role: str, env: dict[str, str], tmp_path: Path) -> None:
    service = here.service(role, env)
    told = plistlib.loads(plist(service))
    assert told["Label"] == f"tandem.{role}"
    assert told["ProgramArguments"][:4] == [sys.executable, "-m", "tandem", role]
    assert (told["RunAtLoad"], told["KeepAlive"]) == (True, {"SuccessfulExit": False})
    assert told["EnvironmentVariables"]["TANDEM_STATE"] == env["TANDEM_STATE"]
    assert told["EnvironmentVariables"]["PATH"] == env["PATH"]
    assert told["StandardErrorPath"].endswith(f"/logs/{role}.out")
    if shutil.which("plutil"):
        (tmp_path / "one.plist").write_bytes(plist(service))
        subprocess.run(["plutil", "-lint", tmp_path / "one.plist"], check=True, timeout=30)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("role", ["router", "worker"])
def test_systemds_own_validator_takes_a_unit(role: str, env: dict[str, str], tmp_path: Path) -> None:
    service = here.service(role, env)
    path = tmp_path / service.unit
    path.write_text(unit(service))
    argv = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    assert (done.returncode, done.stderr) == (0, "")
    path.write_text(unit(service).replace("Restart=on-failure", "Restart=perhaps"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    assert "perhaps" in done.stderr  # so it does look


def test_an_installed_worker_is_one_that_starts(env: dict[str, str]) -> None:
    """Run what launchd would run, with the environment it would give; a checkout's folder is all that is added."""
    told = plistlib.loads(plist(here.service("worker", env)))
    given = {
        **told["EnvironmentVariables"],
        "PYTHONPATH": str(ROOT),
        **{f"TANDEM_MODELS_{slot}": "rehearsal/demo" for slot in ("ROUTER", "WORKER")},
        "TANDEM_REHEARSAL_SCRIPT": "demo",
    }
    argv = told["ProgramArguments"]
    process = subprocess.Popen(argv, env=given, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    try:
        assert json.loads(process.stdout.readline())["ready"]
    finally:
        process.send_signal(signal.SIGTERM)
        status, errors = ended(process)
    assert (status, errors) == (0, "")


def test_a_units_words_are_read_back_as_they_were(env: dict[str, str]) -> None:
    service = here.service("worker", env)
    line = next(line for line in unit(service).splitlines() if line.startswith("ExecStart="))
    read = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert tuple(read) == service.argv
    with pytest.raises(BadInput, match="control character"):
        unit(here.service("worker", {**env, "TANDEM_STATE": "/a\nb"}))


@pytest.mark.parametrize("system", ["macos", "linux"])
@pytest.mark.parametrize("role", ["router", "worker"])
def test_under_a_root_nothing_is_loaded_and_nothing_is_left(
    system: str, role: str, manager: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    service, place = here.service(role), Place(system=system, root=root)
    outside = files(tmp_path / ODD)
    assert uninstall(service, place) is None
    file = install(service, place)
    assert file.is_relative_to(root)
    assert file == root / file_for(service, system, Path(os.environ["HOME"]), here.config_home()).relative_to("/")
    before = files(root)
    assert install(service, place) == file  # an upgrade is the same command
    assert files(root) == before
    (root / service.out.relative_to("/")).write_text("died\n")
    assert uninstall(service, place) == file
    assert files(root) == {}
    assert files(tmp_path / ODD) == outside
    assert not manager.exists()


def test_what_was_worked_on_stays(manager: Path, tmp_path: Path) -> None:
    service, place = here.service("router"), Place(system="linux")
    install(service, place)
    journal = Path(os.environ["TANDEM_STATE"]) / "journal.db"
    journal.touch()
    assert journal.parent.stat().st_mode & 0o777 == 0o700
    uninstall(service, place)
    assert files(tmp_path / ODD).keys() == {"state", "state/journal.db"}


def test_launchd_is_told_to_take_the_new_one_in_the_place_of_the_old(manager: Path) -> None:
    service, place = here.service("router"), Place(system="macos")
    file = install(service, place)
    domain = f"gui/{os.getuid()}"
    load = [f"launchctl bootout {domain}/tandem.router", f"launchctl bootstrap {domain} {file}"]
    assert manager.read_text().splitlines() == load
    install(service, place)
    uninstall(service, place)
    assert manager.read_text().splitlines() == [*load, *load, load[0]]


def test_systemd_is_told_to_restart_it_and_to_forget_it(manager: Path) -> None:
    service, place = here.service("worker"), Place(system="linux")
    install(service, place)
    words = [line.removeprefix("systemctl --user ") for line in manager.read_text().splitlines()]
    assert words == ["daemon-reload", "enable tandem-worker.service", "restart tandem-worker.service"]
    uninstall(service, place)
    assert manager.read_text().splitlines()[3:] == [
        "systemctl --user disable --now tandem-worker.service",
        "systemctl --user daemon-reload",
    ]


def test_a_manager_that_does_not_take_it_is_told_in_its_own_words(manager: Path) -> None:
    program = manager.parent / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    with pytest.raises(Unavailable, match="is written, but systemd did not take it: Failed to connect to bus"):
        install(here.service("worker"), Place(system="linux"))


def test_settings_of_the_shell_are_named_and_not_carried_along() -> None:
    env = {"HOME": "/home/me", "TANDEM_MODELS_WORKER": "small", "TANDEM_OPENAI_KEY": "secret", "TANDEM_STATE": "/s"}
    assert here.left_out(env) == ["TANDEM_MODELS_WORKER", "TANDEM_OPENAI_KEY"]
    assert b"secret" not in plist(here.service("worker", env))


def test_a_services_last_words_are_turned_over_at_a_start(tmp_path: Path) -> None:
    out = tmp_path / "router.out"
    out.write_bytes(b"x" * ((5 << 20) + 1))
    log = tmp_path / "router.log"
    code = f"from pathlib import Path; from tandem.telemetry import start_logging; start_logging(Path({str(log)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["router.log", "router.out.1"]
    out.write_text("short")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=30)
    assert out.read_text() == "short"


def tandem(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tandem", "cli", *arguments]
    return subprocess.run(argv, env=dict(env), capture_output=True, text=True, timeout=60)


def test_the_command_writes_shows_and_removes(env: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = tandem(env, "install", "router", "--root", str(root), "--system", "macos", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["loaded"], told["left_out"]) == (0, False, [])
    assert plistlib.loads(Path(told["file"]).read_bytes())["Label"] == "tandem.router"
    shown = tandem(env, "install", "router", "--print", "--system", "macos")
    assert shown.stdout.strip() == Path(told["file"]).read_text().strip()
    assert json.loads(tandem(env, "uninstall", "router", "--root", str(root), "--system", "macos", "--json").stdout)[
        "file"
    ]
    assert files(root) == {}
    assert "no router is installed" in tandem(env, "uninstall", "router", "--root", str(root)).stdout
    other = "linux" if sys.platform == "darwin" else "macos"
    refused = tandem(env, "install", "router", "--system", other)
    assert (refused.returncode, "--root or --print" in refused.stderr) == (2, True)
