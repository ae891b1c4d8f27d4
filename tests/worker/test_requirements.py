"""What a tree's files ask for, and which of a user's settings may go along to fetch it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.registries import settings
from worker.requirements import DEPENDENCIES, candidates, included, needs


def test_files_are_found_by_their_names() -> None:
    names = [
        "requirements.txt",
        "requirements-dev.txt",
        "dev-requirements.txt",
        "requirements/test.txt",
        "pyproject.toml",
        "package.json",
        "package-lock.json",
    ]
    assert candidates([*names, "shop.py", "docs/requirements.txt", "readme.txt"]) == names


def test_requirements_of_tests_are_installed_and_those_of_the_documentation_are_not() -> None:
    texts = {
        "requirements.txt": "six\n",
        "requirements-dev.txt": "-r requirements.txt\nattrs\n",
        "requirements-docs.txt": "sphinx\n",
        "requirements/test.txt": "mock\n",
    }
    found = needs(texts, "unittest")
    assert found.install == ("requirements.txt", "requirements-dev.txt", "requirements/test.txt")
    assert found.packages == ()


def test_included_files_are_followed_but_not_out_of_the_tree() -> None:
    texts = {
        "requirements.txt": "-r deps/base.txt\n-c ../up.txt\n--constraint=pins.txt\n-r https://example.invalid/x.txt\n"
    }
    assert included(texts) == ["deps/base.txt", "pins.txt"]
    assert included({"deps/base.txt": "-r more.txt\n", "deps/more.txt": ""}) == []


def test_pytest_is_added_where_nobody_lists_it() -> None:
    assert needs({}, "pytest").packages == ("pytest",)
    assert needs({"requirements.txt": "pytest>=8\n"}, "pytest").packages == ()
    assert needs({}, "unittest").kind == "none"


@pytest.mark.parametrize("line", ["-e .", "--editable=.", ".", ".[test]", "file:///x", "./lib", "/abs/x.whl"])
def test_the_project_itself_is_never_installed(line: str) -> None:
    found = needs({"requirements.txt": f"six\n{line}\n"}, "unittest")
    assert found.files["requirements.txt"].split() == ["six"]


def test_pyproject_is_read_with_its_groups_and_its_own_extras() -> None:
    text = """
[project]
name = "My_Shop"
dependencies = ["six"]
[project.optional-dependencies]
test = ["my-shop[fast,docs]", "mock"]
fast = ["attrs"]
docs = ["sphinx"]
unused = ["nothing"]
[dependency-groups]
dev = [{include-group = "lint"}, "tox"]
lint = ["ruff", {include-group = "dev"}]
"""
    found = needs({"pyproject.toml": text}, "unittest")
    assert set(found.files[DEPENDENCIES].split()) == {"six", "attrs", "sphinx", "mock", "ruff", "tox"}
    assert found.named == ("pyproject.toml",)
    assert needs({"pyproject.toml": "not toml ["}, "unittest").kind == "none"


def test_node_needs_a_package_with_dependencies() -> None:
    package = json.dumps({"devDependencies": {"is-number": "7"}})
    assert needs({"package.json": "{}"}, "node").kind == "none"
    assert needs({"package.json": "no json"}, "node").kind == "none"
    assert needs({"package.json": package, "package-lock.json": "{}"}, "node").named == ("package-lock.json",)


def test_registry_settings_go_along_and_nothing_else_does(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    index = tmp_path / "mirror" / "simple"
    for folder in (wheels, index, tmp_path / "home" / ".config" / "pip"):
        folder.mkdir(parents=True)
    home = tmp_path / "home"
    (home / ".config" / "pip" / "pip.conf").write_text(f"[global]\nextra-index-url = file://{index}\n")
    (home / ".npmrc").write_text(
        "registry=https://example.invalid/\n//example.invalid/:_authToken=t\nprefix=/x\nyes=1\n"
    )
    env = {
        "PIP_INDEX_URL": "https://example.invalid/simple",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_TARGET": "/x",
        "PIP_USER": "1",
        "PIP_LOG": "/x",
        "https_proxy": "http://proxy.invalid",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "npm_config_registry": "https://example.invalid/",
        "npm_config_prefix": "/x",
        "NPM_TOKEN": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "HOME": str(home),
    }
    found = settings(env, home)
    assert set(found.env) == {"PIP_INDEX_URL", "PIP_FIND_LINKS", "https_proxy", "SSL_CERT_FILE", "npm_config_registry"}
    assert found.files[".npmrc"] == "registry=https://example.invalid/\n//example.invalid/:_authToken=t\n"
    assert "extra-index-url" in found.files[".config/pip/pip.conf"]
    named = {mount.target for mount in found.mounts}
    assert {str(wheels), str(tmp_path / "mirror")} <= named
    assert not any(mount.writable for mount in found.mounts)


def test_a_setting_never_shows_a_home_folder(tmp_path: Path) -> None:
    found = settings({"PIP_FIND_LINKS": f"{tmp_path} / {tmp_path.parent}"}, tmp_path)
    assert {str(tmp_path), "/", str(tmp_path.parent)}.isdisjoint(mount.target for mount in found.mounts)
