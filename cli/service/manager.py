"""Put a service in place and take it away again: its file, and what launchd or systemd is told about it.

Both are done so that doing them twice is the same as once. With a root folder, files are written under it as if it were
`/`, and no service manager is told anything.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.service.description import Service, System, file_for, text_for
from cli.service.here import config_home
from tandem.disk import watched
from tandem.errors import Unavailable
from tandem.paths import home_dir, private_dir

_ASK_S = 30.0
_TRIES = 20  # launchd answers a `bootout` before it is done
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where services go: a system's own folders, or the same under `root`."""

    system: System
    root: Path | None = None

    def file(self, service: Service) -> Path:
        """Return where a service's file is."""
        return self.under(file_for(service, self.system, home_dir(), config_home()))

    def top(self) -> Path:
        """Return the folder above which nothing is ever removed."""
        return self.root or home_dir()

    def under(self, path: Path) -> Path:
        """Return where a path of this machine lies in this place."""
        return path if self.root is None else self.root / path.absolute().relative_to("/")


def is_installed(service: Service, place: Place) -> bool:
    """Return whether a service's file is there."""
    return place.file(service).exists()


def install(service: Service, place: Place) -> Path:
    """Write a service's file and have it run, in the place of an earlier one; return the file.

    Raises:
        Unavailable: The service manager did not take it. The file is there all the same.
        BadConfig, DiskFull: A file cannot be written.
    """
    file = place.file(service)
    with watched("the service could not be installed", file):
        for folder in service.folders:
            private_dir(place.under(folder))
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(text_for(service, place.system))
        new.replace(file)
    if place.root is None:
        _load(service, file, place.system)
    return file


def uninstall(service: Service, place: Place) -> Path | None:
    """Stop a service and remove what `install` made; return its file, or None where there was none.

    The state folder with everything that was worked on stays.
    """
    file = place.file(service)
    was_there = file.exists()
    if place.root is None and was_there:
        _unload(service, place.system)
    file.unlink(missing_ok=True)
    for left in (service.out, service.out.with_suffix(".out.1")):
        place.under(left).unlink(missing_ok=True)
    for folder in (file.parent, place.under(service.out.parent)):
        _prune(folder, place.top())
    if place.root is None and was_there and place.system == "linux":
        _told(("systemctl", "--user", "daemon-reload"))
    return file if was_there else None


def _load(service: Service, file: Path, system: System) -> None:
    if system == "linux":
        wanted = ("daemon-reload",), ("enable", service.unit), ("restart", service.unit)
        said = next(filter(None, (_told(("systemctl", "--user", *more)) for more in wanted)), "")
    else:
        _told(("launchctl", "bootout", _target(service)))  # fails where there is none, which is as good
        said = _bootstrap(file)
    if said:
        raise Unavailable(
            f"{file} is written, but {'systemd' if system == 'linux' else 'launchd'} did not take it: {said}; "
            "mend that and give the command again"
        )


def _bootstrap(file: Path) -> str:
    said = ""
    for _ in range(_TRIES):
        said = _told(("launchctl", "bootstrap", f"gui/{os.getuid()}", str(file)))
        if not said:
            break
        time.sleep(_PAUSE_S)
    return said


def _unload(service: Service, system: System) -> None:
    if system == "linux":
        _told(("systemctl", "--user", "disable", "--now", service.unit))
    else:
        _told(("launchctl", "bootout", _target(service)))


def _told(argv: Sequence[str]) -> str:
    """Run a command of the service manager and return what it said where it failed, else nothing."""
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=_ASK_S, check=False)
    except FileNotFoundError:
        return f"{argv[0]} is not on this machine"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"status {done.returncode}"


def _target(service: Service) -> str:
    return f"gui/{os.getuid()}/{service.label}"


def _prune(folder: Path, top: Path) -> None:
    """Remove folders that are empty or not there, up to `top`, which stays."""
    while folder != top and folder.is_relative_to(top):
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent
