"""`tandem install` and `tandem uninstall`: router and worker as services that start at login."""

from __future__ import annotations

from pathlib import Path

import click

from cli import output
from cli.service import here
from cli.service.description import Role, System, text_for
from cli.service.manager import Place, install, uninstall
from cli.shutdown import shut_down
from tandem.errors import BadInput

_role = click.argument("role", type=click.Choice(["router", "worker"]))
_root = click.option(
    "--root", type=click.Path(path_type=Path), help="Write under this folder as if it were /, and load nothing."
)
_system = click.option(
    "--system", type=click.Choice(["macos", "linux"]), help="With --root or --print: for which system.  [default: this]"
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


@click.command(name="install")
@_role
@click.option("--print", "show", is_flag=True, help="Only show what would be written.")
@_root
@_system
@_json
def install_service(role: Role, show: bool, root: Path | None, system: System | None, as_json: bool) -> None:
    """Have the router or a worker of this machine started at login and kept running.

    A launchd agent on macOS, a systemd user unit on Linux. The same command again, after an upgrade say, replaces it and
    starts it anew; runs go on where they were. A router that finds an installed worker uses that one.
    """
    place = _place(root, system, shown=show)
    service = here.service(role)
    if show:
        output.say(text_for(service, place.system).decode().rstrip())
        return
    if role == "router" and root is None:
        shut_down()  # one that a command started would be in the way until it has nothing to do
    file = install(service, place)
    if as_json:
        output.say_json({"role": role, "file": str(file), "loaded": root is None, "left_out": here.left_out()})
        return
    output.say(f"{file} is written" + ("; nothing was loaded" if root else f", and the {role} is running"))
    for name in here.left_out():
        output.remark(f"{name} is set here and will not be for the service; put it into the configuration file")
    if place.system == "linux" and root is None:
        output.remark("it runs while you are logged in; `loginctl enable-linger` has it run always")


@click.command(name="uninstall")
@_role
@_root
@_system
@_json
def uninstall_service(role: Role, root: Path | None, system: System | None, as_json: bool) -> None:
    """Stop an installed router or worker and remove what `tandem install` wrote. What was worked on stays."""
    file = uninstall(here.service(role), _place(root, system, shown=False))
    if as_json:
        output.say_json({"role": role, "file": str(file) if file else None})
        return
    output.say(f"{file} is removed" if file else f"no {role} is installed")


def _place(root: Path | None, system: System | None, *, shown: bool) -> Place:
    if system not in (None, here.system()) and root is None and not shown:
        raise BadInput(f"this machine is not {system}; --system goes with --root or --print")
    return Place(system=system or here.system(), root=root.absolute() if root else None)
