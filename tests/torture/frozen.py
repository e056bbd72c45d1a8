# SPDX-License-Identifier: Apache-2.0
"""Processes that are held at an exact point (freeze.c)."""

import select
import subprocess


class Frozen:
    """A process that is held at its n-th step."""

    def __init__(self, programs, pid, n):
        self.process = subprocess.Popen([programs / "freeze", str(pid), str(n)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, bufsize=0)  # select sees all there is
        assert self.process.stdout.readline() == b"ready\n"

    def is_there(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return bool(ready) and self.process.stdout.readline() == b"frozen\n"

    def let_go(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
