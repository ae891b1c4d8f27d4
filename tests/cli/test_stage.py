"""The demo's stage."""

import re
from pathlib import Path

import pytest

from cli import stage
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
