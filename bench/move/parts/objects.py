"""The objects that are moved: seeded once for each set, copied into a fresh pair of buckets for every run."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

from parts import s3

MB = 1024 * 1024
BLOCK = 4 * MB

# Name -> (objects, bytes of each, how they are called in words).
SETS = {
    "small": (5000, 20_000, "5,000 of 20 KB"),
    "medium": (500, 2_000_000, "500 of 2 MB"),
    "large": (5, 1024 * MB, "5 of 1 GiB"),
}
QUICK = {
    "small": (500, 20_000, "500 of 20 KB"),
    "medium": (50, 2_000_000, "50 of 2 MB"),
    "large": (1, 64 * MB, "1 of 64 MB"),
}


class Masters:
    """A set's objects in a bucket of their own, from which every run gets its copies."""

    def __init__(self, client, name, count, size):
        self.client = client
        self.bucket = f"masters-{name}"
        self.files = [(str(uuid.uuid4()), size) for _ in range(count)]
        self.etags = {}

    def upload(self):
        self.client.create(self.bucket)
        threads = 1 if self.files[0][1] > 64 * MB else s3.THREADS
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self.upload_one, self.files))
        self.etags = self.client.objects(self.bucket)

    def upload_one(self, file):
        key, size = file
        body = os.urandom(size) if size <= BLOCK else blocks(key, size)
        self.client.put(self.bucket, key, body, size)

    def fresh_pair(self, number):
        """Two new buckets, the first with a copy of every object."""
        source, target = f"objects-{number}", f"recycled-{number}"
        self.client.create(source)
        self.client.create(target)
        self.client.copy_all(self.bucket, source, [key for key, _ in self.files])
        return source, target

    def verify(self, source, target):
        """What is not as it should be after a move, in words; empty when all is well."""
        left, there = self.client.objects(source), self.client.objects(target)
        lost = [key for key in self.etags if key not in left and key not in there]
        other = [key for key, found in there.items() if found != self.etags.get(key)]
        missing = [key for key in self.etags if key not in there and key in left]
        kinds = {"lost": lost, "left in the source": list(left), "not in the target": missing, "other content": other}
        return {kind: len(keys) for kind, keys in kinds.items() if keys}

    def remove(self, *buckets):
        for bucket in buckets:
            self.client.empty(bucket)


def blocks(key, size):
    """Random content that is never held as a whole: one random block, and in each its own number."""
    block = bytearray(os.urandom(BLOCK))
    for start in range(0, size, BLOCK):
        head = f"{key} {start}".encode()
        block[: len(head)] = head
        yield bytes(block[: min(BLOCK, size - start)])
