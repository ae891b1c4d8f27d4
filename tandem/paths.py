"""Where this user's state, configuration and sockets live; light enough for a command that only asks the router.

Knows folders alone: what a configuration file says is `tandem.config`'s business. Folders follow the XDG rules on Linux
and Apple's on macOS.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from tandem import disk
from tandem.errors import BadConfig

SOCKET_PATH_MAX = 103  # bytes; macOS ends Unix socket paths at 104 with the closing zero


def home_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the person's home folder, also where HOME is unset or empty.

    Raises:
        BadConfig: Neither HOME nor the user database names one.
    """
    if env.get("HOME"):
        return Path(env["HOME"])
    import pwd  # only where HOME does not say it; a command's start should not pay for it

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise BadConfig(f"user {os.getuid()} has no home folder and HOME is not set; set HOME") from None


def config_path(env: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file, whether or not it exists."""
    if env.get("TANDEM_CONFIG"):
        return Path(env["TANDEM_CONFIG"]).expanduser()
    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) if base else home_dir(env) / ".config") / "tandem" / "tandem.toml"


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds the journal, Git directories and environments of this user."""
    if env.get("TANDEM_STATE"):
        return Path(env["TANDEM_STATE"]).expanduser().absolute()
    if sys.platform == "darwin":
        return home_dir(env) / "Library" / "Application Support" / "tandem"
    base = env.get("XDG_STATE_HOME")
    return (Path(base) if base else home_dir(env) / ".local" / "state") / "tandem"


def socket_path(state: Path, name: str) -> Path:
    """Return the path of a Unix socket for `state`, short enough for every system.

    Where the state folder's own path is too long, a folder of this user under the system's temporary one stands in,
    named by a hash of the state folder.
    """
    path = state / f"{name}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
        return path
    import hashlib
    import tempfile

    key = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tandem-{os.getuid()}" / f"{key}-{name}.sock"


def private_dir(path: Path) -> Path:
    """Create a folder only its owner may enter, and return it.

    Raises:
        BadConfig: It exists and belongs to somebody else, is a link, cannot be made, or may not be written.
        DiskFull: There is no room for it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if status.st_mode & stat.S_ISVTX:  # `/tmp`, say; closing it would shut everybody else out
            raise BadConfig(f"{path} is shared with others; name a folder of your own inside it")
        if path.is_symlink() or status.st_uid != os.getuid():
            raise BadConfig(f"{path} is a link or belongs to another user; remove it or set TANDEM_STATE elsewhere")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        if error.errno in disk.FULL:
            raise disk.full("a folder could not be made", path) from error
        raise BadConfig(f"cannot make the folder {path}: {error.strerror}; set TANDEM_STATE elsewhere") from error
    must_be_writable(path)
    return path


def must_be_writable(path: Path) -> None:
    """Refuse a folder that may not be written: better now than after a model was asked.

    Raises:
        BadConfig: It may not.
    """
    if not os.access(path, os.W_OK | os.X_OK):
        raise BadConfig(f"the folder {path} may not be written; change its rights, or set TANDEM_STATE elsewhere")
