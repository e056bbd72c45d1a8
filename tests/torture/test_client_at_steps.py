# SPDX-License-Identifier: Apache-2.0
"""The client is killed with -9 at every step: it is stopped after its n-th entry or exit of a system call,
for n from 1 on until it only waits for its command, which would go on for an hour. Five seconds later
nothing is left of the sandbox. What is on disk says which step it was; one without a kill fails.
ISOLATE_LONG=1: at every n, else at some."""

import collections
import os
import signal
import subprocess

import pytest

from frozen import Frozen
from sandboxes import PATIENCE, process_state, wait_until
from services import Member

LONG = os.environ.get("ISOLATE_LONG") == "1"
STRIDE = 12
TEARDOWN_S = 5
HOUR = str(3600 * 1000)
# begins stopped, so that its first step can be waited for
STOPPED = ["sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"]


def start(service, options):
    member = Member(service, 61501)
    run = subprocess.Popen([*member.prefix, *STOPPED, service.programs / "isolate", "run", *options, "t", "--", "/end", "0", HOUR],
                           env={**service.env, **member.more["env"]}, cwd="/", stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: process_state(run.pid) == "T", PATIENCE, "that it has stopped")
    return run


def at_step(service, parked):
    """What there is of its sandbox."""
    states = set(service.states().values())
    return "runs" if "running" in states else "is made" if states - parked else "before"


def one_kill(service, programs, options, n, parked):
    """The step, or "waits" when there are fewer."""
    run = start(service, options)
    frozen = Frozen(programs, run.pid, n)
    try:
        is_there = frozen.is_there(2)
        step = at_step(service, parked) if is_there else "waits"
        run.send_signal(signal.SIGKILL)
    finally:
        frozen.let_go()
    assert run.wait(PATIENCE) == -signal.SIGKILL
    wait_until(lambda: not set(service.states().values()) - parked, TEARDOWN_S, f"the end of its sandbox ({step}, {n})")
    return step


@pytest.mark.parametrize("options", [[], ["--keep"], ["-t"]], ids=["plain", "kept", "terminal"])
@pytest.mark.parametrize("parked", [pytest.param(set(), id="built"),
                                    pytest.param({"parked"}, id="parked", marks=pytest.mark.settings({"Pool.Parked": 1}))])
def test_client_killed_at_each_step(service, programs, options, parked, capsys):
    met = collections.Counter()
    if parked:
        service.run([], ["/end", "0", "0"])  # after which one is kept ready
    n = 1
    while not met["waits"]:
        if parked:
            wait_until(lambda: set(service.states().values()) == parked, PATIENCE, "a parked sandbox")
        met[one_kill(service, programs, options, n, parked)] += 1
        n += 1 if LONG else STRIDE
    with capsys.disabled():
        print(f"\ntorture, client killed at steps {options}, {n} in all: {dict(met)}")
    assert met["before"] and met["runs"], met
    service.ok("prune", "--kept")
    if not parked:
        service.assert_clean()
    service.stop_resident()
    service.assert_clean()
