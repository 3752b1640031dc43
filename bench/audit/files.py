"""The files of the benchmark: what each one is follows from its number alone, here and in load.sql."""

import hashlib
from collections import Counter
from urllib.parse import quote

SIZE = 20480
OLD = "2026-01-02T03:04:05.000Z"


def key(number):
    """A uuid, spread over the whole space; PostgreSQL says the same: md5('audit ' || number)::uuid."""
    digits = hashlib.md5(b"audit %d" % number).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def etag(name):
    """Made up, and always the same."""
    return hashlib.md5(name.encode()).hexdigest()


def strange(number):
    """A key that is none of a file's, with what listings have to encode."""
    return f"strange/Übersicht +a%20b &c {number}.txt"


def class_of_row(number):
    """What the file of a row is. Tables follow from number % 5, classes mostly from the rest: each is in many tables."""
    table, step = number % 5, number // 5 % 1000
    if step == 1:
        return "lost"
    if step == 2:
        return "restorable"
    if step != 3:
        return "ok"
    return {0: "dangling", 1: "ok", 2: "parentless"}.get(table, "left_behind")


class Files:
    """`rows` files with a row, and others without, behind them by number."""

    def __init__(self, rows, aged=True):
        self.rows = rows
        self.aged = aged
        # Class -> numbers of files without a row.
        self.rowless, first = {}, rows
        for name, share in [("orphan", 1000), ("linked", 5000), ("young", 5000), ("recycled", 10)]:
            self.rowless[name] = range(first, first + rows // share)
            first += rows // share
        self.strange = [strange(number) for number in range(rows // 10000)]

    def expected(self):
        """How many of each class an audit has to find. Right after their writing, all without a row are young."""
        counts = Counter(class_of_row(number) for number in range(self.rows))
        counts.update({name: len(numbers) for name, numbers in self.rowless.items()})
        counts["unknown"] = len(self.strange)
        if not self.aged:
            counts["young"] += counts.pop("orphan") + counts.pop("linked")
        return dict(counts)

    def expected_of_plain(self):
        """The three numbers that lists alone can tell."""
        counts = self.expected()
        without = ["orphan", "linked", "young", "left_behind", "unknown"]
        return {
            "lost": counts["lost"], "restorable": counts["restorable"],
            "without_row": sum(counts.get(name, 0) for name in without),
        }

    def objects(self):
        """Keys of the object bucket, in no order."""
        yield from (key(n) for n in range(self.rows) if class_of_row(n) not in ("lost", "restorable"))
        for name in ["orphan", "linked", "young"]:
            yield from map(key, self.rowless[name])
        yield from self.strange

    def copies(self):
        """Keys of the recycle bucket, in no order."""
        yield from (key(n) for n in range(self.rows) if class_of_row(n) == "restorable")
        yield from map(key, self.rowless["recycled"])

    def young(self):
        """Keys that a server with old objects has to call new."""
        return {key(number) for number in self.rowless["young"]}

    def variables(self):
        """What load.sql has to know."""
        linked = self.rowless["linked"]
        return {"rows": self.rows, "first_linked": linked.start, "last_linked": linked.stop - 1}


def encoded(name):
    """As listings have it with encoding-type=url."""
    return quote(name, safe="/-_.~")
