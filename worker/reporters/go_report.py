"""Run `go test` and write what each test did: see `tandem_told.Wish` for the arguments, which are `go test`'s own.

Runs inside the sandbox with the standard library alone. Go's own JSON is read; a test that stands in no file of its
package is none, whatever was printed, and one that began and did not end is an error. A package that could not be built
or did not come to its tests has an entry for each of its test files.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tandem_told as ours

sys.path.pop(0)
_BARE = frozenset(
    (
        *("-a", "-n", "-x", "-v", "-i", "-c", "-race", "-msan", "-asan", "-cover", "-work", "-trimpath", "-linkshared"),
        *("-modcacherw", "-short", "-failfast", "-benchmem", "-fullpath", "-json", "-buildvcs"),
    )
)  # flags that take no value behind a space
_LISTED = ("-tags", "-mod", "-modfile", "-C", "-overlay")  # flags that `go list` needs as well
_DECLARED = re.compile(r"^func ((?:Test|Example|Fuzz)\w*)\(", re.MULTILINE)
_OUTCOMES = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_NOISE = re.compile(r"\s*(?:=== (?:RUN|PAUSE|CONT|NAME)|--- (?:PASS|SKIP|FAIL):|PASS$)")
_MARK = re.compile(r"--- (PASS|FAIL|SKIP): (\S+) \(\d")
_UNDEFINED = re.compile(
    r"undefined|not declared by package|is not in (?:GOROOT|std)|no required module provides|cannot find"
)


class Command:
    """The arguments of `go test`: flags, packages, and what is for the test binary."""

    def __init__(self, arguments):
        self.flags, self.packages, self.rest = [], [], []
        words = iter(arguments)
        for word in words:
            if word in ("-args", "--args"):
                self.rest = ["-args", *words]
            elif word.startswith("-"):
                valued = "=" not in word and "-" + word.lstrip("-") not in _BARE
                self.flags.append([word, next(words, "")] if valued else [word])
            else:
                self.packages.append(word)

    def without(self, *names):
        """Return the flags but for these, as words."""
        kept = [flag for flag in self.flags if "-" + flag[0].lstrip("-").partition("=")[0] not in names]
        return [word for flag in kept for word in flag]

    def listing(self):
        """Return the flags that choose which files belong to a package, as words."""
        kept = [flag for flag in self.flags if "-" + flag[0].lstrip("-").partition("=")[0] in _LISTED]
        return [word for flag in kept for word in flag]


class Package:
    """A package's name, and which file declares each of its tests."""

    def __init__(self, about):
        here = os.path.realpath(os.getcwd())
        names = (about.get("TestGoFiles") or []) + (about.get("XTestGoFiles") or [])
        places = [os.path.join(os.path.realpath(about.get("Dir", "")), name) for name in names]
        self.name = about.get("ImportPath", "")
        self.files = {os.path.relpath(place, here).replace(os.sep, "/"): declared(place) for place in places}

    def file_of(self, test):
        """Return the file that declares a test, or None where none does."""
        top = test.partition("/")[0]
        return next((file for file, names in self.files.items() if top in names), None)


def declared(place):
    """Return the names of the tests that a file declares."""
    with open(place, encoding="utf-8", errors="replace") as file:
        return [name for name in _DECLARED.findall(file.read()) if name != "TestMain"]


def listed(command, packages):
    """Return the packages that these words mean."""
    argv = ["go", "list", "-e", "-find", "-json", *command.listing(), *packages]
    said = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    found, at, decoder = [], 0, json.JSONDecoder()
    while said[at:].strip():
        about, at = decoder.raw_decode(said, at + len(said[at:]) - len(said[at:].lstrip()))
        found.append(Package(about))
    return found


class Run:
    """One `go test`: what it told of each test, and what it printed for each package."""

    def __init__(self, argv):
        self.outcomes, self.marks, self.printed, self.begun, self.errors, self.failed = {}, {}, {}, {}, [], set()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as go:
            reading = threading.Thread(target=self._errors, args=(go.stderr,))
            reading.start()
            for line in go.stdout:
                self._event(line)
            reading.join()
        self.status = go.returncode

    def _errors(self, stream):
        for line in stream:
            self.errors.append(line)
            sys.stderr.write(line)

    def _event(self, line):
        try:
            event = json.loads(line)
            action = event["Action"]
        except (ValueError, TypeError, KeyError):  # what go prints past its own JSON, as `FAIL pkg [build failed]`
            sys.stdout.write(line)
            self.failed.update(re.findall(r"^FAIL\t(\S+)", line))
            return
        key = (event.get("Package", event.get("ImportPath", "").partition(" ")[0]), event.get("Test", ""))
        if action in ("output", "build-output"):
            self._say(key, event.get("Output", ""))
        elif action == "run":
            self.begun[key] = True
        elif action in _OUTCOMES and key[1]:
            _worst(self.outcomes, key, _OUTCOMES[action])
        self.failed.update(key[:1] if action == "fail" else ())

    def _say(self, key, text):
        # Before Go 1.20 a mark behind a test's own unended line goes unseen, and a test that ends its process with
        # status 0 is told as passed: only the mark says that a test came to its end.
        for mark, test in _MARK.findall(text):
            _worst(self.marks, (key[0], test), _OUTCOMES[mark.lower()])
        if not _NOISE.match(text):
            self.printed.setdefault(key, []).append(text)
            sys.stdout.write(text)

    def entries(self, package):
        """Return the entries of one package's tests, or of its files where none of them began."""
        tests = [test for name, test in {**self.begun, **dict.fromkeys(self.outcomes)} if name == package.name]
        told = [self._entry(package, test) for test in dict.fromkeys(tests) if package.file_of(test)]
        if told or self.status == 0 or (self.failed and package.name not in self.failed):
            return told
        message = "".join(self.printed.get((package.name, ""), [])) or self._error_of(package)
        cause = _cause(message, "undefined" if _UNDEFINED.search(message) else "build")
        return [ours.entry(file, file, "error", message, cause) for file in package.files]

    def _error_of(self, package):
        """Return what the compiler says of one package, or all it says where it names none."""
        parts = re.split(r"^(?=# )", "".join(self.errors), flags=re.MULTILINE)
        own = [part for part in parts if re.match(rf"# {re.escape(package.name)}(?:_test)?\s", part)]
        return "".join(own or parts)

    def _entry(self, package, test):
        key = (package.name, test)
        name, file = f"{package.name}/{test}", package.file_of(test)
        message = "".join(self.printed.get(key, []))
        outcomes = [told[key] for told in (self.marks, self.outcomes) if key in told]
        outcome = min(outcomes, key=ours.WORST.index, default="error")
        if outcome == "error" or (outcome == "passed" and key not in self.marks):
            return ours.entry(name, file, "error", f"{message}\nit began and did not end", _cause(message, "exit"))
        return ours.entry(name, file, outcome, message, _cause(message, "AssertionError"))


def _worst(outcomes, key, outcome):
    known = outcomes.get(key, outcome)
    outcomes[key] = min(known, outcome, key=ours.WORST.index)


def _cause(message, other):
    return "panic" if re.search(r"^\s*(?:panic:|fatal error:)", message, re.MULTILINE) else other


def chosen(command, wish):
    """Yield the words that run the wanted files, one call for those that follow each other in a folder."""
    groups = []
    for file in wish.only:
        folder = os.path.dirname(file)
        if groups and groups[-1][0] == folder:
            groups[-1][1].append(file)
        else:
            groups.append((folder, [file]))
    for folder, files in groups:
        names = [name for file in files if os.path.isfile(file) for name in declared(file)]
        if names:
            pattern = "^(" + "|".join(map(re.escape, names)) + ")$"
            yield [*command.without("-run", "-skip", "-json", "-count", "-shuffle"), "-run", pattern], ["./" + folder]


def own_cache():
    """Let Go's build cache be written, over what a prepared one already holds.

    A cache that is there to read is linked entry by entry, which Go follows; what is new goes into the folder.
    """
    base = os.environ.get("GOCACHE", "")
    cache = os.path.join(tempfile.gettempdir(), "go-build")
    os.makedirs(cache, exist_ok=True)
    for folder in os.listdir(base) if os.path.isdir(base) else []:
        if len(folder) == 2:
            os.makedirs(os.path.join(cache, folder), exist_ok=True)
            for name in os.listdir(os.path.join(base, folder)):
                os.symlink(os.path.join(base, folder, name), os.path.join(cache, folder, name))
    with open(os.path.join(cache, "trim.txt"), "w") as file:
        file.write(str(int(time.time())))  # else Go would begin by removing what is older than five days
    os.environ["GOCACHE"] = cache


def main():
    """Run, report, and leave with go's own status, the worst of several."""
    wish = ours.Wish(sys.argv[1:])
    command = Command(wish.arguments)
    own_cache()
    packages = command.packages or ["."]
    calls = list(chosen(command, wish)) if wish.only else [(command.without("-json", "-count", "-shuffle"), packages)]
    shuffled = [] if wish.seed is None else [f"-shuffle={wish.seed}"]
    told, status = [], 0
    for flags, words in calls:
        found = listed(command, words)  # before anything runs that could change it
        run = Run(["go", "test", "-json", "-count=1", *shuffled, *flags, *words, *command.rest])
        for package in found:
            told += [entry for entry in run.entries(package) if wish.place(entry["file"]) >= 0]
        status = max(status, run.status)
    ours.write(wish.report, told)
    sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
