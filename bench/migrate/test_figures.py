"""The goals on planted results: `python3 -m unittest discover -s bench/migrate`."""

import os
import subprocess
import sys
import tempfile
import unittest

import figures

HERE = os.path.dirname(os.path.abspath(__file__))


def run(part, who, way, seconds, **other):
    files, size = (20000, 20480) if part == "small" else (20, 200_000_000)
    own = {
        "part": part, "who": who, "way": way, "round": 1, "files": files, "bytes": files * size, "seconds": seconds,
        "cpu_seconds": 1.0, "peak_mb": 50.0, "exit": 0, "wal_bytes": files * size, "requests": {"PutObject": files}, "wrong": [],
    }
    return own | other


def planted(**ours):
    """A world in which every goal is met, but for the changes to our runs."""
    of_small, of_large = {"seconds": 10} | ours, ours | {"seconds": 40}
    runs = [run("small", who, way, **changes) for way in figures.WAYS
            for who, changes in [("ours", of_small), ("peer", {"seconds": 25, "peak_mb": 900.0})]]
    runs += [run("large", "ours", way, **of_large) for way in figures.WAYS]
    floors = [{"part": "large", "what": what, "way": way, "bytes": 4_000_000_000, "seconds": seconds}
              for what, way, seconds in [("read", "storage", 20), ("put", "storage", 39), ("get", "database", 10), ("write", "database", 38)]]
    return runs, floors, [{"part": "bound", "seconds": 60, "wal_bytes": 1, "most_in_a_window": 80 * figures.MIB, "largest": 200_000_000}]


def missed(world):
    return [goal.name for goal in figures.goals(*world) if not goal.met]


class Goals(unittest.TestCase):
    def test_all_are_met_where_all_is_well(self):
        self.assertEqual(missed(planted()), [])
        self.assertEqual(len(figures.goals(*planted())), 9)

    def test_each_is_missed_for_its_own_reason(self):
        for changes, name in [({"seconds": 13}, "2 x the peer"), ({"peak_mb": 80.0}, "below 80 MB"), ({"wrong": ["1 row"]}, "as it has to be")]:
            with self.subTest(name):
                found = missed(planted(**changes))
                self.assertTrue(found and all(name in one for one in found), found)

    def test_the_slower_end_is_what_large_files_are_compared_with(self):
        runs, floors, bounds = planted()
        floors[1]["seconds"] = 30
        self.assertEqual(missed((runs, floors, bounds)), ["large, storage: level with the slower end alone (90 %)"])
        # The quicker end may be as quick as it likes.
        floors[1]["seconds"], floors[0]["seconds"] = 39, 1
        self.assertEqual(missed((runs, floors, bounds)), [])

    def test_behind_a_wire_large_files_are_compared_with_it_alone(self):
        runs, floors, bounds = planted()
        floors += [{"part": "wire", "what": "put", "way": "storage", "bytes": 4_000_000_000, "seconds": 32}]
        for seconds, expected in [(35, []), (36, ["wire, storage: level with the wire alone (90 %)"])]:
            of_wire = run("wire", "ours", "storage", seconds)
            self.assertEqual(missed((runs + [of_wire], floors, bounds)), expected)

    def test_a_bound_that_is_passed_or_was_not_seen_is_missed(self):
        for most in (86 * figures.MIB, 0):
            runs, floors, bounds = planted()
            bounds[0]["most_in_a_window"] = most
            self.assertEqual(len(missed((runs, floors, bounds))), 1)

    def test_the_most_of_any_window_is_found_wherever_it_lies(self):
        quiet = [(float(at), 10.0 * at) for at in range(31)]
        burst = [(31.0 + at, 310.0 + 100.0 * at) for at in range(11)]
        found = figures.wal_rates([(-5.0, -1e9), *quiet, *burst, (60.0, 1e12)], 0, 45)
        self.assertEqual(found["most_in_a_window"], 100.0)
        self.assertEqual(figures.wal_rates([(0.0, 0.0), (2.0, 50.0)], 0, 2)["most_in_a_window"], 25.0)
        self.assertEqual(figures.wal_rates([], 0, 2)["most_in_a_window"], 0)


class Files(unittest.TestCase):
    def test_parts_of_an_earlier_run_stay_until_they_are_done_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "migrate.json")
            self.assertEqual(figures.kept(path, ["small"]), [[], [], []])
            figures.write(path, {"command": "planted"}, *planted())
            runs, floors, bounds = figures.kept(path, ["small"])
            self.assertEqual(({run["part"] for run in runs}, len(floors), len(bounds)), ({"large"}, 4, 1))
            runs, floors, bounds = figures.kept(path, ["large", "bound"])
            self.assertEqual(({run["part"] for run in runs}, len(floors), len(bounds)), ({"small"}, 0, 0))

    def test_a_missed_goal_is_printed_and_fails_only_when_asked_to(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "migrate.json")
            for changes, code in [({}, 0), ({"peak_mb": 81.0}, 1)]:
                figures.write(path, {"command": "planted"}, *planted(**changes))
                plain, strict = self.check(path), self.check(path, "--strict")
                self.assertEqual((plain.returncode, strict.returncode), (0, code), plain.stderr)
                self.assertEqual("MISSED" in plain.stdout, bool(code))
            self.assertEqual(self.check(os.path.join(folder, "none")).returncode, 1)

    def check(self, *given):
        command = [sys.executable, os.path.join(HERE, "check"), *given]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


if __name__ == "__main__":
    unittest.main()
