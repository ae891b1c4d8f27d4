import sys
from pathlib import Path

import pytest

from tandem.errors import BadConfig
from worker import keys

KEY = "sk-of-nobody-0123456789abcdef"


def keychain(folder: Path, script: str) -> Path:
    """Return a program that stands where macOS has `security`."""
    program = folder / "security"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    return program


def test_the_environment_goes_before_the_keychain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    asked = keychain(tmp_path, f"touch {tmp_path}/asked; echo other")
    assert keys.find("MY_KEY", "openai", {"MY_KEY": f" {KEY}\n"}, asked) == KEY
    assert not (tmp_path / "asked").exists()


def test_the_keychain_is_asked_by_service_and_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    wanted = '[ "$*" = "find-generic-password -s tandem -a openai -w" ] || exit 1'
    assert keys.find("MY_KEY", "openai", {}, keychain(tmp_path, f"{wanted}\necho {KEY}")) == KEY


@pytest.mark.parametrize("script", ["exit 44", "echo could not >&2; exit 1", "kill -9 $$"])
def test_a_keychain_without_the_key_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keys.find("MY_KEY", "openai", {}, keychain(tmp_path, script)) == ""
    assert keys.find("MY_KEY", "openai", {}, tmp_path / "absent") == ""


def test_a_keychain_that_waits_for_nobody_is_left_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(keys, "_KEYCHAIN_S", 0.2)
    assert keys.find("MY_KEY", "openai", {}, keychain(tmp_path, "exec sleep 20")) == ""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"return {KEY!r} if (service, account) == ('tandem', 'openai') else None", KEY),
        ("return None", ""),
        ("raise RuntimeError('no Secret Service')", ""),
    ],
)
def test_the_secret_service_is_asked_where_keyring_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, found: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "keyring.py").write_text(f"def get_password(service, account):\n    {body}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert keys.find("MY_KEY", "openai", {}) == found
    monkeypatch.delitem(sys.modules, "keyring", raising=False)


@pytest.mark.parametrize("spoilt", ["two words", "sk-\u00e9", "a\nb"])
def test_a_key_no_header_can_carry_is_refused_and_not_shown(spoilt: str) -> None:
    with pytest.raises(BadConfig, match="MY_KEY") as refused:
        keys.find("MY_KEY", "openai", {"MY_KEY": spoilt})
    assert spoilt not in refused.value.message


def test_how_a_key_is_stored_is_said_for_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "security add-generic-password -s tandem -a openai -w" in keys.how_to_store("MY_KEY", "openai")
    monkeypatch.setattr(sys, "platform", "linux")
    assert "MY_KEY" in keys.how_to_store("MY_KEY", "openai")
