# SPDX-License-Identifier: Apache-2.0
"""Starts in a loop from several users while the daemon is killed with -9 at random moments and
started again, and clients are killed, too. No status is invented, nothing is left."""

import collections
import os
import random
import shutil
import statistics
import threading
import time

import pytest

from outcome import UIDS, Run, make_places
from sandboxes import PATIENCE, wait_until

LONG = os.environ.get("ISOLATE_LONG") == "1"
DAEMON_KILLS = 1000 if LONG else 50
CLIENT_KILLS = 2000 if LONG else 100
READY_SECONDS = 20


class Starter(threading.Thread):
    """One user, who starts one sandbox after the other and kills some of the clients."""

    def __init__(self, service, place, seed, client_kills):
        super().__init__()
        self.service, self.place, self.dice = service, place, random.Random(seed)
        self.client_kills = client_kills
        self.counts = collections.Counter()
        self.stop = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stop.is_set() or self.counts["client killed"] < self.client_kills:
                self.one()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def one(self):
        run = Run(self.service, self.place, self.dice)
        if self.counts["client killed"] < self.client_kills and self.dice.random() < 0.4:
            time.sleep(self.dice.random() * 0.08)
            run.kill()
        self.counts[run.judge()] += 1


def is_ready(service, parked):
    """A command runs, and where there is a pool something is parked in it again."""
    return service.run([], ["/end", "0", "0"]).returncode == 0 and (not parked or service.parked())


@pytest.mark.parametrize("parked", [pytest.param(0, marks=pytest.mark.settings({"Pool.Parked": 0})),
                                    pytest.param(6, marks=pytest.mark.settings({"Pool.Parked": 6, "Pool.Fresh": 2}))])
def test_daemon_and_clients_are_killed(service, programs, parked, capsys):
    seed = int(os.environ.get("ISOLATE_SEED", str(random.randrange(1 << 30))))
    dice = random.Random(seed)
    directory = programs.parent / "proofs"
    directory.mkdir()
    places = make_places(directory)
    starters = [Starter(service, place, seed + i, -(-CLIENT_KILLS // 2 // len(UIDS)))
                for i, place in enumerate(places)]
    ready = []
    for starter in starters:
        starter.start()
    try:
        for _ in range(DAEMON_KILLS // 2):
            time.sleep(dice.random() * 0.4)
            service.kill_resident()
            begin = time.monotonic()
            service.start_again()
            wait_until(lambda: is_ready(service, parked), READY_SECONDS, "a daemon that is ready")
            ready.append(time.monotonic() - begin)
            assert not [s.failure for s in starters if s.failure], f"seed {seed}: {starters[0].failure}"
    finally:
        for starter in starters:
            starter.stop.set()
        for starter in starters:
            starter.join(PATIENCE * 2)
    counts = sum((starter.counts for starter in starters), collections.Counter())
    failures = [starter.failure for starter in starters if starter.failure]
    assert not failures, f"seed {seed}: {failures}"
    shutil.rmtree(directory)
    with capsys.disabled():
        print(f"\ntorture, {parked} parked: {len(ready)} kills of the daemon, {dict(counts)}; ready again "
              f"after p50 {statistics.median(ready):.3f} s, max {max(ready):.3f} s (seed {seed})")
    assert counts["right"] > 0 and counts["client killed"] >= CLIENT_KILLS // 2
    service.wait_for_ends()
    assert service.stop_resident() == 0
    service.assert_clean()
    assert not service.daemons(), "a process is left"
