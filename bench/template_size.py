#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a start grows with the template: a small one (200 MB in 2,000 files) against a big one
(5 GB in 50,000 files), both made for this and removed again."""

import argparse
import os
import shutil
import subprocess

import build_cost
import machine
from instance import Instance

FILE_BYTES = 100_000
FILES_PER_DIRECTORY = 500
TRUE_SOURCE = "int main(void) { return 0; }\n"


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 300)
    parser.add_argument("--small-mb", type=int, default=200)
    parser.add_argument("--big-mb", type=int, default=5000)
    return machine.finish_arguments(parser.parse_args())


def check_space(directory, needed):
    free = shutil.disk_usage(directory).free
    # the tree and its import stand side by side for a moment; a fifth stays free for others
    if free < needed * 2 * 1.2:
        raise SystemExit(
            f"{directory}: {free / 1e9:.1f} GB are free, {needed * 2.4 / 1e9:.1f} are needed; "
            "give a smaller --big-mb"
        )


def make_root(root, megabytes, program):
    """A root that can run /bin/true, with so many real files of zeros."""
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr/share"):
        (root / name).mkdir(parents=True)
    shutil.copy(program, root / "bin" / "true")
    zeros = bytes(FILE_BYTES)
    for number in range(megabytes * 1_000_000 // FILE_BYTES):
        directory = root / "usr/share" / f"{number // FILES_PER_DIRECTORY:04}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number:06}").write_bytes(zeros)


def make_template(instance, directory, name, megabytes, program):
    machine.note(f"making template {name}: {megabytes} MB")
    root = directory / f"root-{name}"
    try:
        make_root(root, megabytes, program)
        instance.create(name, root)
    finally:
        machine.remove_tree(root)


def compile_true(directory):
    source = directory / "true.c"
    source.write_text(TRUE_SOURCE)
    program = directory / "true"
    subprocess.run(["cc", "-static", "-Os", "-o", program, source], check=True)
    return program


def print_phases(arguments, instance):
    if not arguments.build or not (arguments.build / "bench" / "bench-build-sandbox").exists():
        machine.note("give --build DIR, configured with -Dbench=true, for the phases too")
        return
    templates = build_cost.measure(arguments, instance, ["small", "big"])["templates"]
    machine.say(f"\n{'p50, µs':14}{'small':>8}{'big':>8}{'ratio':>8}")
    for name in ("clone", "mount", "ready", "building", "destroy"):
        small, big = templates["small"][name], templates["big"][name]
        machine.say(f"{name:14}{small:8.0f}{big:8.0f}{big / small:8.3f}")


def main():
    arguments = arguments_of()
    machine.print_facts("isolate")
    with machine.work_directory() as directory:
        check_space(directory, (arguments.small_mb + arguments.big_mb) * 1_000_000)
        interleave = machine.compile_program("interleave.c", directory)
        program = compile_true(directory)
        with Instance(directory / "instance", arguments.build) as instance:
            make_template(instance, directory, "small", arguments.small_mb, program)
            make_template(instance, directory, "big", arguments.big_mb, program)
            os.sync()  # what is still being written must not disturb
            commands = {
                name: instance.command("run", template, "/bin/true")
                for name, template in (
                    ("small", "small"), ("big", "big"), ("small again", "small"),
                )  # fmt: skip
            }
            text = machine.interleave(
                interleave,
                commands,
                rounds=arguments.rounds,
                warmup=arguments.warmup,
                baseline="small",
            )
            machine.say(text.strip())
            print_phases(arguments, instance)


if __name__ == "__main__":
    machine.main_of(main)
