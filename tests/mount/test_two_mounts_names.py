"""What one mount remembers must not hide what another one has made.
[S-18] [S-23]"""

import os
import subprocess


def test_append_does_not_replace_what_another_mount_wrote(make_mount):
    """[S-18] The name was absent a moment ago here; it is not any more."""
    first = make_mount()
    second = make_mount(server=first.server, prefix=first.prefix)
    one, other, bucket = first.path, second.path, first.bucket
    assert not os.path.exists(other / "y")
    (one / "y").write_bytes(b"first\n")
    try:
        with open(other / "y", "ab") as file:
            file.write(b"second\n")
    except OSError:
        assert bucket.read("y") == b"first\n"
    else:
        assert bucket.read("y") == b"first\nsecond\n"


def test_mkdir_p_on_two_mounts(make_mount):
    """[S-23] A directory that another mount made is there at once."""
    first = make_mount()
    second = make_mount(server=first.server, prefix=first.prefix)
    one, other = first.path, second.path
    assert not os.path.exists(other / "zz")
    os.mkdir(one / "zz")
    subprocess.run(["mkdir", "-p", str(other / "zz" / "a")], check=True)
