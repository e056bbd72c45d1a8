#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The system calls of one start through the resident daemon with a parked sandbox, program by
program: those between the client's first call and its last (the go path), and those behind it
(taking the sandbox away, building the next). By strace; the same on a busy machine."""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import time

import machine
from instance import Instance

CALL = re.compile(r"^(\d+\.\d+) (?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)")
EXEC = re.compile(r'execve(?:at)?\([^"]*"(?:([^"]+)"|", \["([^"]*)")')


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.add_arguments(parser, 5)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="directory to run in")
    arguments = machine.finish_arguments(parser.parse_args())
    if not arguments.build:
        parser.error("--build DIR is needed")
    if not shutil.which("strace"):
        sys.exit("strace is not installed")
    return arguments


def helpers(instance):
    """{pid: what it is} of the daemon and all that is parked."""
    pid = instance.daemon.pid
    names = {pid: "isolated"}
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        name = pathlib.Path(words[0].decode()).name
        names[int(child)] = "isolated --builder" if b"--builder" in words else name
    names.update(dict.fromkeys(instance.members(), "isolate-init, parked"))
    return names


def trace_once(instance, directory):
    """Traces of one start: {pid: file}, and the names of the processes that were there before."""
    instance.run("run", "bench", "/bin/true")  # the decoder is there for the next one
    instance.wait_idle()
    names = helpers(instance)
    for old in directory.iterdir():
        old.unlink()
    argv = ["strace", "-ff", "-ttt", "-o", directory / "t"]
    for pid in names:
        argv += ["-p", str(pid)]
    with subprocess.Popen(list(map(str, argv)), stderr=subprocess.DEVNULL) as strace:
        time.sleep(0.5)
        client = ["strace", "-ttt", "-o", directory / "client", instance.program, "run"]
        client += ["bench", "/bin/true"]
        subprocess.run(list(map(str, client)), env=instance.environment(), check=True)
        time.sleep(0.5)
        strace.terminate()
    return names


def read_calls(path):
    """(time, call) of each line, and the program that it executed last."""
    calls, program = [], None
    for line in path.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if not found or "resumed" in line[:40]:
            continue
        calls.append((float(found[1]), found[2]))
        executed = EXEC.search(line)
        if executed and " = 0" in line:
            program = pathlib.Path(executed[1] or executed[2] or "?").name
    return calls, program


def count(names, directory):
    """{(program, in the go path): Counter of calls}"""
    client, _program = read_calls(directory / "client")
    begin, end = client[0][0], client[-1][0]
    counts = collections.defaultdict(collections.Counter)
    for path in directory.iterdir():
        calls, program = read_calls(path)
        known = names.get(int(path.suffix[1:])) if path.suffix else "isolate"
        if not known and program == "isolate-init":
            known = "isolate-init, next"
        for when, call in calls:
            name = known or (program and f"{program}, the command") or "forked"
            if known == "isolate-init, parked" and program:
                name = "isolate-init and the command"
            counts[name, begin <= when <= end][call] += 1
    return counts


def show(counts):
    for go_path, title in ((True, "while the client runs"), (False, "before and behind it")):
        machine.say(f"{title}:")
        rows = [(name, found) for (name, at), found in counts.items() if at == go_path]
        for name, found in sorted(rows, key=lambda row: -row[1].total()):
            most = ", ".join(f"{call} {n}" for call, n in found.most_common(8))
            machine.say(f"  {name:30}{found.total():5}  {most}")
        machine.say(f"  {'total':30}{sum(found.total() for _name, found in rows):5}")


def main():
    arguments = arguments_of()
    machine.print_facts("isolate", "strace")
    with machine.work_directory() as directory:
        traces = directory / "traces"
        traces.mkdir()
        with Instance(directory / "instance", arguments.build) as instance:
            instance.create("bench", arguments.root)
            instance.serve()
            best = None
            for _round in range(arguments.rounds):
                counts = count(trace_once(instance, traces), traces)
                total = sum(found.total() for (_n, at), found in counts.items() if at)
                if best is None or total < best[0]:
                    best = (total, counts)
    machine.say(f"the round with the fewest calls of {arguments.rounds}:")
    show(best[1])


if __name__ == "__main__":
    machine.main_of(main)
