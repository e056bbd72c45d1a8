#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What confining costs a warm start: the same build with and without the filters, the capability
sets, the user namespace with its ids and the network namespace. Two daemons on copies of one
template, their starts in turns. The bare ones are build-bench/bench/*-bare, made with
-Dbench=true alone; their commands have the machine's root, so that only /bin/true is run."""

import argparse
import json
import pathlib
import shutil
import statistics

import machine
from instance import Instance

PAUSE_US = 20000
LOOK = """grep -E "^(Seccomp|CapEff):" /proc/self/status; readlink /proc/self/ns/user /proc/self/ns/net"""


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 400)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="directory to run in")
    parser.add_argument("--repeats", type=int, default=5, help="of all rounds, with new daemons (5)")
    arguments = machine.finish_arguments(parser.parse_args())
    if not arguments.build or not (arguments.build / "bench" / "isolated-bare").exists():
        parser.error("--build DIR of a build with -Dbench=true is needed")
    return arguments


def bare_programs(build, directory):
    """A directory of programs as in build, with the bare ones in their places."""
    directory.mkdir()
    for program in build.glob("isolate*"):
        if program.is_file():
            shutil.copy(program, directory)
    for name in ("isolated", "isolate-init"):
        shutil.copy(build / "bench" / f"{name}-bare", directory / name)
    return directory


def is_confined(instance):
    """What a command finds: all of it, or nothing."""
    said = instance.run("run", "bench", "sh", "-c", LOOK, capture_output=True).stdout.split()
    own = [str(pathlib.Path(f"/proc/self/ns/{name}").readlink()) for name in ("user", "net")]
    capabilities, filtered = int(said[1], 16), said[3] != "0"
    found = {filtered, capabilities >> 21 & 1 == 0, said[4] != own[0], said[5] != own[1]}
    if len(found) != 1:
        raise SystemExit(f"neither confined nor bare: {said}")
    return found.pop()


def measure_once(arguments, directory, program):
    """{name: row of interleave} of one pair of daemons."""
    programs = {"confined": arguments.build, "bare": bare_programs(arguments.build, directory / "bare-bin")}
    with Instance(directory / "confined", programs["confined"]) as confined, \
            Instance(directory / "bare", programs["bare"]) as bare:
        for instance in (confined, bare):
            instance.create("bench", arguments.root)
            instance.serve()
            instance.wait_idle()
        if not is_confined(confined) or is_confined(bare):
            raise SystemExit("the builds are not what they are to be")
        commands = {"bare": bare.command("run", "bench", "/bin/true"),
                    "confined": confined.command("run", "bench", "/bin/true")}
        text = machine.interleave(program, commands, rounds=arguments.rounds, warmup=arguments.warmup,
                                  baseline="bare", pause_us=PAUSE_US, json=True)
        return {row["name"]: row for row in json.loads(text)["commands"]}


def main():
    arguments = arguments_of()
    machine.print_facts("isolate")
    ratios = {"min_us": [], "p50_us": []}
    with machine.work_directory() as directory:
        program = machine.compile_program("interleave.c", directory)
        for i in range(arguments.repeats):
            place = directory / str(i)
            place.mkdir()
            rows = measure_once(arguments, place, program)
            for key, found in ratios.items():
                found.append(rows["confined"][key] / rows["bare"][key])
            machine.say(f"{i + 1}: " + ", ".join(f"{name} min {row['min_us']:.0f} p50 {row['p50_us']:.0f} µs"
                                                 for name, row in rows.items())
                        + f"; {100 * (ratios['p50_us'][-1] - 1):+.1f} %")
    for key, found in ratios.items():
        machine.say(f"{key[:-3]}: {100 * (statistics.median(found) - 1):+.1f} % by the median of {len(found)} "
                    f"({100 * (min(found) - 1):+.1f} … {100 * (max(found) - 1):+.1f}); goal: at most +5 %")


if __name__ == "__main__":
    machine.main_of(main)
