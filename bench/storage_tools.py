# SPDX-License-Identifier: Apache-2.0
"""Who makes clones in bench/storage.py: isolate's drivers by their own code, and the tools that do
the same by commands. Each makes clones FIRST … FIRST + N - 1 of a disk's template and removes them,
and says what that took in nanoseconds."""

import contextlib
import json
import os
import signal
import subprocess
import time

OWN = "isolate"


class OverlayTool:
    name = "mkdir, mount; umount, rm"

    def make(self, disk, place):
        upper, work, merged = f"{place}/upper", f"{place}/work", f"{place}/merged"
        options = f"lowerdir={disk.tree()},upperdir={upper},workdir={work}"
        return [
            ["mkdir", "-p", upper, work, merged],
            ["mount", "-t", "overlay", "-o", options, "overlay", merged],
        ]

    def remove(self, places):
        return [["umount", *(f"{place}/merged" for place in places)], ["rm", "-rf", *places]]


class BtrfsTool:
    name = "btrfs subvolume snapshot, delete"

    def make(self, disk, place):
        return [["btrfs", "subvolume", "snapshot", disk.tree(), place]]

    def remove(self, places):
        return [["btrfs", "subvolume", "delete", *places]]


class ReflinkTool:
    name = "cp -a --reflink=always; rm -rf"

    def make(self, disk, place):
        return [["cp", "-a", "--reflink=always", disk.tree(), place]]

    def remove(self, places):
        return [["rm", "-rf", *places]]


class ZfsTool:
    name = "zfs clone, destroy"
    # zfs-fuse says now and then that a dataset is busy
    tries = 100

    def make(self, disk, place):
        return [["zfs", "clone", disk.tree(), place]]

    def remove(self, places):
        return [["zfs", "destroy", place] for place in places]


class SchrootTool:
    """Sessions of a schroot that clones the same tree in the same way."""

    name = "schroot, begin and end a session"

    def __init__(self, schroot_name):
        self.schroot_name = schroot_name

    def session(self, place):
        return f"{self.schroot_name}-{str(place).rsplit('-', 1)[-1]}"

    def make(self, _disk, place):
        return [
            ["schroot", "--begin-session", "--chroot", self.schroot_name,
             "--session-name", self.session(place)],
        ]  # fmt: skip

    def remove(self, places):
        return [
            ["schroot", "--end-session", "--chroot", f"session:{self.session(place)}"]
            for place in places
        ]


TOOLS = {"overlay": OverlayTool, "btrfs": BtrfsTool, "reflink": ReflinkTool, "zfs": ZfsTool}


NULL = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]


def run_command(argv):
    """Its wait status."""
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=NULL)
    try:
        return os.waitpid(pid, 0)[1]
    except BaseException:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        raise


def time_commands(commands, tries=1):
    """Nanoseconds until all have ended, one after the other; tries: of each, all in the time."""
    begin = time.perf_counter_ns()
    for command in commands:
        argv = list(map(str, command))
        left = tries
        while (status := run_command(argv)) != 0:
            left -= 1
            if left == 0:
                raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), argv)
            time.sleep(0.01)
    return time.perf_counter_ns() - begin


class Tool:
    """Clones by commands, timed as whole processes."""

    def __init__(self, kind, disk, turn=None):
        self.kind = kind
        self.name = kind.name
        self.turn = turn or disk.turn
        self.tries = getattr(kind, "tries", 1)
        self.disk = disk

    def places(self, first, n):
        return [self.disk.tool_place(number) for number in range(first, first + n)]

    def make(self, first, n):
        commands = [self.kind.make(self.disk, place) for place in self.places(first, n)]
        return {"make_ns": [time_commands(of, self.tries) for of in commands]}

    def remove(self, first, n):
        return {"remove_ns": [time_commands(self.kind.remove(self.places(first, n)), self.tries)]}


class Driver:
    """Clones by the driver's own code, in a bench-storage that stays; see storage_ops.c."""

    name = OWN

    def __init__(self, disk, build):
        self.turn = disk.turn
        argv = [build / "bench" / "bench-storage", disk.storage, disk.state]
        self.process = subprocess.Popen(
            list(map(str, argv)), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.process.terminate()
        self.process.wait()

    def order(self, *words):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise subprocess.CalledProcessError(self.process.wait(), ["bench-storage"])
        return json.loads(answer)

    def make(self, first, n):
        answer = self.order("make", first, n)
        answer["make_ns"] = list(map(sum, zip(answer["clone_ns"], answer["mount_ns"])))
        return answer

    def remove(self, first, n):
        return {"remove_ns": self.order("remove", first, n)["destroy_ns"]}
