#!/bin/bash
# Makes build/venv from tests/requirements.txt, again only when that file or
# Python changed, and shows it the package that the release build makes. pip's
# cache stays where pip keeps it, outside the clone.
#
# On a machine without a GPU the CPU build of torch saves gigabytes:
#   export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tests/requirements.txt
venv=build/venv
stamp=$venv/.requirements.sha256
now=$( { /usr/bin/python3 --version; cat "$requirements"; } | sha256sum)

show_package() {
  local folder
  for folder in "$venv"/lib/python3*/site-packages; do
    echo "$PWD/build/release/python" >"$folder/ckptfs.pth"
  done
}

if [[ -f $stamp && $(cat "$stamp") == "$now" ]]; then
  show_package
  exit 0
fi
mkdir -p build
# Two runs side by side would tear each other's packages.
exec 9>build/venv.lock
flock 9
if [[ -f $stamp && $(cat "$stamp") == "$now" ]]; then
  show_package
  exit 0
fi
clear=()
# A stamp that differs: packages of the old list may have to go. No stamp: an
# installation was cut; go on where it stopped.
[[ -f $stamp ]] && clear=(--clear)
/usr/bin/python3 -m venv "${clear[@]}" "$venv"
"$venv/bin/python" -m pip install --quiet -r "$requirements"
show_package
echo "$now" >"$stamp"
