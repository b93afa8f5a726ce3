"""Time, CPU time and memory of one save or load by this process."""
import pathlib
import re
import resource
import time

MIB = 1 << 20


def status_mib(field):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) / 1024


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Measures from when it is made."""

    def __init__(self):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        self.base = status_mib("VmRSS")
        self.start_clocks()

    def start_clocks(self):
        """Anew; memory still counts from the beginning."""
        self.cpu = cpu_seconds()
        self.start = time.monotonic()

    def figures(self, tensor_bytes):
        """Seconds, CPU-seconds, and by how many MiB the peak of memory exceeded
        what was there before and what is made of tensors."""
        seconds = time.monotonic() - self.start
        cpu = cpu_seconds() - self.cpu
        return seconds, cpu, status_mib("VmHWM") - self.base - tensor_bytes / MIB

    def print(self, tensor_bytes):
        seconds, cpu, over = self.figures(tensor_bytes)
        print(f"{seconds:.4f} {cpu:.4f} {over:.1f}", flush=True)
