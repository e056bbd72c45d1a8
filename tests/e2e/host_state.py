# SPDX-License-Identifier: Apache-2.0
"""What the host shows of the installations that live, to be compared before and after a test."""

import pathlib
import re
import time

from sandboxes import Instance, comm, process_state

SETTLE_SECONDS = 5.0


def mounts_of(paths):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(
        # without the numbers, which are new when something is mounted anew
        re.sub(r" (shared|master):\d+| (/dev/loop)\d+", r" \1\2", line.split(" ", 3)[3])
        for line in lines
        if any(str(path) in line for path in paths)
    )


def loop_devices_of(paths):
    found = []
    for file in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text().strip()
        except OSError:
            continue
        if any(str(path) in backing for path in paths):
            found.append(backing)
    return sorted(found)


def processes_of(instances):
    """(pid, name) of everything alive that belongs to one of the installations."""
    pids = set()
    for one in instances:
        pids.update(one.daemons())
        pids.update(one.members())
    return sorted((pid, comm(pid)) for pid in pids if process_state(pid) not in ("", "Z", "X"))


def host_state(paths):
    instances = list(Instance.live)
    return {
        "mounts": mounts_of(paths),
        "cgroups": [(one.cgroup_name, leaf) for one in instances for leaf in one.leaves()],
        "processes": processes_of(instances),
        "clones": [(one.cgroup_name, name) for one in instances for name in one.clones()],
        "records": [(one.cgroup_name, name) for one in instances for name in one.records()],
        "loop devices": loop_devices_of(paths),
    }


def difference(before, after):
    said = []
    for key in before:
        new = [item for item in after[key] if item not in before[key]]
        gone = [item for item in before[key] if item not in after[key]]
        if new or gone:
            said.append(f"{key}: left behind {new}, lost {gone}")
    return said


def settled_difference(before, paths):
    """What differs once the host has had a moment to settle; one line a kind."""
    end = time.monotonic() + SETTLE_SECONDS
    said = difference(before, host_state(paths))
    while said and time.monotonic() < end:
        time.sleep(0.02)
        said = difference(before, host_state(paths))
    return said
