#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What clones cost with each storage driver: how many a second against the tools that do the same,
how time and space grow with their number, and what a start costs once it is parked. Each driver
works on a file system of its own in a file below /var/tmp. Needs a release build configured with
-Dbench=true, mkfs.ext4, mkfs.xfs and mkfs.btrfs, 20 GB of space that is freed again, and 8 GB of
memory; what it is compared with and what it counts stands in bench/README.md."""

import argparse
import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import time

import machine
import peers
import storage_table
from instance import Instance
from storage_disks import TURN, drivers, file_systems
from storage_tools import TOOLS, SchrootTool, Tool, time_commands
from storage_tree import count_entries, make_root

PARTS = ("clones", "many", "starts")
# clones over which the time of the N-th is taken: itself and those before it
WINDOW = 20
PAUSE_US = 20000
PARKED = 2


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 20)
    parser.add_argument(
        "--part", "--only", action="append", choices=PARTS, help="only this (repeatable)"
    )
    parser.add_argument(
        "--driver", action="append", choices=sorted(TURN), help="only this (repeatable)"
    )
    parser.add_argument(
        "--zfs", metavar="DATASET", help="the zfs driver, too, in a dataset of a pool that is there"
    )
    parser.add_argument("--root-tar", type=pathlib.Path, help="a Debian root (else made-up files)")
    parser.add_argument(
        "--many-entries", type=int, default=0, metavar="N",
        help="entries of the template of which many clones are made (those of the small one)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="little of everything: does it work?")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--show", type=pathlib.Path, metavar="FILE", help="only show a JSON file")
    arguments = parser.parse_args()
    if arguments.show:
        return arguments
    if arguments.quick:
        arguments.rounds = 2
    machine.finish_arguments(arguments)
    if not arguments.build:
        default = machine.BENCH.parent / "build-bench"
        arguments.build = default if default.is_dir() else None
    if not arguments.build or not (arguments.build / "bench" / "bench-storage").exists():
        parser.error("--build DIR is needed: meson setup DIR -Dbench=true; ninja -C DIR")
    arguments.driver = arguments.driver or list(TURN)
    quick = arguments.quick
    arguments.small, arguments.large = (300, 1000) if quick else (8700, 100_000)
    arguments.batch = 5 if quick else 50
    arguments.numbers = (20, 40, 60) if quick else (20, 200, 1000)
    return arguments


class Bench:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = directory
        self.interleave = machine.compile_program("interleave.c", directory)
        self.floor = machine.compile_program("floor.c", directory, "-static")
        self.made = {}

    @contextlib.contextmanager
    def place(self, name):
        """A directory below the benchmark's own, for one part of it."""
        path = self.directory / name
        path.mkdir()
        try:
            yield path
        finally:
            machine.remove_tree(path)

    def root(self, entries=0):
        """A directory to make templates of, and how many entries it has; 0: the small one, which
        is the Debian root if one is given."""
        given = self.arguments.root_tar
        if entries not in self.made:
            root = self.directory / f"root-{entries}"
            root.mkdir(mode=0o755)
            if entries == 0 and given:
                machine.note(f"unpacking {given.name}")
                argv = ["tar", "-C", root, "--numeric-owner", "-xpf", given]
                subprocess.run(argv, check=True)
            else:
                small = self.arguments.small
                machine.note(f"making a root of {entries or small} entries")
                make_root(root, entries or small, small=entries > small)
            self.made[entries] = root, count_entries(root)
        return self.made[entries]


def median_us(samples):
    return statistics.median(samples) / 1000 if samples else None


def p90(samples):
    return statistics.quantiles(samples, n=10)[-1] if len(samples) > 1 else None


class Samples:
    """Of one who makes clones on one disk."""

    def __init__(self, maker):
        self.maker = maker
        self.times = {}
        self.turns = []
        self.batches = []

    def turn(self, counts):
        """A few clones, each gone before the next is made."""
        n = self.maker.turn
        spent = 0
        for _clone in range(n):
            for found in (self.maker.make(0, 1), self.maker.remove(0, 1)):
                spent += found.get("make_ns", found.get("remove_ns"))[0]
                for key, times in found.items():
                    self.times.setdefault(key, []).extend(times if counts else [])
        if counts:
            self.turns.append(n * 1e9 / spent)

    def batch(self, n):
        """n clones, then all of them go."""
        made, removed = self.maker.make(0, n), self.maker.remove(0, n)
        self.batches.append(n * 1e9 / (sum(made["make_ns"]) + sum(removed["remove_ns"])))

    def result(self):
        times = {key.replace("_ns", ""): times for key, times in self.times.items()}
        return {
            **{f"{key}_us": median_us(of) for key, of in times.items()},
            **{f"{key}_p90_us": p90(of) and p90(of) / 1000 for key, of in times.items()},
            "clones": len(self.times["make_ns"]),
            "one_by_one_per_s": statistics.median(self.turns),
            "batches_per_s": statistics.median(self.batches) if self.batches else None,
            "batches": len(self.batches),
        }


@contextlib.contextmanager
def makers_of(disk):
    """The driver, its tool, and schroot where it has the like."""
    makers = [disk.driver, Tool(TOOLS[disk.driver_name](), disk)]
    with contextlib.ExitStack() as stack:
        settings = disk.schroot_settings()
        if settings:
            schroot_name = stack.enter_context(peers.schroot(settings, f"-{disk.kind}"))
            if schroot_name:
                makers.append(Tool(SchrootTool(schroot_name), disk, turn=1))
        yield makers


def in_turns(samples, round_number):
    """Each disk and sample in an order that changes from round to round, always on a file system
    that has nothing left to be written."""
    for disk, of in samples.items():
        first = round_number % len(of)
        for sample in of[first:] + of[:first]:
            disk.sync()
            yield sample


def measure_template(bench, wanted, rounds, batches):
    """Of one template, on all disks in turns: {disk: {who: numbers}}."""
    arguments = bench.arguments
    root, entries = bench.root(wanted)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(bench.place("clones"))
        disks = stack.enter_context(drivers(place, arguments, root))
        samples = {
            disk: [Samples(maker) for maker in stack.enter_context(makers_of(disk))]
            for disk in disks
        }
        floor = []
        machine.note(f"clones of {entries} entries: {rounds} rounds one by one")
        for round_number in range(rounds + 1):
            floor.append(time_commands([["/bin/true"]]))
            for sample in in_turns(samples, round_number):
                # the first round warms up
                sample.turn(counts=round_number > 0)
        for round_number in range(batches):
            machine.note(f"batches of {arguments.batch}: {round_number + 1} of {batches}")
            for sample in in_turns(samples, round_number):
                sample.batch(arguments.batch)
        return {
            "entries": entries,
            "debian": wanted == 0 and bool(arguments.root_tar),
            "batch": arguments.batch,
            "process_us": median_us(floor),
            "disks": {
                disk.label: {sample.maker.name: sample.result() for sample in of}
                for disk, of in samples.items()
            },
        }


def measure_clones(bench):
    rounds = bench.arguments.rounds
    return {
        "schroot": bool(shutil.which("schroot")),
        "templates": [
            measure_template(bench, 0, rounds, max(1, rounds // 10)),
            measure_template(bench, bench.arguments.large, max(1, rounds // 4), 0),
        ],
    }


def measure_window(many, few, first):
    """WINDOW clones of a disk that has many from number `first` on, each one beside one of a disk
    that has none."""
    many.sync()
    few.sync()
    found, beside = {}, []
    for number in range(WINDOW):
        for key, ns in many.driver.make(first + number, 1).items():
            found.setdefault(key.replace("_ns", "_us"), []).append(ns[0] / 1000)
        beside.append(few.driver.make(number, 1)["make_ns"][0] / 1000)
    few.driver.remove(0, WINDOW)
    many.sync()
    return {
        "number": first + WINDOW,
        **{key: statistics.median(us) for key, us in found.items()},
        "each_us": found["make_us"],
        "beside_us": statistics.median(beside),
        "used_bytes": many.used_bytes(),
    }


def measure_tool(many, few):
    """How the driver's tool fares in the same place: what grows for it, too, is the file system's."""
    times = {many: [], few: []}
    for number in range(WINDOW):
        for disk, of in times.items():
            of.extend(Tool(TOOLS[disk.driver_name](), disk).make(number, 1)["make_ns"])
    for disk in times:
        Tool(TOOLS[disk.driver_name](), disk).remove(0, WINDOW)
    return {"tool_us": median_us(times[many]), "tool_beside_us": median_us(times[few])}


def measure_many(bench):
    """Time and space of the N-th clone of a template. What else the machine does changes while
    clones are being made; so each is compared with a first one that is made in the same moment.
    Space is given out in pieces: that of a clone is the mean of all since the row before."""
    arguments = bench.arguments
    root, entries = bench.root(arguments.many_entries)
    rows, empty = {}, {}
    made = 0
    with contextlib.ExitStack() as stack:
        disks, others = [
            stack.enter_context(drivers(stack.enter_context(bench.place(name)), arguments, root))
            for name in ("many", "few")
        ]
        for disk in disks:
            empty[disk.label] = disk.used_bytes()
        for number in arguments.numbers:
            machine.note(f"many: clone {number} of {entries} entries")
            for disk in disks:
                if number - WINDOW > made:
                    disk.driver.make(made, number - WINDOW - made)
            for many, few in zip(disks, others):
                row = measure_window(many, few, number - WINDOW)
                rows.setdefault(many.label, []).append(row)
            made = number
        for many, few in zip(disks, others):
            rows[many.label][-1].update(measure_tool(many, few))
            begin = time.monotonic()
            many.driver.remove(0, made)
            rows[many.label][-1]["remove_all_s"] = time.monotonic() - begin
    for label, of in rows.items():
        before = {"number": 0, "used_bytes": empty[label]}
        for row in of:
            used = row["used_bytes"] - before["used_bytes"]
            row["bytes_each"] = used / (row["number"] - before["number"])
            before = row
    return {"entries": entries, "clones": made, "window": WINDOW, "disks": rows}


class Starts:
    """Of /bin/true by a resident daemon, in the template of one disk."""

    def __init__(self, disk, template):
        self.disk = disk
        self.template = template
        self.floor_us = []
        self.us = []
        self.read_kib = []

    def start(self, bench, instance, counts):
        """One start, its sandbox parked and nothing else left to be done."""
        commands = {
            "floor": [bench.floor, "/bin/true"],
            "isolate": instance.command("run", self.template, "/bin/true"),
        }
        instance.wait_idle()
        before = self.disk.read_kib()
        text = machine.interleave(
            bench.interleave, commands, rounds=1, warmup=0, baseline="floor", pause_us=PAUSE_US,
            json=True,
        )  # fmt: skip
        read = self.disk.read_kib() - before
        if counts:
            found = {row["name"]: row["p50_us"] for row in json.loads(text)["commands"]}
            self.floor_us.append(found["floor"])
            self.us.append(found["isolate"])
            self.read_kib.append(read)

    def result(self, shapes):
        (misses,) = (shape["misses"] for shape in shapes if shape["template"] == self.template)
        return {
            "floor_us": statistics.median(self.floor_us),
            "p50_us": statistics.median(self.us),
            "p90_us": p90(self.us),
            "read_kib": statistics.median(self.read_kib),
            "starts": len(self.us),
            "misses": misses,
        }


def measure_starts(bench):
    """One daemon, a template on each disk, in turns."""
    rounds = bench.arguments.rounds * 5
    root, entries = bench.root()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(bench.place("starts"))
        disks = stack.enter_context(file_systems(place, bench.arguments))
        place = disks[0].state / "instance"
        instance = stack.enter_context(Instance(place, bench.arguments.build, fresh=0))
        starts = [Starts(disk, f"bench{number}") for number, disk in enumerate(disks)]
        for of in starts:
            instance.create(of.template, root, of.disk.storage)
        instance.serve()
        for of in starts:
            instance.call("PoolSet", template=of.template, wanted=PARKED)
        machine.note(f"starts: {rounds} rounds, each with all parked before")
        for round_number in range(rounds + 1):
            first = round_number % len(starts)
            for of in starts[first:] + starts[:first]:
                of.start(bench, instance, counts=round_number > 0)
        instance.wait_idle()
        shapes = instance.call("PoolList")["shapes"]
        return {"entries": entries, "disks": {of.disk.label: of.result(shapes) for of in starts}}


def measure(arguments):
    result = {
        "facts": machine.facts("btrfs", "cp", "schroot"),
        "rounds": arguments.rounds,
        "quick": arguments.quick,
    }
    measures = {"clones": measure_clones, "many": measure_many, "starts": measure_starts}
    with machine.work_directory() as directory:
        bench = Bench(arguments, directory)
        for part in PARTS:
            if part in (arguments.part or PARTS):
                result["facts"].append(f"load {machine.load()} before {part}")
                result[part] = measures[part](bench)
    result["facts"].append(f"load {machine.load()} after the end")
    return result


def main():
    arguments = arguments_of()
    result = json.loads(arguments.show.read_text()) if arguments.show else measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    storage_table.show(result)


if __name__ == "__main__":
    machine.main_of(main)
