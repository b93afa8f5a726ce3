"""A bucket as a plain S3 client sees it: how tests prove what was stored."""
import pathlib

import boto3
import botocore.config
import botocore.exceptions


def s3_client(endpoint, access_key, secret_key, region="us-east-1"):
    """A boto3 client, path style, that does not retry."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name=region,
        aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, connect_timeout=10,
            read_timeout=120, s3={"addressing_style": "path"},
            # Pacific's radosgw knows no trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required"))


class BucketPrefix:
    """The objects below one prefix; names are relative to it."""

    def __init__(self, client, bucket, prefix):
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def keys(self):
        """All keys, directory markers and reserved ones included."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix)
        return sorted(entry["Key"][len(self.prefix):] for page in pages
                      for entry in page.get("Contents", []))

    def names(self):
        """The keys that are files."""
        return [key for key in self.keys() if not key.endswith("/")]

    def head(self, name):
        """The object's HEAD, None if there is no such object."""
        try:
            return self.client.head_object(
                Bucket=self.bucket, Key=self.prefix + name)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def exists(self, name):
        return self.head(name) is not None

    def read(self, name):
        """The object's bytes."""
        return self.client.get_object(
            Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def chunks(self, name, size=8 << 20):
        """The object's bytes, a piece at a time."""
        return self.client.get_object(
            Bucket=self.bucket,
            Key=self.prefix + name)["Body"].iter_chunks(size)

    def write(self, name, body):
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + name,
                               Body=body)

    def delete(self, name):
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def uploads(self):
        """Keys with an open multipart upload, relative to the prefix."""
        reply = self.client.list_multipart_uploads(
            Bucket=self.bucket, Prefix=self.prefix)
        return [upload["Key"][len(self.prefix):]
                for upload in reply.get("Uploads", [])
                if upload["Key"].startswith(self.prefix)]

    def clear(self):
        """Deletes everything below the prefix."""
        for key in self.keys():
            self.delete(key)


class DirectoryBucket:
    """A plain directory in place of a bucket, to check the tests themselves
    (CKPTFS_TEST_PLAIN_DIR=1)."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def keys(self):
        return sorted(
            str(path.relative_to(self.directory)) + ("/" * path.is_dir())
            for path in self.directory.rglob("*"))

    def names(self):
        return [key for key in self.keys() if not key.endswith("/")]

    def exists(self, name):
        return (self.directory / name).exists()

    def read(self, name):
        return (self.directory / name).read_bytes()

    def chunks(self, name, size=8 << 20):
        with open(self.directory / name, "rb") as file:
            while chunk := file.read(size):
                yield chunk

    def write(self, name, body):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def delete(self, name):
        (self.directory / name).unlink()

    def uploads(self):
        return []
