# SPDX-License-Identifier: Apache-2.0
"""What isolate's own processes have given up, as the table in doc/DESIGN.md says: their filters and
capabilities as the kernel shows them, and each taken over and made to ask for what its filter refuses.
Control: the same call with the filters suspended gets further."""

import errno
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from instance import ENGINE, RUN_SECONDS, cgroup2_mount, parse, wait_until
from resident import Raw
from takeover import TakenOver, needs_x86_64

# linux/capability.h
SYS_MODULE, SYS_RAWIO, SYS_PACCT, SYS_ADMIN, SYS_BOOT, SYS_TIME = 16, 17, 20, 21, 22, 25
WAKE_ALARM, BLOCK_SUSPEND, AUDIT_READ = 35, 36, 37
NEVER = sum(1 << bit for bit in (SYS_MODULE, SYS_RAWIO, SYS_PACCT, SYS_BOOT, SYS_TIME, WAKE_ALARM,
                                 BLOCK_SUSPEND, AUDIT_READ))

# (call, arguments, what it gets without a filter)
OF_THE_MACHINE = ("swapon", (b"/nonexistent\0", 0), -errno.ENOENT)
OF_WORK = ("perf_event_open", (0, 0, -1, -1, 0), -errno.EFAULT)
MANY_FILES = 6000  # a worker is at it for long enough to be found


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def comm(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def children_of(pid):
    try:
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid):
    for child in children_of(pid):
        yield child
        yield from descendants(child)


def named(pids, name):
    found = []
    for pid in pids:
        try:
            if comm(pid) == name:
                found.append(pid)
        except OSError:
            pass
    return found


def filters(pid):
    status = status_of(pid)
    return int(status["Seccomp"]), int(status["Seccomp_filters"])


def lasting(service):
    """{role: pid}: those that are there as long as the daemon is."""
    def found():
        return len(service.children(b"isolated\0--builder\0")) == 2 and service.children(b"isolate-nursery\0")
    assert wait_until(found, 10)
    builder, destroyer = service.children(b"isolated\0--builder\0")
    nursery, = service.children(b"isolate-nursery\0")
    assert wait_until(lambda: filters(builder) == filters(destroyer) == (2, 2), 10)
    return {"isolated": service.process.pid, "builder": builder, "destroyer": destroyer, "nursery": nursery}


def results(pid, attempt):
    """What it gets for that call, with its filters and without."""
    call, arguments, _ = attempt
    said = []
    for without_filter in (False, True):
        taken = TakenOver(pid, without_filter=without_filter)
        try:
            said.append(taken.call(call, *arguments))
        finally:
            taken.free()
    return said


@pytest.mark.parametrize("role", ["isolated", "builder", "destroyer", "nursery"])
def test_rights_of_those_that_last(service, role):
    pid = lasting(service)[role]
    status = status_of(pid)
    assert filters(pid) == (2, 2 if role in ("builder", "destroyer") else 1)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        held = int(status[name], 16)
        assert held & NEVER == 0 and held >> SYS_ADMIN & 1, (name, status[name])
    # set-id programs work in the sandboxes of engine chroot, which come of it
    assert status["NoNewPrivs"] == "0"
    # nobody but root looks into it, and it leaves no core behind
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def test_not_dumpable(service):
    """So that no core of theirs, with what callers sent, is written anywhere."""
    for role in ("isolated", "builder", "destroyer"):
        pid = lasting(service)[role]
        taken = TakenOver(pid, without_filter=False)
        try:
            assert taken.call("prctl", 3, 0, 0, 0, 0) == 0, role # PR_GET_DUMPABLE
        finally:
            taken.free()


@needs_x86_64
@pytest.mark.parametrize("role, attempt", [
    ("isolated", OF_THE_MACHINE), ("nursery", OF_THE_MACHINE), ("builder", OF_THE_MACHINE), ("destroyer", OF_THE_MACHINE),
    ("builder", OF_WORK), ("destroyer", OF_WORK)])
def test_refused(service, role, attempt):
    assert results(lasting(service)[role], attempt) == [-errno.EPERM, attempt[2]]
    assert service.serves()


@needs_x86_64
def test_refusal_is_in_the_kernels_log(service):
    pid = service.process.pid
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        pytest.skip(f"no kernel log: {error}")
    if "errno" not in pathlib.Path("/proc/sys/kernel/seccomp/actions_logged").read_text().split():
        pytest.skip("this machine does not log what filters refuse")
    os.lseek(log, 0, os.SEEK_END)
    results(pid, OF_THE_MACHINE)

    def logged():
        try:
            while True:
                line = os.read(log, 8192).decode(errors="replace")
                if "type=1326" in line and 'comm="isolated"' in line and "syscall=167" in line:
                    return True
        except BlockingIOError:
            return False
        except BrokenPipeError: # it was overwritten meanwhile
            return False
    try:
        assert wait_until(logged, 10)
    finally:
        os.close(log)


@pytest.fixture
def importing(service):
    """(the fork that does a call, its image worker), stopped at it."""
    many = service.path("many")
    for i in range(MANY_FILES):
        (many / str(i)).write_text("x")
    with Raw(service, 0) as raw:
        raw.ask("TemplateCreate", name="many", source=f"dir:{many}")
        found = []

        def find():
            found[:] = named(descendants(service.process.pid), "isolate-image")
            return found
        deadline = time.monotonic() + RUN_SECONDS
        while not find():
            assert time.monotonic() < deadline, "no worker"
        worker = found[0]
        os.kill(worker, signal.SIGSTOP)
        apart, = [pid for pid in service.helpers() if worker in children_of(pid)]
        try:
            yield apart, worker
        finally:
            os.kill(worker, signal.SIGCONT)
        assert "template" in raw.receive()["parameters"]
        assert raw.call("TemplateRemove", name="many")["parameters"] == {"name": "many"}
    subprocess.run(["rm", "-r", many], check=True)


@needs_x86_64
def test_those_that_work_on_files(importing):
    apart, worker = importing
    for pid in importing:
        assert filters(pid)[0] == 2 and filters(pid)[1] >= 2
        assert int(status_of(pid)["CapBnd"], 16) & NEVER == 0
    assert results(apart, OF_WORK) == [-errno.EPERM, -errno.EFAULT]
    assert results(apart, OF_THE_MACHINE) == [-errno.EPERM, -errno.ENOENT]
    assert os.readlink(f"/proc/{worker}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    assert os.readlink(f"/proc/{worker}/ns/pid") != os.readlink("/proc/self/ns/pid")


def test_an_init_has_it_too(service):
    """Whatever its command gets besides."""
    process = subprocess.Popen([service.build / "isolate", "run", "t", "--", "/attack/template_write", "--intact"],
                               env=service.environment | {"ISOLATE_SOCKET": str(service.socket)},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        found = []
        assert wait_until(lambda: found.extend(named(service.helpers(), "isolate-init")) or found, 10)
        assert filters(found[0]) == (2, 1)
    finally:
        process.kill()
        process.communicate()


# of what attack 17 tries
REFUSED_TO_ALL = """kexec_load kexec_file_load init_module finit_module delete_module iopl ioperm settimeofday reboot
swapon acct""".split()


@pytest.mark.skipif(ENGINE != "native", reason="about engine chroot")
def test_engine_chroot_lacks_no_more_than_that(instance):
    """Which has no filter of its own: a one-shot's is inherited. Control: root of the machine."""
    done = instance.run("kernel_api", options=("--engine", "chroot", "--storage", "dir"))
    said, control = parse(done.stdout), instance.control("kernel_api")
    assert set(said) == set(control) and set(REFUSED_TO_ALL) <= set(said), done
    assert {said[what] for what in REFUSED_TO_ALL} == {"denied EPERM"}
    # by a capability: a mode of the clock's that sets it
    by_capability = {"adjtimex"}
    others = set(said) - set(REFUSED_TO_ALL) - by_capability
    assert {what: said[what] for what in others} == {what: control[what] for what in others}


@pytest.fixture
def network(instance):
    """(isolate-network of a one-shot, the client)."""
    if not os.path.exists("/usr/bin/pasta"):
        pytest.skip("no pasta (package passt)")
    process = instance.start("template_write", "--intact", options=("--network", "nat"))
    found = []

    def find():
        pids = [int(pid) for file in instance.cgroup.glob("**/cgroup.procs") for pid in file.read_text().split()]
        found[:] = named(pids, "isolate-network")
        return found and named(pids, "template_write") # which starts when the network is there
    try:
        assert wait_until(find, RUN_SECONDS), process.poll()
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


@needs_x86_64
def test_network(network):
    """Once it has started pasta it can open nothing, and ends if it tries; the sandbox goes on."""
    pid, client = network
    everything = ("openat", -100, b"/\0", os.O_RDONLY | os.O_DIRECTORY)
    taken = TakenOver(pid, without_filter=True)
    try:
        opened = taken.call(*everything)
        assert opened > 2 and taken.call("dup", opened) > opened
    finally:
        taken.free()
    TakenOver(pid, without_filter=False).let_go_with(*everything)
    assert wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 10)
    assert client.poll() is None


@pytest.fixture
def keeper(service):
    """isolated --keeper in a control group of its own, as its unit starts it, and the socket of its service manager."""
    group = cgroup2_mount() / f"isolate-keeper-{os.getpid()}"
    group.mkdir()
    said = service.directory / "keeper.log"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(service.directory / "notify"))
    manager.settimeout(10)
    with open(said, "ab") as log:
        process = subprocess.Popen([service.build / "isolated", "--keeper"], stderr=log,
                                   env=service.environment | {"NOTIFY_SOCKET": manager.getsockname()},
                                   preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))
    try:
        assert manager.recv(1000).startswith(b"READY=1"), said.read_text()
        yield process, manager
    finally:
        manager.close()
        (service.directory / "notify").unlink()
        process.kill()
        process.wait()
        wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text())
        (group / "keeper").rmdir()
        group.rmdir()


@needs_x86_64
def test_keeper(keeper):
    """It is in its group, has no right, and can do nothing but wait."""
    keeper, _ = keeper
    status = status_of(keeper.pid)
    assert pathlib.Path(f"/proc/{keeper.pid}/cgroup").read_text().strip().endswith("/keeper")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status[name])
    assert status["NoNewPrivs"] == "1"
    everything = ("openat", (-100, b"/etc/shadow\0", os.O_RDONLY), None)
    refused, opened = results(keeper.pid, everything)
    assert refused == -errno.EPERM and opened > 2, "which root could"
    assert results(keeper.pid, ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0), None))[0] == -errno.EPERM
    assert keeper.poll() is None


def test_keeper_ends_when_told(keeper):
    """And tells the service manager."""
    keeper, manager = keeper
    assert filters(keeper.pid)[0] == 2
    keeper.terminate()
    assert manager.recv(1000) == b"STOPPING=1"
    assert keeper.wait(RUN_SECONDS) == 0
