# SPDX-License-Identifier: Apache-2.0
"""Attack 23, by an accomplice: a sandbox passes fds of its clone, or of its terminal, through a
socket in a shared bind to somebody who outlives it. What is kept, committed or removed must not
change any more; the caller's terminal is not the accomplice's."""
import os
import pty
import socket
import subprocess
import threading

import pytest

from instance import wait_until


@pytest.fixture
def accomplice(tmp_path):
    """A listener in a directory that is bound into the sandbox at /s."""
    os.chmod(tmp_path, 0o777)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        os.chmod(tmp_path / "sock", 0o666)
        listener.listen()
        yield tmp_path, listener


def receive(listener, count):
    connection, _ = listener.accept()
    with connection:
        return socket.recv_fds(connection, 1, count)[1]


def isolate(instance, *arguments):
    program = instance.command("look")[0]
    return subprocess.run([program, *arguments], env=instance.environment, capture_output=True,
                          text=True, check=False, timeout=60)


def keep(instance, accomplice, file):
    directory, listener = accomplice
    done = instance.run("pass_fd", "/s/sock", file, "/attack/data",
                        options=["--keep", "--name", "passer", "-v", f"{directory}:/s"])
    return done, receive(listener, 1 if file == "-" else 2)


def test_directory_of_a_kept_clone(instance, accomplice, judge):
    """Control: the same call in an ordinary directory makes the file."""
    done, fds = keep(instance, accomplice, "-")
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            os.open("planted", os.O_CREAT | os.O_WRONLY, dir_fd=fds[0])
        other = os.open(accomplice[0], os.O_RDONLY)
        os.close(os.open("planted", os.O_CREAT | os.O_WRONLY, dir_fd=other))
        os.close(other)
        judge(23, "kept_clone_by_a_passed_directory", "denied EROFS", "SUCCEEDED", {"EROFS"})
    finally:
        os.close(fds[0])
        isolate(instance, "rm", "passer")


def test_open_file_of_a_kept_clone(instance, accomplice, judge):
    """It can still be written, which nobody can prevent: so it never becomes a template's."""
    done, fds = keep(instance, accomplice, "/attack/data/passed")
    try:
        assert os.pwrite(fds[0], b"CHANGED", 0) == 7  # the control: the fd is good
        refused = isolate(instance, "commit", "passer", "poisoned")
        assert refused.returncode == 125 and "open for writing outside" in refused.stderr
        judge(23, "commit_beside_a_passed_file", "denied refused", "SUCCEEDED", {"refused"})
    finally:
        for fd in fds:
            os.close(fd)
        isolate(instance, "rm", "passer")


def test_clone_that_is_removed(instance, accomplice, judge):
    """A file that is open for writing keeps the clone writable, so that files can be made in it
    for as long as its removal takes: that ends, and the clone is gone."""
    directory, listener = accomplice
    argv = instance.command("pass_fd", "/s/sock", "/attack/data/passed", "/attack/data", "wait",
                            options=["-v", f"{directory}:/s"])
    client = subprocess.Popen(argv, env=instance.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    connection, _ = listener.accept()
    fds = socket.recv_fds(connection, 1, 2)[1]
    made = [0]
    stop = threading.Event()

    def make_files():
        while not stop.is_set():
            try:
                os.close(os.open(f"planted-{made[0]}", os.O_CREAT | os.O_WRONLY, dir_fd=fds[1]))
                made[0] += 1
            except OSError:  # the directory is gone
                pass

    writer = threading.Thread(target=make_files)
    writer.start()
    try:
        wait_until(lambda: made[0] > 0)  # the control
        connection.close()
        _, said = client.communicate(timeout=60)
        assert client.returncode == 0, said
        assert wait_until(lambda: not instance.clones()), "it is there as long as somebody makes files"
        judge(23, "removal_against_new_files", "denied gone", "SUCCEEDED" if made[0] > 0 else "denied", {"gone"})
    finally:
        connection.close()
        stop.set()
        writer.join()
        for fd in fds:
            os.close(fd)
        client.kill()
        isolate(instance, "prune")


def test_terminal(instance, accomplice):
    """The client ends, and what is typed then is the caller's own again."""
    directory, listener = accomplice
    master, slave = pty.openpty()
    argv = instance.command("pass_fd", "/s/sock", "tty", "/attack/data",
                            options=["-t", "-v", f"{directory}:/s"])
    client = subprocess.Popen(argv, env=instance.environment, stdin=slave, stdout=slave, stderr=slave)
    fds = receive(listener, 2)
    try:
        assert client.wait(timeout=20) == 0
    finally:
        client.kill()
        for fd in (*fds, master, slave):
            os.close(fd)
