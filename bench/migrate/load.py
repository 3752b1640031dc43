"""Rows with a content of random bytes each, and what each is: id -> size, MD5 and the ETag of an upload in parts.

    load.py DATABASE FILES SIZE MANIFEST
"""

import hashlib
import json
import os
import sys
import uuid

import psycopg

FILE_TYPE = uuid.UUID("529bc2f8-0ee0-df11-971b-001d60e938c6")
DATABASE_STORAGE = uuid.UUID("38ab9812-9bba-4eb8-86d0-8f352cd0229c")
# The parts in which `migrate` puts what is larger than one of them.
PART = 5 << 20
COLUMNS = '"Id", "TypeId", "SysFileStorageId", "Size", "ContactId", "Data"'


def main():
    database, files, size, manifest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    made = {}
    with psycopg.connect(database) as connection:
        (contact,) = connection.execute('INSERT INTO "Contact" ("Name") VALUES (\'one\') RETURNING "Id"').fetchone()
        with connection.cursor().copy(f'COPY "ContactFile" ({COLUMNS}) FROM STDIN (FORMAT BINARY)') as copy:
            copy.set_types(["uuid", "uuid", "uuid", "int4", "uuid", "bytea"])
            for _ in range(files):
                file, content = uuid.uuid4(), os.urandom(size)
                copy.write_row((file, FILE_TYPE, DATABASE_STORAGE, size, contact, content))
                made[str(file)] = [size, hashlib.md5(content).hexdigest(), in_parts(content)]
    with open(manifest, "w", encoding="utf-8") as file:
        json.dump(made, file)


def in_parts(content):
    """An ETag of parts is the MD5 of their MD5s, and their number."""
    view = memoryview(content)
    sums = [hashlib.md5(view[at : at + PART]).digest() for at in range(0, max(len(view), 1), PART)]
    return f"{hashlib.md5(b''.join(sums)).hexdigest()}-{len(sums)}"


main()
