"""S3ClientConfig: each field, as the server sees it."""
import pickle

import ckptfs
import pytest
from ckptfs import S3ClientConfig
from support.servers import S3Server

MIB = 1 << 20
SECRETS = {"access_key_id": "AK", "secret_access_key": "hush-secret",
           "session_token": "hush-token"}


@pytest.fixture
def no_keys(bucket, monkeypatch, tmp_path):
    """`bucket` without any credentials; HOME is a folder of the test's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                 "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE",
                 "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION",
                 "AWS_DEFAULT_REGION", "AWS_MAX_ATTEMPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    bucket.aws = tmp_path / ".aws"
    return bucket


def started(*options):
    server = S3Server(*options)
    yield server
    server.stop()


@pytest.fixture
def open_server():
    yield from started("--no-auth")


@pytest.fixture
def paid_server():
    yield from started("--requester-pays")


def asked(server, key, op):
    """The log's entries of an operation on a key."""
    return [entry for entry in server.log()
            if entry["op"] == op and entry["key"].endswith(key)]


# --- what is refused when it is made ----------------------------------------

@pytest.mark.parametrize("fields, named", [
    ({"max_attempts": 65}, "max_attempts"),
    ({"access_key_id": "A"}, "secret_access_key"),
    ({"secret_access_key": "s"}, "access_key_id"),
    ({"session_token": "t"}, "session_token"),
    ({**SECRETS, "profile": "p"}, "profile"),
    ({**SECRETS, "unsigned": True}, "unsigned"),
    ({**SECRETS, "secret_access_key": "hush\r\nhush"}, "secret_access_key"),
    ({**SECRETS, "secret_access_key": "hush "}, "secret_access_key"),
    ({**SECRETS, "access_key_id": "A K"}, "access_key_id"),
    ({"sse": "aes"}, "sse"),
    ({"sse": "AES256", "sse_kms_key_id": "k"}, "sse_kms_key_id"),
    ({"sse": "aws:kms", "sse_kms_key_id": "k\r\nX: 1"}, "sse_kms_key_id"),
    ({"sse": "AES256", "sse_bucket_key": True}, "sse_bucket_key"),
    ({"storage_class": "A\nB"}, "storage_class"),
    ({"memory_limit": 8 * MIB - 1}, "memory_limit"),
    ({"part_size": 16 * MIB, "memory_limit": 15 * MIB}, "memory_limit"),
    ({"profile": ""}, "profile"),
    ({"ca_file": ""}, "ca_file")])
def test_wrong_values_are_named(fields, named):
    with pytest.raises(ValueError, match=named) as caught:
        S3ClientConfig(**fields)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("fields", [
    {"unsigned": 1}, {"requester_pays": "yes"}, {"max_attempts": True},
    {"profile": 1}, {"secret_access_key": b"hush"}, {"memory_limit": 1.5},
    {"sse_bucket_key": 1, "sse": "aws:kms"}])
def test_wrong_types_are_named(fields):
    with pytest.raises(TypeError, match=next(iter(fields))) as caught:
        S3ClientConfig(**fields)
    assert "hush" not in str(caught.value)


def test_a_secret_may_hold_blanks_inside(bucket):
    config = ckptfs.S3ClientConfig(
        **{**SECRETS, "secret_access_key": "hush hush"})
    with pytest.raises(PermissionError):  # the server's word, not ours
        ckptfs.exists(bucket.uri + "x", config=config)


def test_the_order_of_the_original_and_no_secret_in_repr():
    config = S3ClientConfig(10.0, 8 * MIB, False, False, 10, "p", True)
    assert config.profile == "p" and config.requester_pays
    config = S3ClientConfig(**SECRETS)
    assert "hush" not in repr(config) and "AK" in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config


# --- credentials ------------------------------------------------------------

def test_explicit_keys(no_keys, s3server):
    config = S3ClientConfig(access_key_id=s3server.access_key,
                            secret_access_key=s3server.secret_key)
    ckptfs.save({"a": 1}, no_keys.uri + "x.pt", config=config)
    assert ckptfs.load(no_keys.uri + "x.pt", config=config) == {"a": 1}
    with pytest.raises(PermissionError) as caught:
        ckptfs.load(no_keys.uri + "x.pt", config=S3ClientConfig(
            access_key_id=s3server.access_key, secret_access_key="hush"))
    assert caught.value.s3_code == "SignatureDoesNotMatch"
    assert "hush" not in str(caught.value)


def test_no_credentials_say_where_they_were_looked_for(no_keys):
    with pytest.raises(PermissionError) as caught:
        ckptfs.exists(no_keys.uri + "x.pt")
    assert caught.value.code == "Unauthenticated"
    assert str(no_keys.aws / "credentials") in str(caught.value)


def test_a_profile(no_keys, s3server, monkeypatch):
    (no_keys.aws / "credentials").write_text(
        f"[p]\naws_access_key_id = {s3server.access_key}\n"
        f"aws_secret_access_key = {s3server.secret_key}\n")
    # The server takes signatures for us-east-1 only.
    (no_keys.aws / "config").write_text(
        "[profile p]\nregion = us-east-1\n[profile far]\nregion = eu-west-1\n"
        f"aws_access_key_id = {s3server.access_key}\n"
        f"aws_secret_access_key = {s3server.secret_key}\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/r\n")
    path = no_keys.uri + "x.pt"
    config = S3ClientConfig(profile="p")
    ckptfs.save({"a": 1}, path, config=config)
    assert ckptfs.load(path, config=config) == {"a": 1}
    with pytest.raises(ckptfs.S3Exception) as caught:
        ckptfs.load(path, config=S3ClientConfig(profile="far"))
    assert caught.value.s3_code == "AuthorizationHeaderMalformed"
    with pytest.raises(ckptfs.S3Exception, match="config:8.*role_arn"):
        ckptfs.load(path, config=S3ClientConfig(profile="role"))
    with pytest.raises(PermissionError, match='"gone"'):
        ckptfs.load(path, config=S3ClientConfig(profile="gone"))
    with pytest.raises(PermissionError):
        ckptfs.load(path)
    # A change of the environment counts from the next call on.
    monkeypatch.setenv("AWS_PROFILE", "p")
    assert ckptfs.load(path) == {"a": 1}


def test_unsigned(no_keys, open_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", open_server.endpoint)
    path = f"s3://{open_server.bucket}/x.pt"
    config = S3ClientConfig(unsigned=True)
    ckptfs.save({"a": 1}, path, config=config)
    assert ckptfs.load(path, config=config) == {"a": 1}
    assert open_server.log()
    assert not any(entry["authorized"] for entry in open_server.log())


# --- what travels with requests ---------------------------------------------

def test_requester_pays(bucket, paid_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", paid_server.endpoint)
    folder = f"s3://{paid_server.bucket}/paid/"
    config = S3ClientConfig(requester_pays=True)
    ckptfs.save({"a": 1}, folder + "x.pt", config=config)
    assert ckptfs.load(folder + "x.pt", config=config) == {"a": 1}
    assert ckptfs.list(folder, config=config) == ["x.pt"]
    ckptfs.remove(folder + "x.pt", config=config)
    with pytest.raises(PermissionError):
        ckptfs.exists(folder + "x.pt")


# [S-77]
def test_storage_class_and_encryption(bucket, s3server):
    import torch

    config = S3ClientConfig(part_size=5 * MIB, storage_class="STANDARD_IA",
                            sse="aws:kms", sse_kms_key_id="alias/ckpt",
                            sse_bucket_key=True)
    wanted = {
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/ckpt",
        "x-amz-server-side-encryption-bucket-key-enabled": "true"}
    ckptfs.save({"a": 1}, bucket.uri + "small.pt", config=config)
    # In parts: what S3 refuses on a part, the server does too.
    ckptfs.save(torch.zeros(3 * MIB), bucket.uri + "large.pt", config=config)
    for key, op in (("small.pt", "PutObject"),
                    ("large.pt", "CreateMultipartUpload")):
        assert [entry["options"] for entry in asked(
            s3server, bucket.prefix + key, op)] == [wanted]
        head = bucket.head(key)
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"] == "alias/ckpt"
    assert len(asked(s3server, bucket.prefix + "large.pt", "UploadPart")) == 3
    assert torch.equal(ckptfs.load(bucket.uri + "large.pt", config=config),
                       torch.zeros(3 * MIB))


@pytest.fixture
def slow_down(bucket, s3server):
    """The server turns down all heads of one key."""
    s3server.control(
        "fault?op=HeadObject&key=" + bucket.prefix +
        "x.pt&action=fail&status=503&code=SlowDown&count=-1")
    yield lambda: len(asked(s3server, bucket.prefix + "x.pt", "HeadObject"))
    s3server.control("clear")


def test_max_attempts(bucket, slow_down, monkeypatch):
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    path = bucket.uri + "x.pt"
    with pytest.raises(ckptfs.S3UnavailableError):
        ckptfs.exists(path, config=S3ClientConfig(max_attempts=1))
    assert slow_down() == 1
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for config in (S3ClientConfig(max_attempts=1), None):
        before = slow_down()
        with pytest.raises(ckptfs.S3UnavailableError):
            ckptfs.exists(path, config=config)
        assert slow_down() - before == 2
    for wrong in ("0", "65", "many", "-1", "1.5"):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", wrong)
        with pytest.raises(ValueError, match="AWS_MAX_ATTEMPTS"):
            ckptfs.exists(path)


def test_the_memory_limit_bounds_what_is_in_flight(bucket, s3server):
    import torch

    config = S3ClientConfig(part_size=5 * MIB, memory_limit=10 * MIB)
    state = torch.arange(10 * MIB, dtype=torch.float32)
    s3server.control("set?latency_ms=20")
    s3server.control("reset-stats")
    try:
        ckptfs.save(state, bucket.uri + "x.pt", config=config)
        loaded = ckptfs.load(bucket.uri + "x.pt", config=config)
    finally:
        s3server.control("set?latency_ms=0")
    assert torch.equal(loaded, state)
    operations = s3server.stats()["operations"]
    assert operations["UploadPart"]["requests"] == 9
    assert operations["UploadPart"]["max_in_flight"] <= 2
    assert operations["GetObject"]["max_in_flight"] == 1


def test_the_memory_limit_bounds_streams(bucket, s3server):
    limit = 10 * MIB
    checkpoint = ckptfs.S3Checkpoint(s3client_config=S3ClientConfig(
        part_size=5 * MIB, memory_limit=limit))
    content = bytes(40 * MIB)
    s3server.control("set?latency_ms=20")
    s3server.control("reset-stats")
    try:
        with checkpoint.writer(bucket.uri + "x") as writer:
            for begin in range(0, len(content), MIB):
                writer.write(content[begin:begin + MIB])
        with checkpoint.reader(bucket.uri + "x") as reader:
            while reader.read(MIB):
                # What is ahead is on its way or in memory.
                assert (s3server.stats()["bytes_out"] - reader.tell()
                        <= limit + 3 * MIB)
    finally:
        s3server.control("set?latency_ms=0")
    operations = s3server.stats()["operations"]
    assert operations["UploadPart"]["max_in_flight"] <= 2


def test_streams_take_the_memory_that_they_may(bucket, s3server):
    """They are waited for nowhere, on a server that answers late."""
    checkpoint = ckptfs.S3Checkpoint(s3client_config=S3ClientConfig(
        part_size=5 * MIB, throughput_target_gbps=100,
        memory_limit=100 * MIB))
    s3server.control("fault?op=UploadPart&action=hold&count=-1")
    try:
        with checkpoint.writer(bucket.uri + "x") as writer:
            for _ in range(19):
                writer.write(bytes(5 * MIB))
            s3server.control("wait-held?count=19&timeout_ms=10000", post=False)
            s3server.control("clear")
            s3server.control("release")
    finally:
        s3server.control("clear")
        s3server.control("release")
    assert s3server.stats()["operations"]["UploadPart"]["max_in_flight"] >= 19


def test_a_ca_file(no_keys, tmp_path, monkeypatch):
    folder = tmp_path / "tls"
    folder.mkdir()
    server = S3Server("--tls-self-signed", str(folder))
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3",
                           server.endpoint.replace("127.0.0.1", "localhost"))
        keys = {"access_key_id": server.access_key,
                "secret_access_key": server.secret_key, "max_attempts": 1}
        path = f"s3://{server.bucket}/x.pt"
        config = S3ClientConfig(ca_file=str(folder / "ca.pem"), **keys)
        ckptfs.save({"a": 1}, path, config=config)
        assert ckptfs.load(path, config=config) == {"a": 1}
        with pytest.raises(ckptfs.S3Exception):
            ckptfs.load(path, config=S3ClientConfig(**keys))
    finally:
        server.stop()
    with pytest.raises(ValueError, match="none.pem"):
        ckptfs.load(path, config=S3ClientConfig(
            ca_file=str(folder / "none.pem"), **keys))
