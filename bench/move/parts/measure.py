"""Runs one command and writes what it took: wall time, CPU and peak memory, its own children included.

A process of its own, and a small one: the kernel's peak of a child never is below what its parent held when
it forked, and the benchmark itself holds much.

    measure.py RESULT SECONDS COMMAND...
"""

import json
import os
import signal
import sys
import time


def main():
    result, seconds, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    started = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ, setpgroup=0)
    timed_out = []

    def give_up(*_):
        timed_out.append(True)
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    _, status, usage = os.wait4(child, 0)
    took = time.monotonic() - started
    signal.alarm(0)
    figures = {
        "seconds": took,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        # Of the largest process, where there were several.
        "peak_mb": usage.ru_maxrss / 1024,
        "exit": os.waitstatus_to_exitcode(status),
        "timed_out": bool(timed_out),
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(figures, file)


main()
