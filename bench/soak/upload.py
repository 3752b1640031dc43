"""Uploads an object for each key on standard input: upload.py ENDPOINT ACCESS_KEY SECRET_KEY BUCKET CONTENT-FILE."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "move"))

from parts import s3  # noqa: E402


def main():
    endpoint, access_key, secret_key, bucket, path = sys.argv[1:]
    client = s3.Client(endpoint, access_key, secret_key)
    with open(path, "rb") as file:
        content = file.read()
    keys = sys.stdin.read().split()
    with ThreadPoolExecutor(s3.THREADS) as pool:
        list(pool.map(lambda key: client.put(bucket, key, content, len(content)), keys))


if __name__ == "__main__":
    main()
