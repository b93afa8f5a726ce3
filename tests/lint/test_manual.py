"""The manual: well-formed, and complete against --help, both ways."""
import os
import pathlib
import re
import subprocess

from source_tree import ROOT, text

BIN_DIR = pathlib.Path(os.environ.get("CKPTFS_BIN_DIR", ROOT / "build/bin"))
MANUAL = "man/ckptfs.1"


def help_text(*command):
    done = subprocess.run([BIN_DIR / "ckptfs", *command, "--help"],
                          capture_output=True, text=True, check=True)
    return done.stdout


def exit_codes(body, pattern):
    return {int(number) for number in re.findall(pattern, body, re.MULTILINE)}


def test_mandoc_has_nothing_to_say():
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", ROOT / MANUAL],
        capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


COMMANDS = ["mount", "umount", "inspect", "verify"]


def options_of(body):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)(?= |\n|$)",
                          options_section(body)))


def test_options():
    """Those of all commands; the manual's section on inspect and verify lists
    what mount lacks, and says which others they share with it."""
    manual = set(re.findall(r"^\.It Fl -([a-z-]+)", text(MANUAL),
                            re.MULTILINE))
    program = {command: options_of(help_text(command))
               for command in COMMANDS}
    assert manual == set().union(*program.values())
    shared = {"endpoint-url", "region", "profile", "ca-file",
              "force-path-style", "help"}
    assert program["inspect"] == shared | {"json"}
    assert program["verify"] == shared


def options_section(body):
    """The lines that begin an option, without the prose behind it."""
    return "\n".join(match[0] for match in re.finditer(
        r"^\s+(-\w,)?--[a-z-]+", body, re.MULTILINE))


def test_commands():
    manual = set(re.findall(r"^\.It Cm (\w+)", text(MANUAL), re.MULTILINE))
    program = set(re.findall(r"^  (\w+) ", help_text(), re.MULTILINE))
    assert manual == program


def test_exit_codes():
    """Each code of the manual is in the help of a command that ends with it, and
    in the README's table."""
    manual = exit_codes(text(MANUAL), r"^\.It (\d)$")
    program = {command: exit_codes(help_text(command), r"^  (\d)  ")
               for command in COMMANDS}
    assert set().union(*program.values()) == manual
    readme = exit_codes(text("README.md"), r"^\| (\d) \|")
    assert readme == manual


def test_exit_codes_of_the_source():
    source = exit_codes(text("src/cli/exit_code.h"), r"= (\d),")
    assert source == exit_codes(text(MANUAL), r"^\.It (\d)$")


def test_environment():
    """Variables of the manual are read somewhere, and the program's help names
    no other."""
    manual = set(re.findall(r"\b((?:AWS|XDG)_[A-Z0-9_]+)", text(MANUAL)))
    named = set(re.findall(r"\b(AWS_[A-Z0-9_]+)", help_text("mount")))
    assert named <= manual
