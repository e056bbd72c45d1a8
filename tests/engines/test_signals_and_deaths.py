# SPDX-License-Identifier: Apache-2.0
"""Cells 11 to 18: signals are delivered; who is killed takes along what is theirs, and nothing else."""

import signal
import subprocess

from sandboxes import PATIENCE, TRAP, process_state, wait_until


def check_delivery(box, name):
    with box.popen([], ["perl", "-e", TRAP.format(name=name, ends=1)]) as run:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        run.send_signal(getattr(signal, f"SIG{name}"))
        out, said = run.communicate(timeout=PATIENCE)
    assert (out, box.said(said), run.returncode) == (f"got-{name}\n", "", 7)


def test_11_INT_delivered(box):
    check_delivery(box, "INT")


def test_12_TERM_delivered(box):
    check_delivery(box, "TERM")


def test_13_HUP_delivered(box):
    check_delivery(box, "HUP")


def test_14_USR1_delivered(box):
    check_delivery(box, "USR1")


def test_15_WINCH_delivered(box):
    check_delivery(box, "WINCH")


def test_16_TSTP_and_CONT(box):
    with box.popen([], ["sh", "-c", "echo ready; exec sleep 600"]) as run:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        pid = wait_until(lambda: box.pid_of("sleep"), PATIENCE, "the command")
        for number, state in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "S")) * 2:
            run.send_signal(number)
            for one in (pid, run.pid):
                wait_until(lambda one=one, state=state: process_state(one) == state, PATIENCE, f"state {state}")
        run.terminate()
        assert run.wait(PATIENCE) == 143


def test_17_client_killed(box):
    with box.popen([], ["sh", "-c", "trap '' INT TERM HUP; echo ready; while :; do sleep 1; done"]) as run:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        run.kill()
        run.wait(PATIENCE)
    wait_until(lambda: not box.left(), PATIENCE, "the end of all")


def test_18_daemon_killed(served_box):
    """The command and its client do not notice, and the next daemon clears up."""
    service = served_box.installation
    with served_box.popen([], ["sh", "-c", "echo ready; read x; exit 42"], stdin=subprocess.PIPE) as run:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        pid = service.resident.pid
        service.kill_resident()
        assert process_state(pid) == "" and run.poll() is None
        service.start_again()
        out, said = run.communicate("x\n", timeout=PATIENCE)
    assert (out, served_box.said(said), run.returncode) == ("", "", 42)
    wait_until(lambda: not served_box.left(), PATIENCE, "the end of all")
