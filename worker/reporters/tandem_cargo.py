"""What cargo is asked to build, and what it made of it: test programs by their source file, and errors.

Runs inside the sandbox with the standard library alone, for `cargo_report`.
"""

import json
import os
import subprocess
import sys

import tandem_told as ours

_VALUED = frozenset(
    (
        *("-p", "--package", "--exclude", "--test", "--bin", "--example", "--bench", "-F", "--features", "--target"),
        *("--target-dir", "--manifest-path", "--profile", "-j", "--jobs", "--color", "--message-format", "-Z"),
        *("--config", "--lockfile-path"),
    )
)
_OURS = (
    "--message-format",
    "--no-run",
    "--no-fail-fast",
    "--target-dir",
    "--color",
    "-q",
    "--quiet",
    "-v",
    "--verbose",
)
_CHOOSING = (
    "--lib",
    "--bins",
    "--bin",
    "--tests",
    "--test",
    "--examples",
    "--example",
    "--benches",
    "--bench",
    "--doc",
)
_CHOOSING += ("--all-targets", "-p", "--package", "--workspace", "--all", "--exclude")
_FLAG_OF = {"test": "--test", "bin": "--bin", "example": "--example", "bench": "--bench"}


class Command:
    """The arguments of `cargo test`: its flags, the filter, and what is for the test programs."""

    def __init__(self, arguments):
        at = arguments.index("--") if "--" in arguments else len(arguments)
        self.flags, self.filter, self.rest = [], [], arguments[at + 1 :]
        words = iter(arguments[:at])
        for word in words:
            if not word.startswith("-"):
                self.filter.append(word)
            elif word in _VALUED:
                self.flags.append([word, next(words, "")])
            else:
                self.flags.append([word])

    def words(self, *but):
        """Return the flags but for these and those that are ours, as words."""
        left_out = (*_OURS, *but)
        return [word for flag in self.flags if flag[0].partition("=")[0] not in left_out for word in flag]

    def chooses(self):
        """Return whether the command says itself which programs it runs."""
        return any(flag[0].partition("=")[0] in _CHOOSING for flag in self.flags)


class Target:
    """One test program of a package, as cargo's metadata have it."""

    def __init__(self, package, about):
        self.package, self.folder = package["name"], os.path.dirname(package["manifest_path"])
        self.name, self.kind = about["name"], about["kind"][0]
        self.file = here(about["src_path"])
        self.doctest = about.get("doctest", False)
        self.is_test = about.get("test", False)

    def words(self):
        """Return cargo's flags for this program alone."""
        one = [_FLAG_OF[self.kind], self.name] if self.kind in _FLAG_OF else ["--lib"]
        return ["-p", self.package, *one]


def here(path):
    """Return a path as it is seen from the working folder."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(os.getcwd())).replace(os.sep, "/")


def said(argv):
    """Return a command's status, output and errors; the errors are shown as well."""
    done = subprocess.run(argv, capture_output=True, check=False)
    errors = done.stderr.decode("utf-8", "replace")
    sys.stderr.write(errors)
    return done.returncode, done.stdout.decode("utf-8", "replace"), errors


class Build:
    """What cargo made: test programs by their source file, and the errors of those that could not be made."""

    def __init__(self, words):
        self._words = words
        self.programs, self.errors, self.status, self.trouble = {}, {}, 0, ""

    def make(self, words):
        """Build what these words choose; note programs, and errors by the source file of what they are in."""
        argv = ["cargo", "test", "--no-run", "--offline", "--message-format=json", *self._words, *words]
        status, output, errors = said(argv)
        for line in output.splitlines():
            if line.startswith("{"):
                self._note(json.loads(line))
        self.status = max(self.status, status)
        self.trouble = errors if status else self.trouble
        return status

    def _note(self, event):
        target = event.get("target") or {}
        if event["reason"] == "compiler-artifact" and event.get("executable") and event["profile"]["test"]:
            self.programs[here(target["src_path"])] = event["executable"]
        message = event.get("message") or {}
        if event["reason"] == "compiler-message" and message.get("level") == "error":
            sys.stderr.write(message["rendered"])
            code = (message.get("code") or {}).get("code", "")
            self.errors.setdefault(here(target["src_path"]), []).append((code, message["rendered"]))

    def entry(self, file, words):
        """Return the entry for a test program that could not be made."""
        found = self.errors.get(file) or [one for errors in self.errors.values() for one in errors]
        code = next((code for code, _ in found if code), "build")
        return ours.entry(file, file, "error", "".join(text for _, text in found) or words, code)


def metadata(command):
    """Return the test programs there are by source file, or an error's text."""
    flags = [word for flag in command.flags if flag[0].startswith("--manifest-path") for word in flag]
    status, output, errors = said(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", *flags])
    if status:
        return {}, errors
    packages = json.loads(output)["packages"]
    targets = [Target(package, about) for package in packages for about in package["targets"]]
    return {target.file: target for target in targets if target.kind != "custom-build"}, ""


def build_all(command, wish, targets):
    """Return the build of everything wanted: at once, and one by one where something cannot be built."""
    wanted = [targets[file] for file in wish.only if file in targets]
    build = Build(command.words(*_CHOOSING) if wish.only else command.words())
    chosen = [word for target in wanted for word in target.words()]
    if wish.only and not wanted:
        return build
    if build.make(chosen) and build.errors:
        rest = wanted if wish.only else [] if command.chooses() else [one for one in targets.values() if one.is_test]
        for target in rest:
            if target.file not in build.errors and target.file not in build.programs:
                build.make(target.words())
    return build
