"""The in-tree S3 server as boto3, a client we did not write, sees it."""
import datetime
import hashlib
import io
import os
import threading

import boto3.s3.transfer
import botocore.exceptions
import pytest

MIB = 1 << 20


def code_of(error):
    return error.value.response["Error"]["Code"]


def status_of(error):
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def refused():
    return pytest.raises(botocore.exceptions.ClientError)


def keys_of(page):
    return [entry["Key"] for entry in page.get("Contents", [])]


def test_put_get_head_delete(s3):
    body = os.urandom(300_000)
    put = s3.put_object(
        Bucket="bucket", Key="dir/file.pt", Body=body,
        Metadata={"File-Mode": "0100644"}, ContentType="application/x-pt")
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert put["ResponseMetadata"]["RequestId"]

    head = s3.head_object(Bucket="bucket", Key="dir/file.pt")
    assert head["ContentLength"] == len(body)
    assert head["ContentType"] == "application/x-pt"
    assert head["Metadata"] == {"file-mode": "0100644"}
    age = datetime.datetime.now(datetime.timezone.utc) - head["LastModified"]
    assert abs(age.total_seconds()) < 60

    get = s3.get_object(Bucket="bucket", Key="dir/file.pt")
    assert get["Body"].read() == body
    s3.delete_object(Bucket="bucket", Key="dir/file.pt")
    s3.delete_object(Bucket="bucket", Key="dir/file.pt")
    with refused() as error:
        s3.get_object(Bucket="bucket", Key="dir/file.pt")
    assert (code_of(error), status_of(error)) == ("NoSuchKey", 404)
    with refused() as error:
        s3.head_object(Bucket="bucket", Key="dir/file.pt")
    assert status_of(error) == 404


def test_empty_object(s3):
    s3.put_object(Bucket="bucket", Key="empty", Body=b"")
    assert s3.get_object(Bucket="bucket", Key="empty")["Body"].read() == b""
    with refused() as error:
        s3.get_object(Bucket="bucket", Key="empty", Range="bytes=0-")
    assert (code_of(error), status_of(error)) == ("InvalidRange", 416)


@pytest.mark.parametrize("text,first,last", [
    ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=990-", 990, 999),
    ("bytes=-5", 995, 999), ("bytes=-5000", 0, 999), ("bytes=5-9999", 5, 999)])
def test_ranges(s3, text, first, last):
    body = os.urandom(1000)
    s3.put_object(Bucket="bucket", Key="k", Body=body)
    get = s3.get_object(Bucket="bucket", Key="k", Range=text)
    assert get["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert get["ContentRange"] == f"bytes {first}-{last}/1000"
    assert get["Body"].read() == body[first:last + 1]


@pytest.mark.parametrize("text", ["bytes=1000-", "bytes=-0"])
def test_unsatisfiable_ranges(s3, text):
    s3.put_object(Bucket="bucket", Key="k", Body=b"x" * 1000)
    with refused() as error:
        s3.get_object(Bucket="bucket", Key="k", Range=text)
    assert (code_of(error), status_of(error)) == ("InvalidRange", 416)
    headers = error.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-range"] == "bytes */1000"


def test_conditions(s3):
    etag = s3.put_object(Bucket="bucket", Key="k", Body=b"one",
                         IfNoneMatch="*")["ETag"]
    with refused() as error:
        s3.put_object(Bucket="bucket", Key="k", Body=b"two", IfNoneMatch="*")
    assert (code_of(error), status_of(error)) == ("PreconditionFailed", 412)
    with refused() as error:
        s3.put_object(Bucket="bucket", Key="k", Body=b"two", IfMatch='"other"')
    assert code_of(error) == "PreconditionFailed"
    with refused() as error:
        s3.put_object(Bucket="bucket", Key="none", Body=b"", IfMatch=etag)
    assert (code_of(error), status_of(error)) == ("NoSuchKey", 404)
    with refused() as error:
        s3.get_object(Bucket="bucket", Key="k", IfMatch='"other"')
    assert status_of(error) == 412
    with refused() as error:
        s3.get_object(Bucket="bucket", Key="k", IfNoneMatch=etag)
    assert status_of(error) == 304
    assert s3.get_object(Bucket="bucket", Key="k",
                         IfMatch=etag)["Body"].read() == b"one"
    s3.put_object(Bucket="bucket", Key="k", Body=b"two", IfMatch=etag)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"two"


ODD_KEYS = [
    "a//b", "/leading", "../x", "a/../b", "./a", "trailing/", "k" * 1024,
    "é/ü/日本語", "space and+plus", "100%25", "a&b<c>\"d'", "?q=1#f",
    "control\x01\x1f\x7f", "tab\tnewline\n", "~tilde", "emoji\U0001f600"]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys(s3, key):
    body = key.encode()
    s3.put_object(Bucket="bucket", Key=key, Body=body)
    assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body
    # boto3 asks for encoding-type=url by itself.
    assert keys_of(s3.list_objects_v2(Bucket="bucket")) == [key]
    assert keys_of(s3.list_objects(Bucket="bucket")) == [key]
    s3.copy_object(Bucket="bucket", Key="copy",
                   CopySource={"Bucket": "bucket", "Key": key})
    assert s3.get_object(Bucket="bucket", Key="copy")["Body"].read() == body
    s3.delete_object(Bucket="bucket", Key=key)
    assert keys_of(s3.list_objects_v2(Bucket="bucket")) == ["copy"]


def test_key_too_long(s3):
    with refused() as error:
        s3.put_object(Bucket="bucket", Key="k" * 1025, Body=b"")
    assert code_of(error) == "KeyTooLongError"


def test_list_pages_prefixes_and_delimiters(s3):
    names = ["a/1", "a/2", "b/1", "b/c/2", "c", "d/1"]
    for name in names:
        s3.put_object(Bucket="bucket", Key=name, Body=name.encode())
    paginator = s3.get_paginator("list_objects_v2")
    for size in (1, 2, 3, 1000):
        pages = list(paginator.paginate(
            Bucket="bucket", PaginationConfig={"PageSize": size}))
        assert [key for page in pages for key in keys_of(page)] == names
        pages = list(paginator.paginate(
            Bucket="bucket", Delimiter="/",
            PaginationConfig={"PageSize": size}))
        assert [key for page in pages for key in keys_of(page)] == ["c"]
        assert [entry["Prefix"] for page in pages
                for entry in page.get("CommonPrefixes", [])
                ] == ["a/", "b/", "d/"]
    page = s3.list_objects_v2(Bucket="bucket", Prefix="b/", Delimiter="/")
    assert keys_of(page) == ["b/1"]
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["b/c/"]
    assert page["KeyCount"] == 2
    page = s3.list_objects_v2(Bucket="bucket", StartAfter="b/1")
    assert keys_of(page) == ["b/c/2", "c", "d/1"]
    assert page["Contents"][0]["Size"] == 5
    assert keys_of(s3.list_objects_v2(Bucket="bucket", MaxKeys=0)) == []


def test_delete_objects(s3):
    for name in ("a", "b&<", "c"):
        s3.put_object(Bucket="bucket", Key=name, Body=b"x")
    reply = s3.delete_objects(Bucket="bucket", Delete={
        "Objects": [{"Key": "a"}, {"Key": "b&<"}, {"Key": "absent"}]})
    assert [entry["Key"] for entry in reply["Deleted"]] == [
        "a", "b&<", "absent"]
    reply = s3.delete_objects(Bucket="bucket", Delete={
        "Objects": [{"Key": "c"}], "Quiet": True})
    assert "Deleted" not in reply
    assert keys_of(s3.list_objects_v2(Bucket="bucket")) == []


def start_upload(s3, key, parts, **arguments):
    upload = s3.create_multipart_upload(Bucket="bucket", Key=key, **arguments)
    etags = [
        {"PartNumber": number, "ETag": s3.upload_part(
            Bucket="bucket", Key=key, UploadId=upload["UploadId"],
            PartNumber=number, Body=body)["ETag"]}
        for number, body in parts]
    return upload["UploadId"], etags


def complete(s3, key, upload, etags, **arguments):
    return s3.complete_multipart_upload(
        Bucket="bucket", Key=key, UploadId=upload,
        MultipartUpload={"Parts": etags}, **arguments)


def test_multipart(s3):
    parts = [(1, os.urandom(5 * MIB)), (3, os.urandom(5 * MIB)), (7, b"end")]
    upload, etags = start_upload(s3, "big", parts, Metadata={"nonce": "17"})
    listed = s3.list_parts(Bucket="bucket", Key="big", UploadId=upload,
                           MaxParts=2)
    assert [part["PartNumber"] for part in listed["Parts"]] == [1, 3]
    assert listed["IsTruncated"] and listed["NextPartNumberMarker"] == 3
    uploads = s3.list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert [(u["Key"], u["UploadId"]) for u in uploads] == [("big", upload)]
    with refused() as error:
        s3.head_object(Bucket="bucket", Key="big")
    assert status_of(error) == 404

    reply = complete(s3, "big", upload, etags)
    digests = b"".join(hashlib.md5(body).digest() for _, body in parts)
    assert reply["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    get = s3.get_object(Bucket="bucket", Key="big")
    assert get["Body"].read() == b"".join(body for _, body in parts)
    assert get["Metadata"] == {"nonce": "17"}
    # A range across the seams of parts.
    get = s3.get_object(Bucket="bucket", Key="big",
                        Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert get["Body"].read() == parts[0][1][-3:] + parts[1][1][:3]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")
    with refused() as error:
        complete(s3, "big", upload, etags)
    assert code_of(error) == "NoSuchUpload"


def test_multipart_refusals(s3):
    upload, etags = start_upload(s3, "k", [(1, b"small"), (2, b"end")])
    with refused() as error:
        complete(s3, "k", upload, etags)
    assert code_of(error) == "EntityTooSmall"
    with refused() as error:
        complete(s3, "k", upload, etags[::-1])
    assert code_of(error) == "InvalidPartOrder"
    with refused() as error:
        complete(s3, "k", upload, [dict(etags[0], ETag='"0"')])
    assert code_of(error) == "InvalidPart"
    with refused() as error:
        complete(s3, "k", upload, [dict(etags[0], PartNumber=9)])
    assert code_of(error) == "InvalidPart"
    s3.put_object(Bucket="bucket", Key="k", Body=b"there")
    with refused() as error:
        complete(s3, "k", upload, etags[:1], IfNoneMatch="*")
    assert code_of(error) == "PreconditionFailed"
    with refused() as error:
        complete(s3, "k", upload, etags[:1], IfMatch='"other"')
    assert code_of(error) == "PreconditionFailed"
    s3.abort_multipart_upload(Bucket="bucket", Key="k", UploadId=upload)
    for call in (lambda: s3.upload_part(Bucket="bucket", Key="k", Body=b"x",
                                        UploadId=upload, PartNumber=1),
                 lambda: s3.abort_multipart_upload(Bucket="bucket", Key="k",
                                                   UploadId=upload)):
        with refused() as error:
            call()
        assert (code_of(error), status_of(error)) == ("NoSuchUpload", 404)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"there"


def test_copy(s3):
    body = os.urandom(6 * MIB)
    etag = s3.put_object(Bucket="bucket", Key="from", Body=body,
                         Metadata={"a": "1"}, ContentType="x/y")["ETag"]
    source = {"Bucket": "bucket", "Key": "from"}
    reply = s3.copy_object(Bucket="bucket", Key="to", CopySource=source,
                           CopySourceIfMatch=etag)
    assert reply["CopyObjectResult"]["ETag"] == etag
    head = s3.head_object(Bucket="bucket", Key="to")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "1"}, "x/y")
    with refused() as error:
        s3.copy_object(Bucket="bucket", Key="to", CopySource=source,
                       CopySourceIfMatch='"other"')
    assert code_of(error) == "PreconditionFailed"
    with refused() as error:
        s3.copy_object(Bucket="bucket", Key="from", CopySource=source)
    assert code_of(error) == "InvalidRequest"
    s3.copy_object(Bucket="bucket", Key="from", CopySource=source,
                   MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket="bucket", Key="from")["Metadata"] == {"b": "2"}

    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")
    etags = []
    for number, text in ((1, f"bytes=0-{5 * MIB - 1}"),
                         (2, f"bytes={5 * MIB}-{6 * MIB - 1}")):
        part = s3.upload_part_copy(
            Bucket="bucket", Key="parts", UploadId=upload["UploadId"],
            PartNumber=number, CopySource=source, CopySourceRange=text)
        etags.append({"PartNumber": number,
                      "ETag": part["CopyPartResult"]["ETag"]})
    complete(s3, "parts", upload["UploadId"], etags)
    assert s3.get_object(Bucket="bucket", Key="parts")["Body"].read() == body


def tags_of(s3, key):
    reply = s3.get_object_tagging(Bucket="bucket", Key=key)
    return {tag["Key"]: tag["Value"] for tag in reply["TagSet"]}


def test_tags(s3):
    s3.put_object(Bucket="bucket", Key="src", Body=b"x",
                  Tagging="team=a+b%26c&empty=")
    assert tags_of(s3, "src") == {"team": "a b&c", "empty": ""}
    assert s3.get_object(Bucket="bucket", Key="src")["TagCount"] == 2
    etag = s3.head_object(Bucket="bucket", Key="src")["ETag"]
    source = {"Bucket": "bucket", "Key": "src"}
    s3.copy_object(Bucket="bucket", Key="kept", CopySource=source,
                   MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert tags_of(s3, "kept") == {"team": "a b&c", "empty": ""}
    s3.copy_object(Bucket="bucket", Key="other", CopySource=source,
                   TaggingDirective="REPLACE", Tagging="n=1")
    assert tags_of(s3, "other") == {"n": "1"}

    s3.put_object_tagging(Bucket="bucket", Key="src", Tagging={
        "TagSet": [{"Key": "k", "Value": "v"}]})
    assert tags_of(s3, "src") == {"k": "v"}
    assert s3.head_object(Bucket="bucket", Key="src")["ETag"] == etag
    s3.delete_object_tagging(Bucket="bucket", Key="src")
    assert tags_of(s3, "src") == {}
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts",
                                        Tagging="n=2")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="parts", UploadId=upload,
                          PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket="bucket", Key="parts", UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert tags_of(s3, "parts") == {"n": "2"}
    with refused() as error:
        s3.put_object(Bucket="bucket", Key="many", Body=b"x",
                      Tagging="&".join(f"t{i}=" for i in range(11)))
    assert status_of(error) == 400
    with refused() as error:
        s3.get_object_tagging(Bucket="bucket", Key="absent")
    assert code_of(error) == "NoSuchKey"


def test_conditional_delete(s3):
    s3.put_object(Bucket="bucket", Key="k", Body=b"one")
    old = s3.head_object(Bucket="bucket", Key="k")["ETag"]
    s3.put_object(Bucket="bucket", Key="k", Body=b"two")
    with refused() as error:
        s3.delete_object(Bucket="bucket", Key="k", IfMatch=old)
    assert (code_of(error), status_of(error)) == ("PreconditionFailed", 412)
    now = s3.head_object(Bucket="bucket", Key="k")["ETag"]
    s3.delete_object(Bucket="bucket", Key="k", IfMatch=now)
    with refused() as error:
        s3.delete_object(Bucket="bucket", Key="k", IfMatch=now)
    assert (code_of(error), status_of(error)) == ("NoSuchKey", 404)


def test_buckets(s3):
    for call in (s3.list_objects_v2, s3.list_multipart_uploads,
                 s3.get_bucket_location):
        with refused() as error:
            call(Bucket="nowhere")
        assert (code_of(error), status_of(error)) == ("NoSuchBucket", 404)
    with refused() as error:
        s3.put_object(Bucket="nowhere", Key="k", Body=b"")
    assert code_of(error) == "NoSuchBucket"
    with refused() as error:
        s3.head_bucket(Bucket="nowhere")
    assert status_of(error) == 404
    s3.head_bucket(Bucket="bucket")
    assert s3.get_bucket_location(
        Bucket="bucket")["LocationConstraint"] is None
    s3.create_bucket(Bucket="another")
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [
        "another", "bucket"]
    s3.delete_bucket(Bucket="another")


def test_credentials(server):
    def put(**changes):
        client = server.client(**changes)
        with refused() as error:
            client.put_object(Bucket="bucket", Key="k", Body=b"x")
        return code_of(error), status_of(error)

    assert put(aws_secret_access_key="wrong") == ("SignatureDoesNotMatch", 403)
    assert put(aws_access_key_id="other") == ("InvalidAccessKeyId", 403)
    assert put(aws_session_token="expired") == ("ExpiredToken", 400)
    assert put(aws_session_token="odd") == ("InvalidToken", 400)
    server.control("set?clock_offset_s=-1000")
    assert put() == ("RequestTimeTooSkewed", 403)
    assert server.control("stats", post=False)["operations"]["PutObject"][
        "errors"] == 5


def test_wrong_region(server):
    # boto3 reads the right region from the refusal and tries again.
    server.client(region_name="eu-west-1").put_object(
        Bucket="bucket", Key="k", Body=b"x")
    log = server.control("log", post=False)
    assert [entry["status"] for entry in log
            if entry["op"] == "PutObject"] == [400, 200]


def test_session_token(start_server):
    server = start_server("--session-token", "tok")
    with refused() as error:
        server.client().put_object(Bucket="bucket", Key="k", Body=b"x")
    assert code_of(error) == "InvalidToken"
    server.client(aws_session_token="tok").put_object(
        Bucket="bucket", Key="k", Body=b"x")


def test_no_list_permission(start_server):
    server = start_server("--deny-list")
    s3 = server.client()
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    for call in (lambda: s3.list_objects_v2(Bucket="bucket"),
                 lambda: s3.get_object(Bucket="bucket", Key="absent")):
        with refused() as error:
            call()
        assert (code_of(error), status_of(error)) == ("AccessDenied", 403)
    with refused() as error:
        s3.head_object(Bucket="bucket", Key="absent")
    assert status_of(error) == 403
    s3.head_object(Bucket="bucket", Key="k")


def test_https_with_own_certificates(start_server, tmp_path):
    server = start_server("--tls-self-signed", str(tmp_path),
                          ca=str(tmp_path / "ca.pem"))
    assert server.url.startswith("https://127.0.0.1:")
    s3 = server.client()
    body = os.urandom(12 * MIB + 17)
    # Over https boto3 sends aws-chunked bodies with a trailing checksum.
    s3.upload_fileobj(
        io.BytesIO(body), "bucket", "big",
        Config=boto3.s3.transfer.TransferConfig(
            multipart_threshold=MIB, multipart_chunksize=5 * MIB))
    assert s3.get_object(Bucket="bucket", Key="big")["Body"].read() == body
    s3.put_object(Bucket="bucket", Key="k", Body=b"one")
    head = s3.head_object(Bucket="bucket", Key="k")
    assert head["ContentLength"] == 3 and "ContentEncoding" not in head
    with pytest.raises(botocore.exceptions.SSLError):
        server.client(verify=True).head_object(Bucket="bucket", Key="k")


def pattern(first, size):
    """tests/s3server/pattern.h in Python."""
    words = bytearray()
    start = first - first % 8
    for offset in range(start, first + size, 8):
        word = (offset if offset % 4096 == 0 else
                (offset % MIB) * 0x9E3779B97F4A7C15 % (1 << 64))
        words += word.to_bytes(8, "little")
    return bytes(words[first - start:first - start + size])


def test_pattern_objects(server, s3):
    size = 50 << 30
    server.control(f"pattern?bucket=bucket&key=huge&size={size}")
    assert s3.head_object(Bucket="bucket", Key="huge")["ContentLength"] == size
    for first, length in ((0, 5000), (MIB - 3, 10), (7 * MIB + 4093, 9001),
                          (size - 11, 11)):
        get = s3.get_object(Bucket="bucket", Key="huge",
                            Range=f"bytes={first}-{first + length - 1}")
        assert get["Body"].read() == pattern(first, length)


def test_discarded_bodies_read_as_the_pattern(start_server):
    s3 = start_server("--discard-bodies").client()
    upload, etags = start_upload(
        s3, "k", [(1, bytes(5 * MIB)), (2, bytes(100))])
    complete(s3, "k", upload, etags)
    get = s3.get_object(Bucket="bucket", Key="k",
                        Range=f"bytes={5 * MIB - 50}-")
    assert get["Body"].read() == pattern(5 * MIB - 50, 150)


def test_failures_on_request(server, s3):
    server.control(
        "fault?op=PutObject&action=slow_down&count=2&retry_after=7")
    for _ in range(2):
        with refused() as error:
            s3.put_object(Bucket="bucket", Key="k", Body=b"x")
        assert (code_of(error), status_of(error)) == ("SlowDown", 503)
        headers = error.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["retry-after"] == "7"
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")

    server.control("fault?op=UploadPart&part=2&action=fail&count=-1")
    upload, _ = start_upload(s3, "m", [(1, b"x")])
    for _ in range(3):
        with refused() as error:
            s3.upload_part(Bucket="bucket", Key="m", UploadId=upload,
                           PartNumber=2, Body=b"x")
        assert (code_of(error), status_of(error)) == ("InternalError", 500)
    server.control("clear")
    s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=2,
                   Body=b"x")
    assert server.control("uploads?bucket=bucket", post=False)[0]["parts"] == [
        {"number": 1, "size": 1}, {"number": 2, "size": 1}]

    server.control("fault?op=CompleteMultipartUpload&action=error200")
    with refused() as error:
        complete(s3, "m", upload, [{"PartNumber": 1, "ETag": '"x"'}])
    assert code_of(error) == "InternalError"


def test_broken_connections(server, s3):
    body = os.urandom(100_000)
    s3.put_object(Bucket="bucket", Key="k", Body=body)
    for action in ("reset", "truncate"):
        server.control(f"fault?op=GetObject&action={action}&at_byte=50000")
        stream = s3.get_object(Bucket="bucket", Key="k")["Body"]
        with pytest.raises(Exception) as error:
            stream.read()
        assert isinstance(error.value, (
            botocore.exceptions.HTTPClientError,
            botocore.exceptions.IncompleteReadError, OSError))
    server.control("fault?op=PutObject&action=reset&at_byte=1000")
    with pytest.raises(botocore.exceptions.HTTPClientError):
        s3.put_object(Bucket="bucket", Key="k", Body=b"y" * 100_000)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == body
    # A lost reply: the object is there although the client cannot know.
    server.control("fault?op=PutObject&action=lose_reply")
    with pytest.raises(botocore.exceptions.HTTPClientError):
        s3.put_object(Bucket="bucket", Key="lost", Body=b"there")
    assert s3.get_object(Bucket="bucket", Key="lost")["Body"].read() == b"there"


def test_corrupt_replies(server, s3):
    s3.put_object(Bucket="bucket", Key="k", Body=b"abcdef",
                  ChecksumAlgorithm="CRC32")
    server.control("fault?op=GetObject&action=corrupt_range")
    get = s3.get_object(Bucket="bucket", Key="k", Range="bytes=2-3")
    assert get["ContentRange"] != "bytes 2-3/6"
    server.control("fault?op=GetObject&action=corrupt_etag")
    assert "corrupt" in s3.get_object(Bucket="bucket", Key="k")["ETag"]
    server.control("fault?op=GetObject&action=corrupt_body&at_byte=1")
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"accdef"
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"abcdef"


def test_hold_and_release(server, s3):
    upload, _ = start_upload(s3, "k", [])
    server.control("fault?op=UploadPart&part=2&action=hold")
    thread = threading.Thread(target=s3.upload_part, kwargs=dict(
        Bucket="bucket", Key="k", UploadId=upload, PartNumber=2, Body=b"x"))
    thread.start()
    assert server.control("wait-held?count=1", post=False)["held"] == 1
    # Others go on, and the part is not there yet.
    server.client().upload_part(Bucket="bucket", Key="k", UploadId=upload,
                                PartNumber=1, Body=b"x")
    stats = server.control("stats", post=False)
    assert stats["operations"]["UploadPart"]["in_flight"] == 1
    assert stats["operations"]["UploadPart"]["max_in_flight"] == 2
    listed = server.client().list_parts(Bucket="bucket", Key="k",
                                        UploadId=upload)
    assert [part["PartNumber"] for part in listed["Parts"]] == [1]
    server.control("release")
    thread.join(timeout=30)
    assert not thread.is_alive()
    log = server.control("log", post=False)
    assert [entry["part"] for entry in log
            if entry["op"] == "UploadPart"] == [1, 2]
    server.control("reset-stats")
    assert server.control("stats", post=False)["requests"] == 0


def test_stop_while_a_request_is_held(start_server):
    """The fixture checks that the server ends with code 0 all the same."""
    server = start_server("--fault", "op=PutObject&action=hold")
    client = server.client()

    def put():
        with pytest.raises(botocore.exceptions.HTTPClientError):
            client.put_object(Bucket="bucket", Key="k", Body=b"x")

    thread = threading.Thread(target=put)
    thread.start()
    server.control("wait-held", post=False)
    server.process.terminate()
    thread.join(timeout=30)
    assert not thread.is_alive()
    server.process.wait(timeout=30)
