# SPDX-License-Identifier: Apache-2.0
"""As test_faults, of a resident daemon and all of its helpers: from the moment at which a caller comes, for whom a
decoder is started, who gets the parked sandbox, until that is destroyed and another one is parked in its place. The process
in which a call fails may end; no status is invented, no sandbox is less than was asked, nobody hangs, others go on,
nothing is left. ISOLATE_LONG=1: at every n, else at some."""

import collections
import os
import threading

import pytest

from fault_service import STATUS, TracedService
from outcome import LOST, NOT_STARTED

LONG = os.environ.get("ISOLATE_LONG") == "1"
ERRNOS = ("ENOMEM", "EMFILE", "ENOSPC", "EIO", "EINTR")
LANES = 4 if LONG else 1  # most of it is waiting for the next try of the pool
CANNOT_EXECUTE = 126
FIRST_UID = 70000  # each time somebody who has not been here, and has no decoder


class Lane(threading.Thread):
    """Every so many n, with a daemon of its own."""

    def __init__(self, service, errno, first, stride):
        super().__init__()
        self.service, self.errno, self.first, self.stride = service, errno, first, stride
        self.count = 0
        self.seen = collections.Counter()
        self.problems = []
        self.failure = None

    def run(self):
        try:
            with self.service:
                self.each()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def each(self):
        n = self.first
        while not self.count:
            if not self.service.traced:
                self.service.start_traced(self.errno)
            try:
                word = self.one(n)
            except AssertionError as error:
                self.problems.append(f"{error}\n{self.service.log()[-600:]}")
                print(self.problems[-1], flush=True)
                self.service.start_again()
                word = "wrong"
            self.seen[word] += 1
            n += self.stride
        self.seen[word] -= 1
        if self.service.traced:
            self.service.end()

    def one(self, n):
        service = self.service
        done, fault = service.run_with_fault(FIRST_UID + n, n, self.errno)
        word = self.judge(done, fault)
        ended = not service.is_alive()
        if ended:
            print(fault.what, service.log()[-300:], flush=True)
            service.end()
            return f"{word}, isolated ended"
        service.run_whole(fault.what)
        service.settle()
        service.assert_usual(fault.what)
        self.count = fault.count if not fault.call else 0
        return word

    def judge(self, done, fault):
        proof = self.service.place / "proof"
        if fault.status == STATUS:
            assert proof.exists(), f"said to have run: {fault.what}"
            assert done.stdout == self.service.whole, f"not what was asked: {fault.what}: {done.stdout}"
            return "got over"
        fault.assert_clear((LOST, NOT_STARTED, CANNOT_EXECUTE))
        assert fault.status == LOST or not proof.exists(), f"said not to have started, but ran: {fault.what}"
        return "lost" if fault.status == LOST else "not started"


def lanes_of(programs, root, errno):
    stride = 1 if LONG else {"EINTR": 7}.get(errno, 211)
    for i in range(LANES):
        place = programs.parent / f"traced-proof-{i}"
        place.mkdir(exist_ok=True)
        place.chmod(0o777)
        service = TracedService(programs.parent / f"traced-{i}", f"isolate-torture-{os.getpid()}-traced-{i}",
                                programs / "fault", place)
        service.ok("template", "create", "t", "--from", f"dir:{root}")
        yield Lane(service, errno, 1 + i * stride, LANES * stride)


@pytest.mark.parametrize("errno", ERRNOS)
def test_claim_park_destroy(programs, root, errno, capsys):
    lanes = list(lanes_of(programs, root, errno))
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    count = max(lane.count for lane in lanes)
    seen = sum((lane.seen for lane in lanes), collections.Counter())
    with capsys.disabled():
        print(f"\nfaults, claim, park and destroy behind a daemon, {errno}: {count} calls, {dict(seen)}")
    problems = [problem for lane in lanes for problem in lane.problems]
    assert not problems, "\n".join([f"{len(problems)} of {count} calls:", *problems])
    for lane in lanes:
        if lane.failure:
            raise lane.failure
