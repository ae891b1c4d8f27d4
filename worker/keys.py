"""Find the key of a model server: in the environment, then in the system's keychain. Never in a file of ours.

A key is returned to who sends it and goes nowhere else: it is in no message, log or error. The keychains are asked
through what the system brings: `security` on macOS, the Secret Service through the `keyring` package elsewhere, if it is
installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tandem.errors import BadConfig

SERVICE = "tandem"
SECURITY = Path("/usr/bin/security")
_KEYCHAIN_S = 30.0  # the system may ask the person first
_SENDABLE = re.compile(r"[\x21-\x7e]+")


def find(variable: str, account: str, env: Mapping[str, str] = os.environ, security: Path = SECURITY) -> str:
    """Return the key in the variable, or the one the keychain keeps for `account`, or "" where there is none. Blocks.

    Raises:
        BadConfig: The key holds what no HTTP header can carry.
    """
    where, key = f"${variable}", env.get(variable, "").strip()
    if not key:
        where, key = "the keychain", (_macos(account, security) if sys.platform == "darwin" else _keyring(account))
    if key and not _SENDABLE.fullmatch(key):
        raise BadConfig(f"the key in {where} holds spaces or characters that no header can carry; store it again")
    return key


def how_to_store(variable: str, account: str) -> str:
    """Return how a person gives Tandem a key, in words."""
    if sys.platform == "darwin":
        return f"set {variable}, or `security add-generic-password -s {SERVICE} -a {account} -w`"
    return f"set {variable}, or `keyring set {SERVICE} {account}`"


def _macos(account: str, security: Path) -> str:
    asked = [str(security), "find-generic-password", "-s", SERVICE, "-a", account, "-w"]
    try:
        done = subprocess.run(
            asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_KEYCHAIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _keyring(account: str) -> str:
    try:
        import keyring  # pyright: ignore[reportMissingImports] - optional
    except ImportError:
        return ""
    try:
        found = keyring.get_password(SERVICE, account)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    except Exception:  # no Secret Service on this machine, a locked one, one that is not allowed: each has its own type
        return ""
    return found.strip() if isinstance(found, str) else ""
