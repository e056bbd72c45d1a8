# SPDX-License-Identifier: Apache-2.0
"""The numbers of storage.py as tables, and what they are beside the goals."""

import machine
from storage_tools import OWN


def show(result):
    for line in result["facts"]:
        machine.say(line)
    if result["quick"]:
        machine.say("--quick: these numbers are no measure of anything")
    for part, show_part in {
        "clones": show_clones,
        "many": show_many,
        "starts": show_starts,
    }.items():
        if part in result:
            machine.say()
            show_part(result[part])
    machine.say()
    for line in goals(result):
        machine.say(line)


def cell(number, unit=1000, digits=2):
    return f"{'–' if number is None else format(number / unit, f'.{digits}f'):>10}"


def show_clones(clones):
    for template in clones["templates"]:
        what = "a Debian root" if template["debian"] else "made-up files"
        machine.say(
            f"a template of {template['entries']} entries ({what}); ms, medians; a process alone "
            f"takes {template['process_us'] / 1000:.2f}"
        )
        titles = ("make", "p90", "(mount)", "remove", "p90", "1 by 1 /s", f"{template['batch']} /s")
        titles += ("÷ isolate",)
        machine.say(f"{'':48}" + "".join(f"{title:>10}" for title in titles))
        for label, rows in template["disks"].items():
            for name, row in rows.items():
                keys = ("make_us", "make_p90_us", "mount_us", "remove_us", "remove_p90_us")
                machine.say(
                    f"{label:14}{name:34}{''.join(cell(row.get(key)) for key in keys)}"
                    f"{cell(row['one_by_one_per_s'], 1, 1)}{cell(row['batches_per_s'], 1, 1)}"
                    f"{cell(row['make_us'] / rows[OWN]['make_us'], 1)}"
                )
        machine.say()
    machine.say(
        "make: clone and mount; ÷ isolate: of make. Isolate's are calls, the others whole processes"
    )
    if not clones["schroot"]:
        machine.say("schroot: not installed")


def show_many(many):
    machine.say(
        f"clones of a template of {many['entries']} entries; time: medians of {many['window']} up to "
        "the N-th; ÷ first: a first one on"
    )
    machine.say(
        "another file system, made in the same moment; KiB: means of those since the row before"
    )
    titles = ("clone ms", "mount ms", "both ms", "÷ first", "KiB")
    machine.say(f"{'':20}{'N':>6}" + "".join(f"{title:>10}" for title in titles))
    for label, rows in many["disks"].items():
        for row in rows:
            machine.say(
                f"{label:20}{row['number']:6}"
                f"{cell(row['clone_us'])}{cell(row['mount_us'])}{cell(row['make_us'])}"
                f"{cell(row['make_us'] / row['beside_us'], 1)}{cell(row['bytes_each'], 1024, 1)}"
            )
        last = rows[-1]
        machine.say(
            f"{label:20}the tool's next ÷ first: {last['tool_us'] / last['tool_beside_us']:.2f}; "
            f"all removed in {last['remove_all_s']:.2f} s"
        )


def show_starts(starts):
    base = next(iter(starts["disks"].values()))["p50_us"]
    titles = ("floor", "p50", "p90", "÷ floor", "÷ first", "KiB read")
    machine.say(f"{'isolate run /bin/true, parked, µs':34}" + "".join(f"{t:>10}" for t in titles))
    for label, row in starts["disks"].items():
        machine.say(
            f"{label:34}{cell(row['floor_us'], 1, 0)}{cell(row['p50_us'], 1, 0)}"
            f"{cell(row['p90_us'], 1, 0)}{cell(row['p50_us'] / row['floor_us'], 1)}"
            f"{cell(row['p50_us'] / base, 1)}{cell(row['read_kib'], 1, 0)}"
            f"   {row['starts']} starts, {row['misses']} not parked"
        )


def goals(result):
    yield f"{'goal':52}{'measured':>10}"
    for template in result.get("clones", {}).get("templates", []):
        for label, rows in template["disks"].items():
            tool = next(row for name, row in rows.items() if name != OWN)
            if label == "zfs" and tool["batches_per_s"]:
                yield goal(
                    f"batches by the zfs driver ÷ by zfs, {template['entries']} entries ≥ 3",
                    rows[OWN]["batches_per_s"] / tool["batches_per_s"],
                    lambda ratio: ratio >= 3,
                )
            if label.startswith("reflink"):
                yield goal(
                    f"cp -a --reflink=always ÷ reflink, {template['entries']} entries ≥ 2",
                    tool["make_us"] / rows[OWN]["make_us"],
                    lambda ratio: ratio >= 2,
                )
    for label, rows in result.get("many", {}).get("disks", {}).items():
        yield goal(
            f"{label}: clone {rows[-1]['number']} ÷ the first, time ≤ 1.5",
            rows[-1]["make_us"] / rows[-1]["beside_us"],
            lambda ratio: ratio <= 1.5,
        )
        yield goal(
            f"{label}: clones to {rows[-1]['number']} ÷ to {rows[-2]['number']}, space ≤ 1.5",
            rows[-1]["bytes_each"] / mean_bytes(rows[:-1]),
            lambda ratio: ratio <= 1.5,
        )
    disks = result.get("starts", {}).get("disks", {})
    first = next(iter(disks), "")
    for label, row in disks.items():
        if label != first and first == "overlay, ext4":
            yield goal(
                f"{label}: start ÷ {first}, 0.9 to 1.1",
                row["p50_us"] / disks[first]["p50_us"],
                lambda ratio: 0.9 <= ratio <= 1.1,
            )


def mean_bytes(rows):
    """Of all clones of these rows, which follow one another from the first on."""
    begin, total = 0, 0
    for row in rows:
        total += row["bytes_each"] * (row["number"] - begin)
        begin = row["number"]
    return total / begin


def goal(text, ratio, reached):
    return f"{text:52}{ratio:10.2f}{'' if reached(ratio) else '   missed'}"
