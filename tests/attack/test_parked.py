# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that were parked, by each engine: an engine that is executed ahead leaves to its inner
init what an engine told of the start would do itself (masks, tmpfs, a read-only root, fewer capabilities, filters).
Control: the same programs as root, and in a root that nothing hardens."""

import os
import shutil
import subprocess

import pytest

from instance import parse, wait_until
from parked import DEMAND, Parked

LONG = os.environ.get("ISOLATE_LONG") == "1"
AHEAD = {"bwrap": "bwrap", "nspawn": "systemd-nspawn"}
OTHERS = {"native": "sh", "lxc": "lxc-start", "oci": "runc"}
# short: those that are executed ahead; all others are parked as well
ENGINES = AHEAD | OTHERS if LONG else AHEAD
OPTIONS = {
    "plain": (),
    "read_only_beside_tmpfs": ("--read-only", "--tmpfs", "/run", "--tmpfs", "/mnt", "--cap-drop", "ALL"),
    # parked without a root, which comes with the claim
    "directory": ("--storage", "dir"),
    "read_only_directory": ("--storage", "dir", "--read-only", "--tmpfs", "/mnt", "--cap-drop", "ALL"),
}
PROGRAMS = {"mounts": 12, "proc_files": 12, "kernel_api": 17, "pid1": 18, "namespaces": 15}


@pytest.fixture(scope="module", params=ENGINES)
def parked(request):
    if not shutil.which(ENGINES[request.param]):
        pytest.skip(f"engine {request.param}: {ENGINES[request.param]} is not installed")
    made = Parked(request.param)
    try:
        yield made
    finally:
        made.close()


def attack_in_parked(parked, program, *arguments, options):
    """In a sandbox that was claimed from the pool."""
    is_rootless = "--storage" in options
    template = "" if is_rootless else "t"
    for _ in range(DEMAND):
        before = parked.shape(template)["claims"]
        results = parked.attack(program, *arguments, options=options, root=parked.root if is_rootless else None)
        if parked.shape(template)["claims"] > before:
            return results
        wait_until(lambda: parked.shape(template)["ready"] > 0)
    raise AssertionError(f"no parked sandbox was to be had: {parked.shape()}")


def careless_root(parked):
    """mounts, in a root of a tmpfs with a proc beside its own."""
    place = parked.path("careless")
    script = ('mount -t tmpfs none "$0" && mkdir "$0/proc" "$0/other" && mount -t proc none "$0/proc" && '
              'mount -t proc none "$0/other" && cp "$1" "$0/mounts" && exec chroot "$0" /mounts read-only')
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, str(place),
                           str(parked.programs / "mounts")], capture_output=True, text=True, check=True)
    place.rmdir()
    return parse(done.stdout)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", OPTIONS)
def test_parked(parked, judge, how, program):
    options = OPTIONS[how]
    arguments = ("read-only",) if program == "mounts" and "--read-only" in options else ()
    control = careless_root(parked) if program == "mounts" else parked.control(program)
    results = attack_in_parked(parked, program, *arguments, options=options)
    assert results and set(results) <= set(control)
    worked = [name for name, result in results.items() if result == "SUCCEEDED"]
    assert not worked, f"{parked.engine}: {worked}"
    judge(PROGRAMS[program], f"{program}_parked_{how}_{parked.engine}", "denied all",
          "SUCCEEDED" if "SUCCEEDED" in control.values() else "denied", {"all"}, ran=(parked.engine, parked.mode))
