# SPDX-License-Identifier: Apache-2.0
"""Cells 19 to 27: stdin, stdout and stderr are the caller's own, or a terminal's."""

import fcntl
import hashlib
import pathlib
import re
import struct
import subprocess
import termios
import threading

import pytest

from sandboxes import PATIENCE, process_state, wait_until

BYTES = 100 << 20
LINE = b"0123456789abcdef"  # the newline is yes's own


@pytest.fixture(scope="module")
def block():
    """1 MiB of lines, so that 100 of them are what `yes` makes of the first 100 MiB."""
    return ((LINE + b"\n") * (17 << 20))[: 17 << 20]


def digest_of(pieces):
    digest = hashlib.md5()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def pieces_of(block):
    left = BYTES
    while left > 0:
        yield block[: min(left, len(block))]
        left -= len(block)


@pytest.fixture(scope="module")
def expected(block):
    return digest_of(pieces_of(block))


def drain(pipe):
    """[md5, bytes] of all that comes, once the thread has ended."""
    result = []

    def read():
        digest, count = hashlib.md5(), 0
        while data := pipe.read1(1 << 20):
            digest.update(data)
            count += len(data)
        result.extend([digest.hexdigest(), count])

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, result


def test_19_100_MB_through_stdin(box, block, expected):
    with box.popen([], ["md5sum"], stdin=subprocess.PIPE, text=False) as run:
        for piece in pieces_of(block):
            run.stdin.write(piece)
        out, said = run.communicate(timeout=PATIENCE)
    assert (out.split()[:1], box.said(said.decode()), run.returncode) == ([expected.encode()], "", 0)


def check_output(box, script, *expected):
    """stdout and stderr at once: neither waits for the other."""
    with box.popen([], ["sh", "-c", script], text=False) as run:
        if not box.can("isolates"):
            assert box.said(run.stderr.readline().decode()) == ""
        readers = [drain(pipe) for pipe in (run.stdout, run.stderr)]
        for thread, _ in readers:
            thread.join(PATIENCE)
        assert run.wait(PATIENCE) == 5
    assert tuple(result[0] for _, result in readers) == expected
    return readers[0][1][1], readers[1][1][1]


NOTHING = hashlib.md5().hexdigest()
MAKE = f"yes {LINE.decode()} | head -c {BYTES}"


def test_20_100_MB_through_stdout(box, expected):
    assert check_output(box, f"{MAKE}; exit 5", expected, NOTHING) == (BYTES, 0)


def test_21_100_MB_through_stderr_apart(box, expected):
    short = hashlib.md5(b"out\n").hexdigest()
    assert check_output(box, f"{MAKE} >&2; echo out; exit 5", short, expected) == (4, BYTES)


def run_with(box, redirection, script):
    return box.call(["sh", "-c", f'"$@" {redirection}', "sh", *box.argv([], ["sh", "-c", script])])


def test_22_stdin_closed(box):
    done = run_with(box, "<&-", "stat -L -c %t:%T /proc/self/fd/0; cat; exit 5")
    assert (done.stdout, done.returncode) == ("1:3\n", 5), done  # /dev/null


def test_23_stdout_closed(box):
    done = run_with(box, ">&-", "it=$(stat -L -c %t:%T /proc/$$/fd/1); echo lost; echo $it >&2; exit 5")
    assert (done.stdout, box.said(done.stderr), done.returncode) == ("", "1:3\n", 5), done


def waiting(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def test_24_full_pipe(box):
    """The command waits for its reader, and loses nothing; who reads no more ends it."""
    with box.popen([], ["sh", "-c", "head -c 300000 /dev/zero; exit 5"], text=False) as run:
        wait_until(lambda: waiting(run.stdout) == 1 << 16, PATIENCE, "a full pipe")
        pid = wait_until(lambda: box.pid_of("head"), PATIENCE, "the command")
        wait_until(lambda: process_state(pid) == "S", PATIENCE, "that it waits")
        assert run.poll() is None
        out, _ = run.communicate(timeout=PATIENCE)
        assert (len(out), run.returncode) == (300000, 5)
    with box.popen([], ["sh", "-c", "exec yes"]) as run:
        assert run.stdout.readline() == "y\n"
        run.stdout.close()
        assert run.wait(PATIENCE) == 141


def test_25_pty_size(box):
    script = """
        while :; do
            now=$(stty size); [ "$now" = "$old" ] || echo "size $now"
            old=$now; sleep 0.05; read -t 0.01 x && exit 6
        done"""
    with box.terminal(["bash", "-c", script], rows=31, columns=101) as terminal:
        terminal.expect(rb"size 31 101\r\n")
        terminal.resize(40, 120)
        terminal.expect(rb"size 40 120\r\n")
        terminal.write("\r")
        assert terminal.wait() == 6


def running(box):
    return process_state(wait_until(lambda: box.pid_of("sleep"), PATIENCE, "the job"))


def has_terminal(box):
    """Bash gives it the terminal a moment after it has begun."""
    state = pathlib.Path(f"/proc/{box.pid_of('sleep')}/stat")
    words = state.read_text().rpartition(")")[2].split() if state.exists() else []
    return words[:1] == ["S"] and words[2] == words[5]  # its process group is the terminal's


def test_26_job_control(box):
    """ctrl-Z, jobs, bg, fg and ctrl-C in an interactive bash, which is led by nobody but itself."""
    with box.terminal(["bash", "--norc", "--noprofile", "-i"], ["-t", "-e", "PS1=% "]) as terminal:
        terminal.expect(rb"% $")
        assert b"job control" not in terminal.seen

        def type_line(text, answer=rb"% $"):
            terminal.write(f"{text}\r")
            terminal.expect(re.escape(text.encode()) + rb"\r\n")
            terminal.expect(answer)

        type_line("sleep 600", rb"")
        wait_until(lambda: has_terminal(box), PATIENCE, "the job with the terminal")
        terminal.write("\x1a")
        terminal.expect(rb"Stopped")
        terminal.expect(rb"% $")
        assert running(box) == "T"
        type_line("bg", rb"% $")
        wait_until(lambda: running(box) == "S", PATIENCE, "that the job goes on")
        type_line("jobs", rb"Running +sleep 600")
        terminal.expect(rb"% $")
        type_line("fg", rb"sleep 600\r\n")
        wait_until(lambda: has_terminal(box), PATIENCE, "the job with the terminal")
        terminal.write("\x03")
        terminal.expect(rb"% $")
        type_line("echo status $?", rb"status 130\r\n")
        terminal.expect(rb"% $")
        terminal.write("exit 5\r")
        assert terminal.wait() == 5


def test_27_terminal_restored(box):
    """By an end of its own, by a signal to the client."""
    for end, status in ((lambda terminal: terminal.write("x\r"), 3),
                        (lambda terminal: terminal.process.terminate(), 143)):
        with box.terminal(["sh", "-c", "echo ready; read x; exit 3"]) as terminal:
            terminal.expect(rb"ready")
            wait_until(terminal.is_raw, PATIENCE, "raw mode")
            end(terminal)
            assert terminal.wait() == status
            assert terminal.is_restored()
