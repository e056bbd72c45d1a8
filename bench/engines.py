#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What isolate costs over each foreign engine's own command for the same job, and what the
original's command line costs. Everything in one loop, with the bare start of a program as floor."""

import argparse
import contextlib
import json
import pathlib
import shutil
import subprocess

import machine
import peers
from starts import Bench, peer_commands

# isolate's engine, the peer that is its own command, the program that must be there
ENGINES = (
    ("bwrap", "bwrap", "bwrap"),
    ("oci", "runc", "runc"),
    ("lxc", "lxc-execute", "lxc-start"),
    ("nspawn", "systemd-nspawn", "systemd-nspawn"),
)
SLOW = {"systemd-nspawn": 8, "isolate, nspawn": 8}


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 200)
    parser.add_argument("--root", type=pathlib.Path, help="a Debian root: a directory, or a tar of one")
    parser.add_argument("--template", default="debian", help="installed template, instead of --root")
    parser.add_argument("--dataset", help="a ZFS dataset with a snapshot named by a time, for isolate -z")
    parser.add_argument("--pause-ms", type=int, default=20, help="rest before each start (20)")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the numbers")
    return machine.finish_arguments(parser.parse_args())


def engine_commands(daemon):
    """isolate by each engine that is installed, in a clone of the same root."""
    commands = {}
    for engine, _peer, program in ENGINES:
        if shutil.which(program):
            command = daemon.command("run", "--engine", engine, "bench", "/bin/true")
            if peers.works(f"isolate, {engine}", command):
                commands[f"isolate, {engine}"] = command
    return commands


def original_commands(bench, daemon):
    """The command line of the original, with its default engine."""
    commands = {"isolate -t": daemon.command("-q", "-t", bench.root, "/bin/true")}
    if bench.arguments.dataset:
        daemon.run("-r", bench.arguments.dataset, "1", stdout=subprocess.DEVNULL)
        commands["isolate -z"] = daemon.command("-q", "-z", bench.arguments.dataset, "/bin/true")
    return {name: command for name, command in commands.items() if peers.works(name, command)}


def measure(bench):
    with contextlib.ExitStack() as stack:
        stack.enter_context(peers.cgroups_as_before())
        nspawn_root = stack.enter_context(peers.btrfs_root(bench.root, bench.directory))
        daemon = stack.enter_context(bench.instance("daemon", prefix=()))
        own = peer_commands(bench, None, nspawn_root)
        commands = {
            "floor": [bench.floor, "/bin/true"],
            "isolate, native": daemon.command("run", "bench", "/bin/true"),
            **{peer: own[peer] for _engine, peer, _program in ENGINES if peer in own},
            **engine_commands(daemon),
            **original_commands(bench, daemon),
        }
        daemon.wait_idle()
        machine.note(f"{bench.arguments.rounds} rounds of {len(commands)} commands")
        return bench.time(
            commands, baseline="floor", pause_us=bench.arguments.pause_ms * 1000,
            every={name: n for name, n in SLOW.items() if name in commands},
        )  # fmt: skip


def show(rows):
    machine.say(f"{'µs':24}{'p50':>9}{'p90':>9}{'p99':>9}{'÷ floor':>9}")
    for name, row in rows.items():
        cells = "".join(f"{row[key]:9.0f}" for key in ("p50_us", "p90_us", "p99_us"))
        machine.say(f"{name:24}{cells}{row['ratio']:9.2f}")
    machine.say()
    for engine, peer, _program in ENGINES:
        ours = rows.get(f"isolate, {engine}")
        if ours and peer in rows:
            over = (ours["p50_us"] - rows[peer]["p50_us"]) / 1000
            machine.say(f"{engine}: {over:+.2f} ms over its own command (goal: at most 1.0)")
    for name, goal in (("isolate -z", 6), ("isolate -t", 4)):
        if name in rows:
            machine.say(f"{name}: {rows[name]['ratio']:.1f} × the floor (goal: at most {goal})")


def main():
    arguments = arguments_of()
    machine.print_facts("bwrap", "runc", "lxc-execute", "systemd-nspawn")
    with machine.work_directory() as directory:
        rows = measure(Bench(arguments, directory))
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1))
        show(rows)


if __name__ == "__main__":
    machine.main_of(main)
