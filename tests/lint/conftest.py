"""The lints look at files, not at a mount: they find each other's module."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
