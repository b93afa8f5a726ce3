"""coreutils and the shell."""
import hashlib
import os
import subprocess

import pytest

from support.programs import wait_until


def shell(mount, script):
    """Runs `script` with the mount as working directory; its output."""
    done = subprocess.run(["bash", "-euc", script], cwd=mount.path, text=True,
                          capture_output=True, timeout=120,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("size", [0, 1, 100_000, 30 << 20])
def test_cp(mount, tmp_path, random_bytes, size):
    """In, out, and within the mount. [S-01] [S-05]"""
    body = random_bytes(size)
    (tmp_path / "in").write_bytes(body)
    shell(mount, f"cp {tmp_path}/in copied; cp copied within; "
                 f"cp within {tmp_path}/out; cmp copied within")
    assert mount.bucket.names() == ["copied", "within"]
    assert mount.bucket.read("copied") == body
    assert mount.bucket.read("within") == body
    assert (tmp_path / "out").read_bytes() == body


def test_cp_over_an_existing_file_and_with_attributes(mount, tmp_path,
                                                      random_bytes):
    """cp -p keeps mode and time. [S-32] [S-01]"""
    body = random_bytes(200_000)
    (tmp_path / "in").write_bytes(body)
    os.chmod(tmp_path / "in", 0o640)
    os.utime(tmp_path / "in", ns=(10**18, 10**18 + 7))
    shell(mount, f"echo old > target; cp -p {tmp_path}/in target")
    assert mount.bucket.read("target") == body
    found = os.stat(mount.path / "target")
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o640, 10**18 + 7)


def test_mv(mount, tmp_path, random_bytes):
    """Within the mount a rename; from outside a copy and an unlink. [S-35]"""
    body = random_bytes(12 << 20)
    (tmp_path / "in").write_bytes(body)
    shell(mount, f"mv {tmp_path}/in a; mv a b; mkdir sub; mv b sub/; "
                 "echo old > c; mv -f sub/b c; rmdir sub")
    # A reader's close is told to the mount after the program went on.
    wait_until(lambda: mount.bucket.keys() == ["c"], "nothing else is left")
    assert mount.bucket.read("c") == body
    shell(mount, f"mv c {tmp_path}/out")
    assert (tmp_path / "out").read_bytes() == body
    wait_until(lambda: mount.bucket.keys() == [], "nothing is left")


def test_mv_no_clobber(mount):
    """mv -n renames with RENAME_NOREPLACE. [S-35]"""
    shell(mount, "echo one > a; echo two > b; mv -n a b; mv -n a d")
    assert mount.bucket.read("b") == b"two\n"
    assert mount.bucket.read("d") == b"one\n"
    assert mount.bucket.names() == ["b", "d"]


def test_ls_and_find(mount):
    """Names, types and sizes of a tree that other clients wrote. [S-33]
    [S-37]"""
    mount.bucket.write("top.bin", b"x" * 1234)
    mount.bucket.write("step-1/model.pt", b"x" * 77)
    mount.bucket.write("step-1/deep/er/opt.pt", b"y")
    listing = shell(mount, "ls -lR")
    for name, size in (("top.bin", 1234), ("model.pt", 77), ("opt.pt", 1)):
        line = [line for line in listing.splitlines() if line.endswith(name)]
        assert len(line) == 1 and line[0].split()[4] == str(size)
        assert line[0].startswith("-rw")
    assert "./step-1/deep/er:" in listing
    found = shell(mount, "find . -type f -printf '%P %s\\n' | sort")
    assert found == ("step-1/deep/er/opt.pt 1\nstep-1/model.pt 77\n"
                     "top.bin 1234\n")
    assert shell(mount, "find . -type d | sort") == (
        ".\n./step-1\n./step-1/deep\n./step-1/deep/er\n")
    assert shell(mount, "ls -a") == ".\n..\nstep-1\ntop.bin\n"


def test_rm_r(mount):
    """A tree of 300 files in 12 directories, some of them just written. [S-37]
    [S-33]"""
    for directory in range(10):
        for file in range(25):
            mount.bucket.write(f"tree/d{directory}/f{file}", b"x")
    shell(mount, "mkdir -p tree/new/er; for i in $(seq 50); do echo $i > "
                 "tree/new/er/$i; done; ls -lR tree > /dev/null; rm -r tree; "
                 "test ! -e tree")
    wait_until(lambda: mount.bucket.keys() == [], "nothing is left")


def test_redirects(mount):
    """The shell opens, several programs write and exit: one file. [S-11]"""
    shell(mount, """
( echo one; echo two; /bin/echo three ) > sub
{ echo one; /bin/echo two; } > group
( (sleep 0.2; echo late) & echo early; wait ) > background
exec 3> long; echo a >&3; /bin/echo b >&3; exec 3>&-
echo first > appended; /bin/echo second >> appended; echo third >> appended
> empty
: >> touched_by_append
head -c 20000000 /dev/zero | tee teed > /dev/null
cat sub group > both
echo once > rewritten; echo twice > rewritten
set -o noclobber; echo new > exclusive
""")
    expected = {
        "sub": b"one\ntwo\nthree\n", "group": b"one\ntwo\n",
        "background": b"early\nlate\n", "long": b"a\nb\n",
        "appended": b"first\nsecond\nthird\n", "empty": b"",
        "touched_by_append": b"", "teed": bytes(20_000_000),
        "both": b"one\ntwo\nthree\none\ntwo\n", "rewritten": b"twice\n",
        "exclusive": b"new\n"}
    assert mount.bucket.names() == sorted(expected)
    for name, body in expected.items():
        assert mount.bucket.read(name) == body, name
        assert (mount.path / name).read_bytes() == body, name


def test_dd_and_checksums(mount):
    """Block sizes that no part size is a multiple of. [S-01] [S-05]"""
    shell(mount, """
head -c 25000000 /dev/urandom > source
dd if=source of=odd bs=77777 status=none
dd if=source of=synced bs=1M conv=fsync status=none
cat source | dd of=pipe bs=4k iflag=fullblock status=none
sha256sum source odd synced pipe > sums
sha256sum --quiet -c sums
""")
    digests = {hashlib.sha256(mount.bucket.read(name)).hexdigest()
               for name in ("source", "odd", "synced", "pipe")}
    assert len(digests) == 1


def test_touch_and_truncate(mount):
    """touch makes an empty object; truncate -s 0 empties one. [S-32] [S-01]"""
    shell(mount, "touch new; echo full > emptied; truncate -s 0 emptied; "
                 "touch -d '2001-02-03 04:05:06 UTC' new")
    assert mount.bucket.read("new") == b""
    assert mount.bucket.read("emptied") == b""
    assert int(os.stat(mount.path / "new").st_mtime) == 981173106


def test_tar(mount, tmp_path):
    """An archive into and out of the mount. [S-01] [S-05]"""
    shell(mount, f"""
mkdir tree; for i in 1 2 3; do head -c ${{i}}00000 /dev/urandom > tree/$i; done
tar -cf archive.tar tree
tar -C {tmp_path} -xf archive.tar
diff -r tree {tmp_path}/tree
mkdir again; tar -C again -xf archive.tar; diff -r tree again/tree
""")
    assert "again/tree/3" in mount.bucket.names()
