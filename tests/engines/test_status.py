# SPDX-License-Identifier: Apache-2.0
"""Cells 1 to 10: how it ended is told exactly."""

import os
import signal

from sandboxes import PATIENCE, receipt, wait_until, wait_until_started


def check_exit(box, status):
    done = box.shell(f"exit {status}")
    assert (done.returncode, box.said(done.stderr)) == (status, ""), done


def test_01_exit_0(box):
    check_exit(box, 0)


def test_02_exit_1(box):
    check_exit(box, 1)


def test_03_exit_42(box):
    check_exit(box, 42)


def test_04_126_cannot_be_executed(box):
    done = box.run([], ["/etc/passwd"])
    assert done.returncode == 126 and "/etc/passwd" in done.stderr, done
    check_exit(box, 126)


def test_05_127_not_found(box):
    done = box.run([], ["no-such-command"])
    assert done.returncode == 127 and "no-such-command: no such command" in done.stderr, done
    check_exit(box, 127)


def check_signal(box, tmp_path, number):
    """Which the receipt tells from an exit with that status."""
    path = tmp_path / "receipt"
    assert box.shell(f"kill -{number} $$; exit 1", ["--receipt", path]).returncode == 128 + number
    assert (receipt(path)["kind"], receipt(path)["signal"]) == ("signaled", number)
    assert box.shell(f"exit {128 + number}", ["--receipt", path]).returncode == 128 + number
    assert (receipt(path)["kind"], receipt(path)["code"]) == ("exited", 128 + number)


def test_06_ended_by_TERM(box, tmp_path):
    check_signal(box, tmp_path, signal.SIGTERM)


def test_07_ended_by_KILL(box, tmp_path):
    check_signal(box, tmp_path, signal.SIGKILL)


def test_08_timeout_124(box):
    """TERM comes first, to whoever the command is and whatever root may do there."""
    script = "trap 'echo term; exit 3' TERM; while :; do sleep 0.01; done"
    weak = ["-u", "1234:1234", *(["--cap-drop", "ALL"] if box.can("capabilities") else [])]
    for options in ([], weak):
        done = box.shell(script, ["--timeout", "200ms", *options])
        assert (done.returncode, done.stdout) == (124, "term\n") and "time" in done.stderr, done


def status_after_kill(box, find):
    with box.popen([], ["sleep", "600"]) as run:
        wait_until_started(run, lambda: box.pid_of("sleep"))
        os.kill(find(), signal.SIGKILL)
        _, said = run.communicate(timeout=PATIENCE)
    wait_until(lambda: not box.left(), PATIENCE, "the end of all")
    return run.returncode, box.said(said)


def test_09_command_killed_from_outside(box):
    assert status_after_kill(box, lambda: box.pid_of("sleep")) == (137, "")


def test_10_engine_killed(box):
    """Where the engine is a process of its own, its end is the command's; behind init's nobody knows."""
    if box.program:
        assert status_after_kill(box, box.engine_process)[0] == 137
    status, said = status_after_kill(box, lambda: box.pid_of("isolate-init"))
    assert status == 123 and "unknown" in said, said
