"""`go test`, under a script of ours that reads Go's own JSON.

The files of a folder are one package: a copy of one beside it would declare everything twice, and a twin as well.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from worker.adapters import compiled
from worker.adapters.base import Framework, Plan, Selection
from worker.adapters.reports import ended
from worker.twins import go as twins

# No module, checksum or toolchain is fetched, and the user's own settings have no say.
_OFFLINE = {"GOPROXY": "off", "GOSUMDB": "off", "GOTOOLCHAIN": "local", "GOENV": "off", "GOTELEMETRY": "off"}
_PLACE = re.compile(r"((?:_[a-z0-9]+){0,2})_test\.go$")
_PLATFORMS = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd"),
        *("plan9", "solaris", "wasip1", "windows", "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64"),
        *("mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"),
    )
)


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return `go test` under our script."""
    planned = compiled.plan(command, selection, "go", ("test",), "go_report.py")
    return replace(planned, env={**_OFFLINE, **planned.env})


def alias(path: str, word: str) -> str:
    """Return a path beside `path` that is built where it is: `shop_linux_test.go` becomes `WORD_linux_test.go`."""
    place = PurePosixPath(path)
    found = _PLACE.search(place.name)
    ends = [part for part in found.group(1).split("_") if part in _PLATFORMS] if found else []
    return str(place.with_name("_".join((word, *ends, "test.go"))))


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one function that passes, or fails by an error, in the package of the file beside it."""
    clause = re.search(r"^package\s+(\w+)", text, re.MULTILINE)
    package = clause.group(1) if clause else PurePosixPath(path).parent.name or "main"
    expected = len(word) if holds else len(word) + 1
    return (
        f'package {package}\n\nimport "testing"\n\n'
        f"func Test{word.capitalize()}(t *testing.T) {{\n"
        f'\tif got := len("{word}"); got != {expected} {{\n'
        f'\t\tt.Errorf("got %d, want %d", got, {expected})\n\t}}\n}}\n'
    )


GO = Framework(
    name="go",
    plan=plan,
    read=ended,
    control=control,
    alias=alias,
    twin=twins.twin,
    tests=twins.tests,
    crowded=True,
)
