#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long /bin/true takes in the same Debian root: alone, and by everything that isolates it."""

import argparse
import json
import pathlib
import shutil

import machine
import peers
from instance import Instance


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 300)
    parser.add_argument("--template", default="debian", help="installed template (debian)")
    parser.add_argument("--root", type=pathlib.Path, help="a Debian root to use instead of it")
    parser.add_argument("--pause-ms", type=int, default=0, help="rest before each start (0)")
    parser.add_argument("--json", action="store_true")
    return machine.finish_arguments(parser.parse_args())


def commands_of(root, directory, schroot_name):
    commands = {"posix_spawn": ["/bin/true"], "chroot": ["chroot", root, "/bin/true"]}
    if shutil.which("bwrap"):
        commands["bwrap"] = peers.bwrap_command(root)
    if schroot_name:
        commands["schroot"] = peers.schroot_command(schroot_name)
    if shutil.which("podman"):
        commands["podman"] = peers.podman_command(root)
    if shutil.which("lxc-execute"):
        commands["lxc"] = peers.lxc_command(root, directory)
    return {name: command for name, command in commands.items() if peers.works(name, command)}


def print_goals(measured):
    p50 = {command["name"]: command["p50_us"] for command in measured["commands"]}
    own = p50["isolate"]
    machine.say()
    if "bwrap" in p50:
        machine.say(f"isolate is {own / p50['bwrap']:.2f} × bwrap (goal: at most 4)")
    if "schroot" in p50:
        machine.say(f"isolate is {p50['schroot'] / own:.1f} × faster than schroot (goal: 15)")


def print_table(measured):
    machine.say(f"{'µs':24}{'min':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'gone':>9}{'÷ floor':>9}")
    for row in measured["commands"]:
        numbers = [row[key] for key in ("min_us", "p50_us", "p90_us", "p99_us", "gone_p50_us")]
        cells = "".join(f"{number:9.0f}" for number in numbers)
        machine.say(f"{row['name']:24}{cells}{row['ratio']:9.2f}")


def measure(arguments, directory, root, instance):
    program = machine.compile_program("interleave.c", directory)
    with peers.schroot(peers.schroot_overlay(root)) as schroot_name:
        commands = commands_of(root, directory, schroot_name)
        commands["isolate"] = instance.command("run", "bench", "/bin/true")
        if not arguments.root:
            # the template as it stands, with a layer for each `template update`
            commands["isolate, installed"] = ["isolate", "run", arguments.template, "/bin/true"]
        text = machine.interleave(
            program,
            commands,
            rounds=arguments.rounds,
            warmup=arguments.warmup,
            baseline="posix_spawn",
            pause_us=arguments.pause_ms * 1000,
            json=True,
        )
    if arguments.json:
        machine.say(text.strip())
    else:
        print_table(json.loads(text))
        print_goals(json.loads(text))


def main():
    arguments = arguments_of()
    if not arguments.json:
        machine.print_facts("isolate", "bwrap", "schroot", "podman", "lxc-execute")
    with machine.work_directory() as directory:
        root = arguments.root
        if not root:
            root = directory / "root"
            machine.note(f"exporting template {arguments.template} for the peers")
            peers.export_template(arguments.template, root)
        with Instance(directory / "instance", arguments.build) as instance:
            machine.note("making a template of the same root")
            instance.create("bench", root)
            machine.note(f"{arguments.rounds} rounds")
            measure(arguments, directory, root, instance)


if __name__ == "__main__":
    machine.main_of(main)
