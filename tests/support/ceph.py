"""A whole Ceph cluster in one directory: a monitor, one OSD in memory and a
radosgw, on free loopback ports, without systemd. Takes about 15 s to start.

Runs as root, or as anybody: nothing outside the directory is touched.
"""
import json
import os
import subprocess
import uuid

from . import programs
from .servers import Server

# A memstore keeps deleted data until radosgw's garbage collection has run; the
# short intervals and the cap keep a test run from filling the memory.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
ms bind ipv4 = true
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {port_min}
ms bind port max = {port_max}
run dir = {directory}
pid file = {directory}/$name.pid
admin socket = {directory}/$name.asok
crash dir = {directory}
log file = {directory}/$name.log
keyring = {directory}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 1000
mon data = {directory}/mon
mon data avail crit = 0
mon data avail warn = 0
mon osd nearfull ratio = 0.98
auth allow insecure global id reclaim = false

[osd]
osd objectstore = memstore
osd data = {directory}/osd
memstore device bytes = 6442450944
osd class load list = *
osd class default list = *

[client.rgw]
keyring = {directory}/rgw.keyring
rgw frontends = beast endpoint=127.0.0.1:{rgw_port}
rgw gc obj min wait = 0
rgw gc processor period = 2
rgw gc processor max time = 2
rgw enable usage log = false
rgw dns name = localhost
"""


class RadosGw(Server):
    """The cluster; `bucket` exists in it."""
    flavor = "radosgw"

    def __init__(self):
        super().__init__()
        self.daemons = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        directory = self.directory
        self.fsid = str(uuid.uuid4())
        rgw_port = programs.free_port()
        mon_port = programs.free_port()
        # The OSD takes four ports; no way to ask it which, so give it a range
        # that depends on the process and leave the clash to its own search.
        port_min = 20000 + os.getpid() % 300 * 40
        self.configuration = directory / "ceph.conf"
        self.configuration.write_text(CONFIGURATION.format(
            fsid=self.fsid, directory=directory, mon_port=mon_port,
            rgw_port=rgw_port, port_min=port_min, port_max=port_min + 39))
        self._make_keys()
        self._run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a",
                  f"[v2:127.0.0.1:{mon_port}]", directory / "monmap")
        (directory / "mon").mkdir()
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap",
                  directory / "monmap", "--keyring", directory / "mon.keyring")
        self._daemon("ceph-mon", "-f", "-i", "a")
        programs.wait_until(self._quorum, "the monitor answers", 60, 0.1)

        (directory / "osd").mkdir()
        osd_uuid = str(uuid.uuid4())
        self._ceph("osd", "new", osd_uuid)
        self._ceph("auth", "add", "osd.0", "mon", "allow profile osd", "osd",
                   "allow *", "-i", directory / "osd.keyring")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_uuid,
                  "--keyring", directory / "osd.keyring")
        self._daemon("ceph-osd", "-f", "-i", "0", "--keyring",
                     directory / "osd.keyring")
        programs.wait_until(self._osd_up, "the OSD is up", 60, 0.1)

        self.endpoint = f"http://127.0.0.1:{rgw_port}"
        self.process = self._daemon("radosgw", "-f", "-n", "client.rgw")
        self.process.wait_for(lambda: programs.listens(rgw_port),
                              "radosgw listens", 120)
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create",
                  "--uid", "test", "--display-name", "test", "--access-key",
                  self.access_key, "--secret-key", self.secret_key)
        self.client().create_bucket(Bucket=self.bucket)

    def _make_keys(self):
        keyring = self.directory / "keyring"
        mon = self.directory / "mon.keyring"
        self._run("ceph-authtool", "--create-keyring", mon, "--gen-key", "-n",
                  "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key",
                  "-n", "client.admin", "--cap", "mon", "allow *", "--cap",
                  "osd", "allow *", "--cap", "mgr", "allow *")
        # Known to the monitor from its birth, so that no call is needed later.
        rgw = self.directory / "rgw.keyring"
        self._run("ceph-authtool", "--create-keyring", rgw, "--gen-key", "-n",
                  "client.rgw", "--cap", "mon", "allow rwx", "--cap", "osd",
                  "allow rwx")
        self._run("ceph-authtool", "--create-keyring",
                  self.directory / "osd.keyring", "--gen-key", "-n", "osd.0")
        for ring in (keyring, rgw):
            self._run("ceph-authtool", mon, "--import-keyring", ring)

    def _run(self, program, *arguments, timeout=60):
        done = subprocess.run(
            [program, "-c", str(self.configuration), *map(str, arguments)]
            if program not in ("ceph-authtool", "monmaptool")
            else [program, *map(str, arguments)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, cwd=self.directory)
        if done.returncode != 0:
            raise RuntimeError(f"{program} {arguments}: {done.stderr}")
        return done.stdout

    def _ceph(self, *arguments):
        return self._run("ceph", "--connect-timeout", "10", *arguments)

    def _daemon(self, program, *arguments):
        daemon = programs.Process(
            [program, "-c", self.configuration, *arguments],
            self.directory / f"{program}.out", cwd=self.directory)
        self.daemons.append(daemon)
        return daemon

    def _quorum(self):
        try:
            return "quorum" in self._ceph("mon", "stat")
        except (RuntimeError, subprocess.TimeoutExpired):
            if not self.daemons[0].running():
                raise
            return False

    def _osd_up(self):
        state = json.loads(self._ceph("osd", "stat", "--format", "json"))
        return state["num_up_osds"] == 1

    def stop(self):
        # Nothing in memory is worth a clean end.
        for daemon in reversed(self.daemons):
            daemon.kill()
        self.daemons = []
        self.process = None
        super().stop()
