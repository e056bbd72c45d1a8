#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long /bin/true takes in the same Debian root: alone, and by everything that isolates it."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import machine
from instance import Instance

SCHROOT_CONFIGURATIONS = pathlib.Path("/etc/schroot/chroot.d")


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 300)
    parser.add_argument("--template", default="debian", help="installed template (debian)")
    parser.add_argument("--root", type=pathlib.Path, help="a Debian root to use instead of it")
    parser.add_argument("--pause-ms", type=int, default=0, help="rest before each start (0)")
    parser.add_argument("--json", action="store_true")
    return machine.finish_arguments(parser.parse_args())


def export_template(template, root):
    """The template's tree as a plain directory for the peers, through a sandbox of it."""
    root.mkdir(mode=0o755)
    pack = ["tar", "-C", "/", "--one-file-system", "--numeric-owner", "-c", "."]
    with subprocess.Popen(
        ["isolate", "run", template, "--", *pack], stdout=subprocess.PIPE
    ) as packing:
        subprocess.run(
            ["tar", "-C", root, "--numeric-owner", "-xp"], stdin=packing.stdout, check=True
        )
    if packing.returncode != 0:
        raise subprocess.CalledProcessError(packing.returncode, ["isolate run"])
    for name in ("proc", "sys", "dev", "tmp", "run"):
        (root / name).mkdir(exist_ok=True)


@contextlib.contextmanager
def schroot(root):
    """A schroot with an overlay over the root, as long as the block lasts."""
    if not shutil.which("schroot"):
        yield None
        return
    name = f"isolate-bench-{os.getpid()}"
    configuration = SCHROOT_CONFIGURATIONS / name
    try:
        configuration.write_text(
            f"[{name}]\ntype=directory\ndirectory={root}\nunion-type=overlay\n"
            "profile=minimal\nusers=root\nroot-users=root\n"
        )
        yield name
    finally:
        end_schroot_sessions(name)
        configuration.unlink(missing_ok=True)


def end_schroot_sessions(name):
    result = subprocess.run(
        ["schroot", "--list", "--all-sessions"], capture_output=True, text=True, check=False
    )
    for session in result.stdout.split():
        if session.startswith(f"session:{name}-"):
            subprocess.run(["schroot", "--end-session", "--chroot", session], check=False)


def bwrap_command(root):
    return [
        "bwrap", "--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--die-with-parent", "/bin/true",
    ]  # fmt: skip


def podman_command(root):
    return ["podman", "run", "--rm", "--network=none", "--rootfs", f"{root}:O", "/bin/true"]


def lxc_command(root, directory):
    configuration = directory / "lxc.conf"
    configuration.write_text(
        f"lxc.rootfs.path = dir:{root}\nlxc.uts.name = bench\nlxc.net.0.type = empty\n"
        "lxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\n"
    )
    return [
        "lxc-execute", "--name", f"bench-{os.getpid()}", "--lxcpath", directory,
        "--rcfile", configuration, "--", "/bin/true",
    ]  # fmt: skip


def works(name, command):
    """A peer that does not run on this machine is left out, with its own words."""
    environment = dict(word.split("=", 1) for word in command if re.match(r"[A-Z_]+=", str(word)))
    argv = [str(word) for word in command if not re.match(r"[A-Z_]+=", str(word))]
    result = subprocess.run(
        argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        machine.note(f"{name} is left out: {result.stderr.strip()[-300:]}")
    return result.returncode == 0


def peers(root, directory, schroot_name):
    commands = {"posix_spawn": ["/bin/true"], "chroot": ["chroot", root, "/bin/true"]}
    if shutil.which("bwrap"):
        commands["bwrap"] = bwrap_command(root)
    if schroot_name:
        commands["schroot"] = [
            "schroot", "--chroot", schroot_name, "--directory", "/", "--", "/bin/true",
        ]  # fmt: skip
    if shutil.which("podman"):
        commands["podman"] = podman_command(root)
    if shutil.which("lxc-execute"):
        commands["lxc"] = lxc_command(root, directory)
    return {name: command for name, command in commands.items() if works(name, command)}


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
    with schroot(root) as schroot_name:
        commands = peers(root, directory, schroot_name)
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
            export_template(arguments.template, root)
        with Instance(directory / "instance", arguments.build) as instance:
            machine.note("making a template of the same root")
            instance.create("bench", root)
            machine.note(f"{arguments.rounds} rounds")
            measure(arguments, directory, root, instance)


if __name__ == "__main__":
    machine.main_of(main)
