"""The text of a Seatbelt profile: that it is one, and has what each attempt to get out runs into. Not run on a Mac."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tandem.types import Limits
from worker.sandbox import seatbelt
from worker.sandbox.spec import HOME, Mount, SandboxSpec

Expression = str | list["Expression"]


def parsed(text: str) -> list[Expression]:
    """Return a profile's expressions; anything left open, or closed twice, is an error."""
    stack: list[list[Expression]] = [[]]
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+', text):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    assert len(stack) == 1, "a parenthesis is left open"
    return stack[0]


@pytest.fixture
def spec(tmp_path: Path) -> SandboxSpec:
    modules = tmp_path / "built" / "node_modules"
    modules.mkdir(parents=True)
    (tmp_path / "tree").mkdir()
    return SandboxSpec(
        argv=("/env/bin/python", "/tree/a.py"),
        cwd="/tree",
        limits=Limits(),
        env={"HOME": HOME, "PYTHONPATH": "/tree:/tree/src", "PIP_INDEX_URL": "canary-8813"},
        mounts=(
            Mount(source=tmp_path / "tree", target="/tree", writable=True),
            Mount(source=tmp_path / 'o"dd', target="/env"),
            Mount(source=modules, target="/tree/node_modules"),
        ),
    )


def rules(spec: SandboxSpec, private: Path) -> dict[str, list[list[Expression]]]:
    """Return what is allowed, by operation: the filters of each rule."""
    found: dict[str, list[list[Expression]]] = {}
    for one in parsed(seatbelt.profile(spec, private))[2:]:
        assert one[0] == "allow", one
        operations = [part for part in one[1:] if isinstance(part, str)]
        for operation in operations:
            found.setdefault(operation, []).extend([part for part in one[1:] if isinstance(part, list)] or [["any"]])
    return found


def paths(filters: list[list[Expression]], kind: str) -> set[str]:
    return {str(value).strip('"') for name, *values in filters for value in values if name == kind}


def test_a_profile_is_whole_and_denies_by_default(spec: SandboxSpec, tmp_path: Path) -> None:
    first, second, *_ = parsed(seatbelt.profile(spec, tmp_path / "p"))
    assert (first, second) == (["version", "1"], ["deny", "default"])


def test_only_the_tree_and_the_private_folder_are_written(spec: SandboxSpec, tmp_path: Path) -> None:
    allowed = rules(spec, tmp_path / "p")
    assert paths(allowed["file-write*"], "subpath") == {str(tmp_path / "tree"), str(tmp_path / "p")}
    assert {kind for kind, *_ in allowed["file-write*"]} == {"subpath"}
    assert paths(allowed["file-write-data"], "literal") == {"/dev/null", "/dev/zero"}
    assert not [
        name for name in allowed if name.startswith("file-write") and name not in ("file-write*", "file-write-data")
    ]


def test_nothing_that_holds_a_person_s_files_is_read(spec: SandboxSpec, tmp_path: Path) -> None:
    allowed = rules(spec, tmp_path / "p")
    roots = paths(allowed["file-read*"], "subpath")
    assert str(tmp_path / "tree") in roots
    assert not roots & {
        "/",
        "/System",
        "/System/Volumes",
        "/usr",
        "/opt",
        "/opt/homebrew",
        "/Users",
        "/dev",
        "/private",
    }
    assert not [root for root in roots if root.startswith(("/Library/Keychains", "/private/etc", "/Volumes"))]
    exact = paths(allowed["file-read*"], "literal")
    assert not exact & {"/dev/tty", "/dev/kmem", "/private/etc/master.passwd"}


def test_metadata_is_told_of_the_way_and_of_nothing_else(spec: SandboxSpec, tmp_path: Path) -> None:
    metadata = rules(spec, tmp_path / "p")["file-read-metadata"]
    assert {kind for kind, *_ in metadata} == {"literal"}
    assert str(tmp_path) in paths(metadata, "literal"), "the folder above the tree"
    assert str(tmp_path / "secret") not in paths(metadata, "literal")


NEVER = (
    *("network*", "network-outbound", "network-inbound", "network-bind", "system-socket", "sysctl-write", "iokit-open"),
    *("ipc-posix-shm", "ipc-posix-shm-read-data", "ipc-sysv-shm", "mach-register", "mach-priv-task-port"),
    *("file-ioctl", "file-link", "file-issue-extension", "process-info-pidinfo", "appleevent-send", "pseudo-tty"),
    *("user-preference-read", "lsopen", "system-privilege", "system-mac-syscall", "distributed-notification-post"),
)
# The operation that an attempt needs, and the one filter it may stand with; none: it is never allowed.
RELIED_ON = {
    "signal": [["target", "same-sandbox"]],
    "process-info*": [["target", "same-sandbox"]],
    "mach-lookup": [["global-name", '"com.apple.system.opendirectoryd.libinfo"']],
    "ipc-posix-sem": [["any"]],
    **dict.fromkeys(NEVER),
}


@pytest.mark.parametrize("operation", RELIED_ON)
def test_what_an_attempt_runs_into_stands_there(spec: SandboxSpec, tmp_path: Path, operation: str) -> None:
    assert rules(spec, tmp_path / "p").get(operation) == RELIED_ON[operation]


def test_programs_come_from_what_may_be_read(spec: SandboxSpec, tmp_path: Path) -> None:
    allowed = rules(spec, tmp_path / "p")
    assert allowed["process-exec"] == allowed["file-map-executable"]
    assert paths(allowed["process-exec"], "subpath") == paths(allowed["file-read*"], "subpath")


def test_no_figure_of_another_process_is_read(spec: SandboxSpec, tmp_path: Path) -> None:
    """The environment of every process of a user is a sysctl: kern.procargs2."""
    figures = rules(spec, tmp_path / "p")["sysctl-read"]
    assert paths(figures, "sysctl-name-prefix") == {"hw."}
    names = paths(figures, "sysctl-name")
    assert not [name for name in names if "proc." in name or "procargs" in name]


def test_a_network_is_for_prepare_and_opens_no_socket_of_this_machine(spec: SandboxSpec, tmp_path: Path) -> None:
    from dataclasses import replace

    allowed = rules(replace(spec, network=True), tmp_path / "p")
    assert allowed["network-outbound"] == [["remote", "ip"], ["literal", '"/private/var/run/mDNSResponder"']]
    assert "network*" not in allowed
    assert "network-inbound" not in allowed
    assert "/private/etc/hosts" in paths(allowed["file-read*"], "literal")


def test_paths_are_real_quoted_and_the_environment_is_in_no_argument(spec: SandboxSpec, tmp_path: Path) -> None:
    command = seatbelt.wrap(spec, tmp_path / "p")
    assert command.argv[:2] == ("/usr/bin/sandbox-exec", "-p")
    assert command.argv[3:] == (f'{tmp_path}/o"dd/bin/python', f"{tmp_path}/tree/a.py")
    assert 'o\\"dd' in command.argv[2]
    assert command.env["PYTHONPATH"] == f"{tmp_path}/tree:{tmp_path}/tree/src"
    assert command.env["HOME"] == str(tmp_path / "p")
    assert not any("canary" in part for part in command.argv)
    assert (tmp_path / "tree" / "node_modules").resolve() == tmp_path / "built" / "node_modules"
