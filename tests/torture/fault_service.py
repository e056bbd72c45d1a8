# SPDX-License-Identifier: Apache-2.0
"""A resident daemon whose system calls, and those of all that it starts, can be made to fail one by one: they run
below the tracer."""

import os
import pathlib
import signal
import subprocess
import time

from fault_runs import HANGS_SECONDS, Fault
from sandboxes import BUILD, PATIENCE, children, comm, live, process_state, wait_until
from services import Member, Service, command_line, finish

STATUS = 7
STILL_SECONDS = 0.04
OTHER = 61499  # somebody who is not to notice


def ran(pid):
    """How often a process has waited."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary")), 0)


class TracedService(Service):
    """`tracer` is fault.c's program, `place` a directory in which everybody may write."""

    def __init__(self, base, name, tracer, place):
        super().__init__(base, name, {"Pool.Parked": 1})
        self.tracer, self.place = tracer, place
        self.report = self.base / "fault"
        self.other = None
        self.traced = None
        self.whole = None  # what a command sees of its sandbox
        self.usual = None  # and what there is of the daemon, between two runs

    # the daemon

    def start_traced(self, errno):
        """With somebody else's sandbox, which is to go on whatever comes, and one that is parked."""
        self.env["ISOLATE_SOCKET"] = str(self.runtime / "io.isolate")
        self.traced = self.resident = subprocess.Popen(
            [str(self.tracer), "-w", str(self.report), errno, str(BUILD / "isolated")],
            env={**self.env, "ISOLATE_SOCKET": ""}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.base / "isolated.log", "ab"), start_new_session=True)
        wait_until(self.serves, 20, "the resident daemon's socket")
        self.other = Member(self, OTHER).popen(command=["/end", str(STATUS), "-1"])
        assert self.other.stdout.readline() == "up\n", self.other.stderr.read()
        self.settle()
        (parked,) = self.parked()
        done = self.run_once(OTHER)
        assert done.returncode == STATUS and "Seccomp:\t2\n" in done.stdout, done
        assert self.whole in (None, done.stdout), done.stdout
        self.whole = done.stdout
        self.settle()
        assert parked not in self.states(), "it did not get the one that was parked"
        self.usual = self.present()

    def resident_pid(self):
        if self.resident is not self.traced:
            return self.resident.pid
        return next((pid for pid in children(self.traced.pid) if comm(pid) == "isolated"), 0)

    def is_alive(self):
        return live(self.resident_pid())

    def end(self):
        """In order, and nothing is left. One that has ended already is followed by another, which takes over."""
        pid = self.resident_pid()
        if not live(pid):
            self.resident = None
            self.start_resident()
            pid = 0
            self.run_whole("behind an isolated that ended")
        finish(self.other, STATUS)
        self.settle(running=0)
        os.kill(self.resident_pid(), signal.SIGTERM)
        assert self.resident.wait(PATIENCE) == 0, self.log()
        if pid == 0:
            self.traced.wait(PATIENCE)
        self.resident = self.traced = None
        self.env["ISOLATE_SOCKET"] = ""
        self.assert_clean()

    def stop_resident(self, number=signal.SIGTERM):
        if not self.resident or self.resident is not self.traced:
            return super().stop_resident(number)
        self.kill_traced()
        return None

    def kill_traced(self):
        for process in (self.other, self.traced, self.resident):
            if process and process.poll() is None:
                process.kill()
                process.wait(PATIENCE)
        self.resident = self.traced = self.other = None
        self.env["ISOLATE_SOCKET"] = ""

    def start_again(self):
        """After something that was not right: nothing of it is to be seen later."""
        self.kill_traced()
        self.start_resident()
        self.run_whole("behind a problem")
        self.settle(running=0)
        assert self.stop_resident() == 0
        self.assert_clean()

    # what there is

    def doings(self):
        """State and turns of all that lives. What has ended was the tracer's first, and its parent may not ask again."""
        pid = self.resident_pid()
        found = {one: (process_state(one), ran(one)) for one in {pid, *children(pid), *self.members()}}
        return {one: doing for one, doing in found.items() if doing[0] not in ("", "Z", "X")}

    def is_still(self):
        """Whatever is to be done has been done."""
        before = self.doings()
        time.sleep(STILL_SECONDS)
        return before == self.doings() and all(state == "S" for state, _ in before.values())

    def settle(self, running=1, what=""):
        """One is parked, and nothing else but what runs for long is there."""
        wanted = ["parked"] + ["running"] * running
        try:
            wait_until(lambda: not self.is_alive() or (sorted(self.states().values()) == wanted and self.is_still()),
                       PATIENCE, f"{wanted}")
        except AssertionError as error:
            there = self.states(), self.doings(), self.isolate("pool", "--json").stdout
            raise AssertionError(f"{what}: {error}: there is {there}") from None

    def present(self):
        """How much there is of all that could be left behind; a decoder has two fds of isolated's."""
        pid = self.resident_pid()
        helpers = {one: command_line(one)[:2] for one in children(pid)}
        decoders = [one for one, line in helpers.items() if line[:1] == [b"isolate-decoder"]]
        kept = sorted((line, n_fds(one)) for one, line in helpers.items()
                      if line and line[0] in (b"isolated", b"isolate-nursery"))
        return {"records": len(self.records()), "clones": len(self.clones()), "cgroups": len(self.leaves()),
                "processes": len(self.members()), "fds": n_fds(pid) - 2 * len(decoders), "helpers": kept}

    def assert_usual(self, what):
        try:
            wait_until(lambda: self.present() == self.usual, PATIENCE, "that nothing is left")
        except AssertionError:
            raise AssertionError(f"{what}: left: {self.present()} instead of {self.usual}") from None

    # one run

    def run_once(self, uid):
        proof = self.place / "proof"
        proof.unlink(missing_ok=True)
        os.chown(self.place, uid, uid)
        options = ["-v", f"{self.place}:/mnt", "-w", "/mnt", "-e", "ASKED=yes", "--ulimit", "nofile=77:88", "--timeout",
                   "50"]
        try:
            return Member(self, uid).run(options, ["/state", str(STATUS), "/mnt/proof"], timeout=HANGS_SECONDS)
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess([], "hangs", "", error.stderr)

    def run_whole(self, what):
        """Somebody else is served, and gets all that was asked."""
        after = self.run_once(OTHER)
        assert (after.returncode, after.stdout) == (STATUS, self.whole), f"{what}: and then {after}"

    def run_with_fault(self, uid, n, errno):
        """From the moment at which a caller comes until its sandbox is gone and another one is parked."""
        counts = self.base / "fault.n"
        counts.write_text(str(n))
        self.traced.send_signal(signal.SIGUSR1)
        wait_until(lambda: not counts.exists(), PATIENCE, "that calls are counted")
        done = self.run_once(uid)
        self.settle(what=f"{errno} at {n}: {done.returncode}, {done.stderr}")
        self.traced.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.report.exists() and self.report.read_text().endswith("\n"), PATIENCE, "its report")
        return done, Fault(done.returncode, done.stderr, n, errno, self.report)


def n_fds(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
