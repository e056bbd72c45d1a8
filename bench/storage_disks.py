# SPDX-License-Identifier: Apache-2.0
"""The file systems of bench/storage.py: one of its own for each driver, in a file, or a dataset of
a ZFS pool that is there."""

import contextlib
import os
import pathlib
import subprocess

import peers
from storage_tools import Driver, time_commands

# what it is called: driver, file system
DISKS = {
    "overlay, ext4": ("overlay", "ext4"),
    "overlay, XFS": ("overlay", "xfs"),
    "btrfs": ("btrfs", "btrfs"),
    "reflink, XFS": ("reflink", "xfs"),
}
DISK_GB = 24
# one by one: clones that a driver makes when it is its turn, as many as take a moment
TURN = {"overlay": 10, "btrfs": 10, "reflink": 1, "zfs": 1}


class Disk:
    """A driver's file system, and what is measured on it."""

    def __init__(self, label, mount):
        self.label = label
        self.driver_name, self.kind = DISKS[label]
        self.mount = mount
        self.state = mount
        self.storage = f"{self.driver_name}:{mount}"
        self.turn = TURN[self.driver_name]
        self.driver = None
        (mount / "tool").mkdir(exist_ok=True)
        (mount / "schroot").mkdir(exist_ok=True)

    def tree(self):
        """The one template's tree, as the driver keeps it: what the tools clone, too."""
        (tree,) = (self.mount / "isolate" / self.driver_name / "layers").glob("*/tree")
        return tree

    def tool_place(self, number):
        return self.mount / "tool" / f"clone-{number}"

    def schroot_settings(self):
        """How a schroot clones the same; None where it has no such way."""
        if self.driver_name == "reflink":
            return None
        clones = self.mount / "schroot"
        if self.driver_name == "btrfs":
            return {
                "type": "btrfs-snapshot",
                "btrfs-source-subvolume": self.tree(),
                "btrfs-snapshot-directory": clones,
            }
        return {
            "type": "directory",
            "directory": self.tree(),
            "union-type": "overlay",
            "union-overlay-directory": clones,
        }

    def sync(self):
        subprocess.run(["sync", "--file-system", self.mount], check=True)

    def read_kib(self):
        """Read from the device since it is there."""
        mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
        (device,) = (line.split()[0] for line in mounts if line.split()[1] == str(self.mount))
        stat = pathlib.Path("/sys/class/block", pathlib.Path(device).name, "stat").read_text()
        return int(stat.split()[2]) / 2  # sectors

    def used_bytes(self):
        found = os.statvfs(self.mount)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


class Dataset:
    """The same in a dataset of a pool that somebody else has made."""

    label = driver_name = kind = "zfs"

    def __init__(self, dataset, state):
        self.dataset = dataset
        self.state = state
        self.storage = f"zfs:{dataset}/isolate"
        self.turn = TURN["zfs"]
        self.driver = None
        for name in ("isolate", "tool"):
            subprocess.run(["zfs", "create", f"{dataset}/{name}"], check=True)

    @staticmethod
    def ask(*arguments):
        argv = ["zfs", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    def tree(self):
        """The snapshot that clones of the template are made of: the youngest, as one whose ids
        had to be shifted was made after the template's own."""
        parent = f"{self.dataset}/isolate"
        argv = ("list", "-H", "-o", "name", "-t", "snapshot", "-s", "creation", "-r", parent)
        return self.ask(*argv)[-1]

    def tool_place(self, number):
        return f"{self.dataset}/tool/clone-{number}"

    def schroot_settings(self):
        return None

    def sync(self):
        os.sync()

    def read_kib(self):
        return 0

    def used_bytes(self):
        return int(self.ask("get", "-H", "-p", "-o", "value", "used", self.dataset)[0])


@contextlib.contextmanager
def dataset_of(parent, directory):
    """A Dataset below the parent, which goes with all that is in it."""
    name = f"{parent}/isolate-bench-{os.getpid()}-{directory.name}"
    state = directory / "zfs-state"
    state.mkdir()
    subprocess.run(["zfs", "create", name], check=True)
    try:
        yield Dataset(name, state)
    finally:
        time_commands([["zfs", "destroy", "-R", "-f", name]], tries=100)


@contextlib.contextmanager
def file_systems(directory, arguments):
    """A Disk for each of DISKS whose driver is wanted and that this machine can mount."""
    with contextlib.ExitStack() as stack:
        disks = []
        for label, (driver, kind) in DISKS.items():
            if driver not in arguments.driver:
                continue
            place = directory / label.replace(", ", "-")
            place.mkdir()
            mount = stack.enter_context(peers.file_system_in_a_file(kind, place, DISK_GB))
            if mount:
                disks.append(Disk(label, mount))
        if arguments.zfs:
            disks.append(stack.enter_context(dataset_of(arguments.zfs, directory)))
        if not disks:
            raise SystemExit("no file system in a file can be mounted here")
        yield disks


@contextlib.contextmanager
def drivers(directory, arguments, root):
    """The same, with a template of the root and bench-storage at work."""
    with contextlib.ExitStack() as stack:
        disks = stack.enter_context(file_systems(directory, arguments))
        for disk in disks:
            disk.driver = stack.enter_context(Driver(disk, arguments.build))
            disk.driver.order("import", root)
            disk.sync()
        yield disks
