#!/bin/sh
# Make or renew .venv with the extras named in $1 (for example "guard,test"), from the versions in constraints.txt.
# Presupposes Python 3.11 to 3.13, git and a C compiler; bubblewrap and node it installs where it may, else it names the
# command. Writes nothing outside the checkout but that. PYTHON=... is tried first; SYSTEM=no leaves the system alone.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX PIP_USER
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "tandem: $*"; }
fits() { "$1" -c 'import sys, venv, ensurepip; assert (3, 11) <= sys.version_info[:2] < (3, 14)' >/dev/null 2>&1; }

# Print the first interpreter that works: a version manager's stand-ins may lie on PATH and fail when called.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if fits "$PYTHON"; then echo "$PYTHON"; return; fi
        say "PYTHON=$PYTHON is not a working Python 3.11 to 3.13 with venv; looking for another" >&2
    fi
    for name in python3.12 python3.13 python3.11 python3; do
        IFS=:
        for folder in $PATH:/opt/homebrew/bin:/usr/local/bin:/usr/bin; do
            if [ -x "$folder/$name" ] && fits "$folder/$name"; then echo "$folder/$name"; return; fi
        done
        unset IFS
    done
}

no_python() {
    say "no working Python 3.11, 3.12 or 3.13 with venv was found. Get one, then try again:"
    if [ "$(uname)" = Darwin ]; then echo "    brew install python@3.12"
    elif command -v apt-get >/dev/null; then echo "    sudo apt-get install python3.11 python3.11-venv    (or python3.12, python3.12-venv)"
    elif command -v dnf >/dev/null; then echo "    sudo dnf install python3.12"
    elif command -v pacman >/dev/null; then echo "    sudo pacman -S python"
    else echo "    install Python 3.12 and its venv module"; fi
    exit 2
}

quietly() { # what pip says goes to a log; its end is shown where it fails
    if ! "$@" >> .venv/setup.log 2>&1; then
        tail -n 15 .venv/setup.log >&2
        say "this failed: $*" >&2
        say "the whole log is .venv/setup.log; without a network, pip needs the packages in its cache" >&2
        exit 1
    fi
}

python=$(find_python)
[ -n "$python" ] || no_python
began=$(date +%s)
if ! { fits .venv/bin/python && [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" = "$PWD/.venv" ]; }; then
    rm -rf .venv
    "$python" -m venv .venv
fi
: > .venv/setup.log
say "$(.venv/bin/python -V) ($(.venv/bin/python -c 'import sys; print(sys._base_executable)')), installing into .venv ..."
quietly .venv/bin/python -m pip install -c constraints.txt hatchling editables
quietly .venv/bin/python -m pip install -c constraints.txt --no-build-isolation -e ".[$1]"
# Without its declared dependencies: those bring litellm and 140 MB that no rule of ours uses (docs/decisions.md).
quietly .venv/bin/python -m pip install -c constraints.txt --no-deps guardrails-ai

. deploy/system.sh
if [ "$(uname)" = Linux ]; then system_package bwrap bubblewrap "the strongest sandbox for running tests"; fi
system_package node "$(command -v brew >/dev/null && echo node || echo nodejs)" "for tasks in JavaScript"
command -v git >/dev/null || say "git is missing; Tandem cannot work without it"
say "ready after $(($(date +%s) - began)) s; .venv has $(du -sm .venv | cut -f1) MB"
