"""The demo: an unmodified Lightning training on a mounted bucket is killed in
the middle of a save, and resumes.

    make demo

starts the in-tree S3 server. With a real bucket:

    CKPTFS_DEMO_URI=s3://bucket/prefix make demo

and credentials in AWS_* variables (and AWS_ENDPOINT_URL for another store than
AWS). Nothing but the objects below a new directory of the prefix is touched,
and those are removed at the end.

Exits with 0 only if every check held.
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import boto3  # noqa: E402
import torch  # noqa: E402

from support import servers  # noqa: E402
from support.bucket import BucketPrefix  # noqa: E402
from support.ckptfs_mount import CkptfsMount  # noqa: E402
from support.programs import wait_until  # noqa: E402

SCRIPT = ROOT / "examples/lightning_train.py"
FIRST_EPOCHS = 3
MIB = 1 << 20


class RealBucket:
    """The bucket of CKPTFS_DEMO_URI, with the caller's own credentials; the
    same interface as the servers of the tests."""
    flavor = "real"

    def __init__(self, uri):
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc:
            sys.exit(f"CKPTFS_DEMO_URI must be s3://bucket/prefix, not {uri}")
        self.bucket = parts.netloc
        self.parent = parts.path.strip("/")
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or \
            os.environ.get("AWS_ENDPOINT_URL")

    def client(self):
        return boto3.client("s3", endpoint_url=self.endpoint)

    def prefix(self, prefix):
        return BucketPrefix(self.client(), self.bucket, prefix)

    def environment(self):
        return {name: value for name, value in os.environ.items()
                if name.startswith("AWS_")}

    def stop(self):
        pass


class Checks:
    """What was looked at, and whether it held."""

    def __init__(self):
        self.rows = []

    def note(self, what, held, detail=""):
        self.rows.append((what, bool(held), detail))
        print(f"  {'ok  ' if held else 'FAIL'} {what}"
              + (f": {detail}" if detail else ""), flush=True)
        return held

    def all_held(self):
        return all(held for _, held, _ in self.rows)


def step(text):
    print(f"\n== {text}", flush=True)


def start_training(directory, epochs, log, resume):
    command = [sys.executable, SCRIPT, "--dir", directory, "--epochs",
               str(epochs)] + ["--resume"] * resume
    print("  $ " + " ".join(str(word) for word in command[1:]), flush=True)
    # Its own scratch space: Lightning writes each checkpoint there first, and
    # a killed one leaves it.
    return subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": os.path.dirname(log.name)})


def train(directory, epochs, log, resume=False):
    code = start_training(directory, epochs, log, resume).wait(600)
    if code != 0:
        raise RuntimeError(f"the training ended with {code}:\n"
                           + pathlib.Path(log.name).read_text()[-4000:])


def checkpoint_names(bucket):
    return sorted(name for name in bucket.names()
                  if name.startswith("run/checkpoints/"))


def check_whole(checks, mount, name):
    """torch.load from the mount, and the bytes against a plain client's."""
    loaded = torch.load(mount.path / name, weights_only=True)
    same = (mount.path / name).read_bytes() == mount.bucket.read(name)
    checks.note(f"{name} is whole", same and "state_dict" in loaded,
                f"epoch {loaded['epoch']}, the same bytes by boto3")
    return loaded["epoch"]


def slow_down(server, mib_per_second):
    """Makes the window certain in which an upload is open."""
    if server.flavor == "s3server":
        server.control(f"set?conn_mibs={mib_per_second}")


def kill_in_mid_save(mount, server, directory, log):
    """Resumes the training and kills it while the store holds an open upload
    of a checkpoint. Returns that checkpoint's name."""
    slow_down(server, 8)
    trainer = start_training(directory, 1000, log, resume=True)
    try:
        def upload():
            if trainer.poll() is not None:
                raise RuntimeError("the training ended by itself:\n"
                                   + pathlib.Path(log.name).read_text()[-4000:])
            return [name for name in mount.bucket.uploads()
                    if name.startswith("run/checkpoints/")]
        name = wait_until(upload, "a checkpoint is being uploaded", 180,
                          0.01)[0]
        trainer.send_signal(signal.SIGKILL)
    finally:
        if trainer.poll() is None:
            trainer.kill()
        trainer.wait(30)
    slow_down(server, 0)
    return name


def run(server, mount, log, checks):
    directory = mount.path / "run"
    step(f"{FIRST_EPOCHS} epochs of an ordinary Lightning training")
    train(directory, FIRST_EPOCHS, log)
    before = checkpoint_names(mount.bucket)
    checks.note("save_top_k=2 and save_last made three checkpoints",
                len(before) == 3)
    size = mount.bucket.head("run/checkpoints/last.ckpt")["ContentLength"]
    checks.note("a checkpoint has at least 64 MiB", size >= 64 * MIB,
                f"{size / MIB:.0f} MiB")

    step("the training goes on and is killed with SIGKILL in mid-upload")
    bodies = {name: mount.bucket.read(name) for name in before}
    victim = kill_in_mid_save(mount, server, directory, log)
    print(f"  killed while the store held an open upload of {victim}")
    wait_until(lambda: not mount.bucket.uploads(), "the upload is aborted")
    if victim in bodies:
        checks.note("the torn save left the object of that name untouched",
                    mount.bucket.read(victim) == bodies[victim], victim)
    else:
        checks.note("the torn checkpoint was never published",
                    not mount.bucket.exists(victim)
                    and not (mount.path / victim).exists(), victim)
    lost = [line for line in mount.log().splitlines() if "lost: " in line]
    checks.note("the log names the lost file",
                any(victim in line for line in lost))
    for name in checkpoint_names(mount.bucket):
        # The last of the list is last.ckpt, which sorts behind epoch=...
        epoch = check_whole(checks, mount, name)

    step("the training resumes from ckpt_path=\"last\"")
    train(directory, epoch + 2, log, resume=True)
    text = pathlib.Path(log.name).read_text()
    checks.note("Lightning restored run/checkpoints/last.ckpt",
                f"Restored all states from the checkpoint at {directory}"
                "/checkpoints/last.ckpt" in text)
    resumed = check_whole(checks, mount, "run/checkpoints/last.ckpt")
    checks.note("it went on from there", resumed == epoch + 1,
                f"epoch {epoch} -> {resumed}")

    step("the mount")
    subprocess.run(["ls", "-l", directory / "checkpoints"], check=True)
    step("the bucket, by boto3")
    listed = {}
    for name in mount.bucket.keys():
        listed[name] = mount.bucket.head(name)["ContentLength"]
        print(f"  {listed[name]:>12}  {name}")
    seen = {str(path.relative_to(mount.path)): path.stat().st_size
            for path in mount.path.rglob("*") if path.is_file()}
    checks.note("one file is one object of the same name and size",
                seen == {name: size for name, size in listed.items()
                         if not name.endswith("/")})


def main():
    began = time.monotonic()
    uri = os.environ.get("CKPTFS_DEMO_URI")
    checks = Checks()
    server = RealBucket(uri) if uri else servers.S3Server()
    mount = None
    try:
        parent = server.parent + "/" if uri and server.parent else ""
        prefix = f"{parent}ckptfs-demo-{uuid.uuid4().hex[:8]}"
        step(f"mounting s3://{server.bucket}/{prefix} of "
             f"{server.endpoint or 'AWS'}")
        mount = CkptfsMount(server, prefix)
        with tempfile.TemporaryDirectory(prefix="ckptfs-demo-") as scratch:
            with open(pathlib.Path(scratch) / "training.log", "wb") as log:
                run(server, mount, log, checks)
        step("unmounting")
        checks.note("the mount ended in order", mount.stop("umount") == 0)
        checks.note("no multipart upload is left", not mount.bucket.uploads())
        checks.note("nothing is left under .ckptfs/",
                    not [key for key in mount.bucket.keys()
                         if key.startswith(".ckptfs/")])
    except Exception as error:  # told in the table, with the daemon's log
        checks.note("the demo ran to its end", False, str(error))
        if mount:
            print("--- log of the mount ---\n" + mount.log()[-4000:])
    finally:
        if mount:
            mount.destroy()
            mount.bucket.clear()
        server.stop()

    step("result")
    width = max(len(what) for what, _, _ in checks.rows)
    for what, held, _ in checks.rows:
        print(f"  {what:<{width}}  {'ok' if held else 'FAILED'}")
    print(f"  {time.monotonic() - began:.0f} s")
    return 0 if checks.all_held() else 1


if __name__ == "__main__":
    sys.exit(main())
