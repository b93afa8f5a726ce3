"""Runs every test stage, tells how long each took, and counts.

Stages: release build, ctest, the Python suites against the release programs,
the address and undefined-behaviour sanitizers on the unit and simulation
programs, and ThreadSanitizer on those whose label is "threads". With --all also
clang 19 (build and ctest), clang-tidy, clang-format, the mutants that the
simulation must notice, and every fuzz target for a while (tests/fuzz).

The last line is "N passed, N failed"; the exit status is 0 only if nothing
failed. A stage that cannot run (a broken build) counts as one failure, and
what depends on it is not run.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "test-results"
SANITIZED_LABELS = "unit|simulation"
RACE_LABELS = "threads"
# What pytest's own limit for each test cannot end must not hang the run.
PYTEST_LIMIT_S = 2400
# Of each fuzz target. The seed is always the same, so that a failure repeats;
# longer runs with other seeds are for people.
FUZZ_SECONDS = 20
FUZZ_SEED = 1


def fixed_addresses():
    """The command before one that is to run with its memory laid out as ever.

    g++ 12's ThreadSanitizer ends at once ("unexpected memory mapping") where
    the kernel shifts a program by more than 28 bits (vm.mmap_rnd_bits), as some
    distributions have it. A container may forbid to turn that off; then it is
    tried as it is.
    """
    command = ["setarch", "-R"]
    allowed = subprocess.run([*command, "true"], capture_output=True)
    return command if allowed.returncode == 0 else []


class Count:
    """What came out so far."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.failures = []

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)

    def add_junit(self, path, stage):
        """Counts the cases of one JUnit or GoogleTest file."""
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = f"{stage}: {case.get('classname')}.{case.get('name')}"
            if (case.find("failure") is not None
                    or case.find("error") is not None):
                self.fail(name)
            elif (case.find("skipped") is not None
                  or case.get("result") == "skipped"
                  or case.get("status") == "notrun"):
                self.skipped += 1
            else:
                self.passed += 1


class Runner:
    """The stages, in the order in which main() calls them."""

    def __init__(self, cmake, jobs):
        self.cmake = cmake
        self.ctest = str(pathlib.Path(cmake).with_name("ctest"))
        self.jobs = str(jobs)
        self.count = Count()
        self.times = []

    def stage(self, name, function, *args):
        print(f"=== {name}", flush=True)
        start = time.monotonic()
        result = function(*args)
        self.times.append((name, time.monotonic() - start))
        return result

    def build(self, preset, targets=()):
        """Configures and builds; False, counted as a failure, if it fails."""
        command = [self.cmake, "--build", f"build/{preset}", "-j", self.jobs]
        if targets:
            command += ["--target", *targets]
        for step in ([self.cmake, "--preset", preset], command):
            if subprocess.run(step, cwd=ROOT).returncode != 0:
                self.count.fail(f"build {preset}")
                return False
        return True

    def listed_tests(self, preset, labels):
        """Names of the registered tests, which are those of their targets."""
        command = [self.ctest, "--show-only=json-v1", "-L", labels]
        listing = subprocess.run(command, cwd=ROOT / "build" / preset,
                                 check=True, capture_output=True, text=True)
        return [t["name"] for t in json.loads(listing.stdout)["tests"]]

    def build_labelled(self, preset, labels):
        if subprocess.run([self.cmake, "--preset", preset],
                          cwd=ROOT).returncode != 0:
            self.count.fail(f"configure {preset}")
            return False
        return self.build(preset, self.listed_tests(preset, labels))

    def run_ctest(self, preset, labels=".*", prefix=()):
        """Counts GoogleTest's cases, and one for a program that died."""
        results = RESULTS / preset
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        environment = dict(os.environ, GTEST_OUTPUT=f"xml:{results}/")
        junit = results / "ctest.junit"
        command = [*prefix, self.ctest, "--output-on-failure",
                   "--no-tests=error", "-j", self.jobs,
                   "--output-junit", str(junit)]
        if labels != ".*":
            command += ["-L", labels]
        code = subprocess.run(command, cwd=ROOT / "build" / preset,
                              env=environment).returncode
        failed_before = self.count.failed
        programs = ElementTree.parse(junit).getroot() if junit.exists() else ()
        for program in programs:
            name = program.get("name")
            cases = results / f"{name}.xml"
            if cases.exists():
                before = self.count.failed
                self.count.add_junit(cases, preset)
                # All cases passed and the program failed all the same: a leak
                # or a crash at the end.
                if (program.get("status") == "fail"
                        and self.count.failed == before):
                    self.count.fail(f"{preset}: {name}")
            elif program.get("status") == "run":
                self.count.passed += 1
            elif program.get("status") == "disabled":
                self.count.skipped += 1
            else:
                self.count.fail(f"{preset}: {name}")
        if code != 0 and self.count.failed == failed_before:
            self.count.fail(f"ctest {preset}")

    def run_pytest(self, everything):
        junit = RESULTS / "pytest.xml"
        junit.unlink(missing_ok=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ,
                           CKPTFS_BIN_DIR=str(ROOT / "build" / "bin"))
        # A path below /opt or in the caller's environment must not lend the
        # suites packages that a fresh machine lacks.
        environment.pop("PYTHONPATH", None)
        if everything:
            environment.setdefault("CKPTFS_TORTURE_SECONDS", "60")
        try:
            code = subprocess.run(
                # Tests mostly wait. The tests of a file stay together, for
                # what they share; files go in their order, the slow first.
                [sys.executable, "-m", "pytest", f"--junitxml={junit}",
                 "-n", self.jobs, "--dist=loadfile", "--no-loadscope-reorder",
                 "--durations=10", "tests"], cwd=ROOT, env=environment,
                timeout=PYTEST_LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {PYTEST_LIMIT_S} s"
        failed_before = self.count.failed
        if junit.exists():
            self.count.add_junit(junit, "pytest")
        if code != 0 and self.count.failed == failed_before:
            self.count.fail(f"pytest ended with status {code}")

    def run_clang_tidy(self):
        """One count per source file."""
        sources = sorted((ROOT / "src").rglob("*.cc"))
        waiting = list(sources)
        running = {}
        while waiting or running:
            while waiting and len(running) < int(self.jobs):
                source = waiting.pop(0)
                running[source] = subprocess.Popen(
                    ["clang-tidy-19", "--quiet", "-p", "build/clang",
                     str(source)], cwd=ROOT, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True)
            source, process = next(iter(running.items()))
            output, _ = process.communicate()
            del running[source]
            if process.returncode == 0:
                self.count.passed += 1
            else:
                print(output)
                self.count.fail(f"clang-tidy: {source.relative_to(ROOT)}")

    def run_clang_format(self):
        """One count for all files: what to run is printed."""
        files = subprocess.run(
            ["git", "ls-files", "*.cc", "*.h"], cwd=ROOT, check=True,
            capture_output=True, text=True).stdout.split()
        wrong = [name for name in files if subprocess.run(
            ["clang-format-19", "--dry-run", "-Werror", name], cwd=ROOT,
            capture_output=True).returncode != 0]
        if wrong:
            print("clang-format-19 -i", *wrong)
            self.count.fail("clang-format")
        else:
            self.count.passed += 1

    def run_fuzzers(self):
        """One count per target; what broke it is kept in the results."""
        fuzz = ROOT / "tests" / "fuzz"
        RESULTS.mkdir(parents=True, exist_ok=True)
        for program in sorted((ROOT / "build/fuzz/bin").glob("fuzz_*")):
            target = program.name.removeprefix("fuzz_")
            dictionary = fuzz / "dictionaries" / f"{target}.dict"
            options = [f"-dict={dictionary}"] if dictionary.exists() else []
            print(f"{program.name}: seed {FUZZ_SEED}, {FUZZ_SECONDS} s",
                  flush=True)
            with tempfile.TemporaryDirectory() as found:
                done = subprocess.run(
                    [program, f"-seed={FUZZ_SEED}",
                     f"-max_total_time={FUZZ_SECONDS}", "-timeout=10",
                     "-rss_limit_mb=2048", "-malloc_limit_mb=1024",
                     "-max_len=65536", "-verbosity=0",
                     f"-artifact_prefix={RESULTS}/{target}-", *options, found,
                     fuzz / "corpus" / target], cwd=ROOT)
            if done.returncode == 0:
                self.count.passed += 1
            else:
                self.count.fail(f"fuzz: {target}")

    def run_mutants(self):
        """The simulation must notice each change that breaks the promise."""
        done = subprocess.run(
            [sys.executable, ROOT / "tests/simulation/mutants/run.py"], cwd=ROOT)
        if done.returncode == 0:
            self.count.passed += 1
        else:
            self.count.fail("mutants of the file system")

    def report(self):
        print("=== stages")
        for name, seconds in self.times:
            print(f"{seconds:8.1f} s  {name}")
        for name in self.count.failures:
            print(f"FAILED {name}")
        if self.count.skipped:
            print(f"skipped: {self.count.skipped}")
        print(f"{self.count.passed} passed, {self.count.failed} failed")
        return 1 if self.count.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cmake", default="/usr/bin/cmake")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--all", action="store_true",
                        help="also clang 19, clang-tidy, clang-format, "
                             "mutants, fuzzers")
    arguments = parser.parse_args()

    runner = Runner(shutil.which(arguments.cmake), arguments.jobs)
    if runner.stage("build release", runner.build, "release"):
        runner.stage("ctest release", runner.run_ctest, "release")
        runner.stage("pytest", runner.run_pytest, arguments.all)
    if runner.stage("build asan-ubsan", runner.build_labelled, "asan-ubsan",
                    SANITIZED_LABELS):
        runner.stage("ctest asan-ubsan", runner.run_ctest, "asan-ubsan",
                     SANITIZED_LABELS)
    if runner.stage("build tsan", runner.build_labelled, "tsan", RACE_LABELS):
        runner.stage("ctest tsan", runner.run_ctest, "tsan", RACE_LABELS,
                     fixed_addresses())
    if arguments.all and runner.stage("build clang", runner.build, "clang"):
        runner.stage("ctest clang", runner.run_ctest, "clang")
        runner.stage("clang-tidy", runner.run_clang_tidy)
        runner.stage("clang-format", runner.run_clang_format)
        runner.stage("mutants", runner.run_mutants)
        if runner.stage("build fuzz", runner.build, "fuzz", ["fuzzers"]):
            runner.stage("fuzz", runner.run_fuzzers)
    return runner.report()


if __name__ == "__main__":
    sys.exit(main())
