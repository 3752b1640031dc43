"""The movers: how each is called at its best, what it verifies, and what it would lose."""

import os
import re
import subprocess
from dataclasses import dataclass

from parts.servers import ACCESS_KEY, SECRET_KEY

CONCURRENCY = 64
MAX_KEYS = 1000
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass
class Work:
    """One move to be done: listed objects, from bucket to bucket, in a folder for the mover's own files."""

    endpoint: str
    source: str
    target: str
    files: list  # of (key, size)
    folder: str

    def write(self, name, lines):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        return path

    def listed(self):
        return self.write("list.tsv", (f"{size}\t{key}" for key, size in self.files))

    def environment(self):
        """Nothing of the caller's: no proxies, no profiles, no certificate bundles."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": self.folder,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class Mover:
    """One mover. `name` is that of its result file."""

    name = ""
    title = ""
    ours = False
    verifies = ""
    would_lose = ""
    source = ""
    settings = ""

    def __init__(self, programs):
        self.programs = programs

    def version(self):
        raise NotImplementedError

    def command(self, work):
        raise NotImplementedError

    def environment(self, work):
        return work.environment()


class Ours(Mover):
    """A mode of bench/move/mover.rs."""

    ours = True

    def version(self):
        return self.programs.commit

    def command(self, work):
        buckets = ["--from", work.source, "--to", work.target, "--list", work.listed()]
        return [self.programs.mover, self.name, "--endpoint", work.endpoint, *buckets, "--concurrency", str(CONCURRENCY)]


class Recycler(Ours):
    name = "recycler"
    title = "file-recycler"
    settings = "the product's engine and defaults; a registry that answers at once that every file is dead"
    verifies = (
        "that the copy overwrites nothing (If-None-Match), and at the deletion, key by key, that the source is what "
        "the copy's answer says was copied (an ETag per key); above 5 MiB it looks at the source first"
    )
    would_lose = (
        "nothing: an object rewritten between copy and deletion stays, a copy answered 200 with an error is an "
        "error, other content under the key is a conflict"
    )
    source = "ARCHITECTURE.md, 'Recycle: one file'; tests/it/move_race.rs"


class Bare(Ours):
    name = "bare"
    title = "bare loop, same SDK"
    settings = "CopyObject and DeleteObjects of 1,000 keys, without conditions, proofs or retries; same HTTP client"
    verifies = "nothing but the status of each answer"
    would_lose = "an object rewritten between copy and deletion; whatever was under the key in the other bucket"
    source = "bench/move/bare.rs"


class Rclone(Mover):
    name = "rclone"
    title = "rclone move"
    flags = [
        "--transfers", str(CONCURRENCY), "--checkers", str(CONCURRENCY), "--no-traverse", "--no-check-dest",
        "--s3-no-head", "--s3-no-head-object", "--s3-no-check-bucket", "--use-server-modtime",
        "--stats", "0", "--log-level", "ERROR",
    ]
    settings = (
        "rclone.org/docs and rclone.org/s3 ('Reducing costs'): listed keys without listing the buckets, no look at "
        "the destination, no HEAD that it can do without, no check of the bucket; 3 requests, where it is 4 without "
        "--s3-no-head-object"
    )
    verifies = "size, and MD5 where ETags are MD5s, of source and copy after the copy, before the source is deleted"
    would_lose = (
        "an object rewritten between copy and deletion: the deletion has no condition; whatever was under the key "
        "in the other bucket, which is overwritten"
    )
    source = "fs/operations/copy.go (verify), fs/operations/operations.go (DeleteFile), backend/s3/s3.go (Copy, Remove); its log with -vv"

    def program(self):
        return self.programs.rclone

    def version(self):
        return first_line([self.program(), "version"])

    def command(self, work):
        listed = work.write("rclone.txt", (key for key, _ in work.files))
        buckets = [f"bench:{work.source}", f"bench:{work.target}"]
        return [self.program(), "move", *buckets, "--files-from-raw", listed, *self.flags]

    def environment(self, work):
        remote = {
            "TYPE": "s3", "PROVIDER": "Other", "ENV_AUTH": "true", "REGION": "us-east-1",
            "ENDPOINT": work.endpoint, "FORCE_PATH_STYLE": "true",
        }
        named = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in remote.items()}
        return {**work.environment(), **named, "RCLONE_CONFIG": os.path.join(work.folder, "rclone.conf")}


class RcloneUnchecked(Rclone):
    """Debian's older one: it needs no HEAD at all where nothing is to be verified; 1.75 still asks for one."""

    name = "rclone-unchecked"
    title = "rclone, no checks"
    flags = [*Rclone.flags, "--ignore-checksum"]
    settings = "as rclone, and nothing verified (--ignore-checksum), by Debian's version, which then asks least"
    verifies = "nothing but the status of the copy, before the source is deleted by a request of its own"
    source = "fs/operations/operations.go (Copy), backend/s3/s3.go (Copy, Remove); its log with -vv"

    def program(self):
        return self.programs.old_rclone


class S5cmd(Mover):
    flags = ["--numworkers", str(CONCURRENCY), "--log", "error"]
    source = "github.com/peak/s5cmd: command/cp.go (doCopy), command/rm.go, storage/s3.go (Copy, doDelete)"

    def version(self):
        return first_line([self.programs.s5cmd, "version"])

    def start(self, work):
        return [self.programs.s5cmd, "--endpoint-url", work.endpoint, *self.flags]


class S5cmdMv(S5cmd):
    name = "s5cmd-mv"
    title = "s5cmd mv"
    settings = "README: many commands in one `run`, workers as many as requests in flight"
    verifies = "nothing but the status of the copy, before the source is deleted by a request of its own"
    would_lose = (
        "an object rewritten between copy and deletion; whatever was under the key in the other bucket"
    )

    def command(self, work):
        moves = (f'mv "s3://{work.source}/{key}" "s3://{work.target}/{key}"' for key, _ in work.files)
        return [*self.start(work), "run", work.write("mv.txt", moves)]


class S5cmdCpRm(S5cmd):
    name = "s5cmd-cp-rm"
    title = "s5cmd cp, then rm"
    settings = "as s5cmd mv, in two runs: `cp` line by line, then `rm` of 1,000 keys in a line (DeleteObjects)"
    verifies = "nothing but that all copies had a good status, before the sources are deleted"
    would_lose = "as s5cmd mv, and for longer: everything that is rewritten between its copy and the end of all copies"

    def command(self, work):
        copies = (f'cp "s3://{work.source}/{key}" "s3://{work.target}/{key}"' for key, _ in work.files)
        keys = [f'"s3://{work.source}/{key}"' for key, _ in work.files]
        portions = (keys[start : start + MAX_KEYS] for start in range(0, len(keys), MAX_KEYS))
        copies = work.write("cp.txt", copies)
        deletions = work.write("rm.txt", ("rm " + " ".join(portion) for portion in portions))
        script = 'copies=$1 deletions=$2; shift 2; "$@" run "$copies" && "$@" run "$deletions"'
        return ["/bin/sh", "-c", script, "s5cmd", copies, deletions, *self.start(work)]


class Boto3(Mover):
    name = "boto3"
    title = "boto3, 64 threads"
    settings = (
        "one client, as many connections as threads (Config.max_pool_connections), no validation of parameters, "
        "copy_object, delete_objects of 1,000 keys"
    )
    verifies = "nothing but the status of the copy (botocore takes a 200 with an error in it for an error)"
    would_lose = "an object rewritten between copy and deletion; whatever was under the key in the other bucket"
    source = "bench/move/peers/boto3_pool.py; botocore/handlers.py (check_for_200_error)"

    def version(self):
        return self.programs.python_package("boto3")

    def command(self, work):
        script = os.path.join(HERE, "peers", "boto3_pool.py")
        buckets = [work.endpoint, work.source, work.target]
        return [self.programs.python, script, *buckets, work.listed(), str(CONCURRENCY)]


class Aws(Mover):
    name = "aws"
    title = "aws s3 mv"
    settings = (
        "AWS CLI S3 configuration: max_concurrent_requests 64, max_queue_size 10000, multipart_threshold 5GB (one "
        "CopyObject for each object); the whole bucket, since it takes no list"
    )
    verifies = "nothing but the status of the copy, before the source is deleted by a request of its own"
    would_lose = "an object rewritten between copy and deletion; whatever was under the key in the other bucket"
    source = "awscli/customizations/s3/utils.py (DeleteSourceObjectSubscriber); s3transfer/copies.py (CopyObjectTask)"

    def version(self):
        return self.programs.python_package("awscli")

    def command(self, work):
        buckets = [f"s3://{work.source}/", f"s3://{work.target}/"]
        flags = ["--recursive", "--only-show-errors", "--endpoint-url", work.endpoint]
        return [self.programs.aws, "s3", "mv", *buckets, *flags]

    def environment(self, work):
        config = work.write("aws-config", [
            "[default]",
            "region = us-east-1",
            "request_checksum_calculation = when_required",
            "response_checksum_validation = when_required",
            "s3 =",
            f"    max_concurrent_requests = {CONCURRENCY}",
            "    max_queue_size = 10000",
            "    multipart_threshold = 5GB",
            "    addressing_style = path",
        ])
        return {**work.environment(), "AWS_CONFIG_FILE": config}


ALL = [Recycler, Bare, Rclone, RcloneUnchecked, S5cmdMv, S5cmdCpRm, Boto3, Aws]


def first_line(command):
    output = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout
    return re.sub(r"\s+", " ", output.splitlines()[0]).strip()
