"""The demo's stage and the doctor's eyes."""

import os
import re
import sys
from pathlib import Path

import pytest

from cli import examine, stage
from cli.commands.demo import _ANSWERS
from tandem.errors import BadInput


def test_the_sample_is_a_repository_with_the_same_first_commit_everywhere(tmp_path: Path) -> None:
    script = stage.script_file("good")
    heads: set[str] = set()
    for name in ("a", "b"):
        set_up = stage.build(script, tmp_path / name)
        heads.add(stage.git(set_up.repo, "rev-parse", "HEAD").strip())
        assert stage.git(set_up.repo, "status", "--porcelain") == ""
        assert (set_up.folder.stat().st_mode & 0o777) == 0o700
    assert len(heads) == 1


def test_a_clean_clone_has_the_commits_and_no_notes(tmp_path: Path) -> None:
    set_up = stage.build(stage.script_file("good"), tmp_path / "a")
    stage.git(set_up.repo, "notes", "--ref=tandem", "add", "-m", "a note", "HEAD")
    path = stage.clone(set_up)
    assert stage.git(path, "rev-parse", "HEAD") == stage.git(set_up.repo, "rev-parse", "HEAD")
    assert stage.git(path, "for-each-ref", "refs/notes") == ""


def test_the_stage_keeps_to_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(BadInput, match="is not empty"):
        stage.build(stage.script_file("good"), tmp_path / "full")
    with pytest.raises(BadInput, match="there is no script"):
        stage.script_file("no/such.yaml")
    (tmp_path / "nameless.yaml").write_text("replies: []\n")
    with pytest.raises(BadInput, match="no line `name:`"):
        stage.build(tmp_path / "nameless.yaml", None)


def test_the_script_names_the_model_the_router_is_given(tmp_path: Path) -> None:
    for name in ("good", "wrong"):
        script = stage.script_file(name)
        set_up = stage.Stage(folder=tmp_path, repo=tmp_path, script=script, model=stage.model_of(script))
        env = set_up.env(0.0)
        assert re.fullmatch(r"rehearsal/[\w.-]+", env["TANDEM_MODELS_WORKER"])
        assert env["TANDEM_MODELS_ROUTER"] == env["TANDEM_MODELS_WORKER"]
        assert Path(env["TANDEM_REHEARSAL_SCRIPT"]).is_file()


def test_the_demo_has_an_answer_for_every_question_that_can_be_asked() -> None:
    from typing import get_args

    from tandem.types import QuestionKind

    assert set(_ANSWERS) == set(get_args(QuestionKind))


def test_git_and_python_are_found_here() -> None:
    assert examine.python().ok
    assert examine.git().ok


def test_an_old_or_missing_git_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\necho git version 2.25.1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = examine.git()
    assert (seen.ok, "2.38 is needed" in seen.text, "apt install git" in seen.remedy) == (False, True, True)
    fake.unlink()
    assert examine.git().text == "not found"


def test_a_state_folder_open_to_others_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert examine.state(folder).ok  # not there yet: its parent is looked at
    folder.mkdir(mode=0o700)
    assert examine.state(folder).ok
    folder.chmod(0o755)
    seen = examine.state(folder)
    assert (seen.ok, "chmod 700" in seen.remedy) == (False, True)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_state_folder_nobody_may_write_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not examine.state(tmp_path / "state").ok


def test_a_long_state_path_still_gets_a_socket(tmp_path: Path) -> None:
    seen = examine.socket_length(tmp_path / ("x" * 120))
    assert seen.ok
    assert "tandem-" in seen.text


def test_a_configuration_that_does_not_parse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tandem.toml"
    path.write_text("[models]\nwroker = 'x'\n")
    monkeypatch.setenv("TANDEM_CONFIG", str(path))
    seen = examine.configuration()
    assert not seen.ok
    assert "wroker" in seen.text


def test_each_thing_a_machine_lacks_has_its_remedy() -> None:
    node = {
        "name": "studio", "sandbox": "", "sandbox_remedy": "install bubblewrap", "models": [{"name": "qwen2.5:7b"}],
        "backend_trouble": "Ollama does not answer at http://127.0.0.1:11434; start it with `ollama serve`",
    }  # fmt: skip
    status = {"nodes": [node], "models": {"router": "qwen2.5:7b", "worker": "ollama/big:q4"}, "trouble": []}
    seen = {finding.name: finding for finding in examine.nodes(status)}
    assert seen["router model"].ok
    assert seen["sandbox on studio"].remedy == "install bubblewrap"
    assert "ollama serve" in seen["models on studio"].remedy
    assert seen["worker model"].remedy.startswith("`ollama pull big:q4`")
    assert all(finding.ok or finding.remedy for finding in seen.values())


def test_no_worker_is_told_with_its_log() -> None:
    seen = next(examine.nodes({"nodes": [], "models": {}, "trouble": [], "state_dir": "/s"}))
    assert (seen.ok, seen.remedy) == (False, "its log: /s/logs/worker.log")
    assert sys.version_info >= (3, 11)
