"""A small S3 client of the standard library, for what the benchmark itself asks: seeding and verifying."""

import base64
import hashlib
import hmac
import http.client
import threading
import time
import urllib.parse
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

REGION = "us-east-1"
THREADS = 8
MAX_KEYS = 1000


class Refused(Exception):
    """The server did not do what it was asked for."""


class Client:
    """Signs with UNSIGNED-PAYLOAD; one connection for each thread."""

    def __init__(self, endpoint, access_key, secret_key):
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.access_key = access_key
        self.secret_key = secret_key
        self.local = threading.local()

    def create(self, bucket):
        self.ask("PUT", bucket)

    def put(self, bucket, key, body, length):
        headers = {"content-length": str(length)}
        self.ask("PUT", bucket, key, headers=headers, body=body)

    def copy(self, source, target, key):
        headers = {"x-amz-copy-source": f"{source}/{quote(key)}"}
        answer = self.ask("PUT", target, key, headers=headers)
        if b"<Error>" in answer:
            raise Refused(f"copy of {key}: {answer[:200]!r}")

    def copy_all(self, source, target, keys):
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: self.copy(source, target, key), keys))

    def objects(self, bucket):
        """Key -> (size, ETag) of everything in the bucket."""
        found = {}
        token = None
        while True:
            query = {"list-type": "2", "encoding-type": "url"}
            if token:
                query["continuation-token"] = token
            page = xml.etree.ElementTree.fromstring(self.ask("GET", bucket, query=query))
            space = page.tag[: page.tag.index("}") + 1] if "}" in page.tag else ""
            for item in page.iter(f"{space}Contents"):
                key = urllib.parse.unquote_plus(item.findtext(f"{space}Key"))
                found[key] = (int(item.findtext(f"{space}Size")), item.findtext(f"{space}ETag"))
            token = page.findtext(f"{space}NextContinuationToken")
            if not token:
                return found

    def empty(self, bucket):
        """Removes the bucket with all that is in it."""
        keys = list(self.objects(bucket))
        for start in range(0, len(keys), MAX_KEYS):
            self.delete(bucket, keys[start : start + MAX_KEYS])
        self.ask("DELETE", bucket)

    def delete(self, bucket, keys):
        delete = xml.etree.ElementTree.Element("Delete")
        xml.etree.ElementTree.SubElement(delete, "Quiet").text = "true"
        for key in keys:
            item = xml.etree.ElementTree.SubElement(delete, "Object")
            xml.etree.ElementTree.SubElement(item, "Key").text = key
        body = xml.etree.ElementTree.tostring(delete)
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        headers = {"content-md5": digest, "content-length": str(len(body))}
        answer = self.ask("POST", bucket, query={"delete": ""}, headers=headers, body=body)
        if b"<Error>" in answer:
            raise Refused(f"deletion in {bucket}: {answer[:200]!r}")

    def ask(self, method, bucket, key="", query=None, headers=None, body=None):
        path = "/" + bucket + ("/" + quote(key) if key else "")
        query = "&".join(
            f"{quote_all(name)}={quote_all(value)}" for name, value in sorted((query or {}).items())
        )
        headers = {**(headers or {}), **self.signature(method, path, query, headers or {})}
        connection = self.connection()
        try:
            connection.request(method, f"{path}?{query}" if query else path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.local.connection = None
            raise
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def connection(self):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.host, timeout=300)
            self.local.connection = connection
        return connection

    def signature(self, method, path, query, headers):
        now = time.gmtime()
        stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
        signed = {"host": self.host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": stamp}
        signed |= {name: value for name, value in headers.items() if name.startswith("x-amz-")}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{day}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{self.secret_key}".encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        proof = hmac.new(key, text.encode(), "sha256").hexdigest()
        credential = f"Credential={self.access_key}/{scope}"
        return {
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "x-amz-date": stamp,
            "authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={proof}",
        }


def quote(key):
    return urllib.parse.quote(key, safe="/-_.~")


def quote_all(text):
    return urllib.parse.quote(text, safe="-_.~")
