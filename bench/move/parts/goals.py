"""The goals of the engine, computed from the raw result files and nothing else."""

import math
from dataclasses import dataclass
from statistics import median

OURS, BARE = "recycler", "bare"
MAX_KEYS = 1000


@dataclass
class Goal:
    """One goal with what was measured."""

    name: str
    met: bool
    figure: str


class Figures:
    """All runs of one mover with one set at one latency."""

    def __init__(self, runs):
        self.runs = runs
        self.speeds = [run["files"] / run["seconds"] for run in runs]
        self.speed = median(self.speeds)
        self.cpu_ms = median(run["cpu_seconds"] * 1000 / run["files"] for run in runs)
        self.peak_mb = max(run["peak_mb"] for run in runs)
        self.requests = max(requests(run) for run in runs)
        self.requests_with_start = max(sum(run["requests"].values()) / run["files"] for run in runs)
        inner = [run["files"] / run["inner"]["seconds"] for run in runs if run.get("inner")]
        self.inner_speed = median(inner) if inner else None
        self.wrong = [run for run in runs if run["wrong"] or run["exit"] != 0]


def requests(run):
    """Requests for each file, without those before the first: the engine's one probe of what the server can do."""
    before = (run.get("inner") or {}).get("requests_before", 0)
    return (sum(run["requests"].values()) - before) / run["files"]


def figures(movers):
    """(set, latency) -> mover -> Figures, in the order of the runs."""
    found = {}
    for mover in movers:
        for run in mover["runs"]:
            found.setdefault((run["set"], run["latency_ms"]), {}).setdefault(mover["mover"], []).append(run)
    return {case: {name: Figures(runs) for name, runs in by.items()} for case, by in found.items()}


def goals(about, movers):
    """All goals, one case after the other."""
    peers = [mover["mover"] for mover in movers if not mover["ours"]]
    found = figures(movers)
    cases = sorted(found, key=lambda case: (list(about["sets"]).index(case[0]), case[1]))
    return [goal for case in cases for goal in of_case(case, found[case], peers)]


def of_case(case, by, peers):
    """The goals with one set at one latency."""
    place = f"{case[0]}, {case[1]} ms: "
    own = by.get(OURS)
    if not own:
        return [Goal(f"{place}every goal", False, "file-recycler did not run")]
    checks = [
        ("files/s at least 3 x the fastest other's", *speed(own, {name: by[name] for name in peers if name in by})),
        ("files/s at least 90 % of the bare loop's", *against_bare(own, by.get(BARE))),
        ("requests for each file", *asked(own)),
        ("CPU for each file at most 1/3 of rclone's", *cpu(own, by.get("rclone"), 3)),
        ("CPU for each file at most 1/8 of boto3's", *cpu(own, by.get("boto3"), 8)),
        ("peak memory below 40 MB", own.peak_mb < 40, f"{own.peak_mb:.1f} MB"),
        ("every file moved and none lost", *intact(own)),
    ]
    return [Goal(place + name, met, figure) for name, met, figure in checks]


def speed(own, others):
    """Whole processes, from start to exit."""
    right = {name: figures for name, figures in others.items() if not figures.wrong}
    if not right:
        return False, "nobody to compare with"
    name, fastest = max(right.items(), key=lambda item: item[1].speed)
    return own.speed >= 3 * fastest.speed, f"{own.speed / fastest.speed:.2f} x ({own.speed:,.0f} to {fastest.speed:,.0f} of {name})"


def against_bare(own, bare):
    """The loops themselves: the engine's probe happens once in a process's life, which here is short."""
    if not bare or not own.inner_speed or not bare.inner_speed:
        return False, "nothing to compare with"
    share, whole = own.inner_speed / bare.inner_speed, own.speed / bare.speed
    return share >= 0.9, f"{share:.0%} ({own.inner_speed:,.0f} to {bare.inner_speed:,.0f}; whole processes {whole:.0%})"


def asked(own):
    """At most 1.01; where so few files move that one deletion is more than that, what cannot be less."""
    files = own.runs[0]["files"]
    least = 1 + math.ceil(files / MAX_KEYS) / files
    most = max(1.01, least)
    figure = f"{own.requests:.4f} of at most {most:.4g} ({own.requests_with_start:.4f} with the probe at the start)"
    return own.requests <= most + 1e-9, figure


def cpu(own, other, share):
    if not other or other.wrong:
        return False, "nothing to compare with"
    figure = f"1/{other.cpu_ms / own.cpu_ms:.1f} ({own.cpu_ms:.3f} to {other.cpu_ms:.3f} ms)"
    return own.cpu_ms * share <= other.cpu_ms, figure


def intact(own):
    return not own.wrong, f"{len(own.wrong)} of {len(own.runs)} runs left something wrong"


def report(about, movers):
    """Prints the figures and the goals; answers whether all are met."""
    print(f"{about['command']}  ({about['date']}, {about['cores']} cores, {about['processor']}, commit {about['commit']})")
    for case, by in figures(movers).items():
        print(f"\n{about['sets'][case[0]]}, {case[1]} ms added: median of {about['rounds']} (least to most)")
        for name, own in sorted(by.items(), key=lambda item: (bool(item[1].wrong), -item[1].speed)):
            spread = f"({min(own.speeds):,.0f} to {max(own.speeds):,.0f})"
            wrong = f"  WRONG in {len(own.wrong)} runs" if own.wrong else ""
            print(f"  {name:16} {own.speed:8,.0f} files/s {spread:18} {own.requests_with_start:7.3f} requests/file"
                  f" {own.cpu_ms:8.3f} ms CPU/file {own.peak_mb:6.1f} MB{wrong}")
    print()
    found = goals(about, movers)
    for goal in found:
        print(f"{'met' if goal.met else 'MISSED':7} {goal.name:62} {goal.figure}")
    missed = sum(not goal.met for goal in found)
    print(f"\n{len(found) - missed} of {len(found)} goals met")
    return missed == 0
