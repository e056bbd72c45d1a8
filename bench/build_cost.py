#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What building a sandbox costs, step by step, against a posix_spawn of /bin/true. Needs a build
directory configured with -Dbench=true."""

import argparse
import json
import pathlib

import machine
from instance import Instance

# name, what it is
PHASES = {
    "record": "id range and record (tmpfs)",
    "clone": "the clone's directories and clone.json",
    "cgroup": "cgroup leaf",
    "spawn": "clone3 with seven namespaces, id maps",
    "mount": "layers id-mapped, overlay mounted",
    "build": "device nodes, BUILD to init",
    "ready": "init: exec, mounts, pivot_root, masks",
    "kill": "SIGKILL until reaped",
    "ungroup": "cgroup leaf goes",
    "destroy": "clone goes",
    "forget": "id range and record go",
}
SUMS = {
    "building": "clone … ready",
    "with record": "record … ready",
    "removing": "kill … forget",
}


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 1000)
    parser.add_argument("--root", type=pathlib.Path, help="directory for the template (tiny one)")
    parser.add_argument("--json", action="store_true")
    arguments = machine.finish_arguments(parser.parse_args())
    if not arguments.build:
        parser.error("--build DIR is needed: meson setup DIR -Dbench=true; ninja -C DIR")
    return arguments


def tiny_root(path):
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr"):
        (path / name).mkdir(parents=True)
    return path


def measure(arguments, instance, templates):
    """The p50 of each phase of each template, in µs, as bench-build-sandbox prints them."""
    program = arguments.build / "bench" / "bench-build-sandbox"
    argv = [program, arguments.rounds, arguments.warmup, *templates]
    return json.loads(machine.output_of(argv, instance.environment()))


def print_table(result):
    floor = result["posix_spawn_p50_us"]
    phases = result["templates"]["bench"]
    machine.say(f"{'p50, µs':14}{'':>8}{'÷ floor':>9}")
    machine.say(f"{'posix_spawn':14}{floor:8.0f}{1:9.2f}   /bin/true; the floor")
    for name, what in {**PHASES, **SUMS}.items():
        machine.say(f"{name:14}{phases[name]:8.0f}{phases[name] / floor:9.2f}   {what}")
    machine.say()
    ratio = phases["building"] / floor
    machine.say(f"building a sandbox is {ratio:.2f} × posix_spawn (goal: at most 3)")


def main():
    arguments = arguments_of()
    if not arguments.json:
        machine.print_facts("isolate")
    with machine.work_directory() as directory:
        root = arguments.root or tiny_root(directory / "root")
        with Instance(directory / "instance", arguments.build) as instance:
            instance.create("bench", root)
            result = measure(arguments, instance, ["bench"])
    if arguments.json:
        machine.say(json.dumps(result, indent=1))
    else:
        print_table(result)


if __name__ == "__main__":
    machine.main_of(main)
