# SPDX-License-Identifier: Apache-2.0
"""stdin, stdout and stderr are the caller's own."""

import hashlib
import os
import pathlib
import random
import socket
import subprocess
import threading

import pytest


def test_stdout_and_stderr_stay_apart(instance):
    done = instance.run([], ["sh", "-c", "echo out; echo err >&2; echo out2"])
    assert (done.stdout, done.stderr) == ("out\nout2\n", "err\n")


def test_stdin_reaches_the_command_and_ends(instance):
    assert instance.output([], ["cat"], input="a\nb") == "a\nb"
    assert instance.output([], ["wc", "-c"], input="x" * 100000) == "100000\n"


def test_stdio_are_the_callers_own_files(instance, tmp_path):
    path = tmp_path / "out"
    with open(path, "w", encoding="utf-8") as file:
        file.write("before\n")
        file.flush()
        assert instance.run([], ["echo", "inside"], stdout=file).returncode == 0
    assert path.read_text() == "before\ninside\n"


def test_stdin_is_read_only_as_far_as_the_command_reads(instance, tmp_path):
    path = tmp_path / "in"
    path.write_text("0123456789")
    with open(path, "rb", buffering=0) as file:
        assert instance.output([], ["head", "-c", "4"], stdin=file) == "0123"
        assert file.read() in (b"456789", b"")
        file.seek(0)
        assert instance.output([], ["dd", "bs=3", "count=1", "status=none"], stdin=file) == "012"
        assert file.read() == b"3456789"


def test_one_gigabyte_through_a_pipe(instance):
    block = random.Random(1).randbytes(1 << 22)
    run = instance.popen([], ["cat"], stdin=subprocess.PIPE, text=False)
    sent = hashlib.sha256()

    def feed():
        for i in range(256):
            piece = i.to_bytes(4, "little") + block[4:]
            sent.update(piece)
            run.stdin.write(piece)
        run.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    got = hashlib.sha256()
    count = 0
    while data := run.stdout.read(1 << 20):
        got.update(data)
        count += len(data)
    feeder.join(60)
    assert run.wait(20) == 0
    assert run.stderr.read() == b""
    run.stdout.close()
    run.stderr.close()
    assert count == 1 << 30
    assert got.hexdigest() == sent.hexdigest()


def test_reader_that_goes_away_is_sigpipe(instance):
    run = instance.popen([], ["yes"])
    assert run.stdout.readline() == "y\n"
    run.stdout.close()
    assert run.wait(20) == 141
    run.stderr.close()


def test_writer_that_stays_does_not_hold_the_end(instance):
    # the command ends although its stdin is still open
    read, write = os.pipe()
    try:
        assert instance.run([], ["true"], stdin=read).returncode == 0
    finally:
        os.close(read)
        os.close(write)


def test_stdout_has_an_end_when_isolate_returns(instance):
    # nobody, not even isolated, holds the other end of the pipe
    for _ in range(20):
        run = instance.popen([], ["echo", "x"])
        out, _ = run.communicate(timeout=10)
        assert out == "x\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_descriptors_become_dev_null(instance, closed):
    numbers = [n for n, sign in ((0, "<&-"), (1, " >&-"), (2, "2>&-")) if sign in f" {closed}"]
    checks = "; ".join(
        f'[ "$(stat -L -c %t:%T /proc/self/fd/{n})" = 1:3 ] || exit {10 + n}' for n in numbers if n != 1
    )
    if 1 in numbers:  # $(…) would replace it
        checks += '; [ "$(stat -L -c %t:%T /proc/$$/fd/1)" = 1:3 ] || exit 11'
    script = f"{checks.lstrip('; ')}; cat; echo out; echo err >&2; exit 5"
    argv = ["sh", "-c", f'"$@" {closed}', "sh", *instance.run_argv([], ["sh", "-c", script])]
    done = instance.call(argv)
    assert done.returncode == 5, done
    assert done.stdout == ("" if 1 in numbers else "out\n")
    assert done.stderr == ("" if 2 in numbers else "err\n")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_directory_is_refused(instance, number, tmp_path):
    name = ("stdin", "stdout", "stderr")[number]
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = instance.run([], ["true"], **{name: fd})
    finally:
        os.close(fd)
    assert done.returncode == 125
    if number != 2:
        assert f"{name} is a directory" in done.stderr


def test_a_block_device_is_refused(instance):
    for path in sorted(pathlib.Path("/dev").iterdir()):
        if not path.is_block_device():
            continue
        try:
            fd = os.open(path, os.O_RDONLY)
            break
        except OSError:
            continue
    else:
        pytest.skip("no block device can be opened here")
    try:
        done = instance.run([], ["true"], stdin=fd)
    finally:
        os.close(fd)
    assert done.returncode == 125
    assert "block device" in done.stderr


def test_an_o_path_descriptor_is_refused(instance, tmp_path):
    path = tmp_path / "f"
    path.write_text("x")
    fd = os.open(path, os.O_PATH)
    try:
        done = instance.run([], ["true"], stdin=fd)
    finally:
        os.close(fd)
    assert done.returncode == 125
    assert "stdin" in done.stderr


def test_non_utf8_bytes_pass(instance):
    data = bytes(range(256)) * 100
    done = instance.run([], ["cat"], input=data, text=False)
    assert (done.returncode, done.stdout) == (0, data)


def test_a_socket_as_stdio(instance):
    ours, theirs = socket.socketpair()
    run = instance.popen([], ["cat"], stdin=theirs, stdout=theirs)
    theirs.close()
    ours.sendall(b"through a socket")
    ours.shutdown(socket.SHUT_WR)
    got = b""
    while data := ours.recv(4096):
        got += data
    assert got == b"through a socket"
    assert run.wait(20) == 0
    run.stderr.close()
    ours.close()
