"""`tandem personas` at the terminal: real processes, a folder of the person's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def tandem(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [sys.executable, "-c", "from tandem.entry import cli; cli()", "personas", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def own(home: Path, name: str, text: str) -> Path:
    folder = home / ".config" / "tandem" / "personas"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_the_list_says_whose_each_persona_is(tmp_path: Path) -> None:
    own(tmp_path, "coder.add.md", "Prefer small functions.")
    said = tandem(tmp_path)
    assert said.returncode == 0, said.stderr
    coder = next(line for line in said.stdout.splitlines() if line.startswith("coder"))
    assert "added to" in coder
    assert "up to 40 turns with 9 tools" in coder
    told = json.loads(tandem(tmp_path, "--json").stdout)["personas"]
    assert [one["name"] for one in told][:2] == ["assessor", "planner"]


def test_show_prints_the_prompt_and_the_form_of_the_answer(tmp_path: Path) -> None:
    own(tmp_path, "reviewer.add.md", "Look at licences, too.")
    said = tandem(tmp_path, "show", "reviewer")
    assert "Look at licences, too." in said.stdout
    assert '"verdict"' in said.stdout
    assert tandem(tmp_path, "show", "poet").returncode == 2


def test_check_names_the_file_and_the_field_and_no_traceback(tmp_path: Path) -> None:
    file = own(tmp_path, "coder.md", "---\nname: coder\ntitle: Coder\nslot: cloud\nreply: code\n---\nCode.\n")
    for args in ((), ("check",), ("check", str(file))):
        said = tandem(tmp_path, *args)
        assert said.returncode == 2
        assert "coder.md: slot = 'cloud'" in said.stderr
        assert "Traceback" not in said.stderr
    file.write_text("---\nname: coder\ntitle: Coder\nslot: worker\nreply: code\n---\nCode.\n", "utf-8")
    fine = tandem(tmp_path, "check", str(file))
    assert fine.stdout.startswith("✓ coder: yours")


def test_front_matter_that_breaks_the_reader_is_a_clear_error(tmp_path: Path) -> None:
    for bad in ("title: 2024-13-45", "steps: " + "9" * 5000, "title: " + "[" * 3000):
        file = own(tmp_path, "coder.md", f"---\nname: coder\n{bad}\nslot: worker\nreply: code\n---\nCode.\n")
        said = tandem(tmp_path, "check", str(file))
        assert said.returncode == 2, said.stderr
        assert "coder.md" in said.stderr
        assert "Traceback" not in said.stderr


def test_what_is_no_file_and_what_leaves_no_room_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "coder.md"
    os.mkfifo(fifo)
    assert tandem(tmp_path, "check", str(fifo)).returncode == 2
    assert tandem(tmp_path, "check", "x" * 5000 + "/coder.md").returncode == 2
    file = own(
        tmp_path,
        "assessor.md",
        "---\nname: assessor\ntitle: A\nslot: router\nreply: assessment\nmax_tokens: 32768\n---\nA.\n",
    )
    said = tandem(tmp_path, "check", str(file))
    assert said.returncode == 2
    assert "leave" in said.stderr
