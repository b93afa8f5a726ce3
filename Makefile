# One command per purpose. Every target sets up what it needs (Debian packages,
# a virtual environment under build/) and does nothing where that is done.
#
#   make build     the programs, in build/bin
#   make demo      a Lightning training that is killed in mid-save and resumes
#   make lint      clang-format and clang-tidy on the C++ files that changed
#   make test      all tests, under 15 minutes when built
#   make test-all  the same, then clang 19, clang-tidy, clang-format, mutants of
#                  the file system, fuzzers
#   make bench     speed, CPU and memory against our own client without FUSE
#   make bench-checkpoint
#                  saves and loads of the library against s3torchconnector's
#   make bench-python
#                  the Python package against s3torchconnector, s3fs and boto3
#   make install   program and library to PREFIX (default /usr/local), below
#                  DESTDIR; libckptfs_torch too where libtorch is (make venv)
#   make clean     removes what was built; keeps the virtual environment

# The first cmake in PATH may be another one, too old or too new for the
# presets; Debian's is the one that is tested.
CMAKE ?= /usr/bin/cmake
PREFIX ?= /usr/local
PYTHON := build/venv/bin/python
JOBS ?= $(shell nproc)

# With these, ccache finds a source again in another build folder or clone.
export CCACHE_NOHASHDIR := 1
export CCACHE_BASEDIR := $(CURDIR)

.PHONY: build demo lint test test-all bench bench-checkpoint bench-python \
        install clean packages packages-test packages-lint packages-all venv \
        peers

build: packages
	$(CMAKE) --preset release
	$(CMAKE) --build build/release -j $(JOBS)

# The build makes the Python package where the environment for it is there.
demo: packages-test venv build
	CKPTFS_BIN_DIR=$(CURDIR)/build/bin $(PYTHON) demo/run.py

# With the environment, so that the Python module's sources have commands.
lint: packages packages-test packages-lint venv
	$(PYTHON) tools/lint_changed.py --cmake $(CMAKE) --jobs $(JOBS)

test: packages packages-test venv peers
	$(PYTHON) tools/run_tests.py --cmake $(CMAKE) --jobs $(JOBS)

test-all: packages packages-test packages-all venv peers
	$(PYTHON) tools/run_tests.py --cmake $(CMAKE) --jobs $(JOBS) --all

bench: packages-test venv build
	CKPTFS_BIN_DIR=$(CURDIR)/build/bin $(PYTHON) bench/run_s3server_speed.py
	CKPTFS_BIN_DIR=$(CURDIR)/build/bin $(PYTHON) bench/mount_bench.py

bench-checkpoint: packages-test venv peers build
	CKPTFS_BIN_DIR=$(CURDIR)/build/bin $(PYTHON) bench/checkpoint_bench.py

bench-python: packages-test venv peers build
	CKPTFS_BIN_DIR=$(CURDIR)/build/bin $(PYTHON) bench/python/package_bench.py

install: build
	DESTDIR=$(DESTDIR) $(CMAKE) --install build/release --prefix $(PREFIX)

clean:
	rm -rf build/release build/debug build/asan-ubsan build/tsan \
	       build/clang build/fuzz build/bin build/test-results

packages:
	tools/install_packages.sh build
packages-test:
	tools/install_packages.sh test
packages-lint:
	tools/install_packages.sh lint
packages-all:
	tools/install_packages.sh all
venv: packages-test
	tools/make_venv.sh
peers: venv
	tools/make_peers.sh
