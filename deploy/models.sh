#!/bin/sh
# Install real model servers into .venv, for the tests that drive one with a tiny model (430 MB). Where they cannot be had
# (no network, an old Linux, an Intel Mac), says so; those tests are skipped then.
set -eu
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
began=$(date +%s)
echo "tandem: installing model servers for the tests ..."
if .venv/bin/python -m pip install -c constraints.txt --no-build-isolation -e ".[models]" >> .venv/setup.log 2>&1 &&
    .venv/bin/python -m pip install -c constraints.txt --no-deps mlx-vlm >> .venv/setup.log 2>&1; then
    echo "tandem: ready after $(($(date +%s) - began)) s; .venv has $(du -sm .venv | cut -f1) MB"
else
    echo "tandem: that failed (.venv/setup.log); tests with real model servers will be skipped"
fi
