"""Change a few values in a configuration file and nothing else of what a person wrote.

The text is edited by line, and then read back: what the file says must be what it said before and the new values, or
it is not written. So a form that the edit does not know is told, and never spoiled.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.disk import watched
from tandem.errors import BadConfig

_BEGIN = "# Tandem's configuration. Every key stands in deploy/tandem.example.toml with its default.\n"


def changed(text: str, section: str, values: Mapping[str, str]) -> str:
    """Return a configuration's text with `values` in `section`.

    Raises:
        BadConfig: The text does not parse, or is written in a form that is not understood here.
    """
    before = _read(text)
    lines = text.splitlines(keepends=True) or [_BEGIN]
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    at = next((i for i, line in enumerate(lines) if re.match(rf"\s*\[\s*{section}\s*\]\s*(#.*)?$", line)), None)
    if at is None:
        at = len(lines) + 1
        lines += ["\n", f"[{section}]\n"]
    end = next((i for i in range(at + 1, len(lines)) if lines[i].lstrip().startswith("[")), len(lines))
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        old = next((i for i in range(at + 1, end) if re.match(rf"\s*{key}\s*=", lines[i])), None)
        if old is None:
            lines.insert(at + 1, f"{line}\n")
            end += 1
        else:
            comment = re.search(r"""=\s*(?:"[^"]*"|'[^']*')(\s*#.*)$""", lines[old].rstrip("\n"))
            lines[old] = line + (comment[1] if comment else "") + "\n"
    new = "".join(lines)
    wanted = {**before, section: {**before.get(section, {}), **values}}
    try:
        understood = tomllib.loads(new) == wanted
    except tomllib.TOMLDecodeError:
        understood = False
    if not understood:
        told = ", ".join(f'{section}.{key} = "{value}"' for key, value in values.items())
        raise BadConfig(f"the file is written in a way this command cannot change safely; set yourself: {told}")
    return new


def write(path: Path, text: str) -> None:
    """Write a configuration file in one piece, through a link where it is one.

    Raises:
        BadConfig, DiskFull: It cannot be written.
    """
    real = path.resolve()
    with watched("the configuration could not be written", real):
        real.parent.mkdir(parents=True, exist_ok=True)
        new = real.with_name(f".{real.name}.new")
        new.write_text(text, "utf-8")
        if real.exists():
            new.chmod(real.stat().st_mode & 0o777)
        new.replace(real)


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"the file does not parse ({error}); mend it first") from error
