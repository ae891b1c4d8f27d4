"""Run `cargo test` and write what each test did: see `tandem_told.Wish` for the arguments, which are cargo's own.

Runs inside the sandbox with the standard library alone. Cargo builds and names the test programs; each is first asked
which tests it holds, then run with a log of its own, so that nothing a test prints counts: every listed test must stand
in the log. What could not be built has an entry under its own path.
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tandem_cargo as cargo
import tandem_told as ours

sys.path.pop(0)
_LOGGED = re.compile(r"(ok|failed|ignored|measured)(?::.*)? (\S+)")
_OUTCOMES = {"ok": "passed", "measured": "passed", "failed": "failed", "ignored": "skipped"}
_SECTION = re.compile(r"^---- (\S+) stdout ----$", re.MULTILINE)
_DOC = re.compile(r"^test (\S+ - .*?|\S+) (?:\(line \d+\) )?(?:- [\w ]+ )?\.\.\. (ok|FAILED|ignored)", re.MULTILINE)
_WORTH_ASKING = re.compile(r"^\s*//[/!].*```|\bdoc = include_str!", re.MULTILINE)


def cause_of(message):
    """Return what a test's panic was about."""
    if re.search(r"assertion .*failed", message):
        return "AssertionError"
    if re.search(r"not (?:yet )?implemented", message):
        return "NotImplemented"
    return "panic" if message else "failed"


class Program:
    """One built test program, run in its package's folder as cargo would."""

    def __init__(self, path, target, log):
        self.path, self.target, self.log = path, target, log
        self.env = {**os.environ, "CARGO_MANIFEST_DIR": target.folder, "CARGO_PKG_NAME": target.package}
        places = [os.path.dirname(path), os.environ.get("LD_LIBRARY_PATH", "")]
        self.env["LD_LIBRARY_PATH"] = ":".join(filter(None, places))  # libraries that were built along

    def entries(self, arguments, seed):
        """Return the entries of its tests and its status."""
        listed = self._call([*arguments, "--list", "--format", "terse"]).stdout.decode("utf-8", "replace")
        names = [line[: -len(": test")] for line in listed.splitlines() if line.endswith(": test")]
        if not names and not re.search(r"^0 tests|^$", listed.strip()):
            message = "it does not say which tests it holds (harness = false)"
            return [ours.entry(self.target.file, self.target.file, "error", message, "build")], 101
        if os.path.exists(self.log):
            os.unlink(self.log)
        shuffled = [] if seed is None else ["-Z", "unstable-options", "--shuffle-seed", str(seed)]
        self.env |= {"RUSTC_BOOTSTRAP": "1"} if shuffled else {}  # the order of tests is no stable option yet
        done = self._call([*arguments, "--logfile", self.log, *shuffled])
        output = done.stdout.decode("utf-8", "replace")
        sys.stdout.write(f"{self.target.file}\n{output}")
        return [self._entry(name, outcomes, output) for name, outcomes in self._logged(names)], done.returncode

    def _call(self, arguments):
        argv = [self.path, *arguments]
        stdout, stderr = subprocess.PIPE, subprocess.STDOUT
        return subprocess.run(argv, stdout=stdout, stderr=stderr, cwd=self.target.folder, env=self.env, check=False)

    def _logged(self, names):
        """Yield each listed test and the outcomes that the log has for it."""
        found = {name: [] for name in names}
        lines = []
        if os.path.exists(self.log):
            with open(self.log, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        for line in lines:
            logged = _LOGGED.fullmatch(line)
            if logged and logged.group(2) in found:
                found[logged.group(2)].append(_OUTCOMES[logged.group(1)])
        yield from found.items()

    def _entry(self, name, outcomes, output):
        whole = f"{self.target.file} > {name}"
        if not outcomes:
            return ours.entry(whole, self.target.file, "error", "it was listed and did not come to an end", "exit")
        outcome = min(outcomes, key=ours.WORST.index)
        message = section(output, name) if outcome == "failed" else ""
        return ours.entry(whole, self.target.file, outcome, message, cause_of(message))


def section(output, name):
    """Return what libtest shows of a test that failed."""
    parts = _SECTION.split(output)
    found = [text for title, text in zip(parts[1::2], parts[2::2], strict=True) if title == name]
    words = re.split(r"^failures:$", found[-1], flags=re.MULTILINE)[0].strip() if found else ""
    return re.sub(r"^(thread '.*?') \(\d+\)", r"\1", words, flags=re.MULTILINE)  # a number that differs every time


def documented(command, targets):
    """Return the entries of the examples in documentation, numbered where one item has several; and cargo's status."""
    wanted = [target for target in targets if target.doctest and worth_asking(os.path.dirname(target.file) or ".")]
    if not wanted:
        return [], 0
    argv = ["cargo", "test", "--doc", "--offline", *command.words(), *command.filter, "--", *command.rest]
    status, output, _ = cargo.said(argv)
    sys.stdout.write(output)
    entries, seen = [], {}
    for title, mark in _DOC.findall(output):
        seen[title] = seen.get(title, 0) + 1
        name = f"{title} (example {seen[title]})"  # no line number: it changes with every line above
        outcome = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}[mark]
        entries.append(ours.entry(name, title.partition(" - ")[0], outcome, output, cause_of(output)))
    if status and not any(entry["outcome"] == "failed" for entry in entries):
        entries.append(ours.entry("documentation", wanted[0].file, "error", output, "build"))
    return entries, status


def worth_asking(folder):
    """Return whether a source folder may hold examples: rustdoc takes its time to find none."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".rs"):
                with open(os.path.join(place, name), encoding="utf-8", errors="replace") as file:
                    if _WORTH_ASKING.search(file.read()):
                        return True
    return False


def settle(report):
    """Set what cargo shall know: no network, no colours, and a folder of its own to build in."""
    target = os.path.join(os.path.dirname(report), "target")
    os.environ |= {"CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never", "CARGO_INCREMENTAL": "0"}
    os.environ |= {"CARGO_TARGET_DIR": target}


def main():
    """Run, report, and leave with 0 where all passed, else cargo's 101."""
    wish = ours.Wish(sys.argv[1:])
    command = cargo.Command(wish.arguments)
    settle(wish.report)
    targets, trouble = cargo.metadata(command)
    entries, status = [], 0
    if trouble:
        entries, status = [ours.entry("Cargo.toml", "Cargo.toml", "error", trouble, "build")], 101
    else:
        build = cargo.build_all(command, wish, targets)
        status = build.status
        for file in sorted({*build.programs, *build.errors}, key=lambda file: (wish.place(file), file)):
            if file in build.programs:
                program = Program(build.programs[file], targets[file], wish.report + ".log")
                found, code = program.entries([*command.filter, *command.rest], wish.seed)
                entries, status = entries + found, max(status, code)
            elif file in targets:
                entries.append(build.entry(file, build.trouble))
        if status and not build.programs and not entries:
            entries.append(ours.entry("Cargo.toml", "Cargo.toml", "error", build.trouble, "build"))
        if not wish.only and not command.chooses() and not build.status:
            found, code = documented(command, targets.values())
            entries, status = entries + found, max(status, code)
    ours.write(wish.report, entries)
    sys.stdout.flush()
    sys.exit(status and 101)


if __name__ == "__main__":
    main()
