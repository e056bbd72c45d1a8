# SPDX-License-Identifier: Apache-2.0
"""What every measurement needs: the machine's facts, a directory that goes again, a compiler, and
the programs to measure. Standard library only."""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parent
WARNINGS = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]


def say(*words):
    print(*words, flush=True)


def note(*words):
    print("#", *words, file=sys.stderr, flush=True)


def load():
    return pathlib.Path("/proc/loadavg").read_text().split()[0]


def facts(*programs):
    """Kernel, processors, load, mounts, and the versions of what is compared, a line each."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        model = found.group(1) if found else platform.machine()
    mounts = len(pathlib.Path("/proc/self/mounts").read_text().splitlines())
    lines = [
        f"kernel {platform.release()}, {len(os.sched_getaffinity(0))} CPUs, {model}",
        f"load {load()} before the start, {mounts} host mounts",
    ]
    for program in programs:
        if shutil.which(program):
            result = subprocess.run([program, "--version"], capture_output=True, text=True)
            words = (result.stdout + result.stderr).strip().splitlines()
            lines.append(f"{program}: {words[0] if words else 'unknown version'}")
    return lines


def print_facts(*programs):
    for line in facts(*programs):
        say(line)
    say()


def stop_on_signals():
    """SIGTERM and SIGHUP end the program as ^C does, so that everything is cleaned up."""

    def stop(number, _frame):
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


@contextlib.contextmanager
def work_directory(parent="/var/tmp"):
    """A directory of root's on a disk, removed at the end with everything in it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="isolate-bench-", dir=parent))
    try:
        yield path
    finally:
        remove_tree(path)


def remove_tree(path):
    below = [
        line.split()[1]
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[1].startswith(f"{path}/")
    ]
    for mount in sorted(below, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    # --one-file-system: what could not be unmounted is not entered
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=False)


def compile_program(source, into, *options):
    program = pathlib.Path(into) / pathlib.Path(source).stem
    subprocess.run(["cc", *WARNINGS, *options, "-o", program, BENCH / source], check=True)
    return program


def interleave(
    program, commands, *, rounds, warmup, baseline, pause_us=0, burst=1, every=None, json=False
):
    """Runs interleave over {name: argv}; argv may begin with VARIABLE=VALUE words. An fd in place
    of argv: the program at its other end makes the start. every: {name: one round in so many}."""
    argv = [str(program), "--rounds", str(rounds), "--warmup", str(warmup)]
    argv += ["--pause-us", str(pause_us), "--baseline", baseline, "--burst", str(burst)]
    argv += ["--json"] if json else []
    fds = [command for command in commands.values() if isinstance(command, int)]
    for name, command in commands.items():
        argv += ["--every", str((every or {}).get(name, 1))]
        if isinstance(command, int):
            argv += ["--served", name, str(command)]
        else:
            argv += ["--command", name, *map(str, command), "--end"]
    return output_of(argv, pass_fds=fds)


def output_of(argv, environment=None, pass_fds=()):
    """Runs a measuring program. When we are stopped, it is asked to end after its current command
    and waited for, so that nothing is removed under a command that still runs."""
    with subprocess.Popen(
        list(map(str, argv)), env=environment, text=True, stdout=subprocess.PIPE, pass_fds=pass_fds
    ) as process:
        try:
            output, _none = process.communicate()
        except BaseException:
            process.terminate()
            process.wait(timeout=60)
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return output


def add_arguments(parser, rounds):
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measured rounds ({rounds})")
    parser.add_argument("--warmup", type=int, default=None, help="rounds before (a tenth)")
    parser.add_argument(
        "--build",
        type=pathlib.Path,
        default=None,
        help="measure the programs of this build directory instead of the installed ones",
    )


def finish_arguments(arguments):
    if arguments.warmup is None:
        arguments.warmup = max(1, arguments.rounds // 10)
    if arguments.build:
        arguments.build = arguments.build.resolve()
    if os.getuid() != 0:
        sys.exit("this measurement makes sandboxes: run it as root")
    return arguments


def main_of(function):
    """Runs a measurement: ^C and failed commands end it with one line, after the cleanup."""
    stop_on_signals()
    try:
        sys.exit(function())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything that was made is removed")
    except subprocess.CalledProcessError as failure:
        program = pathlib.Path(str(failure.cmd[0])).name
        said = failure.stderr if isinstance(failure.stderr, str) else ""
        sys.exit(f"{program} failed with status {failure.returncode}\n{said}".strip())
