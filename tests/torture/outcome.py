# SPDX-License-Identifier: Apache-2.0
"""One run under torture: what it was to say, what it said, and whether its command ran."""

import itertools
import os
import random
import signal

from sandboxes import PATIENCE
from services import Member

LOST, NOT_STARTED = 123, 125
UIDS = (61501, 61502, 61503, 61504)
NUMBERS = itertools.count()


class Run:
    """`isolate run` of a member's; `place` is a directory of that member's for the proof."""

    def __init__(self, service, place, dice=random, milliseconds=None, options=()):
        number = next(NUMBERS)
        self.status = number % 100 + 1
        self.proof = place / f"{number}"
        if milliseconds is None:
            milliseconds = dice.choice((0, 0, 5, 50, 200))
        member = Member(service, place.stat().st_uid)
        options = ["-v", f"{place}:/mnt", *(["--name", f"n{number}"] if number % 3 == 0 else []), *options]
        self.process = member.popen(options, ["/end", str(self.status), str(milliseconds),
                                              f"/mnt/{number}"])
        self.killed = False
        self.said = ""

    def kill(self):
        self.killed = True
        self.process.send_signal(signal.SIGKILL)

    def judge(self):
        """"right", "lost" or "not started"; anything else is a lie, and fails."""
        _, said = self.process.communicate(timeout=PATIENCE)
        self.said = said
        got = self.process.returncode
        ran = self.proof.exists()
        self.proof.unlink(missing_ok=True)
        if self.killed and got == -signal.SIGKILL:
            return "client killed"
        if got == self.status:
            assert ran, f"status {got}, but the command did not run"
            return "right"
        assert got in (LOST, NOT_STARTED), (self.status, got, said)
        assert said.startswith("isolate: "), said
        assert got == LOST or not ran, f"said not to have started, but ran: {said}"
        return "lost" if got == LOST else "not started"


def make_places(directory):
    """One directory for each user."""
    places = []
    for uid in UIDS:
        place = directory / str(uid)
        place.mkdir()
        os.chown(place, uid, uid)
        places.append(place)
    return places
