# SPDX-License-Identifier: Apache-2.0
"""Signals reach the command; whoever is killed whenever, nothing is left and nothing invented."""

import os
import signal
import subprocess
import time

import pytest

from sandboxes import TRAP, children, comm, process_state, receipt, wait_until


def start_trap(instance, name, ends=1, **kw):
    """A command that says when it is ready for the signal: from then on it must arrive."""
    run = instance.popen([], ["perl", "-e", TRAP.format(name=name, ends=ends)], **kw)
    assert run.stdout.readline() == "ready\n"
    return run


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT"])
def test_signal_reaches_the_command(instance, name):
    run = start_trap(instance, name)
    run.send_signal(getattr(signal, f"SIG{name}"))
    out, err = run.communicate(timeout=20)
    assert (out, err, run.returncode) == (f"got-{name}\n", "", 7)


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_signal_right_after_the_command_is_there(instance, name):
    """Between the command's first words and the client's knowledge that it runs is a moment."""
    for _ in range(30):
        run = start_trap(instance, name)
        run.send_signal(getattr(signal, f"SIG{name}"))
        try:
            out, err = run.communicate(timeout=5)
        finally:
            if run.poll() is None:
                run.kill()
                run.communicate()
        assert (out, err, run.returncode) == (f"got-{name}\n", "", 7)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1"])
def test_signal_without_a_handler_ends_it(instance, name):
    run = instance.popen([], ["sh", "-c", "echo ready; exec sleep 600"])
    assert run.stdout.readline() == "ready\n"
    wait_until(lambda: instance.member_named("sleep"), what="sleep")
    run.send_signal(getattr(signal, f"SIG{name}"))
    run.communicate(timeout=20)
    assert run.returncode == 128 + getattr(signal, f"SIG{name}")


def test_signal_can_be_ignored_by_the_command(instance):
    run = instance.popen([], ["sh", "-c", "trap '' TERM; echo ready; read x; exit 8"],
                         stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    run.terminate()
    time.sleep(0.2)
    assert run.poll() is None
    run.communicate("x\n", timeout=20)
    assert run.returncode == 8


def test_signal_reaches_the_whole_group(instance):
    script = "trap 'wait; exit 6' USR1; " \
             "sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 0.02; done' & wait"
    run = instance.popen([], ["sh", "-c", script])
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGUSR1)
    out, _ = run.communicate(timeout=20)
    assert out == "child\n"
    assert run.returncode == 6


def test_stop_and_continue(instance):
    run = instance.popen([], ["sh", "-c", "echo ready; exec sleep 600"])
    assert run.stdout.readline() == "ready\n"
    pid = wait_until(lambda: instance.member_named("sleep"), what="sleep")
    for _ in range(3):
        run.send_signal(signal.SIGTSTP)
        wait_until(lambda: process_state(pid) == "T", what="the command to stop")
        wait_until(lambda: process_state(run.pid) == "T", what="the client to stop")
        run.send_signal(signal.SIGCONT)
        wait_until(lambda: process_state(pid) == "S", what="the command to go on")
        wait_until(lambda: process_state(run.pid) == "S", what="the client to go on")
    run.terminate()
    run.communicate(timeout=20)
    assert run.returncode == 143


def test_continue_reaches_a_handler_after_a_stop(instance):
    run = start_trap(instance, "CONT")
    run.send_signal(signal.SIGTSTP)
    wait_until(lambda: process_state(run.pid) == "T", what="the client to stop")
    run.send_signal(signal.SIGCONT)
    out, _ = run.communicate(timeout=20)
    assert (out, run.returncode) == ("got-CONT\n", 7)


def test_many_signals_none_lost_that_is_not_merged(instance):
    run = start_trap(instance, "USR1", ends=0)
    for _ in range(20):
        run.send_signal(signal.SIGUSR1)
        assert run.stdout.readline() == "got-USR1\n"
    run.kill()
    run.communicate()
    wait_until(lambda: not instance.leaves(), 20, "the end of the sandbox")


def is_clean(instance):
    return not instance.leaves() and not instance.records_of_sandboxes() and not instance.daemons()


@pytest.mark.parametrize("tty", [False, True])
def test_client_killed_while_the_command_runs(instance, tty):
    run = instance.popen(["-t"] if tty else [], ["sleep", "600"])
    wait_until(lambda: instance.member_named("sleep"), what="sleep")
    run.kill()
    run.communicate()
    wait_until(lambda: is_clean(instance), 20, "the end of everything")


def test_client_killed_with_a_command_that_ignores_all(instance):
    script = "trap '' INT TERM HUP QUIT USR1 USR2; setsid sleep 601 & sleep 600"
    run = instance.popen([], ["bash", "-c", script])
    wait_until(lambda: instance.member_named("sleep"), what="sleep")
    run.kill()
    run.communicate()
    wait_until(lambda: is_clean(instance), 20, "the end of everything")


def test_client_killed_at_any_moment(instance):
    """Most of a run's life is its first 20 ms."""
    for step in range(60):
        run = instance.popen([], ["sh", "-c", "echo started; exec sleep 600"])
        time.sleep(step * 0.0005)
        run.kill()
        run.communicate()
        wait_until(lambda: is_clean(instance), 20, f"the end of everything after {step / 2} ms")


def oneshot_of(client):
    """Its isolated, or itself where it has ended before anybody looked."""
    def look():
        ended = process_state(client) in ("Z", "")
        return next((pid for pid in children(client) if comm(pid) == "isolated"), client if ended else 0)
    return wait_until(look, what="isolated")


def check_after_a_death(instance, run, out, err, moment):
    """What the client says after isolated or init was killed is true, and the next command
    cleans up."""
    status = run.returncode
    if status == 42:
        assert out == "ran\n", (moment, out, err)
    elif status == 125:
        assert out == "", (moment, "125 promises that nothing ran", out, err)
        assert err, moment
    else:
        assert status == 123, (moment, status, out, err)
        assert err, moment
    assert instance.run([], ["true"]).returncode == 0
    wait_for_the_end(instance, moment)


def wait_for_the_end(instance, moment):
    """A range that was taken and has no record yet waits for `prune`, or for a daemon."""
    wait_until(lambda: is_clean(instance) or has_only_ranges(instance), 20, f"the end of everything ({moment})")
    if not is_clean(instance):
        instance.ok("prune")
        assert is_clean(instance), moment


def has_only_ranges(instance):
    return not instance.leaves() and not instance.daemons() and \
        all(name.startswith("ids/") for name in instance.records_of_sandboxes())


def test_isolated_killed_at_any_moment(instance):
    seen = set()
    for step in range(60):
        run = instance.popen([], ["sh", "-c", "echo ran; sleep 0.01; exit 42"])
        pid = oneshot_of(run.pid)
        time.sleep(step * 0.0005)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = run.communicate(timeout=20)
        seen.add(run.returncode)
        check_after_a_death(instance, run, out, err, f"{step / 2} ms")
    # how early the first moments are depends on the machine; the late ones must be real
    assert 42 in seen, "the moments did not cover a run's life"


def test_isolated_killed_while_the_command_runs(instance, tmp_path):
    """The command and its caller do not notice; the status is the real one."""
    path = tmp_path / "receipt"
    run = instance.popen(["--receipt", path], ["sh", "-c", "echo ran; read x; exit 42"],
                         stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ran\n"
    os.kill(oneshot_of(run.pid), signal.SIGKILL)
    time.sleep(0.2)
    assert run.poll() is None
    run.communicate("x\n", timeout=20)
    assert run.returncode == 42
    assert (receipt(path)["kind"], receipt(path)["code"]) == ("exited", 42)
    assert instance.run([], ["true"]).returncode == 0
    wait_until(lambda: is_clean(instance), 20, "the end of everything")


def test_signals_pass_after_isolated_was_killed(instance):
    run = start_trap(instance, "USR1")
    os.kill(oneshot_of(run.pid), signal.SIGKILL)
    run.send_signal(signal.SIGUSR1)
    out, _ = run.communicate(timeout=20)
    assert (out, run.returncode) == ("got-USR1\n", 7)
    assert instance.run([], ["true"]).returncode == 0


def test_client_and_isolated_killed(instance):
    """Init alone notices that nobody is left."""
    for step in range(20):
        run = instance.popen([], ["sleep", "600"])
        pid = oneshot_of(run.pid)
        time.sleep(step * 0.001)
        os.kill(pid, signal.SIGKILL)
        run.kill()
        run.communicate()
        wait_until(lambda: not instance.members(), 20, "the end of the sandbox's processes")
        assert instance.run([], ["true"]).returncode == 0
        wait_for_the_end(instance, step)


def test_recovery_leaves_the_living_alone(instance):
    run = instance.popen([], ["sh", "-c", "echo x >/marker; echo ready; read x; cat /marker"],
                         stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    killed = instance.popen([], ["sleep", "600"])
    wait_until(lambda: instance.member_named("sleep"), what="sleep")
    os.kill(oneshot_of(killed.pid), signal.SIGKILL)
    killed.kill()
    killed.communicate()
    assert instance.run([], ["true"]).returncode == 0
    wait_until(lambda: len(instance.leaves()) == 1, 20, "one sandbox to be left")
    out, _ = run.communicate("x\n", timeout=20)
    assert (out, run.returncode) == ("x\n", 0)


def test_init_killed_at_any_moment(instance):
    for step in range(30):
        run = instance.popen([], ["sh", "-c", "echo ran; sleep 0.01; exit 42"])

        def init():
            pids = instance.members()
            return (pids and pids[0]) or run.poll() is not None

        pid = wait_until(init, what="init")
        time.sleep(step * 0.0005)
        if pid is not True:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        out, err = run.communicate(timeout=20)
        check_after_a_death(instance, run, out, err, f"{step / 2} ms")


def test_init_killed_while_the_command_runs_is_123(instance, tmp_path):
    path = tmp_path / "receipt"
    run = instance.popen(["--receipt", path], ["sh", "-c", "echo ran; exec sleep 600"])
    assert run.stdout.readline() == "ran\n"
    os.kill(wait_until(lambda: instance.member_named("isolate-init")), signal.SIGKILL)
    out, err = run.communicate(timeout=20)
    assert run.returncode == 123, (out, err)
    assert "unknown" in err
    assert receipt(path)["kind"] == "lost"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_signal_at_any_moment(instance, name):
    number = getattr(signal, f"SIG{name}")
    for step in range(40):
        run = instance.popen([], ["sleep", "600"])
        time.sleep(step * 0.0005)
        run.send_signal(number)
        _, err = run.communicate(timeout=20)
        # by the signal itself, or with its status; 123 where it came just as the command started
        assert run.returncode in (-number, 128 + number, 123), (step, run.returncode, err)
        wait_until(lambda: is_clean(instance), 20, f"the end of everything after {step / 2} ms")


def test_ignored_signal_stays_ignored(instance):
    run = instance.popen([], ["sh", "-c", "echo ran; read x; exit 7"], stdin=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert run.stdout.readline() == "ran\n"
    run.send_signal(signal.SIGHUP)
    run.communicate("x\n", timeout=20)
    assert run.returncode == 7


def test_next_command_leaves_a_run_without_its_isolated_alone(instance):
    run = instance.popen([], ["sh", "-c", "echo ran; read x; exit 42"], stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ran\n"
    os.kill(oneshot_of(run.pid), signal.SIGKILL)
    assert instance.isolate("ps").returncode == 0
    run.communicate("x\n", timeout=20)
    assert run.returncode == 42
    assert instance.run([], ["true"]).returncode == 0
