"""The chart of the documentation: files a second of each mover, without and with latency."""

from xml.sax.saxutils import escape

from parts.goals import figures

WIDTH = 760
LEFT = 170
RIGHT = 110
TOP = 76
BAR = 15
ROW = 2 * BAR + 16
COLOURS = {"ours": ("#0b6e4f", "#8fc9b3"), "bare": ("#5b6470", "#b9c0c8"), "other": ("#b4541a", "#ebb48f")}
FONT = 'font-family="system-ui, sans-serif"'


def write(path, about, movers):
    """Writes the chart of the first set at its first two latencies."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(draw(about, movers))


def draw(about, movers):
    """The chart as text."""
    name, title = next(iter(about["sets"].items()))
    cases = {latency: by for (of, latency), by in figures(movers).items() if of == name}
    latencies = sorted(cases)[:2]
    titles = {mover["mover"]: mover["title"] for mover in movers}
    order = sorted(titles, key=lambda mover: -speed(cases, latencies[0], mover))
    most = max(speed(cases, latency, mover) for latency in latencies for mover in order)
    height = TOP + ROW * len(order) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" {FONT} role="img">',
        f"<title>Files moved a second: {escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 26, f"Files moved a second, bucket to bucket: {title}", size=16, weight=600),
        text(16, 46, f"{legend(latencies)}. The line is least to most of {about['rounds']} runs."),
        text(16, 62, f"{about['cores']} cores shared with the server, {about['processor']}, {about['date']}; "
             "requests for each file in brackets."),
    ]
    for row, mover in enumerate(order):
        y = TOP + 8 + row * ROW
        parts.append(text(LEFT - 10, y + BAR + 4, titles[mover], size=13, anchor="end"))
        for index, latency in enumerate(latencies):
            if mover in cases[latency]:
                parts += bar(y + index * (BAR + 2), cases[latency][mover], most, colour(movers, mover)[index])
    parts.append(text(16, height - 14, "Made by bench/move/run from bench/results/move; bench/README.md says what is measured."))
    return "\n".join([*parts, "</svg>", ""])


def legend(latencies):
    """Which of a mover's bars is which."""
    return "; ".join(f"{shade}: {latency} ms added to each request" for shade, latency in zip(["dark", "light"], latencies))


def bar(y, own, most, fill):
    """One bar with its spread and its figures."""
    def at(speed):
        return LEFT + (WIDTH - LEFT - RIGHT) * speed / most
    middle, end = y + BAR / 2, at(own.speed)
    label = f"{own.speed:,.0f} ({own.requests_with_start:.2f})"
    return [
        f'<rect x="{LEFT}" y="{y:.1f}" width="{end - LEFT:.1f}" height="{BAR}" fill="{fill}"/>',
        f'<path d="M{at(min(own.speeds)):.1f} {middle:.1f}H{at(max(own.speeds)):.1f}" stroke="#1c2126" stroke-width="1.5"/>',
        text(max(end, at(max(own.speeds))) + 6, middle + 4, label),
    ]


def speed(cases, latency, mover):
    found = cases[latency].get(mover)
    return found.speed if found else 0


def colour(movers, name):
    if name in ("recycler", "bare"):
        return COLOURS["ours" if name == "recycler" else "bare"]
    return COLOURS["other"]


def text(x, y, content, size=12, weight=400, anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="#1c2126">{escape(content)}</text>')
