"""exists, list, remove and the errors of all."""
import pathlib
import pickle

import ckptfs
import pytest


def test_exists_list_remove(place):
    ckptfs.save({"a": 1}, place + "one.pt")
    ckptfs.save({"a": 2}, place + "two.pt")
    assert ckptfs.exists(place + "one.pt")
    assert ckptfs.list(place) == ["one.pt", "two.pt"]
    ckptfs.remove(place + "one.pt")
    assert not ckptfs.exists(place + "one.pt")
    assert ckptfs.list(place) == ["two.pt"]
    ckptfs.remove(place + "one.pt")


def test_paths_of_pathlib(tmp_path):
    ckptfs.save({"a": 1}, tmp_path / "x.pt")
    assert ckptfs.exists(tmp_path / "x.pt")
    assert ckptfs.load(tmp_path / "x.pt") == {"a": 1}


def test_a_uri_in_pathlib_is_refused():
    with pytest.raises(ValueError, match="does not survive pathlib"):
        ckptfs.exists(pathlib.Path("s3://bucket/key"))


@pytest.mark.parametrize("uri", ["s3://", "gs://bucket/key", "", "a\0b"])
def test_wrong_uris_are_value_errors(uri):
    with pytest.raises(ValueError):
        ckptfs.exists(uri)


@pytest.mark.parametrize("path", [1, None, b"bytes"])
def test_wrong_types_are_type_errors(path):
    with pytest.raises(TypeError):
        ckptfs.exists(path)


def test_what_is_not_there(place):
    with pytest.raises(FileNotFoundError) as caught:
        ckptfs.load(place + "none.pt")
    assert isinstance(caught.value, ckptfs.S3Exception)
    assert caught.value.code == "NotFound"
    assert "none.pt" in str(caught.value)


def test_an_error_of_s3_says_what_the_server_said(bucket):
    with pytest.raises(ckptfs.S3Exception) as caught:
        ckptfs.load("s3://there-is-no-such-bucket/key")
    error = caught.value
    assert error.status == 404
    assert error.s3_code == "NoSuchBucket"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.code, again.status, again.s3_code, str(again)) == (
        error.code, error.status, error.s3_code, str(error))


def test_wrong_credentials_are_permission_errors(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PermissionError) as caught:
        ckptfs.load(bucket.uri + "x.pt")
    assert isinstance(caught.value, ckptfs.S3Exception)
    assert caught.value.status == 403


@pytest.mark.parametrize("fields", [
    {"part_size": (5 << 20) - 1}, {"part_size": (5 << 30) + 1},
    {"max_attempts": 0}, {"throughput_target_gbps": 0},
    {"unsigned": True, "requester_pays": True}])
def test_a_wrong_config_is_refused_when_it_is_made(fields):
    with pytest.raises(ValueError):
        ckptfs.S3ClientConfig(**fields)


def test_the_part_size_of_a_config_is_that_of_the_upload(bucket):
    import torch

    config = ckptfs.S3ClientConfig(part_size=5 << 20)
    ckptfs.save(torch.zeros(3 << 20), bucket.uri + "x.pt", config=config)
    # 12 MiB and a little in parts of 5 MiB.
    assert bucket.head("x.pt")["ETag"].strip('"').endswith("-3")


@pytest.mark.ckptfs_only
def test_a_path_below_a_mount(mount):
    path = pathlib.Path(mount.path) / "x.pt"
    ckptfs.save({"a": 1}, path)
    assert ckptfs.exists(path)
    assert ckptfs.list(mount.path) == ["x.pt"]
    assert ckptfs.load(path) == {"a": 1}
    ckptfs.remove(path)
    assert not path.exists()


@pytest.mark.parametrize("call", [ckptfs.exists, ckptfs.load, ckptfs.remove,
                                  lambda path: ckptfs.save(1, path)])
def test_a_name_that_is_no_text_is_a_value_error(call):
    with pytest.raises(ValueError, match="Unicode"):
        call("s3://bucket/\udc80")
