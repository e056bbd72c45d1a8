# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed at every step of clone, park, claim and destroy: the process that does it is
stopped after its n-th entry or exit of a system call, for n from 1 on until a whole run passes, and
then the daemon (and with it that process), or that process alone, is killed with -9. What is on disk
says which step it was; a step without a kill fails. ISOLATE_LONG=1: at every n, else at some."""

import collections
import contextlib
import os
import signal
import subprocess

import pytest

from frozen import Frozen
from host_state import loop_devices_of
from outcome import Run, make_places
from sandboxes import PATIENCE, process_state, wait_until

LONG = os.environ.get("ISOLATE_LONG") == "1"
STEPS = collections.Counter()

# what is killed at, and the steps that must have been met
EXPECTED = {
    "builder": ["clone: before", "clone: id range taken", "clone: record written", "clone: clone made",
                "park: cgroup made", "park: init made"],
    "nursery": ["park: cgroup made", "park: init made"],
    "claim": ["claim: before", "claim: record says running"],
    "destroyer": ["destroy: before", "destroy: cgroup gone", "destroy: clone gone", "destroy: id range free",
                  "destroy: record gone"],
}
# a clone with an image (--disk, where there are no quotas)
LIMITED = ["--disk", "8M"]
EXPECTED_LIMITED = {
    # one that is made is at its place within a few steps, which the short form may step over
    "builder": [*EXPECTED["builder"], "clone: image begun", *(["clone: image made"] if LONG else [])],
    "destroyer": EXPECTED["destroyer"],
}
NURSERY_FD = 4  # in a builder that makes sandboxes
STRIDE = {"builder": 8, "nursery": 3, "claim": 16, "destroyer": 8}


def builders(service):
    """(builder, destroyer): the one with the nursery's socket, and the other, whichever was made anew last."""
    def has_no_nursery(pid):
        with contextlib.suppress(FileNotFoundError):
            return not os.readlink(f"/proc/{pid}/fd/{NURSERY_FD}").startswith("socket:")
        return True
    return sorted(service.helpers("isolated", "--builder"), key=has_no_nursery)


def target(service, what):
    return {"builder": lambda: builders(service)[0], "destroyer": lambda: builders(service)[1],
            "nursery": lambda: service.helpers("isolate-nursery")[0],
            "claim": lambda: service.resident.pid}[what]()


def step_of(service, what):
    """The name of the step, by what there is of the one sandbox."""
    ids = [name for name in service.records() if name.startswith("ids/")]
    clones = [name for name in service.clones() if name.startswith("overlay/clones/")]
    states = list(service.states().values())
    leaves = service.leaves()
    if what == "claim":
        return "claim: record says running" if "running" in states else \
            "claim: before" if states else "claim: over"
    if what == "destroyer":
        return "destroy: " + ("before" if leaves else "cgroup gone" if clones else "clone gone" if ids
                              else "id range free" if states else "record gone")
    images = [path.name for path in service.state.glob("overlay/clones/*/image*")]
    if leaves:
        return "park: init made" if service.members() else "park: cgroup made"
    return "clone: " + ("image made" if "image" in images else "image begun" if images else "clone made" if clones else "record written" if states else
                        "id range taken" if ids else "before")


def settle(service, what):
    """One parked sandbox for a claim, none for anything else."""
    if what != "claim":
        service.assert_clean()
        return
    service.run([], ["/end", "0", "0"])
    wait_until(lambda: set(service.states().values()) == {"parked"}, PATIENCE, "a parked sandbox")


def reached(run, frozen):
    """Whether it is frozen before the run and what comes behind it are over."""
    while True:
        if frozen.is_there(0.02):
            return True
        if run.process.poll() is not None:
            # what is destroyed is destroyed behind the run
            return frozen.is_there(3)


def one_kill(service, programs, place, case, n):
    """False when the whole run had fewer steps."""
    what, whom, options = case
    settle(service, what)
    pid = target(service, what)
    frozen = Frozen(programs, pid, n)
    run = Run(service, place, milliseconds=0, options=options)
    try:
        if not reached(run, frozen):
            return False
        STEPS[(what, whom, len(options), step_of(service, what))] += 1
        if whom == "isolated":
            service.resident.kill()
        else:
            # a process that is traced cannot be waited for: the daemon looks when it no longer is
            service.resident.send_signal(signal.SIGSTOP)
            os.kill(pid, signal.SIGKILL)
    finally:
        frozen.let_go()
        service.resident.send_signal(signal.SIGCONT)
    if whom == "isolated":
        service.kill_resident()
    word = run.judge()
    assert word in ("right", "lost", "not started")
    if whom == "isolated":
        service.start_again()
    wait_until(lambda: process_state(pid) in ("", "Z") or whom == "isolated", PATIENCE)
    following = Run(service, place, milliseconds=0, options=options)
    assert following.judge() == "right" or whom == "itself", (n, following.said)
    if what != "claim":
        service.assert_clean()
        wait_until(lambda: not loop_devices_of([service.base]), PATIENCE, "that no loop device is left")
        wait_until(lambda: not service.zombies(), PATIENCE, "that no zombie is left")
    return True


CASES = [("builder", "isolated", []), ("nursery", "isolated", []), ("destroyer", "isolated", []),
         pytest.param("claim", "isolated", [], marks=pytest.mark.settings({"Pool.Parked": 1})),
         ("builder", "itself", []), ("nursery", "itself", []), ("destroyer", "itself", []),
         ("builder", "isolated", LIMITED), ("destroyer", "isolated", LIMITED),
         pytest.param("builder", "itself", LIMITED, marks=pytest.mark.long),
         pytest.param("destroyer", "itself", LIMITED, marks=pytest.mark.long)]


@pytest.mark.parametrize("what, whom, options", CASES)
def test_killed_at_each_step(service, programs, what, whom, options, capsys):
    directory = programs.parent / f"proofs-{what}-{whom}"
    directory.mkdir()
    (place, *_) = make_places(directory)
    # everything is loaded and known before it is counted
    assert Run(service, place, milliseconds=0, options=options).judge() == "right"
    service.wait_for_ends()
    n = 1
    while one_kill(service, programs, place, (what, whom, options), n):
        n += 1 if LONG else STRIDE[what]
    with capsys.disabled():
        met = {step: count for (*case, step), count in STEPS.items() if case == [what, whom, len(options)]}
        print(f"\ntorture, {whom} killed at steps of {what} {options}, {n} in all: {met}")
    expected = EXPECTED_LIMITED if options else EXPECTED
    missing = [step for step in expected[what] if not met.get(step)]
    assert not missing, f"no kill at {missing}"
    subprocess.run(["rm", "-r", directory], check=True)
    service.wait_for_ends()
    service.stop_resident()
    service.assert_clean()
