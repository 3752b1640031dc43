"""An S3 server that only tells: two buckets whose keys, sizes, ETags and times are made up, and never any content.

    listing.py ROWS READY_FILE

It lists by pages (StartAfter, ContinuationToken, encoding-type=url), answers HEAD of buckets and objects and what is
asked about a bucket's settings; signatures are not looked at. Requests are counted and delayed by the same switches as
the embedded server's: GET /-/counts, POST /-/reset, PUT /-/latency. What it does not know is 501, never a guess.
"""

import json
import os
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import files

PAGE = 1000
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Buckets:
    """The keys of both buckets in order, and what was asked."""

    def __init__(self, rows):
        made = files.Files(rows)
        self.keys = {"objects": sorted(made.objects()), "recycled": sorted(made.copies())}
        self.young = made.young()
        self.encoded = {name: files.encoded(name) for name in made.strange}
        self.now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.counts = Counter()
        self.lock = threading.Lock()
        self.latency = 0.0

    def has(self, bucket, key):
        keys = self.keys[bucket]
        at = bisect_left(keys, key)
        return at < len(keys) and keys[at] == key

    def page(self, bucket, query):
        """A page of ListObjectsV2; a token is the key after which it begins, in hexadecimal digits."""
        keys = self.keys[bucket]
        token = query.get("continuation-token")
        after = bytes.fromhex(token).decode() if token else query.get("start-after", "")
        size = min(int(query.get("max-keys", PAGE)), PAGE)
        start = bisect_right(keys, after) if after else 0
        page = keys[start : start + size]
        by_url = query.get("encoding-type") == "url"
        more = start + size < len(keys)
        head = f"<Name>{bucket}</Name><Prefix></Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{size}</MaxKeys>"
        head += f"<IsTruncated>{str(more).lower()}</IsTruncated>" + ("<EncodingType>url</EncodingType>" if by_url else "")
        if more:
            head += f"<NextContinuationToken>{page[-1].encode().hex()}</NextContinuationToken>"
        return f"{XML}<ListBucketResult {SPACE}>{head}{''.join(self.entry(key, by_url) for key in page)}</ListBucketResult>"

    def entry(self, key, by_url):
        told = key
        if key in self.encoded:
            told = self.encoded[key] if by_url else escape(key)
        written = self.now if key in self.young else files.OLD
        # The ETag of a listing is its key's digits backwards: a thousand digests for each page would cost more than the page.
        return (
            f"<Contents><Key>{told}</Key><LastModified>{written}</LastModified><ETag>&quot;{made_up(key)}&quot;</ETag>"
            f"<Size>{files.SIZE}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )


def made_up(key):
    """An ETag that follows from the key."""
    digits = key.replace("-", "")[::-1]
    return digits if len(digits) == 32 else files.etag(key)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    buckets = None

    def log_message(self, *_):
        """Nothing is logged."""

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/-/counts":
            with self.buckets.lock:
                return self.answer(200, json.dumps({"requests": self.buckets.counts}), "application/json")
        bucket, key = self.named(url)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if bucket not in self.buckets.keys or key:
            return self.refuse("GetObject", 501, "NotImplemented")
        if query.get("list-type") == "2":
            if query.get("prefix") or query.get("delimiter"):
                return self.refuse("ListObjectsV2", 501, "NotImplemented")
            self.asked("ListObjectsV2")
            return self.answer(200, self.buckets.page(bucket, query))
        if "versioning" in query:
            self.asked("GetBucketVersioning")
            return self.answer(200, f"{XML}<VersioningConfiguration {SPACE}/>")
        if "location" in query:
            self.asked("GetBucketLocation")
            return self.answer(200, f"{XML}<LocationConstraint {SPACE}/>")
        return self.refuse("GetBucket", 501, "NotImplemented")

    def do_HEAD(self):
        bucket, key = self.named(urlsplit(self.path))
        self.asked("HeadObject" if key else "HeadBucket")
        if bucket not in self.buckets.keys or key and not self.buckets.has(bucket, key):
            return self.answer(404, "")
        if not key:
            return self.answer(200, "")
        young = key in self.buckets.young
        written = time.time() if young else 1767323045
        self.send_response(200)
        self.send_header("Content-Length", str(files.SIZE))
        self.send_header("ETag", f'"{made_up(key)}"')
        self.send_header("Last-Modified", formatdate(written, usegmt=True))
        self.end_headers()

    def do_POST(self):
        self.read()
        if self.path != "/-/reset":
            return self.refuse("Post", 501, "NotImplemented")
        with self.buckets.lock:
            self.buckets.counts.clear()
        self.answer(200, "")

    def do_PUT(self):
        body = self.read()
        if self.path != "/-/latency":
            return self.refuse("Put", 501, "NotImplemented")
        self.buckets.latency = json.loads(body) / 1000
        self.answer(200, "")

    def do_DELETE(self):
        self.refuse("Delete", 501, "NotImplemented")

    def named(self, url):
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        return bucket, key

    def asked(self, operation):
        with self.buckets.lock:
            self.buckets.counts[operation] += 1
        if self.buckets.latency:
            time.sleep(self.buckets.latency)

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def refuse(self, operation, status, code):
        self.asked(operation)
        self.answer(status, f"{XML}<Error><Code>{code}</Code><Message>this server only tells</Message></Error>")

    def answer(self, status, body, kind="application/xml"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 256


def main():
    rows, ready = int(sys.argv[1]), sys.argv[2]
    Handler.buckets = Buckets(rows)
    server = Server(("127.0.0.1", 0), Handler)
    with open(f"{ready}.new", "w", encoding="utf-8") as file:
        file.write(f"http://127.0.0.1:{server.server_port}")
    os.rename(f"{ready}.new", ready)
    server.serve_forever()


if __name__ == "__main__":
    main()
