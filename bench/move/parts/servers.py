"""The S3 servers that the movers move on, and the switches by which requests are counted and delayed."""

import json
import os
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field

ACCESS_KEY = "recycler"
SECRET_KEY = "recycler-secret"
READY_SECONDS = 60


@dataclass
class Server:
    """A server that runs, by the address at which its requests are counted."""

    name: str
    endpoint: str
    processes: list = field(default_factory=list)
    at_end: list = field(default_factory=list)

    def counts(self):
        """Requests per operation since the last reset."""
        with self.switch("GET", "counts") as answer:
            return json.load(answer)["requests"]

    def reset(self):
        self.switch("POST", "reset").close()

    def delay(self, milliseconds):
        self.switch("PUT", "latency", json.dumps(milliseconds).encode()).close()

    def bandwidth(self, bytes_per_second):
        """So many each way, of all connections together; 0 is no bound."""
        self.switch("PUT", "bandwidth", json.dumps(bytes_per_second).encode()).close()

    def switch(self, method, name, body=None):
        request = urllib.request.Request(f"{self.endpoint}/-/{name}", data=body, method=method)
        return urllib.request.urlopen(request, timeout=30)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for action in self.at_end:
            action()


def start(name, root, folder, programs):
    return {"embedded": embedded, "seaweedfs": seaweedfs}[name](root, folder, programs)


def embedded(_root, folder, programs):
    """The project's own in-memory server, which counts and delays by itself."""
    return launch("embedded", folder, programs, [])


def seaweedfs(root, folder, programs):
    """A private SeaweedFS by deploy/local's scripts, behind the project's own proxy that counts and delays."""
    shell(root, folder, "ensure_packages seaweedfs >&2; seaweedfs_start")
    try:
        upstream = shell(root, folder, "seaweedfs_url").strip()
        server = launch("seaweedfs", folder, programs, ["--upstream", upstream])
    except BaseException:
        shell(root, folder, "seaweedfs_stop")
        raise
    server.at_end.append(lambda: shell(root, folder, "seaweedfs_stop"))
    return server


def launch(name, folder, programs, extra):
    ready = os.path.join(folder, "endpoint")
    program = os.path.join(programs, "recycler-test-s3")
    keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    command = [program, "--listen", "127.0.0.1:0", "--ready-file", ready, *keys, *extra]
    with open(os.path.join(folder, "server.log"), "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.monotonic() + READY_SECONDS
    while not os.path.exists(ready):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"the server did not start; its log is {folder}/server.log")
        time.sleep(0.05)
    with open(ready, encoding="utf-8") as file:
        return Server(name, file.read().strip(), [process])


def shell(root, folder, action):
    """Runs functions of deploy/local's library, with `folder` as its instance; answers what they print."""
    script = f'. "$0/deploy/local/lib/servers.sh"; prepare_state; INSTANCE=$1; {action}'
    command = ["bash", "-euo", "pipefail", "-c", script, root, folder]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout
