#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput of a pipe through `cat` in a sandbox against one through a bare `cat`."""

import argparse
import os
import statistics

import machine


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 5)
    parser.add_argument("--template", default="debian", help="installed template (debian)")
    parser.add_argument("--gigabytes", type=float, default=10, help="per round and command (10)")
    return machine.finish_arguments(parser.parse_args())


def seconds(program, size, command, environment):
    """One transfer, start and end of the command included."""
    output = machine.output_of([program, size, *command], environment)
    return int(output) / 1e9


def measure(arguments, program, size):
    environment = dict(os.environ)
    isolate = "isolate"
    if arguments.build:
        isolate = str(arguments.build / "isolate")
        environment["ISOLATE_LIBEXEC_DIR"] = str(arguments.build)
    # the second bare one says how much two equal things differ here
    commands = {
        "bare cat": ["cat"],
        "isolate": [isolate, "run", arguments.template, "cat"],
        "bare cat again": ["cat"],
    }
    times = {name: [] for name in commands}
    for round_number in range(arguments.warmup + arguments.rounds):
        for name, command in commands.items():
            taken = seconds(program, size, command, environment)
            if round_number >= arguments.warmup:
                times[name].append(taken)
    return times


def print_table(times, size):
    bare = statistics.median(times["bare cat"] + times["bare cat again"])
    machine.say(f"{'':16}{'min s':>9}{'p50 s':>9}{'max s':>9}{'GB/s':>9}{'÷ bare':>9}")
    for name, taken in times.items():
        p50 = statistics.median(taken)
        machine.say(
            f"{name:16}{min(taken):9.3f}{p50:9.3f}{max(taken):9.3f}"
            f"{size / p50 / 1e9:9.2f}{p50 / bare:9.3f}"
        )
    ratio = statistics.median(times["isolate"]) / bare
    best = min(times["isolate"]) / min(times["bare cat"] + times["bare cat again"])
    machine.say(
        f"\nthrough isolate it takes {(ratio - 1) * 100:+.1f} % by the medians, "
        f"{(best - 1) * 100:+.1f} % by the best rounds (goal: at most +5 %)"
    )


def main():
    arguments = arguments_of()
    size = int(arguments.gigabytes * 1e9)
    machine.print_facts("isolate", "cat")
    with machine.work_directory() as directory:
        program = machine.compile_program("pipe.c", directory)
        print_table(measure(arguments, program, size), size)


if __name__ == "__main__":
    machine.main_of(main)
