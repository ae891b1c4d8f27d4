"""Start the command, and turn whatever goes wrong into one message with a remedy and an exit code of its own."""

from __future__ import annotations

import os
import sys

import click

from cli.app import tandem
from tandem.errors import TandemError

CRASHED = 1
INTERRUPTED = 130
PIPE_CLOSED = 141  # as a program that SIGPIPE ended


def main(args: list[str] | None = None) -> int:
    """Run the command line `args` (the process's own by default) and return the exit code."""
    args = (sys.argv[1:] if args is None else args) or ["--help"]
    as_json = "--json" in args
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # typed TextIO, is TextIOWrapper
    try:
        code = _invoke(args)
        sys.stdout.flush()
        return code
    except TandemError as error:
        return _tell(type(error).__name__, error.message, error.exit_code, as_json)
    except click.ClickException as error:
        usage = error.ctx.get_usage() + "\n" if isinstance(error, click.UsageError) and error.ctx else ""
        message = error.format_message().replace("\n\t", " ")  # click lists choices by tabs, a line each
        return _tell("BadInput", message, error.exit_code, as_json, usage)
    except (click.Abort, KeyboardInterrupt):
        return _tell("Cancelled", "interrupted", INTERRUPTED, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush fails aloud
        return PIPE_CLOSED
    except Exception as error:
        full = _full(error)
        if full is not None:
            return _tell(type(full).__name__, full.message, full.exit_code, as_json)
        return _tell(type(error).__name__, _crashed(error), CRASHED, as_json)


def _invoke(args: list[str]) -> int:
    """Run the command and return its exit code. Not click's own `main`: it makes a closed pipe an exit code of 1."""
    if "_TANDEM_COMPLETE" in os.environ:
        tandem.main(args, prog_name="tandem")  # answers the shell and leaves
    try:
        with tandem.make_context("tandem", args) as context:
            code = tandem.invoke(context)
    except click.exceptions.Exit as left:
        return left.exit_code
    return code if isinstance(code, int) else 0


def _tell(name: str, message: str, code: int, as_json: bool, usage: str = "") -> int:
    from cli.render.text import visible

    head, *rest = visible(message, keep="\n").split("\n")
    print(f"{usage}error: {head}", *rest, sep="\n", file=sys.stderr, flush=True)
    if as_json:
        import json

        error = {"class": name, "message": message, "exit_code": code}
        print(json.dumps({"error": error}, ensure_ascii=False), flush=True)
    return code


def _full(error: Exception) -> TandemError | None:
    """Return our error where the disk was full, which may be met wherever something is written."""
    if not isinstance(error, OSError):
        return None
    from pathlib import Path

    from tandem import disk
    from tandem.paths import state_dir

    place = Path(error.filename) if isinstance(error.filename, str) else state_dir()
    return disk.full("this could not be done", place) if error.errno in disk.FULL else None


def _crashed(error: Exception) -> str:
    """Write the traceback to a private file and return one line that names it."""
    import traceback

    first = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no words'}"
    try:
        from cli.crash import write_report

        path = write_report("".join(traceback.format_exception(error)))
    except Exception as second:  # the report must never hide what it reports
        return f"unforeseen {first}; and no report could be written ({second})"
    return f"unforeseen {first}; please report it with {path}"


if __name__ == "__main__":
    sys.exit(main())
