# SPDX-License-Identifier: Apache-2.0
"""The numbers of starts.py as tables, and what they are beside the goals."""

import machine

MODES = {"paused": "20 ms before each start", "burst": "back to back, 10 at a time"}


def show(result):
    for line in result["facts"]:
        machine.say(line)
    for part, show_part in {
        "latency": show_latency,
        "rates": show_rates,
        "memory": show_memory,
        "scale": show_scale,
    }.items():
        if part in result:
            machine.say()
            show_part(result[part])
    machine.say()
    show_goals(result)


def show_latency(latency):
    for mode, title in MODES.items():
        machine.say(f"{title + ', µs':34}{'p50':>9}{'p90':>9}{'p99':>9}{'÷ floor':>9}{'starts':>8}")
        for name, row in latency[mode].items():
            cells = "".join(f"{row[key]:9.0f}" for key in ("p50_us", "p90_us", "p99_us"))
            machine.say(f"{name:34}{cells}{row['ratio']:9.2f}{row['starts']:8}")
        machine.say()
    for shape in latency["shapes"]:
        machine.say(
            f"pool of {shape['template']}: {shape['claims']} from it, {shape['misses']} cold, "
            f"{shape['wanted']} wanted at the end"
        )


def show_rates(rates):
    table = rates["rates"]
    columns = list(next(iter(table.values())))
    machine.say(f"{'starts a second, in parallel:':34}" + "".join(f"{n:>9}" for n in columns))
    for name, row in table.items():
        machine.say(f"{name:34}" + "".join(f"{row[n]:9.0f}" for n in columns))


def show_memory(memory):
    machine.say(
        f"a parked sandbox: {memory['available_kib']:.0f} KiB of MemAvailable over "
        f"{memory['parked']}, PSS {memory['pss_kib']:.0f} KiB in {memory['processes']:.0f} processes"
    )


def show_scale(scale):
    keys = ("p50_us", "p99_us", "floor_p50_us", "rss_kib", "helpers_pss_kib")
    titles = ("p50 µs", "p99 µs", "floor µs", "RSS KiB", "helpers' PSS")
    machine.say(f"{'sandboxes running':20}" + "".join(f"{title:>14}" for title in titles))
    for row in scale["running"]:
        machine.say(f"{row['running']:<20}" + "".join(f"{row[key]:14.0f}" for key in keys))
    running = scale["running"][-1]["running"]
    machine.say(f"all {running} killed and taken away in {scale['end_s']:.2f} s")
    for mounts, row in scale["mounts"].items():
        machine.say(
            f"{mounts:>5} host mounts: a parked sandbox is built in {row['build_ms']:.2f} ms, "
            f"removed in {row['remove_ms']:.2f} ms"
        )


def goals_of_latency(latency):
    paused, burst = latency["paused"], latency["burst"]
    warm, floor = paused["isolate, warm"], paused["floor"]
    yield "warm, 20 ms between, p50 ÷ floor", warm["p50_us"] / floor["p50_us"], "≤", 0.95
    yield "the same, p99 ÷ floor's p50", warm["p99_us"] / floor["p50_us"], "≤", 2
    yield "back to back, p50 ÷ floor", burst["isolate, warm"]["ratio"], "≤", 1.4
    connection = paused["isolate, connection"]["p50_us"]
    yield "connection, p50 ÷ posix_spawn", connection / paused["posix_spawn"]["p50_us"], "≤", 1.4
    if "bwrap" in paused:
        cold = paused["isolate, cold"]["p50_us"]
        yield "cold, p50 ÷ bwrap", cold / paused["bwrap"]["p50_us"], "≤", 1.2


def goals_of_rates(rates):
    table, disk = rates["rates"], rates["disk"]
    if "bwrap" not in table:
        return
    for what, n, kinds in (
        ("isolate run", "4", ((disk, 1.1), ("tmpfs", 1.4))),
        ("connections", "8", ((disk, 1.2), ("tmpfs", 1.5))),
    ):
        for kind, goal in kinds:
            name = f"{what}, {kind}"
            yield f"{name}, {n} in parallel ÷ bwrap", table[name][n] / table["bwrap"][n], "≥", goal


def goals_of_scale(scale):
    first, last = scale["running"][0], scale["running"][-1]
    yield f"daemon with {last['running']} running, RSS in MiB", last["rss_kib"] / 1024, "≤", 16
    yield f"p50 with {last['running']} running ÷ none", last["p50_us"] / first["p50_us"], "≤", 1.3
    of_floor = (last["p50_us"] / last["floor_p50_us"]) / (first["p50_us"] / first["floor_p50_us"])
    yield "the same, both as ratios to the floor beside them", of_floor, "≤", 1.3
    few, many = list(scale["mounts"].values())
    yield "building with 1,000 mounts ÷ 30", many["build_ms"] / few["build_ms"], "≤", 1.2


def show_goals(result):
    goals = []
    if "latency" in result:
        goals += goals_of_latency(result["latency"])
    if "rates" in result:
        goals += goals_of_rates(result["rates"])
    if "memory" in result:
        parked = max(result["memory"]["available_kib"], result["memory"]["pss_kib"])
        goals.append(("memory of a parked sandbox in MiB", parked / 1024, "≤", 0.5))
    if "scale" in result:
        goals += goals_of_scale(result["scale"])
    machine.say(f"{'goal':50}{'measured':>9}")
    for what, value, sign, goal in goals:
        reached = value <= goal if sign == "≤" else value >= goal
        machine.say(f"{what:50}{value:9.2f}  {sign} {goal:<6}{'' if reached else 'missed'}")
