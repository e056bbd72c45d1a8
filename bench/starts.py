#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a start costs through the resident daemon, against everything else that starts a command
apart: how long it takes, how many a second, how much memory stays, and how all that grows. Needs
a release build configured with -Dbench=true."""

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import time

import machine
import peers
import starts_plot
import starts_table
from instance import Instance

# memory first: what others have freed stays in the kernel's slabs, where MemAvailable misses it
PARTS = ("memory", "latency", "rates", "scale")
PROGRAMS = ("bwrap", "lxc-execute", "systemd-nspawn", "schroot", "runc")
# these take long: they have one turn in so many
SLOW = {"lxc-execute": 4, "runc": 8, "systemd-nspawn": 8, "schroot": 8}
PAUSE_US = 20000
# between bursts: what the last one left to be done is done
REST_US = 60000
BURST = 10
IN_PARALLEL = (1, 2, 4, 8)
RATE_MS = 1000
PARKED = 200
RUNNING = (0, 100, 1000)
MOUNTS = (30, 1000)


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 400)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this (repeatable)")
    parser.add_argument("--template", default="debian", help="installed template (debian)")
    parser.add_argument("--root", type=pathlib.Path, help="a root to use instead: directory or tar")
    parser.add_argument("--here", action="store_true", help="no ext4 of its own: /var/tmp as it is")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="draw a plot there")
    parser.add_argument("--show", type=pathlib.Path, metavar="FILE", help="only show a JSON file")
    arguments = parser.parse_args()
    if arguments.show:
        return arguments
    machine.finish_arguments(arguments)
    if not arguments.build:
        parser.error("--build DIR is needed: meson setup DIR -Dbench=true; ninja -C DIR")
    return arguments


class Bench:
    """The programs, the root and the directory that all parts share."""

    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = directory
        self.interleave = machine.compile_program("interleave.c", directory)
        self.parallel = machine.compile_program("parallel.c", directory)
        self.floor = machine.compile_program("floor.c", directory, "-static")
        self.connections = arguments.build / "bench" / "bench-connections"
        self.root = self.make_root()

    def make_root(self):
        given = self.arguments.root
        if given and given.is_dir():
            return given.resolve()
        root = self.directory / "root"
        machine.note("unpacking the root that the peers share")
        if given:
            root.mkdir(mode=0o755)
            argv = ["tar", "-C", root, "--numeric-owner", "-xpf", given]
            subprocess.run(argv, check=True)
        else:
            peers.export_template(self.arguments.template, root)
        return root

    @contextlib.contextmanager
    def instance(self, name, *, templates=("bench",), parked=32, parent=None, prefix=None):
        """An instance with templates of the root; it serves if prefix is not None."""
        directory = (parent or self.directory) / name
        with Instance(directory, self.arguments.build, parked) as instance:
            for template in templates:
                instance.create(template, self.root)
            if prefix is not None:
                instance.serve(*prefix)
            yield instance

    @contextlib.contextmanager
    def connection(self, instance):
        """An fd that starts /bin/true on one connection for each byte; see connections.c."""
        ours, theirs = socket.socketpair()
        argv = [self.connections, instance.socket, "bench", "serve", "/bin/true"]
        with ours, subprocess.Popen(list(map(str, argv)), stdin=theirs, stdout=theirs):
            theirs.close()
            yield ours.fileno()
            ours.close()

    def time(self, commands, **options):
        arguments = {"rounds": self.arguments.rounds, "warmup": self.arguments.warmup, **options}
        text = machine.interleave(self.interleave, commands, json=True, **arguments)
        return {row.pop("name"): row for row in json.loads(text)["commands"]}


def peer_commands(bench, schroot_name, nspawn_root):
    """Everything that is not isolate, as far as it is installed and works here."""
    directory, root = bench.directory, bench.root
    made = {
        "chroot": lambda: ["chroot", root, "/bin/true"],
        "bwrap": lambda: peers.bwrap_command(root),
        "lxc-execute": lambda: peers.lxc_command(root, directory),
        "runc": lambda: peers.runc_command(root, directory),
        "systemd-nspawn": lambda: nspawn_root and peers.nspawn_command(nspawn_root),
        "schroot": lambda: schroot_name and peers.schroot_command(schroot_name),
    }
    commands = {}
    for name, make in made.items():
        command = make() if peers.is_installed(name) else None
        if command and peers.works(name, command):
            commands[name] = command
    return commands


def measure_latency(bench):
    with contextlib.ExitStack() as stack:
        stack.enter_context(peers.cgroups_as_before())
        schroot_name = stack.enter_context(peers.schroot(peers.schroot_overlay(bench.root)))
        nspawn_root = stack.enter_context(peers.btrfs_root(bench.root, bench.directory))
        others = peer_commands(bench, schroot_name, nspawn_root)
        embedded = stack.enter_context(bench.instance("embedded"))
        daemon = stack.enter_context(
            bench.instance("daemon", templates=("bench", "cold"), prefix=())
        )
        daemon.call("PoolSet", template="cold", wanted=0)
        connection = stack.enter_context(bench.connection(daemon))
        quick = {name: command for name, command in others.items() if name not in SLOW}
        slow = {name: command for name, command in others.items() if name in SLOW}
        commands = {
            "posix_spawn": ["/bin/true"],
            "floor": [bench.floor, "/bin/true"],
            **quick,
            "isolate, warm": daemon.command("run", "bench", "/bin/true"),
            "isolate, connection": connection,
            "isolate, cold": daemon.command("run", "cold", "/bin/true"),
            "isolate, embedded": embedded.command("run", "bench", "/bin/true"),
            **slow,
        }
        rounds = bench.arguments.rounds
        machine.note(f"latency: {rounds} rounds with {PAUSE_US // 1000} ms before each start")
        paused = bench.time(commands, baseline="floor", pause_us=PAUSE_US, every=SLOW)
        bursts = max(1, rounds // 8)
        machine.note(f"latency: {bursts} rounds of {BURST} starts back to back")
        burst = bench.time(
            commands, baseline="floor", pause_us=REST_US, burst=BURST, rounds=bursts,
            warmup=max(1, bursts // 10), every=SLOW,
        )  # fmt: skip
        return {"paused": paused, "burst": burst, "shapes": daemon.call("PoolList")["shapes"]}


def measure_rate(instance, argv):
    """Starts a second, with everything that they left to be done after they ended: what a machine
    can sustain."""
    begin = time.monotonic()
    ended = int(machine.output_of(argv).split()[0])
    if instance:
        instance.wait_idle()
    return ended / (time.monotonic() - begin)


def measure_rates(bench):
    with contextlib.ExitStack() as stack:
        memory = bench.directory / "memory"
        memory.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", "mode=0755,size=4g", "isolate-bench", memory]
        subprocess.run(argv, check=True)
        disk = stack.enter_context(bench.instance("disk", prefix=()))
        ram = stack.enter_context(bench.instance("ram", parent=memory, prefix=()))
        where = {peers.file_system(bench.directory): disk, "tmpfs": ram}
        load = {"floor": (None, lambda n: by_command(bench, n, [bench.floor, "/bin/true"]))}
        if peers.is_installed("bwrap"):
            bwrap = peers.bwrap_command(bench.root)
            load["bwrap"] = (None, lambda n: by_command(bench, n, bwrap))
        for name, instance in where.items():
            load[f"isolate run, {name}"] = (
                instance,
                lambda n, i=instance: by_command(bench, n, i.command("run", "bench", "/bin/true")),
            )
            load[f"connections, {name}"] = (instance, lambda n, i=instance: by_connections(bench, n, i))
        rounds = max(1, bench.arguments.rounds // 100)
        machine.note(f"rates: {rounds} rounds of {RATE_MS} ms for each")
        for instance, argv_of in load.values():
            measure_rate(instance, argv_of(8))
        rates = {name: {n: [] for n in IN_PARALLEL} for name in load}
        for _round in range(rounds):
            for n in IN_PARALLEL:
                for name, (instance, argv_of) in load.items():
                    rates[name][n].append(measure_rate(instance, argv_of(n)))
        medians = {
            name: {str(n): statistics.median(found) for n, found in of.items()}
            for name, of in rates.items()
        }
        return {"rates": medians, "disk": peers.file_system(bench.directory)}


def by_command(bench, n, command):
    return ["env", *split_words(bench, n, command)]


def split_words(bench, n, command):
    """VARIABLE=VALUE words go to env(1), the rest to parallel."""
    words = list(map(str, command))
    first = next(i for i, word in enumerate(words) if "=" not in word.split("/")[0])
    return [*words[:first], bench.parallel, n, RATE_MS, *words[first:]]


def by_connections(bench, n, instance):
    return [bench.connections, instance.socket, "bench", "load", n, RATE_MS, "/bin/true"]


def available_kib():
    found = pathlib.Path("/proc/meminfo").read_text().split("MemAvailable:")[1]
    return int(found.split()[0])


def smaps_kib(pid, key):
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    return 0


def set_parked(instance, n):
    """Seconds until n sandboxes are parked."""
    begin = time.monotonic()
    instance.call("PoolSet", template="bench", wanted=n)
    instance.wait_idle()
    return time.monotonic() - begin


def measure_memory(bench):
    rounds = 3
    machine.note(f"memory: {PARKED} parked sandboxes, {rounds} times")
    samples = []
    with bench.instance("parked", parked=1000, prefix=()) as instance:
        set_parked(instance, 8)
        for _round in range(rounds):
            set_parked(instance, 0)
            time.sleep(2)
            before = available_kib()
            set_parked(instance, PARKED)
            time.sleep(2)
            samples.append((before - available_kib()) / PARKED)
        members = instance.members()
        pss = sum(smaps_kib(pid, "Pss") for pid in members) / PARKED
        return {
            "parked": PARKED,
            # later rounds are built in what earlier ones left in the slabs
            "available_kib": max(samples),
            "available_kib_each_round": samples,
            "pss_kib": pss,
            "processes": len(members) / PARKED,
        }


def daemon_memory(instance):
    pid = instance.daemon.pid
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    helpers = [child for child in children if int(child) not in set(instance.members())]
    return {
        "rss_kib": smaps_kib(pid, "Rss"),
        "pss_kib": smaps_kib(pid, "Pss"),
        "helpers": len(helpers),
        "helpers_pss_kib": sum(smaps_kib(child, "Pss") for child in helpers),
    }


def measure_running(bench, instance):
    """One row for each number of RUNNING."""
    rows = []
    running = 0
    commands = {
        "floor": [bench.floor, "/bin/true"],
        "isolate": instance.command("run", "bench", "/bin/true"),
    }
    for wanted in RUNNING:
        machine.note(f"scale: {wanted} running")
        for _start in range(wanted - running):
            instance.run("run", "-d", "bench", "--", "sleep", "3600", stdout=subprocess.DEVNULL)
        running = wanted
        instance.wait_idle()
        times = bench.time(
            commands, baseline="floor", pause_us=PAUSE_US, rounds=max(1, bench.arguments.rounds // 2)
        )
        rows.append(
            {
                "running": running,
                "floor_p50_us": times["floor"]["p50_us"],
                "p50_us": times["isolate"]["p50_us"],
                "p99_us": times["isolate"]["p99_us"],
                **daemon_memory(instance),
            }
        )
    return rows


def measure_end(instance):
    """Seconds until all that runs has been killed and taken away."""
    begin = time.monotonic()
    for sandbox in instance.call("List")["sandboxes"]:
        instance.call("Kill", name=sandbox["id"], signal=9)
    instance.wait_idle()
    return time.monotonic() - begin


MAKE_MOUNTS = """
n=$(wc -l </proc/self/mounts)
while [ "$n" -lt "$1" ]; do
    mkdir -p "$2/$n" && mount --bind "$2/$n" "$2/$n" || exit 1
    n=$((n + 1))
done
exec "$3"
"""


def behind_mounts(bench, n):
    """The words in front of the daemon that give it a mount namespace with n mounts."""
    places = bench.directory / "mounts"
    return [
        "unshare", "--mount", "--propagation", "private", "sh", "-c", MAKE_MOUNTS, "sh", n, places,
    ]  # fmt: skip


def measure_mounts(bench):
    """Milliseconds to build one parked sandbox, for each number of host mounts."""
    rounds = max(1, bench.arguments.rounds // 80)
    machine.note(f"scale: {rounds} × {PARKED} parked with {MOUNTS} host mounts")
    with contextlib.ExitStack() as stack:
        instances = {
            n: stack.enter_context(
                bench.instance(f"mounts{n}", parked=1000, prefix=behind_mounts(bench, n))
            )
            for n in MOUNTS
        }
        found = {n: {"build_ms": [], "remove_ms": []} for n in MOUNTS}
        for round_number in range(rounds + 1):
            for n, instance in instances.items():
                build, remove = set_parked(instance, PARKED), set_parked(instance, 0)
                if round_number > 0:
                    found[n]["build_ms"].append(build * 1000 / PARKED)
                    found[n]["remove_ms"].append(remove * 1000 / PARKED)
    return {
        str(n): {key: statistics.median(samples) for key, samples in of.items()}
        for n, of in found.items()
    }


def measure_scale(bench):
    with bench.instance("running", prefix=()) as instance:
        rows = measure_running(bench, instance)
        end = measure_end(instance)
    return {"running": rows, "end_s": end, "mounts": measure_mounts(bench)}


def measure(arguments):
    result = {"facts": machine.facts("isolate", *PROGRAMS), "rounds": arguments.rounds}
    measures = {
        "latency": measure_latency,
        "rates": measure_rates,
        "memory": measure_memory,
        "scale": measure_scale,
    }
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(machine.work_directory())
        if not arguments.here:
            fresh = stack.enter_context(peers.file_system_in_a_file("ext4", directory, 16))
            directory = fresh or directory
        bench = Bench(arguments, directory)
        for part in PARTS:
            if part in (arguments.part or PARTS):
                result[part] = measures[part](bench)
    result["facts"].append(f"load {machine.load()} after the end")
    return result


def main():
    arguments = arguments_of()
    result = json.loads(arguments.show.read_text()) if arguments.show else measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(starts_plot.draw(result))
    starts_table.show(result)


if __name__ == "__main__":
    machine.main_of(main)
