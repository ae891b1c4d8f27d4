import tomllib
from pathlib import Path

import pytest

from tandem.addresses import at_home
from tandem.config import Config, load
from tandem.errors import BadConfig

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "tandem.example.toml"


def config(**env: str) -> Config:
    return load(EXAMPLE, {f"TANDEM_OPENAI_{name}": value for name, value in env.items()})


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:1234/", "http://127.0.0.1:1234/v1"),
        ("http://localhost:1234/v1/", "http://localhost:1234/v1"),
        ("http://studio.local:8000/api/v1", "http://studio.local:8000/api/v1"),
        ("https://[fd00::1]:8443/v1", "https://[fd00::1]:8443/v1"),
    ],
)
def test_an_address_at_home_is_taken(given: str, used: str) -> None:
    assert config(URL=given).openai.url == used


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8", "100.64.0.1", "0.0.0.0", "api.openai.com", "localhost.example.com", "local", "studio", "127.1",
        "2130706433", "0x7f.0.0.1", "192.0.2.1", "[::ffff:8.8.8.8]", "[2001:db8::1]", "[::]", "172.32.0.1", "１２７.0.0.1",
    ],
)  # fmt: skip
def test_an_address_away_is_refused_with_the_setting_that_allows_it(host: str) -> None:
    with pytest.raises(BadConfig, match=r"openai\.url.*openai\.allow_remote = true"):
        config(URL=f"https://{host}/v1")
    assert config(URL=f"https://{host}/v1", ALLOW_REMOTE="true").openai.url == f"https://{host}/v1"


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "fe80::1", "10.1.2.3", "172.31.255.255", "LOCALHOST."])
def test_this_machine_and_private_networks_are_at_home(host: str) -> None:
    assert at_home(host)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "file:///etc/passwd", "unix:///tmp/x", "http://", "http://[::1", "http://127.0.0.1:x/",
            "http://127.0.0.1/v1?key=1", "http://127.0.0.1/v1#a"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadConfig, match=r"openai\.url"):
        config(URL=url, ALLOW_REMOTE="true")


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(BadConfig, match=r"openai\.url.*keychain") as refused:
        config(URL="http://lead:hunter2@127.0.0.1/v1")
    assert "hunter2" not in refused.value.message


def test_a_key_where_its_variables_name_belongs_is_refused_and_not_shown() -> None:
    with pytest.raises(BadConfig, match=r"openai\.key_env") as refused:
        config(KEY_ENV="sk-0123456789abcdef")
    assert "0123456789" not in refused.value.message


def test_the_example_explains_every_key_of_the_section() -> None:
    lines = EXAMPLE.read_text("utf-8").partition("[openai]\n")[2].partition("\n[")[0].splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    assert tomllib.loads("\n".join(shown)) == Config().openai.model_dump()
    assert all(lines[lines.index(f"# {line}") - 1].startswith("## ") for line in shown)
