# SPDX-License-Identifier: Apache-2.0
"""The numbers of starts.py as an SVG: how long a start takes, on a logarithmic scale, and how many
a second there are. Plain text, no libraries."""

import html
import math

WIDTH = 860
LEFT = 190
BAR = 9
ROW = 30
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = {"paused": "#3465a4", "burst": "#f57900"}
TITLES = {"paused": "20 ms before each start", "burst": "back to back"}
SERIES = ("#888a85", "#555753", "#3465a4", "#729fcf", "#f57900", "#fcaf3e")


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {FONT}>{html.escape(words)}</text>'


def line(x1, y1, x2, y2, colour="#babdb6"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def box(x, y, width, height, colour):
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def latency_panel(latency, top):
    """Bars to the p50, a thin line on to the p99; returns the lines and the height."""
    names = sorted(latency["paused"], key=lambda name: latency["paused"][name]["p50_us"])
    low = 200
    high = max(row["p99_us"] for mode in TITLES for row in latency[mode].values())
    scale = (WIDTH - LEFT - 150) / math.log10(high / low)

    def at(value):
        return LEFT + scale * math.log10(max(value, low) / low)

    out = [text(LEFT, top, "time of /bin/true: bar to the p50, line to the p99 (logarithmic)")]
    bottom = top + 40 + ROW * len(names)
    for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if tick * 1000 <= high:
            x = at(tick * 1000)
            out += [line(x, top + 30, x, bottom), text(x, bottom + 14, f"{tick} ms", "middle")]
    for number, (mode, title) in enumerate(TITLES.items()):
        x = LEFT + 200 * number
        out += [box(x, top + 10, 10, 10, COLOURS[mode]), text(x + 15, top + 20, title)]
    for number, name in enumerate(names):
        y = top + 38 + ROW * number
        out.append(text(LEFT - 8, y + 14, name, "end"))
        for place, mode in enumerate(TITLES):
            row = latency[mode][name]
            y_bar = y + place * (BAR + 1)
            end = at(row["p50_us"])
            out.append(box(LEFT, y_bar, end - LEFT, BAR, COLOURS[mode]))
            out.append(line(end, y_bar + BAR / 2, at(row["p99_us"]), y_bar + BAR / 2, "#2e3436"))
            if mode == "paused":
                words = f"{row['p50_us'] / 1000:.2f} ms, {row['ratio']:.2f} ×"
                out.append(text(at(row["p99_us"]) + 4, y_bar + 9, words))
    return out, bottom + 30 - top


def rates_panel(rates, top):
    table = rates["rates"]
    columns = list(next(iter(table.values())))
    high = max(max(row.values()) for name, row in table.items() if name != "floor")
    height = 180
    base = top + 30 + height
    group = (WIDTH - LEFT - 200) / len(columns)
    shown = [name for name in table if name != "floor"]
    width = group * 0.8 / len(shown)
    out = [text(LEFT, top, "starts a second, sustained, by how many are in parallel")]
    step = 10 ** math.floor(math.log10(high))
    step = step / 2 if high / step < 3 else step
    for number in range(int(high / step) + 1):
        y = base - height * number * step / high
        out += [line(LEFT, y, WIDTH - 200, y), text(LEFT - 8, y + 4, f"{number * step:.0f}", "end")]
    for number, column in enumerate(columns):
        x = LEFT + group * number
        out.append(text(x + group * 0.4, base + 16, column, "middle"))
        for place, name in enumerate(shown):
            tall = height * table[name][column] / high
            out.append(box(x + place * width, base - tall, width - 1, tall, SERIES[place + 1]))
    for place, name in enumerate(shown):
        y = top + 40 + 18 * place
        out += [box(WIDTH - 190, y, 10, 10, SERIES[place + 1]), text(WIDTH - 175, y + 10, name)]
    return out, height + 60


def draw(result):
    body = []
    y = 24
    panels = {"latency": latency_panel, "rates": rates_panel}
    for part, panel in panels.items():
        if part in result:
            lines, height = panel(result[part], y)
            body += lines
            y += height + 20
    body.append(text(8, y, result["facts"][0]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" '
        f'width="{WIDTH}" height="{y + 12}">\n'
        f'<rect width="{WIDTH}" height="{y + 12}" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )
