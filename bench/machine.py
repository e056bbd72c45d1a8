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


def print_facts(*programs):
    """Kernel, processors, load, file system of the state, and the versions of what is compared."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        model = found.group(1) if found else platform.machine()
    load = pathlib.Path("/proc/loadavg").read_text().split()[0]
    mounts = len(pathlib.Path("/proc/self/mounts").read_text().splitlines())
    say(f"kernel {platform.release()}, {len(os.sched_getaffinity(0))} CPUs, {model}")
    say(f"load {load} before the start, {mounts} host mounts")
    for program in programs:
        if shutil.which(program):
            result = subprocess.run([program, "--version"], capture_output=True, text=True)
            lines = (result.stdout + result.stderr).strip().splitlines()
            say(f"{program}: {lines[0] if lines else 'unknown version'}")
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


def compile_program(source, into):
    program = pathlib.Path(into) / pathlib.Path(source).stem
    subprocess.run(["cc", *WARNINGS, "-o", program, BENCH / source], check=True)
    return program


def interleave(program, commands, *, rounds, warmup, baseline, pause_us=0, json=False):
    """Runs interleave over {name: argv}; argv may begin with VARIABLE=VALUE words."""
    argv = [str(program), "--rounds", str(rounds), "--warmup", str(warmup)]
    argv += ["--pause-us", str(pause_us), "--baseline", baseline]
    argv += ["--json"] if json else []
    for name, command in commands.items():
        argv += ["--command", name, *map(str, command), "--end"]
    return output_of(argv)


def output_of(argv, environment=None):
    """Runs a measuring program. When we are stopped, it is asked to end after its current command
    and waited for, so that nothing is removed under a command that still runs."""
    with subprocess.Popen(
        list(map(str, argv)), env=environment, text=True, stdout=subprocess.PIPE
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
