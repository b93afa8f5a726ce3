"""S3 as the judge sees it: straight from the server, past all faults."""
import http.client
import json
import threading
import urllib.parse


class S3View:
    """Objects below `prefix` of `bucket` on the in-tree server. Each thread has
    a connection of its own."""

    def __init__(self, endpoint, bucket, prefix):
        parts = urllib.parse.urlsplit(endpoint)
        self._address = parts.hostname, parts.port
        self._bucket = bucket
        self._prefix = prefix
        self._local = threading.local()

    def _get(self, request, **query):
        target = f"/_control/{request}?" + urllib.parse.urlencode(query)
        for attempt in (1, 2):
            link = getattr(self._local, "link", None)
            if link is None:
                link = http.client.HTTPConnection(*self._address, timeout=60)
                self._local.link = link
            try:
                link.request("GET", target)
                reply = link.getresponse()
                return reply.status, reply.read()
            except (http.client.HTTPException, OSError):
                link.close()
                self._local.link = None
                if attempt == 2:
                    raise
        raise AssertionError

    def read(self, name):
        """The object's bytes; None if there is none."""
        status, body = self._get("object", bucket=self._bucket,
                                 key=self._prefix + name)
        if status == 404:
            return None
        if status != 200:
            raise RuntimeError(f"control: {status}: {body[:200]}")
        return body

    def keys(self):
        status, body = self._get("keys", bucket=self._bucket,
                                 prefix=self._prefix)
        assert status == 200, body
        return [key[len(self._prefix):] for key in json.loads(body)]
