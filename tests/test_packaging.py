"""What a wheel shows the world, what the set-up installs, and that the example configuration tells the truth."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from tandem.config import Config, load
from tests.support.needs import require

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agents", "bench", "cli", "graphs", "personas", "router", "worker")
DATA = {".md", ".yaml", ".yml", ".toml", ".json", ".js", ".mjs", ".cjs", ".txt", ".sb", ".cfg"}
HOOK = "tandem/hooks/update"
EXAMPLE = ROOT / "deploy" / "tandem.example.toml"


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


# --- the wheel ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel from a copy, with what is installed and no network."""
    source = tmp_path_factory.mktemp("source") / "tandem"
    skip = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in (*ROOMS, "tandem"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(source / "out")]
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((source / "out").glob("*.whl"))) as archive:
        yield archive


def test_a_wheel_shows_the_world_one_name(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/", 1)[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"tandem"}


def test_a_wheel_has_every_file_the_programs_need(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    code = {p for room in (*ROOMS, "tandem") for p in (ROOT / room).rglob("*") if p.suffix == ".py" or p.suffix in DATA}
    wanted = {p.relative_to(ROOT) for p in code if "__pycache__" not in p.parts}
    assert any(p.parts[0] == "personas" and p.suffix == ".md" for p in wanted)
    missing = {
        str(p) for p in wanted if (str(p) if p.parts[0] == "tandem" else f"tandem/_app/{p.as_posix()}") not in inside
    }
    assert missing == set()


def test_a_wheel_has_the_hook_of_shared_repositories_ready_to_run(wheel: zipfile.ZipFile) -> None:
    assert (wheel.getinfo(HOOK).external_attr >> 16) & 0o111 == 0o111


def test_an_installed_wheel_starts_its_programs(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    first = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tandem.entry; "
    for code, told in (
        ("sys.argv = ['tandem', '--help']; tandem.entry.cli()", "demo"),
        ("sys.argv = ['tandem-router', '--help']; tandem.entry.router()", "--linger"),
        ("print(tandem.entry.APP_ROOT)", str(tmp_path / "tandem" / "_app")),
    ):
        argv = [sys.executable, "-I", "-c", first + code]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout


def test_no_other_distribution_owns_a_name_of_ours() -> None:
    owners = metadata.packages_distributions()
    taken = {room: owners[room] for room in (*ROOMS, "tandem") if set(owners.get(room, ())) - {"tandem"}}
    assert taken == {}


# --- what the set-up installs ---------------------------------------------------------------------------------


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return {_name(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


def test_every_constraint_is_an_exact_version_and_names_no_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert lines == sorted(lines, key=str.lower)


def _wanted(requirements: list[str], pinned: dict[str, str], extras: tuple[str, ...], seen: set[str]) -> set[str]:
    """Return the names of what is installed because of `requirements`, and of what that needs."""
    from packaging.requirements import Requirement

    for text in requirements:
        requirement = Requirement(text)
        here = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras))
        name = _name(requirement.name)
        if not here or name in seen:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        seen.add(name)
        _wanted(needs, pinned, tuple(requirement.extras), seen)
    return seen


def test_everything_that_is_installed_for_us_is_pinned_to_what_is_installed() -> None:
    pins = _pins()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    direct = [*project["dependencies"], *extras["guard"], *extras["test"]]
    names = _wanted(direct, pins, (), set())
    assert len(names) > 60
    differ = {n: (metadata.version(n), pins.get(n, "not pinned")) for n in names if metadata.version(n) != pins.get(n)}
    assert differ == {}, "run `make setup`, or `make constraints` where a newer version is wanted"


def test_the_guard_library_gets_the_versions_it_declares_except_what_is_kept_out() -> None:
    from packaging.requirements import Requirement

    kept_out = {"litellm", "openai", "tiktoken", "pip", "python-dateutil"}
    pins = _pins()
    try:
        declared = metadata.requires("guardrails-ai") or []
    except metadata.PackageNotFoundError:
        require("guardrails-ai", "guardrails-ai is not installed")
        raise
    needs = [r for r in map(Requirement, declared) if r.marker is None and _name(r.name) not in kept_out]
    assert len(needs) > 15
    wrong = {r.name: pins.get(_name(r.name)) for r in needs if not r.specifier.contains(pins.get(_name(r.name), "0"))}
    assert wrong == {}
    assert "litellm" not in pins


def test_no_file_of_the_frame_names_a_package_registry() -> None:
    frame = [
        ROOT / n for n in ("Makefile", "constraints.txt", "pyproject.toml", "deploy/setup.sh", "deploy/constraints.sh")
    ]
    hosts = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|index-url", re.IGNORECASE)
    assert [p.name for p in frame if hosts.search(p.read_text("utf-8"))] == []


def test_the_scripts_are_plain_sh() -> None:
    deploy = ROOT / "deploy"
    for script in (ROOT / ".ci" / "run", deploy / "setup.sh", deploy / "constraints.sh", ROOT / HOOK):
        assert script.read_text("utf-8").startswith("#!/bin/sh\n")
        assert script.stat().st_mode & 0o111, script
        subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)


def test_where_no_python_fits_the_set_up_names_the_command_and_leaves_with_2(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("dirname", "uname", "id", "env"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    for name in ("python3.12", "python3"):  # a version manager's stand-in that fails, and one that is too old
        (tools / name).write_text("#!/bin/sh\nexit 127\n")
        (tools / name).chmod(0o755)
    checkout = tmp_path / "checkout" / "deploy"
    checkout.mkdir(parents=True)
    text = (ROOT / "deploy" / "setup.sh").read_text("utf-8")
    assert text.count(":/opt/homebrew/bin:/usr/local/bin:/usr/bin") == 1
    (checkout / "setup.sh").write_text(text.replace(":/opt/homebrew/bin:/usr/local/bin:/usr/bin", ""))
    done = subprocess.run(
        ["/bin/sh", str(checkout / "setup.sh"), "test"],
        env={"PATH": str(tools)}, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "3.12" in done.stdout
    assert not (checkout.parent / ".venv").exists()


# --- the example configuration --------------------------------------------------------------------------------


def _uncommented(text: str) -> str:
    return re.sub(r"(?m)^# ?(?=[a-z_]+ = )", "", text)


def test_the_example_shows_every_key_with_its_default() -> None:
    shown: dict[str, Any] = tomllib.loads(_uncommented(EXAMPLE.read_text("utf-8")))
    assert shown == json.loads(Config().model_dump_json())  # TOML and JSON have lists alone


def test_the_example_as_it_is_changes_nothing() -> None:
    assert load(EXAMPLE, env={}) == Config()


def test_the_example_explains_every_key() -> None:
    text = EXAMPLE.read_text("utf-8")
    lines = text.splitlines()
    for section, field in Config.model_fields.items():
        begin = lines.index(f"[{section}]")
        end = next((i for i in range(begin + 1, len(lines)) if lines[i].startswith("[")), len(lines))
        part = lines[begin:end]
        for key in cast("type[BaseModel]", field.annotation).model_fields:
            at = next(i for i, line in enumerate(part) if line.startswith(f"# {key} = "))
            assert part[at - 1].startswith("## "), f"{section}.{key} has no explanation"
