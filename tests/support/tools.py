"""The tools that adapters drive, for tests with the real ones, and a way to run a framework's plan without a sandbox."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tandem.types import Adapter, TestResult
from tests.support.needs import require
from worker.adapters import ALL, FRAMEWORKS, Selection, plan
from worker.sandbox.toolchains import toolchain_bins

_ROOT = Path(__file__).resolve().parents[2]
_REPORTERS = _ROOT / "worker" / "reporters"
PACKAGES = _ROOT / ".venv" / "js" / "node_modules"  # deploy/toolchains.sh makes it
_USUAL = "/usr/bin:/bin"
_DEBIAN = {"go": "golang-go", "cargo": "cargo", "node": "nodejs", "npm": "npm"}


def need(name: str) -> None:
    """End the test where a tool is missing that adapters drive."""
    require(name, _missing(name))


@functools.cache
def _missing(name: str) -> str:
    path = ":".join((*toolchain_bins(), _USUAL))  # as a sandbox has it: rustup's stand-in alone is no cargo
    there = (PACKAGES / name).is_dir() if name in ("jest", "vitest") else shutil.which(name, path=path) is not None
    if there:
        return ""
    return f"{name} is missing; " + (f"apt install {_DEBIAN[name]}" if name in _DEBIAN else "sh deploy/toolchains.sh")


@dataclass(frozen=True, slots=True)
class Told:
    """What a run told: its status, each test by its id, and what it printed."""

    status: int
    tests: dict[str, TestResult]
    printed: str

    @property
    def outcomes(self) -> dict[str, str]:
        """Return each test's outcome."""
        return {name: test.outcome for name, test in self.tests.items()}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    return folder


def run(adapter: Adapter, command: str, tree: Path, selection: Selection = ALL, *, path: str = _USUAL) -> Told:
    """Run a plan over a tree with the real tool; without a report there are no tests."""
    out = tree.parent / "out"
    out.mkdir(exist_ok=True)
    if adapter in ("jest", "vitest") and not (tree / "node_modules").exists():
        (tree / "node_modules").symlink_to(PACKAGES)
    planned = plan(adapter, tuple(command.split()), selection)
    argv = [part.replace("/out/", f"{out}/").replace("/reporters/", f"{_REPORTERS}/") for part in planned.argv]
    if argv[0] == "python":
        argv[0] = sys.executable
    report = out / planned.report
    report.unlink(missing_ok=True)
    temporary = out / "tmp"
    temporary.mkdir(exist_ok=True)
    places = ":".join((path, *toolchain_bins()))
    env = {"PATH": places, "HOME": str(temporary), "TMPDIR": str(temporary), "NO_COLOR": "1"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    env |= {
        name: value.replace("/reporters/", f"{_REPORTERS}/").replace("/out/", f"{out}/")
        for name, value in planned.env.items()
    }
    done = subprocess.run(
        argv, cwd=tree, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110, check=False
    )
    found = FRAMEWORKS[adapter].read(report.read_bytes()) if report.is_file() else ()
    return Told(done.returncode, {test.id: test for test in found}, done.stdout.decode("utf-8", "replace"))
