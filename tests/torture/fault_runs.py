# SPDX-License-Identifier: Apache-2.0
"""An operation of isolate's, again and again, each time with another of its system calls failing."""

import collections
import subprocess

from host_state import host_state, settled_difference
from sandboxes import BUILD

NOT_STARTED = 125
HANGS_SECONDS = 20


class Fault:
    """What the n-th call's failing came to. `call` is "openat of isolated", or "" when there were fewer calls:
    `count` is then how many."""

    def __init__(self, status, said, n, errno, report):
        word, rest = report.read_text().split(maxsplit=1)
        report.unlink()
        self.call, self.count = ("", int(rest)) if word == "none" else (f"{word} of {rest.strip()}", n)
        self.status, self.said = status, said
        self.what = f"{errno} at {n}, {self.call}: status {self.status}, {self.said!r}"

    @classmethod
    def of(cls, instance, tracer, command, n, errno):
        """One run of a command."""
        report = instance.base / "fault"
        argv = [str(tracer), str(report), str(n), errno, str(BUILD / "isolate"), *map(str, command)]
        try:
            done = instance.call(argv, timeout=HANGS_SECONDS)
        except subprocess.TimeoutExpired as error:  # and the tracer's end was the end of all
            return cls("hangs", error.stderr, n, errno, report)
        return cls(done.returncode, done.stderr, n, errno, report)

    def assert_clear(self, statuses=(NOT_STARTED,)):
        """It says what could not be done: more than the error's name, and in a line of isolate's own."""
        assert self.status in statuses, self.what
        lines = [line for line in self.said.splitlines() if line.startswith(("isolate: ", "isolate-", "isolated: "))]
        assert lines and all(len(line.split()) > 3 for line in lines), self.what


def each_fault(instance, tracer, operation, errno, stride, paths):
    """Runs operation.command() with one fault after the other, until there are no more calls. What it says is
    judged by operation.judge(fault); then isolate is used once more, which finds and takes away what the fault left,
    and the host is as before. Returns how many calls there are, and how many faults were got over unseen."""
    seen = collections.Counter()
    problems = []
    n = 1
    while True:
        before = host_state(paths)
        operation.prepare()
        fault = Fault.of(instance, tracer, operation.command(), n, errno)
        try:
            try:
                word = operation.judge(fault)
            finally:
                operation.undo(fault)
            left = settled_difference(before, paths)
            assert not left, f"{fault.what}: {left}"
        except AssertionError as error:
            problems.append(str(error).splitlines()[0])
            word = "wrong"
            print(problems[-1], flush=True)
        seen[word] += 1
        if not fault.call:
            assert fault.count > 0 and word == "got over", fault.what
            assert not problems, "\n".join([f"{len(problems)} of {fault.count} calls:", *problems])
            return fault.count, seen
        n += stride
