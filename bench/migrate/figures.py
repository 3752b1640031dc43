"""What the runs of bench/migrate/run say: the result file, medians, and the goals, from the raw figures alone."""

import json
from dataclasses import dataclass
from statistics import median

MB = 1e6
MIB = 1 << 20
# The default of `--wal`.
BOUND = 64 * MIB
WINDOW = 10
WAYS = ["storage", "reclaim", "database"]


@dataclass
class Goal:
    """One goal with what was measured."""

    name: str
    met: bool
    figure: str


def kept(path, parts):
    """Runs, floors and bounds of an earlier run's parts that this one does not do again."""
    try:
        found = read(path)
    except (OSError, json.JSONDecodeError):
        found = {"runs": [], "floors": [], "bounds": []}
    others = [[one for one in found[name] if one["part"] not in parts] for name in ("runs", "floors")]
    return [*others, [] if "bound" in parts else found["bounds"]]


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write(path, about, runs, floors, bounds):
    summaries = {"summary": summary(runs, floors), "goals": [vars(goal) for goal in goals(runs, floors, bounds)]}
    head = json.dumps(about | summaries, indent=2).rstrip("}\n ")
    lists = [("floors", floors), ("bounds", bounds), ("runs", runs)]
    text = ",\n".join(f'  "{name}": [\n' + ",\n".join(f"    {json.dumps(one)}" for one in own) + "\n  ]" for name, own in lists)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head},\n{text}\n}}\n")


def of(runs, part, way, who):
    return [run for run in runs if (run["part"], run["way"], run["who"]) == (part, way, who)]


def processors():
    """(time at work, all time) of all processors so far: of both programs, the database and the storage alike."""
    with open("/proc/stat", encoding="ascii") as file:
        times = [int(time) for time in file.readline().split()[1:9]]
    # The fourth and fifth are idle, the fifth waiting for a disk.
    return sum(times) - times[3] - times[4], sum(times)


def busy(before, after):
    worked, all_time = (later - earlier for earlier, later in zip(before, after))
    return round(worked / all_time, 3) if all_time else 0


def speeds(runs, unit):
    return [run[unit] / run["seconds"] for run in runs]


def summary(runs, floors):
    """Medians with least and most; `times_the_peer` above 1 is for us."""
    found = []
    for part, way in dict.fromkeys((run["part"], run["way"]) for run in runs):
        line = {"part": part, "way": way}
        for who in dict.fromkeys(run["who"] for run in runs if (run["part"], run["way"]) == (part, way)):
            line[who] = figures(of(runs, part, way, who))
        if "ours" in line and "peer" in line:
            line["times_the_peer"] = round(line["ours"]["mb_per_second"][0] / line["peer"]["mb_per_second"][0], 2)
        line |= {f"floor_{one['what']}_mb_per_second": round(one["bytes"] / one["seconds"] / MB, 1)
                 for one in floors if (one["part"], one["way"]) == (part, way)}
        found.append(line)
    return found


def figures(own):
    def three(values, digits):
        return [round(one, digits) for one in (median(values), min(values), max(values))]

    content = sum(run["bytes"] for run in own)
    return {
        "runs": len(own), "wrong": sum(bool(run["wrong"]) for run in own),
        "files_per_second": three(speeds(own, "files"), 1),
        "mb_per_second": three([one / MB for one in speeds(own, "bytes")], 1),
        "requests_per_file": round(max(sum(run["requests"].values()) / run["files"] for run in own), 3),
        "cpu_seconds": round(median(run["cpu_seconds"] for run in own), 2),
        "peak_mb": round(max(run["peak_mb"] for run in own), 1),
        **({"machine_busy": round(median(known), 2)} if (known := [run["machine_busy"] for run in own if "machine_busy" in run]) else {}),
        "wal_for_a_byte": round(sum(run["wal_bytes"] for run in own) / content, 3),
    }


def wal_rates(samples, began, ended):
    """How much WAL the server wrote while it ran, and the most of any ten seconds (of the whole, where it took less)."""
    own = [sample for sample in samples if began <= sample[0] <= ended]
    if len(own) < 2:
        return {"seconds": 0, "wal_bytes": 0, "most_in_a_window": 0}
    most, start = 0.0, 0
    for at, (when, written) in enumerate(own):
        while when - own[start + 1][0] >= WINDOW and start + 1 < at:
            start += 1
        if when - own[start][0] >= WINDOW:
            most = max(most, (written - own[start][1]) / (when - own[start][0]))
    seconds, written = own[-1][0] - own[0][0], own[-1][1] - own[0][1]
    return {"seconds": seconds, "wal_bytes": written, "most_in_a_window": most or written / seconds}


def goals(runs, floors, bounds):
    ours = [run for run in runs if run["who"] != "peer"]
    wrong = sum(bool(run["wrong"]) for run in runs)
    found = [Goal("every row and object as it has to be", bool(runs) and not wrong, f"{wrong} of {len(runs)} runs wrong")]
    for part in dict.fromkeys(run["part"] for run in ours):
        peak = max(run["peak_mb"] for run in ours if run["part"] == part)
        found.append(Goal(f"{part}: peak memory below 80 MB", peak < 80, f"{peak:.1f} MB"))
    for way in WAYS:
        own, peer = of(runs, "small", way, "ours"), of(runs, "small", way, "peer")
        if own and peer:
            times = median(speeds(own, "files")) / median(speeds(peer, "files"))
            found.append(Goal(f"small, {way}: at least 2 x the peer's files/s", times >= 2, f"{times:.2f} x"))
    for part, end in (("large", "the slower end"), ("wire", "the wire")):
        for way in ("storage", "database"):
            own = of(runs, part, way, "ours")
            ends = [one["bytes"] / one["seconds"] for one in floors if (one["part"], one["way"]) == (part, way)]
            if own and ends:
                share = median(speeds(own, "bytes")) / min(ends)
                found.append(Goal(f"{part}, {way}: level with {end} alone (90 %)", share >= 0.9, f"{share:.0%}"))
    for one in bounds:
        # One statement writes one content, and what it has written too much is paid off after it.
        most, bound = one["most_in_a_window"], BOUND + one["largest"] * 1.1 / WINDOW
        name = f"bounded: WAL of any {WINDOW} s at most 64 MiB/s and one content"
        found.append(Goal(name, 0 < most <= bound, f"{most / MIB:.1f} of {bound / MIB:.1f} MiB/s"))
    return found


def show(run):
    wrong = f"  WRONG: {run['wrong']}" if run["wrong"] else ""
    print(f"{run['part']:6}{run['who']:14}{run['way']:9}{run['seconds']:8.1f} s{run['files'] / run['seconds']:9.1f} files/s"
          f"{run['bytes'] / run['seconds'] / MB:8.1f} MB/s{run['peak_mb']:8.1f} MB{run['machine_busy']:6.0%} busy{run['wal_bytes'] / run['bytes']:7.3f} WAL/byte{wrong}", flush=True)


def report(found):
    """Prints the goals; answers whether all are met."""
    told = goals(found["runs"], found["floors"], found["bounds"])
    for goal in told:
        print(f"{'met' if goal.met else 'MISSED':7} {goal.name:58} {goal.figure}")
    return all(goal.met for goal in told)
