"""The machine, the state folder and the configuration, each with what can be wrong with it provoked for real."""

import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from cli.doctor import machine, settings, state, tools
from cli.doctor.look import Look
from tests.cli.doctor.probing import elsewhere, look_at, named
from tests.support import clockshim, smalldisk

# As printed on a MacBook with macOS 12 (published at real-world-systems.com/docs/pmset.1.html), shortened.
PMSET = """System-wide power settings:
Currently in use:
 lidwake              1
 standbydelayhigh     86400
 hibernatemode        3
 hibernatefile        /var/vm/sleepimage
 displaysleep         28
 sleep                1 (sleep prevented by sharingd)
 tcpkeepalive         1
 disksleep            0
"""


def program(folder: Path, name: str, script: str) -> None:
    """Put a program of the test's own on PATH's first place."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_this_python_and_git_are_good_enough() -> None:
    assert machine.python().ok
    assert machine.git().ok


def test_a_python_that_is_too_old_or_too_new_is_named() -> None:
    named(machine.python((3, 10, 14)), "python-version")
    named(machine.python((3, 14, 0)), "python-version")


def test_an_old_or_missing_git_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "git", "echo git version 2.25.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = named(machine.git(), "git-old")
    assert "2.38 is needed" in seen.text
    assert "apt install git" in seen.remedy
    (tmp_path / "git").unlink()
    named(machine.git(), "git-missing")


def test_a_program_that_may_open_few_files_is_told() -> None:
    few = elsewhere(
        "cli.doctor.machine:files_limit", "files_limit()", prefix=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    )
    assert "at most 64" in named(few, "files-limit").text
    assert machine.files_limit().ok


def test_a_mac_that_falls_asleep_is_named_only_where_nothing_keeps_it_awake() -> None:
    seen = named(machine.sleep_of(PMSET, kept_awake=False), "sleep-enabled")
    assert "after 1 min" in seen.text
    assert machine.sleep_of(PMSET, kept_awake=True).ok
    assert machine.sleep_of(re.sub(r" sleep  .*", " sleep                0", PMSET), kept_awake=False).ok


def test_a_tool_the_repository_here_needs_and_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = shutil.which("git")
    assert git
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for file, needed in (("package.json", "node"), ("go.mod", "go"), ("Cargo.toml", "cargo")):
        repo = tmp_path / needed
        repo.mkdir()
        machine.words_of(["git", "init", "-q"], cwd=repo)
        (repo / file).write_text("{}")
        machine.words_of(["git", "add", "-A"], cwd=repo)
        (finding,) = tools.findings(look_at(tmp_path, folder=repo))
        assert needed in named(finding, "toolchain-missing").name
        program(tmp_path / "bin", needed, "true")
        (finding,) = tools.findings(look_at(tmp_path, folder=repo))
        assert finding.ok


def test_outside_a_repository_no_tool_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert list(tools.findings(look_at(tmp_path))) == []


# --- the state folder -----------------------------------------------------------------------------------------


def test_a_state_folder_that_is_well_has_nothing_against_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert state.folder(folder).ok  # not there yet: its parent is looked at
    folder.mkdir(mode=0o700)
    (folder / "router.key").touch(mode=0o600)
    assert all(finding.ok for finding in state.findings(look_at(tmp_path)))


def test_a_state_folder_open_to_others_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    assert "chmod 700" in named(state.folder(folder), "state-open").remedy


def test_a_state_folder_nobody_may_write_is_named(tmp_path: Path) -> None:
    locked = Path(tempfile.mkdtemp(prefix="doctor-"))
    locked.chmod(0o555)
    try:
        nobody = "os.setuid(65534)" if os.getuid() == 0 else ""  # root may write everywhere
        found = elsewhere("cli.doctor.state:folder", f"folder(Path({str(locked / 'state')!r}))", before=nobody)
        named(found, "state-unwritable")
    finally:
        locked.rmdir()


def test_a_key_that_others_may_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "identity").mkdir(parents=True, mode=0o700)
    key = folder / "identity" / "node.pem"
    key.touch(mode=0o600)
    assert state.private_files(folder).ok
    key.chmod(0o640)
    assert "identity/node.pem" in named(state.private_files(folder), "secret-readable").text


def test_a_disk_with_little_room_is_named(tmp_path: Path) -> None:
    assert state.room(tmp_path / "state", needed_bytes=1).ok
    smalldisk.require(private=True)
    with smalldisk.small_disk(tmp_path, 4 << 20) as disk:
        call = f"room(Path({str(disk.path / 'state')!r}))"
        found = elsewhere("cli.doctor.state:room", call, prefix=tuple(disk.wrap([])))
    assert "MiB are free" in named(found, "disk-nearly-full").text


@pytest.mark.needs("a C compiler")
def test_a_file_system_on_another_clock_is_named(tmp_path: Path) -> None:
    probe, call = "cli.doctor.state:clock", f"clock(Path({str(tmp_path)!r}))"
    with clockshim.clock_shim(tmp_path) as shim:
        right = elsewhere(probe, call, shim.env)
        shim.set(-60)
        wrong = elsewhere(probe, call, shim.env)
    assert right is not None
    assert right.ok
    assert "60 s ahead" in named(wrong, "clock-differs").text
    assert list(tmp_path.glob(".doctor-*")) == []


def test_a_socket_path_is_named_only_where_no_short_one_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    seen = state.sockets(long)
    assert (seen.ok, "tandem-" in seen.text) == (True, True)  # under the system's folder for such files
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    named(state.sockets(long), "socket-path-long")


# --- the configuration ----------------------------------------------------------------------------------------


def test_a_key_nobody_knows_is_named_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text("[models]\nwroker = 'x'\n")
    monkeypatch.setenv("TANDEM_CONFIG", str(file))
    seen = named(settings.configuration(Look.here()), "config-unknown-key")
    assert "models.wroker" in seen.text
    assert "'models.worker'" in seen.remedy


@pytest.mark.parametrize("text", ["[models\n", "[router]\nqueue = 0\n"])
def test_a_configuration_that_cannot_be_used_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text(text)
    monkeypatch.setenv("TANDEM_CONFIG", str(file))
    seen = named(settings.configuration(Look.here()), "config-broken")
    assert str(file) in seen.remedy


def test_a_good_configuration_or_none_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tandem.toml"
    monkeypatch.setenv("TANDEM_CONFIG", str(file))
    assert settings.configuration(Look.here()).text == "defaults (no file)"
    file.write_text("[models]\nworker = 'small'\n")
    assert settings.configuration(Look.here()).text == str(file)


@pytest.mark.parametrize(
    ("setting", "env"),
    [
        ("link.media", {"TANDEM_LINK_MEDIA": "lo=ethernet,en99=thunderbolt"}),
        ("worker.listen", {"TANDEM_WORKER_LISTEN": "fe80::1%en99,fe80::1%lo,10.0.0.2"}),
    ],
)
def test_each_setting_that_names_an_interface_is_looked_at(setting: str, env: dict[str, str], tmp_path: Path) -> None:
    if sys.platform == "darwin":
        env = {name: value.replace("lo", "lo0") for name, value in env.items()}
    found = {one.name: one for one in settings.findings(look_at(tmp_path, env))}
    assert f"{setting} names it" in named(found["interface en99"], "interface-missing").text
    others = [one for name, one in found.items() if name.startswith("interface lo")]
    assert [one.ok for one in others] == [True]


def test_an_interface_that_is_not_there_is_named(tmp_path: Path) -> None:
    look = look_at(tmp_path, {"TANDEM_OLLAMA_URL": "http://[fe80::1%nosuch7]:11434"})
    seen = {finding.name: finding for finding in settings.findings(look)}
    named(seen["interface nosuch7"], "interface-missing")
    there = socket.if_nameindex()[0][1]
    look = look_at(tmp_path, {"TANDEM_OLLAMA_URL": f"http://[fe80::1%{there}]:11434"})
    assert all(finding.ok for finding in settings.findings(look))
    assert settings.interface_in("http://[fe80::1%25en5]:1/v1") == "en5"
    assert settings.interface_in("http://127.0.0.1:1") == ""
