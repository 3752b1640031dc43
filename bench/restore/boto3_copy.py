"""What one writes with boto3: a pool of threads that copy.

    boto3_copy.py ENDPOINT FROM TO LIST THREADS
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config


def main():
    endpoint, source, target, listed, threads = sys.argv[1:]
    threads = int(threads)
    with open(listed, encoding="utf-8") as file:
        keys = [line.rstrip("\n").split("\t", 1)[1] for line in file]
    config = Config(max_pool_connections=threads, parameter_validation=False, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, config=config)

    def copy(key):
        client.copy_object(Bucket=target, Key=key, CopySource={"Bucket": source, "Key": key})

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, keys))


main()
