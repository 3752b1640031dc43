"""What an administrator would write with psycopg and boto3: a pool of threads, one file after the other in each.

    peer.py storage|reclaim|database DATABASE ENDPOINT BUCKET THREADS

`storage` reads Data, puts the object and switches the row; `reclaim` looks whether the object has the row's size and
empties Data; `database` gets the object and writes it with the switch. Nothing is compared, and a row that somebody
edits meanwhile is overwritten.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import psycopg
from botocore.config import Config

DATABASE_STORAGE = "38ab9812-9bba-4eb8-86d0-8f352cd0229c"
S3_STORAGE = "7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11"


class Peer:
    """One connection for each thread; the client is shared."""

    def __init__(self, url, endpoint, bucket, threads):
        self.url, self.bucket, self.threads = url, bucket, threads
        config = Config(max_pool_connections=threads, parameter_validation=False, s3={"addressing_style": "path"})
        self.client = boto3.client("s3", endpoint_url=endpoint, config=config)
        self.local = threading.local()

    def ask(self, sql, *values):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = psycopg.connect(self.url, autocommit=True)
        # As bytes, not as hexadecimal digits, which would be twice as long.
        return connection.cursor(binary=True).execute(sql, values)

    def storage(self, file, _size):
        (content,) = self.ask('SELECT "Data" FROM "ContactFile" WHERE "Id" = %s', file).fetchone()
        self.client.put_object(Bucket=self.bucket, Key=str(file), Body=content)
        self.ask('UPDATE "ContactFile" SET "SysFileStorageId" = %s WHERE "Id" = %s', S3_STORAGE, file)

    def reclaim(self, file, size):
        if self.client.head_object(Bucket=self.bucket, Key=str(file))["ContentLength"] == size:
            self.ask('UPDATE "ContactFile" SET "Data" = NULL WHERE "Id" = %s', file)

    def database(self, file, _size):
        content = self.client.get_object(Bucket=self.bucket, Key=str(file))["Body"].read()
        sql = 'UPDATE "ContactFile" SET "Data" = %s, "SysFileStorageId" = %s WHERE "Id" = %s'
        self.ask(sql, content, DATABASE_STORAGE, file)

    def all(self, way):
        source = DATABASE_STORAGE if way == "storage" else S3_STORAGE
        rows = self.ask('SELECT "Id", "Size" FROM "ContactFile" WHERE "SysFileStorageId" = %s', source).fetchall()
        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(lambda row: getattr(self, way)(*row), rows):
                pass


def main():
    way, url, endpoint, bucket, threads = sys.argv[1:]
    Peer(url, endpoint, bucket, int(threads)).all(way)


main()
