"""Which of this user's settings an installer needs to reach its registry, and none besides.

Package managers are set up by variables and files of their own: another index, a certificate, a proxy, a folder of
wheels. Those go along into the sandbox; whatever says where to install, what to log or who the user is stays here.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from worker.sandbox.spec import Mount

_PIP = re.compile(
    r"PIP_(?:INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|TIMEOUT|DEFAULT_TIMEOUT"
    r"|RETRIES|ONLY_BINARY|NO_BINARY|PREFER_BINARY|KEYRING_PROVIDER|USE_FEATURE|USE_DEPRECATED)"
)
_NPM_KEYS = r"(?:[\w@./:-]*registry|cafile|ca|strict[-_]ssl|(?:https?[-_])?proxy|no[-_]?proxy|//\S+)"
_NPM = re.compile(rf"npm_config_{_NPM_KEYS}", re.IGNORECASE)
_NPM_LINE = re.compile(rf"\s*{_NPM_KEYS}\s*=", re.IGNORECASE)
_OTHER = re.compile(
    r"GO(?:PROXY|PRIVATE|NOPROXY|SUMDB|NOSUMDB|INSECURE)|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|(?:https?|all|no)_proxy",
    re.IGNORECASE,
)
_PLACES = ("find-links", "index-url", "extra-index-url", "cert", "client-cert")  # pip's keys that may name a folder
_SEEN_ANYWAY = ("/usr", "/etc/ssl/certs", "/etc/ca-certificates", "/etc/pki/tls/certs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What goes along: variables, files to write into the inside's HOME by their name there, and folders to be read."""

    env: Mapping[str, str]
    files: Mapping[str, str]
    mounts: tuple[Mount, ...]


NONE = Settings(env={}, files={}, mounts=())


def settings(env: Mapping[str, str], home: Path) -> Settings:
    """Return the registry settings of a user with this environment and home folder."""
    passed = {key: text for key, text in env.items() if any(form.fullmatch(key) for form in (_PIP, _NPM, _OTHER))}
    files = dict(_pip_files(env, home))
    npmrc = "".join(f"{line}\n" for line in _lines(home / ".npmrc") if _NPM_LINE.match(line))
    if npmrc:
        files[".npmrc"] = npmrc
    named = [*passed.values(), *_pip_values(files.values()), *_pip_values([_text(Path("/etc/pip.conf"))])]
    named += [line.partition("=")[2].strip() for line in npmrc.splitlines()]
    return Settings(env=passed, files=files, mounts=tuple(_mounts(named, home)))


def _pip_files(env: Mapping[str, str], home: Path) -> Iterable[tuple[str, str]]:
    """Return pip's own files under the names it looks for inside; a later one outranks an earlier."""
    modern = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    mac = home / "Library" / "Application Support" / "pip" / "pip.conf"
    chosen = env.get("PIP_CONFIG_FILE")
    if chosen:
        yield ".config/pip/pip.conf", _text(Path(chosen))
        return
    for path, name in ((home / ".pip/pip.conf", ".pip/pip.conf"), (mac, ""), (modern, "")):
        if path.is_file():
            yield name or ".config/pip/pip.conf", _text(path)


def _pip_values(texts: Iterable[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        found += [
            parser.get(part, key) for part in parser.sections() for key in _PLACES if parser.has_option(part, key)
        ]
    return found


def _mounts(values: Iterable[str], home: Path) -> Iterable[Mount]:
    """Return the folders and files that settings name, but never a home folder or one above it."""
    named = dict.fromkeys(path for value in values for word in value.split() if (path := _place(word)))
    for path in named:
        real = Path(os.path.realpath(path))
        known = any(path.is_relative_to(seen) for seen in _SEEN_ANYWAY)
        if real.exists() and not known and not home.is_relative_to(real):
            yield Mount(source=real, target=str(path))


def _place(word: str) -> Path | None:
    """Return the folder or file a word of a setting names, or None."""
    if not word.startswith("file://"):
        return Path(word) if word.startswith("/") else None
    path = Path(unquote(urlsplit(word).path))
    return path.parent if path.name == "simple" else path  # an index's pages link to files beside them


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
