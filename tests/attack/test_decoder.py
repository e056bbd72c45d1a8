# SPDX-License-Identifier: Apache-2.0
"""A decoder is taken over, the one process that reads what callers send: with it nothing is won. First
without its filter, so that what it lacks is seen, then with it: any call that is not the decoder's own
ends it, and the daemon starts another one. Others are served all the while."""

import contextlib
import errno
import fcntl
import itertools
import os
import pathlib
import re
import signal
import socket
import struct

import pytest

from instance import wait_until
from resident import MALLORY, Raw, forget_peak, memory_kb
from takeover import LIBC, TakenOver, needs_x86_64

pytestmark = needs_x86_64

LINK = 3
AT_FDCWD = -100


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


NEXT_UID = itertools.count(61500)


@contextlib.contextmanager
def decoder_of_one(service):
    """(pid, connection, uid) of somebody who has a decoder of their own, a new one."""
    uid = next(NEXT_UID)
    others = service.decoders()
    with Raw(service, uid) as raw:
        assert "shapes" in raw.call("PoolList")["parameters"]
        pid, = set(service.decoders()) - set(others)
        yield pid, raw, uid


@pytest.fixture
def decoder(service):
    with decoder_of_one(service) as made:
        yield made


def is_served(service, uid):
    """Not yet, where isolated has not heard that the decoder is gone."""
    with Raw(service, uid) as raw:
        return raw.call("List") == {"parameters": {"sandboxes": []}}


def files(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in sorted(os.listdir(f"/proc/{pid}/fd"), key=int)]


def test_what_it_holds(service, decoder):
    """Its link to isolated, and its callers' connections; no right, a uid of its own, an empty root."""
    pid, _, _ = decoder
    held = files(pid)
    assert held[:3] == ["/dev/null"] * 3 and len(held) == 5, held
    assert all(name.startswith("socket:") for name in held[3:]), held
    status = status_of(pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status[name])
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    uids = set(status["Uid"].split() + status["Gid"].split())
    assert len(uids) == 1 and int(uids.pop()) > 65536 and status["Groups"].strip() == ""
    assert os.listdir(f"/proc/{pid}/root") == []
    assert pathlib.Path(f"/proc/{pid}/environ").read_bytes() == b""
    for space in ("net", "ipc", "uts"):
        assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size +0 ", limits) and re.search(r"Max open files +4096 ", limits)
    # no other may look into it
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def unix_address(path):
    return struct.pack("H", socket.AF_UNIX) + path.encode() + b"\0"


def attempts(service, target):
    """{what: (call, arguments)}: none of it may succeed, filter or not."""
    daemon = service.process.pid
    inet = struct.pack("!2sH4s8s", struct.pack("H", socket.AF_INET), 53, socket.inet_aton("127.0.0.1"), b"")
    local = struct.pack("QQ", 0x10000, 8)
    return {
        "open_a_file": ("openat", (AT_FDCWD, b"/etc/passwd\0", os.O_RDONLY)),
        "leave_its_root": ("openat", (AT_FDCWD, b"../../../../etc/passwd\0", os.O_RDONLY)),
        "open_proc": ("openat", (AT_FDCWD, b"/proc/1/environ\0", os.O_RDONLY)),
        "make_a_file": ("openat", (AT_FDCWD, b"/x\0", os.O_RDWR | os.O_CREAT, 0o600)),
        "make_a_directory": ("mkdir", (b"/x\0", 0o700)),
        "make_a_device": ("mknod", (b"/x\0", 0o20600, 0x101)),
        "signal_the_daemon": ("kill", (daemon, 9)),
        "signal_a_decoder": ("kill", (target, 9)),
        "signal_everybody": ("kill", (-1, 15)),
        "trace_a_decoder": ("ptrace", (16, target, 0, 0)),
        "trace_the_daemon": ("ptrace", (16, daemon, 0, 0)),
        "read_a_decoder": ("process_vm_readv", (target, local, 1, local, 1, 0)),
        "become_root": ("setuid", (0,)),
        "become_the_caller": ("setresuid", (MALLORY, MALLORY, MALLORY)),
        "take_a_group": ("setgroups", (1, struct.pack("I", 0))),
        "take_capabilities": ("capset", (struct.pack("Ii", 0x20080522, 0), b"\xff" * 24)),
        "enter_the_daemon": ("setns", (LINK, 0)),
        "mount": ("mount", (b"x\0", b"/\0", b"tmpfs\0", 0, 0)),
        "chroot": ("chroot", (b"/\0",)),
        "connect_to_a_service": ("connect", (None, inet, 16)),
        "connect_to_the_daemon": ("connect", (None, unix_address(str(service.socket)), 110)),
        "more_files": ("prlimit64", (0, 7, struct.pack("QQ", 1 << 20, 1 << 20), 0)),
        "execute": ("execve", (b"/bin/sh\0", 0, 0)),
        "load_a_module": ("init_module", (b"x", 1, b"\0")),
        "reboot": ("reboot", (0xfee1dead, 672274793, 0x01234567, 0)),
    }


ATTEMPTS = tuple("""open_a_file leave_its_root open_proc make_a_file
make_a_directory make_a_device signal_the_daemon signal_a_decoder signal_everybody trace_a_decoder
trace_the_daemon read_a_decoder become_root become_the_caller take_a_group take_capabilities
enter_the_daemon mount chroot connect_to_a_service connect_to_the_daemon more_files execute load_a_module
reboot""".split())


def attempt(taken, call, arguments):
    """The result as the judge reads it."""
    if call == "connect":
        family = struct.unpack("H", arguments[1][:2])[0]
        made = taken.call("socket", family, socket.SOCK_STREAM, 0)
        if made < 0:
            return f"denied {errno.errorcode[-made]}"
        arguments = (made, *arguments[1:])
    result = taken.call(call, *arguments)
    return "SUCCEEDED" if result >= 0 else f"denied {errno.errorcode[-result]}"


def test_without_its_filter(service, decoder):
    """What it could do if the filter had a hole, too."""
    pid, raw, _ = decoder
    with decoder_of_one(service) as (target, other, _):
        wanted = attempts(service, target)
        assert set(wanted) == set(ATTEMPTS)
        taken = TakenOver(pid, without_filter=True)
        try:
            # that the calls are made at all: its own pid, and its own link is a socket that it may have twice
            assert taken.call("getpid") == pid
            assert taken.call("dup", LINK) > LINK
            said = {what: attempt(taken, *how) for what, how in wanted.items()}
        finally:
            taken.free()
        # which says 0 where it was allowed to signal nobody
        assert said.pop("signal_everybody") == "SUCCEEDED"
        assert service.process.poll() is None
        assert not [what for what, result in said.items() if result == "SUCCEEDED"]
        assert {result.split()[1] for result in said.values()} <= {
            "ENOENT", "EACCES", "EPERM", "ESRCH", "EINVAL", "ENETUNREACH", "ECONNREFUSED", "EFAULT", "ENOSYS"}, said
        assert said["signal_the_daemon"] == said["signal_a_decoder"] == "denied EPERM"
        assert other.call("List")["parameters"] == {"sandboxes": []}
    assert raw.call("List")["parameters"] == {"sandboxes": []}, "and it went on"


def test_what_its_filter_lets_through(decoder):
    pid, raw, _ = decoder
    taken = TakenOver(pid, without_filter=False)
    try:
        assert taken.call("read", 1 << 20, 0, 0) == -errno.EBADF
    finally:
        taken.free()
    assert raw.call("List")["parameters"] == {"sandboxes": []}, "it goes on"


@pytest.mark.parametrize("what", ATTEMPTS)
def test_with_its_filter(service, decoder, what):
    pid, raw, uid = decoder
    call, arguments = attempts(service, pid)[what]
    if call == "connect": # it would need one
        call, arguments = "socket", (struct.unpack("H", arguments[1][:2])[0], socket.SOCK_STREAM, 0)
    TakenOver(pid, without_filter=False).let_go_with(call, *arguments)
    assert raw.receive() is None
    assert wait_until(lambda: is_served(service, uid), 10)
    log = pathlib.Path(service.log.name)
    assert wait_until(lambda: f"decoder of uid {uid}: its filter ended it" in log.read_text(), 10)
    assert not os.path.exists(f"/proc/{pid}")


PIDFD_GETFD = 438
CALL = 16  # DECODER_CALL


@contextlib.contextmanager
def link_of(service, pid, uid):
    """(its link to isolated, a new connection of it, whose number is the third)."""
    pidfd = os.pidfd_open(pid)
    fd = LIBC.syscall(PIDFD_GETFD, pidfd, LINK, 0)
    os.close(pidfd)
    assert fd >= 0
    os.kill(pid, signal.SIGSTOP)
    with socket.socket(fileno=fd) as link, Raw(service, uid) as raw:
        link.settimeout(10)
        _, number, _, _ = struct.unpack("=IIiI", link.recv(16, socket.MSG_PEEK))
        os.kill(pid, signal.SIGCONT)
        assert raw.call("List") == {"parameters": {"sandboxes": []}}
        yield link, raw, number


def send_packet(link, kind, number, payload):
    memfd = os.memfd_create("payload", os.MFD_ALLOW_SEALING)
    os.write(memfd, payload)
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, 0xf)
    socket.send_fds(link, [struct.pack("=IIiI", kind, number, 0, 1)], [memfd])
    os.close(memfd)


@pytest.mark.parametrize("method", ["List", "Run"])
def test_one_that_does_not_count(service, decoder, method):
    """What it should not have let through is not parsed, either: beside the text nothing is made of it."""
    pid, _, uid = decoder
    daemon = service.process.pid
    many = b'{"method":"io.isolate.' + method.encode() + b'","parameters":{"a":[' + b"{}," * 1000000 + b"{}]}}"
    with link_of(service, pid, uid) as (link, raw, number):
        forget_peak(daemon)
        before = memory_kb(daemon, "VmRSS")
        send_packet(link, CALL, number, many)
        answer = raw.receive()
        assert memory_kb(daemon, "VmHWM") - before < 32 * 1024
        assert answer["error"] == "io.isolate.Protocol" and "more than 150000 values" in str(answer), answer
        assert raw.call("List") == {"parameters": {"sandboxes": []}}, "and it is served further"


def test_one_that_is_traced_is_reaped(service, decoder):
    """As by root with a debugger, whose it is first when it ends."""
    pid, raw, uid = decoder
    taken = TakenOver(pid, without_filter=False)
    os.kill(pid, signal.SIGKILL)
    assert raw.receive() is None
    assert wait_until(lambda: is_served(service, uid), 10), "by another one"
    assert status_of(pid)["State"].startswith("Z")
    taken.memory.close()
    assert os.waitpid(pid, 0x40000000)[0] == pid # __WALL: the tracer has seen its end
    assert wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5)
