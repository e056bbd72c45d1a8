# SPDX-License-Identifier: Apache-2.0
"""A member whose --device is asked for is looked at as that member: nothing of the daemon's that runs
meanwhile can be signalled by the member, who else could stop it, and with it everybody's daemon, which
waits for it. Control: a process of the member's own is stopped by the same signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from resident import MALLORY, MEMBERS, Control, Raw, Resident, run_parameters
from instance import RUN_SECONDS, wait_until

TRIES = 100  # a dozen was enough
ANSWER_SECONDS = 10

STOP_ALL = f"""
import os, signal
os.setgroups([{MEMBERS}]); os.setgid({MALLORY}); os.setuid({MALLORY})
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        pass
"""


@pytest.fixture
def service():
    """A daemon that gives members /dev/null."""
    made = Resident("[Devices]\nMembers=/dev/null\n")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stopper():
    """Stops everything that MALLORY may stop, again and again."""
    process = subprocess.Popen([sys.executable, "-c", STOP_ALL])
    yield process
    process.kill()
    process.wait(RUN_SECONDS)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def owned_by(pid, uid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return f"Uid:\t{uid}\t" in file.read()


def ask_for_device(service, path):
    """The answer to MALLORY's wish for that device; None where there is none in time."""
    control = Control()
    device = os.open(path, os.O_PATH)
    bind = {"fd": 1, "target": "/dev/x", "source": path, "device": True}
    try:
        with Raw(service) as raw:
            raw.socket.settimeout(ANSWER_SECONDS)
            return raw.call("Run", [control.theirs.fileno(), device], more=True,
                            **run_parameters(service, argv=["/nonexistent"], binds=[bind]))
    except TimeoutError:
        return None
    finally:
        os.close(device)
        control.close()


def test_daemon_cannot_be_stopped(service, stopper):
    victim = subprocess.Popen(["setpriv", "--reuid", str(MALLORY), "--regid", str(MALLORY), "--clear-groups",
                               "sleep", "60"])
    try:
        assert wait_until(lambda: owned_by(victim.pid, MALLORY) and state(victim.pid) == "T")
        for _ in range(TRIES):
            answer = ask_for_device(service, "/dev/null")
            stopped = [pid for pid in service.helpers() if state(pid) == "T"]
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)
            assert not stopped, "the member has stopped a process that the daemon waits for"
            assert answer and answer["error"] == "io.isolate.NoCommand", answer
        assert service.serves()
    finally:
        victim.kill()
        victim.wait(RUN_SECONDS)


def test_only_what_the_member_could_open(service):
    """The ids for files are the member's, and no capability is left."""
    node = f"/dev/isolate-attack-{os.getpid()}"
    os.mknod(node, 0o020600, os.makedev(1, 3))
    try:
        config = service.directory / "isolated.conf"
        config.write_text(config.read_text().replace("Members=/dev/null", f"Members={node}"))
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        answer = ask_for_device(service, "/dev/null")
        assert answer["error"] == "io.isolate.Denied" and "cannot open" in answer["parameters"]["message"], answer
        os.chown(node, -1, MEMBERS)
        os.chmod(node, 0o660)
        assert ask_for_device(service, "/dev/null")["error"] == "io.isolate.NoCommand"
    finally:
        os.unlink(node)
