"""The checker on planted results: `python3 -m unittest discover -s bench/move`."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

from parts import chart, goals, results

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = 5000
ABOUT = {
    "command": "bench/move/run", "server": "embedded", "commit": "planted", "cores": 2, "processor": "none",
    "memory_gb": 1, "date": "2026-01-01", "sets": {"small": "5,000 of 20 KB"}, "rounds": 3,
}


def run(mover, speed, latency=0, **other):
    """One run at so many files a second."""
    own = {
        "mover": mover, "set": "small", "latency_ms": latency, "round": 1, "files": FILES, "seconds": FILES / speed,
        "cpu_seconds": FILES * 0.003, "peak_mb": 60.0, "exit": 0, "timed_out": False,
        "requests": {"CopyObject": FILES, "DeleteObjects": 5}, "wrong": {},
    }
    return own | other


def movers(**changes):
    """A world in which every goal is met, but for the changes to file-recycler's runs."""
    inner = {"seconds": FILES / 3100, "requests_before": 22}
    asked = {"CopyObject": FILES + 6, "DeleteObjects": 7, "HeadObject": 14}
    own = {"cpu_seconds": FILES * 0.0003, "peak_mb": 20.0, "inner": inner, "requests": asked} | changes
    bare = {"cpu_seconds": FILES * 0.0003, "peak_mb": 14.0, "inner": {"seconds": FILES / 3300, "requests_before": 0}}
    by = {
        "recycler": [run("recycler", speed, **own) for speed in (2900, 3000, 3100)],
        "bare": [run("bare", 3200, **bare)],
        "rclone": [run("rclone", 700, cpu_seconds=FILES * 0.0012)],
        "boto3": [run("boto3", 300)],
    }
    ours = ("recycler", "bare")
    return [{"mover": name, "title": name, "ours": name in ours, "runs": runs} for name, runs in by.items()]


def missed(*planted):
    return [goal.name.partition(": ")[2] for goal in goals.goals(ABOUT, *planted) if not goal.met]


class Goals(unittest.TestCase):
    def test_all_are_met_where_all_is_well(self):
        found = goals.goals(ABOUT, movers())
        self.assertEqual([goal.name for goal in found if not goal.met], [])
        self.assertEqual(len(found), 7)

    def test_each_is_missed_for_its_own_reason(self):
        slow = {"seconds": FILES / 2900, "requests_before": 22}
        looks = {"CopyObject": FILES, "DeleteObjects": 5, "HeadObject": 100}
        for changes, name in [
            ({"seconds": FILES / 2000}, "files/s at least 3 x the fastest other's"),
            ({"inner": slow}, "files/s at least 90 % of the bare loop's"),
            ({"requests": looks}, "requests for each file"),
            ({"cpu_seconds": FILES * 0.00041}, "CPU for each file at most 1/3 of rclone's"),
            ({"peak_mb": 40.0}, "peak memory below 40 MB"),
            ({"wrong": {"lost": 1}}, "every file moved and none lost"),
            ({"exit": 1}, "every file moved and none lost"),
        ]:
            with self.subTest(name):
                self.assertIn(name, missed(movers(**changes)))

    def test_an_eighth_of_boto3_is_asked_for_also_where_rclone_is_expensive(self):
        planted = movers(cpu_seconds=FILES * 0.00039)
        self.assertEqual(missed(planted), ["CPU for each file at most 1/8 of boto3's"])

    def test_the_probe_at_the_start_is_shown_but_not_counted(self):
        planted = movers(inner={"seconds": FILES / 3100, "requests_before": 60}, requests={"CopyObject": 5065})
        self.assertEqual(missed(planted), [])
        (figure,) = [goal.figure for goal in goals.goals(ABOUT, planted) if "requests for" in goal.name]
        self.assertIn("1.0010 of at most 1.01 (1.0130", figure)

    def test_five_files_cannot_need_less_than_one_deletion(self):
        planted = movers(files=5, requests={"CopyObject": 27, "DeleteObjects": 1})
        self.assertNotIn("requests for each file", missed(planted))
        planted = movers(files=5, requests={"CopyObject": 28, "DeleteObjects": 1})
        self.assertIn("requests for each file", missed(planted))

    def test_a_peer_that_left_something_wrong_is_nobody_to_compare_with(self):
        planted = movers()
        planted.append({"mover": "liar", "title": "liar", "ours": False, "runs": [run("liar", 9000, wrong={"lost": 1})]})
        self.assertEqual(missed(planted), [])

    def test_what_did_not_run_is_missed(self):
        self.assertEqual(missed(movers()[1:]), ["every goal"])
        self.assertIn("files/s at least 90 % of the bare loop's", missed([movers()[0], *movers()[2:]]))


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, planted):
        heads = [{key: value for key, value in mover.items() if key != "runs"} for mover in planted]
        results.write(self.folder, ABOUT, heads, [run for mover in planted for run in mover["runs"]])

    def check(self, *flags):
        command = [sys.executable, os.path.join(HERE, "check"), self.folder, *flags]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def test_what_is_written_is_what_is_read(self):
        planted = sorted(movers(), key=lambda mover: mover["mover"])
        self.write(planted)
        self.assertEqual(results.read(self.folder), (ABOUT, planted))

    def test_a_missed_goal_is_printed_and_fails_only_when_asked_to(self):
        self.write(movers(peak_mb=41.0))
        plain, strict = self.check(), self.check("--strict")
        self.assertEqual((plain.returncode, strict.returncode), (0, 1), plain.stderr)
        self.assertRegex(plain.stdout, r"MISSED +small, 0 ms: peak memory below 40 MB +41\.0 MB")
        self.assertIn("6 of 7 goals met", plain.stdout)

    def test_met_goals_are_met_strictly_too(self):
        self.write(movers())
        strict = self.check("--strict")
        self.assertEqual(strict.returncode, 0, strict.stdout)
        self.assertNotIn("MISSED", strict.stdout)

    def test_results_that_cannot_be_read_fail(self):
        self.assertEqual(self.check().returncode, 1)
        with open(os.path.join(self.folder, "about.json"), "w", encoding="utf-8") as file:
            json.dump({}, file)
        self.assertEqual(self.check().returncode, 1)

    def test_outputs_are_short_and_without_places(self):
        path = os.path.join(self.folder, "out")
        with open(path, "w", encoding="utf-8") as file:
            file.write("x" * 5000 + f"\n{self.folder}/a on 127.0.0.1:4711\n")
        short = results.short(path, [(self.folder, "WORK")])
        self.assertTrue(short.endswith("WORK/a on 127.0.0.1:PORT"))
        self.assertEqual(len(short), results.MAX_OUTPUT)


class Chart(unittest.TestCase):
    def test_it_names_every_mover_and_its_speed(self):
        planted = movers()
        for mover in planted:
            mover["runs"] += [{**run, "latency_ms": 20} for run in mover["runs"]]
        with contextlib.redirect_stdout(io.StringIO()):
            drawn = chart.draw(ABOUT, planted)
        for words in ["recycler", "rclone", "3,000 (", "700 (1.00)", "20 ms"]:
            self.assertIn(words, drawn)


if __name__ == "__main__":
    unittest.main()
