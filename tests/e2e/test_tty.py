# SPDX-License-Identifier: Apache-2.0
"""-t: a terminal of the sandbox's own, and the caller's is restored however it ends."""

import os
import re
import signal
import termios
import time

import pytest

from sandboxes import children, comm, process_state, wait_until
from terminal import Terminal


@pytest.fixture
def sit(instance):
    """Opens terminals at which `isolate run -t …` runs; closes them."""
    terminals = []

    def open_one(command, options=("-t",), **kw):
        env = {**instance.env, "TERM": "vt100"}
        one = Terminal(instance.run_argv(options, command), env, **kw)
        terminals.append(one)
        return one

    yield open_one
    for one in terminals:
        one.close()


def test_tty_is_of_the_sandboxes_own_devpts(sit):
    terminal = sit(["sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && ls /dev/pts; id -u"])
    terminal.expect(rb"/dev/pts/0\r\n")
    terminal.expect(rb"0\s+ptmx\r\n")
    assert terminal.wait() == 0


def test_without_t_the_callers_terminal_is_not_the_controlling_one(instance, sit):
    terminal = sit(["sh", "-c", "tty; echo x >/dev/tty || echo none"], options=())
    terminal.expect(rb"none")
    assert terminal.wait() == 0
    assert terminal.is_restored()


def test_term_is_passed(sit):
    terminal = sit(["sh", "-c", "echo [$TERM]"])
    terminal.expect(rb"\[vt100\]")
    assert terminal.wait() == 0
    terminal = sit(["sh", "-c", "echo [$TERM]"], options=["-t", "-e", "TERM=other"])
    terminal.expect(rb"\[other\]")
    assert terminal.wait() == 0


def test_exit_status(sit):
    assert sit(["sh", "-c", "exit 7"]).wait() == 7
    assert sit(["sh", "-c", "kill -9 $$"]).wait() == 137
    assert sit(["no-such-command"]).wait() == 127


def test_last_output_is_not_lost(sit):
    for _ in range(10):
        terminal = sit(["sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done"])
        assert terminal.wait() == 0
        assert terminal.seen.endswith(b"line 499\r\n")
        assert terminal.seen.count(b"line ") == 500
        terminal.seen = b""


def test_window_size_and_its_change(sit):
    # an INT that comes just as a child ends by itself is none to bash, unless it is trapped; and a
    # WINCH that comes while another one's trap runs may be none: so the size itself is watched too
    script = """
        trap 'echo winch' WINCH; trap 'exit 130' INT
        while :; do
            now=$(stty size); [ "$now" = "$old" ] || echo "size $now"
            old=$now; sleep 0.05
        done"""
    terminal = sit(["bash", "-c", script], rows=31, columns=101)
    terminal.expect(rb"size 31 101\r\n")
    terminal.resize(40, 120)
    terminal.expect(rb"winch\r\n")
    terminal.resize(5, 10)
    terminal.expect(rb"size 5 10\r\n")
    terminal.write("\x03")
    assert terminal.wait() == 130


def test_terminal_is_raw_while_it_runs_and_restored_after(sit):
    terminal = sit(["sh", "-c", "echo ready; read x; exit 3"])
    terminal.expect(rb"ready")
    wait_until(terminal.is_raw, what="raw mode")
    assert not terminal.is_restored()
    terminal.write("line\r")
    assert terminal.wait() == 3
    assert terminal.is_restored()
    # the echo is the sandbox's terminal's, once
    assert terminal.seen.count(b"line") == 1


def test_input_is_not_lost_before_raw_mode(sit):
    terminal = sit(["sh", "-c", "read x; echo [$x]"])
    terminal.write("early\n")
    terminal.expect(rb"\[early\]")
    assert terminal.wait() == 0


def test_restored_when_the_command_is_killed(sit, instance):
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    os.kill(wait_until(lambda: instance.member_named("sleep")), signal.SIGKILL)
    assert terminal.wait() == 137
    assert terminal.is_restored()


def test_restored_when_init_is_killed(sit, instance):
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    os.kill(wait_until(lambda: instance.member_named("isolate-init")), signal.SIGKILL)
    assert terminal.wait() == 123
    assert terminal.is_restored()


def test_restored_when_isolated_is_killed(sit, instance):
    terminal = sit(["sh", "-c", "echo ready; read x; exit 4"])
    terminal.expect(rb"ready")
    pid = next(p for p in children(terminal.pid) if comm(p) == "isolated")
    os.kill(pid, signal.SIGKILL)
    terminal.write("x\r")
    assert terminal.wait() == 4
    assert terminal.is_restored()
    assert instance.run().returncode == 0


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_restored_when_the_client_gets_a_signal(sit, instance, name):
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    wait_until(lambda: instance.member_named("sleep"))
    terminal.process.send_signal(getattr(signal, f"SIG{name}"))
    assert terminal.wait() == 128 + getattr(signal, f"SIG{name}")
    assert terminal.is_restored()


@pytest.mark.parametrize("name", ["PIPE", "ALRM", "XCPU", "SEGV"])
def test_restored_when_the_client_is_ended_by_another_signal(sit, instance, name):
    """However the client ends, short of SIGKILL."""
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    wait_until(lambda: instance.member_named("sleep"))
    wait_until(terminal.is_raw, what="raw mode")
    terminal.process.send_signal(getattr(signal, f"SIG{name}"))
    if name == "PIPE":  # ignored, as writes tell
        terminal.write("\x03")
    terminal.wait()
    assert terminal.is_restored()


def test_restored_on_timeout(sit):
    terminal = sit(["sleep", "600"], options=["-t", "--timeout", "300ms"])
    assert terminal.wait() == 124
    assert terminal.is_restored()


def test_terminal_that_hangs_up_ends_the_command(sit, instance):
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    wait_until(lambda: instance.member_named("sleep"))
    master, terminal.master = terminal.master, os.open("/dev/null", os.O_RDWR)
    slave, terminal.slave = terminal.slave, os.open("/dev/null", os.O_RDWR)
    os.close(slave)
    os.close(master)
    assert terminal.process.wait(20) in (129, -signal.SIGHUP)


def test_interrupt_from_the_keyboard(sit):
    terminal = sit(["sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"])
    terminal.expect(rb"ready")
    terminal.write("\x03")
    terminal.expect(rb"caught")
    assert terminal.wait() == 9


def test_quit_from_the_keyboard(sit):
    terminal = sit(["sh", "-c", "echo ready; exec sleep 600"])
    terminal.expect(rb"ready")
    wait_until(terminal.is_raw)
    terminal.write("\x1c")
    assert terminal.wait() == 131


def test_end_of_file_from_the_keyboard(sit):
    terminal = sit(["sh", "-c", "cat; echo done"])
    terminal.write("x\r")
    terminal.expect(rb"x\r\nx\r\n")
    terminal.write("\x04")
    terminal.expect(rb"done")
    assert terminal.wait() == 0


@pytest.mark.parametrize("shell", [["bash", "--norc", "--noprofile", "-i"], ["sh", "-i"]])
def test_job_control(instance, sit, shell):
    def sleeps():
        """It has the terminal then, and can be stopped by it."""
        wait_until(lambda: process_state(instance.member_named("sleep") or 0) == "S", what="sleep")
        time.sleep(0.3)

    terminal = sit(shell, options=["-t", "-e", "PS1=% "])
    terminal.expect(rb"% $")
    assert b"job control" not in terminal.seen
    terminal.write("sleep 600\r")
    terminal.expect(rb"sleep 600\r\n")
    sleeps()
    terminal.write("\x1a")
    terminal.expect(rb"Stopped")
    terminal.expect(rb"% $")
    terminal.write("jobs\r")
    terminal.expect(rb"sleep 600")
    terminal.expect(rb"% $")
    terminal.write("fg\r")
    terminal.expect(rb"sleep 600\r\n")
    sleeps()
    terminal.write("\x03")
    terminal.expect(rb"% $")
    terminal.write("echo status $?\r")
    terminal.expect(rb"status 130\r\n")
    terminal.expect(rb"% $")
    terminal.write("exit 5\r")
    assert terminal.wait() == 5
    assert terminal.is_restored()


def test_default_command_is_the_users_shell(instance, sit, rootfs):
    env = {**instance.env, "TERM": "vt100"}
    with Terminal([*instance.run_argv(["-t"])[:-2]], env) as terminal:
        terminal.expect(rb"# $")
        terminal.write("echo $0 $PWD\r")
        terminal.expect(rb"-bash /root\r\n")
        terminal.write("exit 6\r")
        assert terminal.wait() == 6


def test_t_without_a_terminal_works(instance):
    done = instance.run(["-t"], ["sh", "-c", "tty; echo err >&2"], text=False)
    assert done.returncode == 0
    assert done.stdout == b"/dev/pts/0\r\nerr\r\n"


def test_it_with_piped_input(instance):
    done = instance.run(["-it"], ["sh", "-c", "while read x; do echo [$x]; done; exit 2"],
                        input=b"one\ntwo\n", timeout=20, text=False)
    assert done.returncode == 2
    assert b"[one]\r\n" in done.stdout and b"[two]\r\n" in done.stdout


def test_it_with_piped_input_without_a_last_newline(instance):
    done = instance.run(["-it"], ["sh", "-c", "cat >/x; wc -c </x; exit 2"], input="12345", timeout=10)
    assert done.returncode == 2
    assert re.search(r"(^|12345)5$", done.stdout, re.MULTILINE)


def test_it_with_more_input_than_a_terminal_holds(instance):
    lines = "".join(f"line {i}\n" for i in range(5000))
    done = instance.run(["-it"], ["sh", "-c", "stty -echo; wc -l"], input=lines, timeout=20)
    assert done.returncode == 0
    assert done.stdout.endswith("5000\n")


def test_t_without_i_does_not_send_a_pipe(instance):
    done = instance.run(["-t"], ["sh", "-c", "read -t 1 x || true; echo [$x]"], input="secret\n")
    assert "secret" not in done.stdout


def test_output_redirected_while_stdin_is_a_terminal(sit, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        terminal = sit(["sh", "-c", "echo hello; read x; echo [$x]"], stdout=out)
        terminal.write("word\r")
        assert terminal.wait() == 0
    assert b"hello\r\n" in (tmp_path / "out").read_bytes()
    assert b"[word]\r\n" in (tmp_path / "out").read_bytes()
    assert terminal.is_restored()


def test_background_process_does_not_hold_the_terminal(sit):
    terminal = sit(["sh", "-c", "setsid sleep 600 & sleep 600 & echo done"])
    assert terminal.wait() == 0
    assert terminal.is_restored()


def test_caller_stopped_and_continued_keeps_its_terminal(sit, instance):
    """^Z goes to the sandbox's terminal; TSTP to the client goes to the command."""
    terminal = sit(["bash", "--norc", "-i"], options=["-t", "-e", "PS1=% "])
    terminal.expect(rb"% $")
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.write("echo $((6*7))\r")
    terminal.expect(rb"42\r\n")
    terminal.write("exit\r")
    assert terminal.wait() == 0
    assert terminal.before[3] & termios.ICANON
    assert terminal.is_restored()
    assert not instance.members()


def test_without_a_pty_the_terminal_is_left_as_it_was(instance):
    """The command has the caller's own terminal then, and may leave it in any state."""
    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        assert instance.run([], ["stty", "raw", "-echo"], stdin=slave).returncode == 0
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)
