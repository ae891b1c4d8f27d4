#!/bin/sh
# Write constraints.txt: the newest versions of everything Tandem may install, as they resolve together today.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh/venv"
pip="$fresh/venv/bin/python -m pip --disable-pip-version-check"
$pip install --quiet --upgrade ".[guard,test,dev,models]" editables
$pip install --quiet --no-deps "guardrails-ai>=0.11,<0.12" mlx-vlm==0.7.10
{
    echo "# Exact versions that were tested together. Written by \`make constraints\`; read the changes before keeping them:"
    echo "# releases of two of these (guardrails-ai 0.10.1, litellm 1.82.7, which is kept out) once stole credentials."
    $pip freeze --all --exclude pip --exclude tandem | LC_ALL=C sort -f
} > constraints.txt
