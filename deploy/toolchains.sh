#!/bin/sh
# Get what the tests of the adapters drive: Go, Rust and npm from the system's packages where they may be installed, jest
# and vitest into .venv/js (80 MB). Where one cannot be had, says so; its tests name the remedy then.
set -eu
cd "$(dirname "$0")/.."
say() { echo "tandem: $*"; }
. deploy/system.sh
began=$(date +%s)
system_package go "$(command -v apt-get >/dev/null && echo golang-go || echo go)" "for tests in Go"
system_package cargo "$(command -v apt-get >/dev/null && echo cargo || echo rust)" "for tests in Rust" "cargo --version" # rustup's stand-in may be there without any Rust
system_package npm npm "for jest and vitest"
if [ "$(uname)" = Linux ]; then
    for tool in ip:iproute2 strace:strace lsof:lsof setpriv:util-linux systemd-analyze:systemd; do
        system_package "${tool%%:*}" "${tool#*:}" "for tests of networks, services and rights"
    done
fi
mkdir -p .venv/js
echo '{"private": true}' > .venv/js/package.json
# The newest that run on Node 18, which Debian 12 has, and on everything later.
if (cd .venv/js && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --save-exact \
    jest@30.5.2 vitest@3.2.7 vite@6.4.6) >> .venv/setup.log 2>&1; then
    say "toolchains for the tests are ready after $(($(date +%s) - began)) s"
else
    say "jest and vitest could not be installed (.venv/setup.log); tests with them will be skipped"
fi
