# SPDX-License-Identifier: Apache-2.0
"""Attack 27: a caller sends its own end of the connection along, so that somebody else holds it open
when the caller is gone: the decoder by half a message, the kernel by one that waits behind a call,
isolated by a control socket on which it is queued. Connections end with the process that made them.
Control: a process that is there keeps them."""

import os
import signal
import socket

import pytest

from instance import RUN_SECONDS, wait_until
from resident import MALLORY, Control, Raw, acting_as, count_fds, run_parameters

CONNECTIONS = 256 # DECODER_CONNECTIONS


def half_message(raw, service):
    raw.send(b"{", [raw.socket.fileno()])


def behind_a_call(raw, service):
    raw.ask("Wait", name="rests")
    raw.send(b"{}\0", [raw.socket.fileno()])


def on_a_control_socket(raw, service):
    control = Control()
    socket.send_fds(control.ours, [b"x"], [raw.socket.fileno()])
    raw.ask("Run", [control.theirs.fileno()], more=True, **run_parameters(service, pre_hook=True))
    answer = raw.receive()
    assert answer["parameters"]["state"] == "held", answer


def others_wait(raw, service):
    """Nothing of the kind: the connection is just there."""


@pytest.fixture
def mallory(service):
    """Runs a function in a process of Mallory's, which then waits for its end."""
    pids = []

    def run(function):
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                function()
                os.write(tell, b"x")
                signal.pause()
            finally:
                os._exit(1)
        pids.append(pid)
        os.close(tell)
        said = os.read(told, 1)
        os.close(told)
        assert said == b"x", "the attacker itself failed"
        return pid

    def end(pid):
        pids.remove(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    run.end = end
    yield run
    for pid in list(pids):
        end(pid)


@pytest.fixture
def rests(service):
    """A sandbox of Mallory's that somebody can wait for."""
    done = service.call("run", "-d", "--name", "rests", "t", "--", "/attack/ids", "1000", uid=MALLORY)
    assert done.returncode == 0, done
    yield
    assert service.call("kill", "-s", "KILL", "rests", uid=0).returncode == 0
    wait_until(lambda: "rests" not in service.call("ps", "-a", uid=0).stdout, RUN_SECONDS)


def turned_away(service):
    """Whether no connection is left for Mallory."""
    with acting_as(MALLORY), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(RUN_SECONDS)
        connection.connect(str(service.socket))
        try:
            connection.sendall(b'{"method":"io.isolate.List"}\0')
            return b"connections already" in connection.recv(65536)
        except ConnectionError:
            return True


@pytest.mark.parametrize("how", [half_message, behind_a_call])
def test_all_connections_of_a_uid(service, judge, mallory, rests, how):
    before = count_fds(service.process.pid)

    def freed():
        return count_fds(service.process.pid) < before + CONNECTIONS // 2 and not turned_away(service)

    def attack(what):
        def body():
            body.held = [Raw(service) for _ in range(CONNECTIONS)]
            for raw in body.held:
                what(raw, service)
        return mallory(body)

    pid = attack(how)
    assert turned_away(service)
    mallory.end(pid)
    free = wait_until(freed, 10)
    pid = attack(others_wait)
    stays = turned_away(service)
    mallory.end(pid)
    judge(27, f"own_end_in_a_{how.__name__}", "denied freed" if free else "SUCCEEDED",
          "SUCCEEDED" if stays else "denied", {"freed"})
    assert wait_until(freed, 10)


def test_held_clone(service, judge, mallory):
    """The clone that waits for the caller's hook waits no longer than there is a caller."""
    def held():
        return list((service.runtime / "sandboxes").glob("[!.]*"))

    def attack(what):
        def body():
            body.held = Raw(service)
            what(body.held, service)
        return mallory(body)

    pid = attack(on_a_control_socket)
    stays = bool(held())
    mallory.end(pid)
    gone = wait_until(lambda: not held(), 10)
    judge(27, "own_end_on_a_control_socket", "denied freed" if gone else "SUCCEEDED",
          "SUCCEEDED" if stays else "denied", {"freed"})
