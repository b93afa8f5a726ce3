#!/bin/bash
# Installs what tests and benchmarks compare with into build/peers, beside the
# virtual environment and without its resolver, which would look for minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=bench/peers.txt
target=build/peers
stamp=$target/.requirements.sha256
now=$(sha256sum <"$requirements")
[[ -f $stamp && $(cat "$stamp") == "$now" ]] && exit 0
rm -rf "$target"
build/venv/bin/python -m pip install --quiet --no-deps --target "$target" \
  -r "$requirements"
echo "$now" >"$stamp"
