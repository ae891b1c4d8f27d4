import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import map as bench_map
from cli.commands.bench import bench
from tandem.errors import BadInput, BadRepository

WHO = {f"GIT_{role}_{key}": "x@example.invalid" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    settings = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=settings, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, message: str, **files: str) -> str:
    for name, text in files.items():
        (folder / name.replace("_py", ".py").replace("_md", ".md")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "The very first commit of it", cart_py="def total(): pass\n", mail_py="def send(): pass\n")
    commit(tmp_path, "Only words change in this one", guide_md="# Guide\n")
    commit(tmp_path, "Bump the version of the cart to 2", cart_py="def total(): return 2\n")
    commit(tmp_path, "fix cart", cart_py="def total(): return 3\n")
    commit(tmp_path, "Add the third module to the shop", third_py="def third(): pass\n")
    commit(
        tmp_path,
        "The total of a cart counts every item\n\nSigned-off-by: A <a@example.invalid>",
        cart_py="def total(): return 4\n",
    )
    commit(tmp_path, "Mail is sent once and not twice", mail_py="def send(): return 1\n", new_py="x = 1\n")
    return tmp_path


def test_the_sample_holds_described_changes_of_files_that_were_there(repo: Path) -> None:
    found = {one.message: one.changed for one in bench_map.choose(repo / ".git", 10)}
    found |= {one.message: one.changed for one in bench_map.choose(repo / ".git", 10, 1)}
    assert found == {
        "The total of a cart counts every item": ("cart.py",),
        "Mail is sent once and not twice": ("mail.py",),
    }


def test_samples_of_different_shift_share_no_commit(repo: Path) -> None:
    for number in range(12):
        commit(repo, f"The cart counts to {number} from now on", cart_py=f"def total(): return {number + 10}\n")
    first, second = ({one.id for one in bench_map.choose(repo / ".git", 5, shift)} for shift in (0, 1))
    assert len(first) == len(second) == 5
    assert not first & second


def test_the_tree_is_the_parents_not_the_checkouts(repo: Path) -> None:
    (repo / "cart.py").write_text("changed since")
    head = git(repo, "rev-parse", "HEAD")
    paths, files = bench_map.tree(repo / ".git", f"{head}~1")
    assert "new.py" not in paths
    assert files["cart.py"] == "def total(): return 4\n"


def test_figures_are_plain_json_and_count_what_was_found(repo: Path) -> None:
    found = bench_map.run(repo, 10)
    assert json.loads(json.dumps(found)) == found
    assert found["files_in_top_20"] == found["files_changed"] == sum(len(one["changed"]) for one in found["each"])
    assert found["commits_all_in_top_20"] == found["commits"] == len(found["each"])
    assert all(place == 1 for one in found["each"] for place in one["changed"].values())


def test_a_folder_without_a_fit_history_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadRepository, match="give a Git directory or a checkout"):
        bench_map.run(tmp_path)
    git(tmp_path, "init", "-q")
    commit(tmp_path, "The very first commit of it", cart_py="x = 1\n")
    with pytest.raises(BadRepository, match="no commit that can be judged"):
        bench_map.run(tmp_path)


def test_the_command_prints_figures_and_refuses_what_does_not_belong(repo: Path) -> None:
    said = CliRunner().invoke(bench, ["map", "--repo", str(repo), "--commits", "1"], catch_exceptions=False).output
    assert "file_recall: 1.000" in said
    assert "each" not in said
    as_json = CliRunner().invoke(bench, ["map", "--repo", str(repo), "--json"], catch_exceptions=False).output
    assert json.loads(as_json)["each"]
    for arguments in (["map"], ["craft", "--commits", "3"]):
        with pytest.raises(BadInput):
            bench.main(arguments, standalone_mode=False)
