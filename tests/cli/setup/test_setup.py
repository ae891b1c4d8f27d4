"""Which models a machine is proposed, and that a person's configuration stays what it was but for them."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from cli.setup.catalogue import Slot, catalogue
from cli.setup.others import best, other
from cli.setup.proposal import Role, propose, role_beside
from cli.setup.writing import changed, write
from tandem import hardware
from tandem.errors import BadConfig
from tandem.identity import NodeId
from tandem.peers import Peer
from tandem.types import ModelInfo, NodeInfo
from tests.cli.doctor.probing import model_server
from tests.support.pairs import free_port, paired

ROOT = Path(__file__).resolve().parents[3]
GIB = 1 << 30
CONTEXTS: Mapping[Slot, int] = {"router": 8192, "worker": 32768}


def mac(gib: int, wired_mib: int = 0) -> hardware.Hardware:
    return hardware.mac({"hw.memsize": str(gib * GIB), "iogpu.wired_limit_mb": str(wired_mib)})


def names(machine: hardware.Hardware, role: Role = "alone") -> dict[Slot, str]:
    found = propose(machine, catalogue(), CONTEXTS, role, free_bytes=1 << 40)
    assert found.memory_bytes <= (machine.model_bytes or 0)
    return {slot: model.name for slot, model in found.chosen.items()}


def test_every_model_of_the_table_has_numbers_with_sources() -> None:
    for model in catalogue():
        assert model.size_source
        assert model.context_source
        assert (model.tokens_s is None) == (model.tokens_s_source == "")
        assert model.memory_bytes(0) == model.download_bytes
    assert [model.name for model in catalogue() if "not known" in model.speed]


@pytest.mark.parametrize(
    ("gib", "role", "wanted"),
    [
        (24, "router", {"router": "qwen2.5:7b"}),
        (24, "worker", {"worker": "qwen2.5-coder:14b"}),
        (24, "alone", {"router": "qwen2.5:7b"}),  # the two do not go together
        (48, "worker", {"worker": "qwen3-coder:30b"}),
        (64, "worker", {"worker": "qwen3-coder:30b"}),  # the largest is just over macOS' own limit
        (128, "alone", {"router": "qwen2.5:7b", "worker": "qwen3-coder-next:q4_K_M"}),
        (12, "alone", {"router": "qwen2.5:7b"}),
        (8, "alone", {}),
    ],
)
def test_the_best_that_fits_is_proposed(gib: int, role: Role, wanted: dict[Slot, str]) -> None:
    assert names(mac(gib), role) == wanted


def test_a_model_that_fits_under_a_raised_limit_is_told_before_it_is_downloaded() -> None:
    found = propose(mac(64), catalogue(), CONTEXTS, "worker", free_bytes=1 << 40)
    (note,) = found.notes
    limit = int(note.partition("wired_limit_mb=")[2].partition("`")[0])
    assert names(mac(64, limit), "worker") == {"worker": "qwen3-coder-next:q4_K_M"}
    assert names(mac(64, limit - 2), "worker") == {"worker": "qwen3-coder:30b"}
    (note, *_) = propose(mac(48), catalogue(), CONTEXTS, "worker").notes
    assert "wired_limit" not in note  # macOS would be left with too little


def test_what_is_not_known_is_said_and_not_guessed() -> None:
    found = propose(hardware.mac({}), catalogue(), CONTEXTS, "alone")
    assert (found.chosen, "not known" in found.notes[0]) == ({}, True)
    assert "downloads is not known" in propose(mac(128), catalogue(), CONTEXTS, "alone").notes[-1]


def test_a_download_that_does_not_fit_on_the_disk_is_told_unless_it_is_there_already() -> None:
    told = propose(mac(128), catalogue(), CONTEXTS, "alone", free_bytes=10 * GIB)
    assert "10.0 GiB are free" in told.notes[-1]
    there = [model.name for model in told.chosen.values()]
    assert propose(mac(128), catalogue(), CONTEXTS, "alone", there=there, free_bytes=0).notes == ()


def test_this_machine_is_read() -> None:
    found = hardware.here()
    assert found.memory_bytes
    assert found.model_bytes
    assert found.chip
    assert hardware.linux("", "").memory_bytes is None


# --- the machines that are paired -----------------------------------------------------------------------------


def peer(name: str, role: Literal["router", "worker"]) -> Peer:
    return Peer(id=NodeId(name), name=name, role=role, certificate="", addresses=(), paired_s=0.0)


def says(gib: int | None, *models: str, room_gib: int = 1000) -> NodeInfo:
    made = None if gib is None else replace(mac(gib), room_bytes=room_gib * GIB)
    there = tuple(ModelInfo(name=name, backend="ollama") for name in models)
    return NodeInfo(name="x", boot_id="", version="0.1", protocol=1, platform="", models=there, hardware=made)


def test_what_a_machine_carries_follows_from_whom_it_is_paired_with() -> None:
    mini, attic, book = peer("mini", "worker"), peer("attic", "worker"), peer("book", "router")
    assert role_beside([]) == ("alone", "no other machine is paired with this one")
    assert role_beside([mini]) == ("router", "mini works for this machine")
    assert role_beside([mini, attic]) == ("router", "mini and attic work for this machine")
    assert role_beside([book]) == ("worker", "this machine works for book")


def test_a_paired_worker_is_proposed_the_large_model_by_its_own_memory_and_disk() -> None:
    mini = other(peer("mini", "worker"), says(128, room_gib=10), catalogue(), CONTEXTS)
    assert mini.proposal
    assert {slot: model.name for slot, model in mini.proposal.chosen.items()} == {"worker": "qwen3-coder-next:q4_K_M"}
    assert "10.0 GiB are free" in mini.proposal.notes[-1]
    has = other(peer("mini", "worker"), says(128, "qwen3-coder-next:q4_K_M", room_gib=10), catalogue(), CONTEXTS)
    assert has.proposal
    assert has.proposal.notes == ()
    small = other(peer("attic", "worker"), says(48), catalogue(), CONTEXTS)
    silent = other(peer("shed", "worker"), "is the machine on?", catalogue(), CONTEXTS)
    mute = other(peer("old", "worker"), says(None), catalogue(), CONTEXTS)
    assert (silent.proposal, silent.trouble, mute.proposal) == (None, "is the machine on?", None)
    assert "upgrade Tandem there" in mute.trouble
    best_of_all = best([silent, small, mini, mute], catalogue())
    assert best_of_all
    assert best_of_all.name == "qwen3-coder-next:q4_K_M"
    assert best([silent, mute], catalogue()) is None


# --- the file -------------------------------------------------------------------------------------------------

MINE = """# my settings
[router]   # the router itself
active_runs = 3

[models]
# the small one
router = "mine:7b"   # since May
worker = 'other'

[check]
wall_s = 60.0
"""


def test_what_a_person_wrote_stays() -> None:
    new = changed(MINE, "models", {"worker": "big:q4", "router": "small"})
    assert new == MINE.replace('"mine:7b"', '"small"').replace("'other'", '"big:q4"')
    assert changed(new, "models", {"worker": "big:q4"}) == new


@pytest.mark.parametrize(
    "text",
    ["", "# only words", "[router]\nqueue = 3\n", "[models]\n", "[models]\nworker = 'x'\n[keep]\nruns_days = 1.0"],
)
def test_a_section_or_key_that_is_missing_is_added(text: str) -> None:
    before = tomllib.loads(text)
    after = tomllib.loads(changed(text, "models", {"router": 'a"b', "worker": "c"}))
    assert after == {**before, "models": {"router": 'a"b', "worker": "c"}}
    assert text.rstrip() in changed(text, "models", {"router": "a"}) or "worker" in text


@pytest.mark.parametrize(
    "text",
    [
        "models.worker = 'x'\n",
        "models = { worker = 'x' }\n",
        "[models]\nworker = '''\nx'''\n",
        "[models]\n\"worker\" = 'x'\n",
    ],
)
def test_a_form_that_is_not_understood_is_never_spoiled(text: str) -> None:
    with pytest.raises(BadConfig, match=r'set yourself: models\.worker = "big"'):
        changed(text, "models", {"worker": "big"})
    with pytest.raises(BadConfig, match="does not parse"):
        changed("[models\n", "models", {"worker": "big"})


def test_a_file_is_written_through_a_link_with_its_rights(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "tandem.toml"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    write(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o600)
    write(tmp_path / "a" / "b" / "tandem.toml", "first")
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["tandem.toml"]


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    given = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TANDEM_CONFIG": str(tmp_path / "tandem.toml")}
    return {**given, "PYTHONPATH": str(ROOT)}


INIT = [sys.executable, "-m", "tandem", "cli", "init"]
COMMAND = [*INIT, "--role", "router"]


def test_the_paired_worker_is_asked_what_it_is_made_of_and_both_disks_are_told(
    env: dict[str, str], tmp_path: Path
) -> None:
    mine, theirs, at = tmp_path / "book", tmp_path / "mini", f"127.0.0.1:{free_port()}"
    for folder in (mine, theirs):
        folder.mkdir(mode=0o700)
    known = paired(mine, theirs, at)
    env = {**env, "TANDEM_STATE": str(mine), "TANDEM_OLLAMA_URL": f"http://127.0.0.1:{free_port()}"}
    asking = {"env": env, "capture_output": True, "text": True, "timeout": 60}
    silent = subprocess.run([*INIT, "--json"], **asking)  # type: ignore[call-overload]
    told = json.loads(silent.stdout)
    assert (told["role"], told["because"]) == ("router", "mini works for this machine")
    assert "nothing listens" in told["workers"][0]["trouble"]
    assert "worker" not in told["changes"]

    played = {"TANDEM_MODELS_ROUTER": "rehearsal/demo", "TANDEM_MODELS_WORKER": "rehearsal/demo"}
    more = {**played, "TANDEM_REHEARSAL_SCRIPT": "demo", "TANDEM_STATE": str(theirs), "TANDEM_WORKER_LISTEN": at}
    argv = [*INIT[:3], "worker", "--state", str(theirs), "--socket", str(tmp_path / "w.sock"), "--name", "mini"]
    with subprocess.Popen(argv, env={**env, **more}, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline()
        try:
            told = json.loads(subprocess.run([*INIT, "--json"], **asking).stdout)  # type: ignore[call-overload]
            text = subprocess.run(INIT, **asking).stdout  # type: ignore[call-overload]
        finally:
            worker.terminate()
    (mini,) = told["workers"]
    assert (mini["id"], mini["trouble"]) == (known.id, None)
    assert mini["machine"]["memory_bytes"] == told["machine"]["memory_bytes"] == hardware.here().memory_bytes
    assert mini["free_bytes"] > 0
    assert told["free_bytes"] > 0
    assert set(told["models"]) <= {"router"}
    assert set(mini["models"]) <= {"worker"}
    wanted = {slot: model["name"] for slot, model in (told["models"] | mini["models"]).items()}
    assert told["changes"].items() <= wanted.items()
    assert "role router: mini works for this machine" in text
    assert "mini, paired: " in text
    assert text.count("free where Ollama keeps models") == 2


def run(env: Mapping[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *more], env=dict(env), capture_output=True, text=True, timeout=60)


def test_nothing_is_written_until_somebody_says_so(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text(MINE)
    with model_server({"qwen2.5:7b": 4_683_087_332}) as port:
        env["TANDEM_OLLAMA_URL"] = f"http://127.0.0.1:{port}"
        asked = run(env)
        assert (asked.returncode, "tandem init --yes" in asked.stdout) == (3, True)
        assert "already there" in asked.stdout
        told = json.loads(run(env, "--json").stdout)
        assert (told["changes"], told["written"]) == ({"router": "qwen2.5:7b"}, False)
        assert told["models"]["router"]["there"] is True
        assert file.read_text() == MINE
        assert run(env, "--yes").returncode == 0
    assert file.read_text() == MINE.replace('"mine:7b"', '"qwen2.5:7b"')
    again = run({**env, "TANDEM_MODELS_ROUTER": "x"})
    assert (again.returncode, "nothing to write" in again.stdout) == (0, True)
    assert "goes before what the file says" in again.stderr


def test_at_a_terminal_it_asks_and_takes_no_for_an_answer(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text(MINE)
    for answer, status in (("n", 3), ("y", 0)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(COMMAND, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            os.write(ours, f"{answer}\n".encode())
            said = b""
            try:
                while piece := os.read(ours, 4096):
                    said += piece
            except OSError:  # how Linux says that the other end is closed
                pass
            assert process.wait(60) == status
        os.close(ours)
        assert b"write that into" in said
        assert (file.read_text() == MINE) == (answer == "n")


def test_a_broken_file_is_not_touched(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text("[models\n")
    assert run(env, "--yes").returncode == 2
    assert (tmp_path / "tandem.toml").read_text() == "[models\n"
