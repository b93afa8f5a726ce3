#!/bin/bash
# Installs the Debian packages of a purpose, if any is missing:
#   build  compilers and libraries
#   test   what the tests, the demo and the benchmarks run besides
#   lint   clang-tidy and clang-format, for make lint
#   all    clang with libFuzzer, clang-tidy and clang-format, for make test-all
# Asks apt only when dpkg says that something is missing, so that a machine
# that is set up needs neither network nor root.
set -euo pipefail

build=(
  cmake ninja-build g++ make ccache pkg-config git ca-certificates
  libfuse3-dev fuse3 libcurl4-openssl-dev libssl-dev libxml2-dev
  libspdlog-dev libfmt-dev libexpected-dev libcli11-dev nlohmann-json3-dev
  zlib1g-dev libdeflate-dev
  libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev
)
test=(
  python3-venv openssl mandoc attr procps
  radosgw ceph-mon ceph-osd ceph-common
)
lint=(clang-tidy-19 clang-format-19)
all=("${lint[@]}" clang-19 libclang-rt-19-dev)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${test[@]}") ;;
  lint) wanted=("${lint[@]}") ;;
  all) wanted=("${all[@]}") ;;
  *) echo "usage: $0 build|test|lint|all" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

sudo=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || {
    echo "missing packages, and no sudo to install them: ${missing[*]}" >&2
    exit 1
  }
  sudo=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q
# No recommended packages: those of ceph would start daemons.
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -q -y --no-install-recommends "${missing[@]}"
