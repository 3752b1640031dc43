"""The floor of large files: the same bytes through one of the two ends alone, side by side, and nothing else.

    floor.py put|get ENDPOINT BUCKET FILES SIZE
    floor.py write DATABASE FILES SIZE

`put` and `get` speak HTTP by the standard library alone, with one content for all files and no digest of it; `write` is
COPY into a table of its own. It prints the seconds that the bytes took, without the start of the process.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "move"))

SIDE_BY_SIDE = 4
# A writer holds its content three times; two use both cores up.
WRITERS = 2


def main():
    what, where = sys.argv[1], sys.argv[2:]
    files, size = int(where[-2]), int(where[-1])
    one = writer(where[0], size) if what == "write" else over_http(what, where[0], where[1], size)
    started = time.monotonic()
    with ThreadPoolExecutor(WRITERS if what == "write" else SIDE_BY_SIDE) as pool:
        list(pool.map(one, range(files)))
    print(time.monotonic() - started)


def over_http(what, endpoint, bucket, size):
    from parts import s3, servers  # pylint: disable=import-outside-toplevel

    client, content = s3.Client(endpoint, servers.ACCESS_KEY, servers.SECRET_KEY), os.urandom(size)

    def put(number):
        client.put(bucket, f"floor-{number}", content, size)

    def get(number):
        if len(client.ask("GET", bucket, f"floor-{number}")) != size:
            raise SystemExit(f"floor-{number} came short")

    return put if what == "put" else get


def writer(database, size):
    import psycopg  # pylint: disable=import-outside-toplevel

    content = os.urandom(size)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS floor")
        connection.execute("CREATE TABLE floor (data bytea)")

    def write(_number):
        with psycopg.connect(database) as connection:
            with connection.cursor().copy("COPY floor FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["bytea"])
                copy.write_row((content,))

    return write


main()
