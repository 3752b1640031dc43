"""What one writes with boto3: a pool of threads that copy, and DeleteObjects for what was copied.

    boto3_pool.py ENDPOINT FROM TO LIST THREADS
"""

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

import boto3
from botocore.config import Config

MAX_KEYS = 1000


def main():
    endpoint, source, target, listed, threads = sys.argv[1:]
    threads = int(threads)
    with open(listed, encoding="utf-8") as file:
        keys = [line.rstrip("\n").split("\t", 1)[1] for line in file]
    config = Config(
        max_pool_connections=threads,
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )
    client = boto3.client("s3", endpoint_url=endpoint, config=config)

    def copy(key):
        client.copy_object(Bucket=target, Key=key, CopySource={"Bucket": source, "Key": key})
        return key

    def delete(keys):
        objects = [{"Key": key} for key in keys]
        answer = client.delete_objects(Bucket=source, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", []):
            sys.exit(f"not deleted: {error}")

    with ThreadPoolExecutor(threads) as pool:
        ready, deletions = [], []
        for copied in as_completed([pool.submit(copy, key) for key in keys]):
            ready.append(copied.result())
            if len(ready) == MAX_KEYS:
                deletions.append(pool.submit(delete, ready))
                ready = []
        if ready:
            deletions.append(pool.submit(delete, ready))
        for deletion in deletions:
            deletion.result()


main()
