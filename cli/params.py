"""What commands take as arguments and options, where it needs a look before anything is done with it."""

from __future__ import annotations

import re

import click

from tandem.errors import BadInput


class _RunType(click.ParamType[str]):
    """The beginning of a run's id, or `latest`: a word that can stand in a path of the router's API."""

    name = "run"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
            raise BadInput(
                f"{value!r} is no run; name one as `tandem runs` does, by the beginning of its id, or latest"
            )
        return value


RUN = _RunType()
