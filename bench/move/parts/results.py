"""The raw result files: one for each mover with a line for each run, and one about the whole."""

import json
import os
import re

MAX_OUTPUT = 1000


def write(folder, about, movers, runs):
    """Writes `about.json` and a file for each mover that ran, and takes the files of earlier runs away."""
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith(".json"):
            os.unlink(os.path.join(folder, name))
    save(folder, "about", json.dumps(about, indent=2))
    for mover in movers:
        own = [run for run in runs if run["mover"] == mover["mover"]]
        if own:
            head = json.dumps(mover, indent=2).rstrip("}\n ")
            lines = ",\n".join("    " + json.dumps(run) for run in own)
            save(folder, mover["mover"], f'{head},\n  "runs": [\n{lines}\n  ]\n}}')


def save(folder, name, text):
    json.loads(text)
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
        file.write(text + "\n")


def read(folder):
    """What `write` wrote: (about, movers with their runs)."""
    with open(os.path.join(folder, "about.json"), encoding="utf-8") as file:
        about = json.load(file)
    movers = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json") and name != "about.json":
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                movers.append(json.load(file))
    return about, movers


def short(path, places):
    """The end of a file of output, without the places of this machine."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return scrub(file.read(), places).strip()[-MAX_OUTPUT:]


def scrub(text, places):
    """Replaces this machine's folders by names, and ports by one word."""
    for place, name in places:
        text = text.replace(place, name)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
