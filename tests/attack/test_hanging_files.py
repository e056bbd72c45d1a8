# SPDX-License-Identifier: Apache-2.0
"""Files that hang whoever closes them: of a FUSE server that never answers, and a TCP socket with
SO_LINGER and unsent data. Sent to the daemon as stdio, as a control socket, as a bind, in a call and
before it, with the caller gone at once. The caller's own decoder and sandbox may hang, nobody else:
DESIGN.md, section 3. Control: a process that closes the same file does not come back."""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import time

import pytest

from instance import RUN_SECONDS, wait_until
from resident import BERT, MALLORY, MEMBERS, Control, Raw, lingering_socket, run_parameters


@pytest.fixture
def silent(service):
    """(path, be_silent): a file of a FUSE server, which stops answering when told so."""
    with served(service, "fuse", MALLORY) as made:
        yield made


@pytest.fixture
def berts_place(service):
    """The same, of a server that answers."""
    with served(service, "berts", BERT) as (place, _):
        yield place


@contextlib.contextmanager
def served(service, name, uid):
    place = service.path(name)
    server = subprocess.Popen([service.programs / "fuse", place, str(uid)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = server.stdout.readline()
    if not said.startswith("mounted"):
        server.communicate()
        place.rmdir()
        pytest.skip(f"this kernel has no FUSE for us: {said.strip()}")

    def be_silent():
        server.stdin.write("x\n")
        server.stdin.flush()

    yield place, be_silent
    server.kill()  # which aborts the connection, and frees everybody who waits
    server.communicate(timeout=RUN_SECONDS)
    subprocess.run(["umount", "-l", place], check=True)
    place.rmdir()


@pytest.fixture
def mallory():
    """Runs functions in processes of their own, which may hang for ever in what they hold."""
    pids = []

    def run(function):
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                function()
                os.write(tell, b"x")
            finally:
                signal.pause()
        os.close(tell)
        pids.append(pid)
        ready, _, _ = select.select([told], [], [], RUN_SECONDS)
        assert ready and os.read(told, 1) == b"x", "the attacker itself failed"
        os.close(told)
        return pid

    yield run
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def comes_back(pid):
    """Whether a process that is killed, and so closes all that it holds, is gone soon."""
    os.kill(pid, signal.SIGKILL)
    return wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 1)


def closes(function):
    """Whether closing what function() opens comes back soon."""
    pid = os.fork()
    if pid == 0:
        os.close(function())
        os._exit(0)
    done = wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 1)
    if not done:
        os.kill(pid, signal.SIGKILL)
    return "denied EAGAIN" if done else "SUCCEEDED"


def everybody_else_is_served(service, times=5):
    for _ in range(times):
        assert service.serves()


HOW = ["stdio", "stdio_of_a_bad_call", "stdio_gone_at_once", "in_a_message", "before_the_call"]


def send(service, how, fd, parameters):
    """The file goes to the daemon in one of those ways."""
    if how == "in_a_message":
        with Raw(service) as raw:
            raw.ask("Run", [fd] * 3, more=True, **parameters)
        return
    if how == "before_the_call":
        # queued at a connection that has asked nothing, and closed
        for _ in range(20):
            with Raw(service) as raw:
                raw.send(b"{", [fd])
        return
    template = "none" if how == "stdio_of_a_bad_call" else "t"
    for _ in range(20 if how == "stdio_gone_at_once" else 1):
        control = Control([fd] * 3)
        with Raw(service) as raw:
            raw.ask("Run", [control.theirs.fileno()], more=True, **{**parameters, "template": template})
            if how != "stdio_gone_at_once":
                raw.socket.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    raw.receive()
            control.close()


def lingering_fd():
    sender, others = lingering_socket()
    KEPT.extend(others)  # or there were nothing to wait for
    return sender.detach()


KEPT = []


@pytest.mark.parametrize("how", HOW)
def test_lingering_socket(service, judge, mallory, how):
    parameters = run_parameters(service)
    sender, others = lingering_socket()
    pid = mallory(lambda: send(service, how, sender.fileno(), parameters))
    sender.close()
    # its end leaves the daemon's side with the only copies, and does not linger
    os.kill(pid, signal.SIGKILL)
    everybody_else_is_served(service)
    for other in others:
        other.close()
    judge(26, f"lingering_socket_{how}", "denied served", closes(lingering_fd), {"served"})


@pytest.mark.parametrize("how", HOW)
def test_silent_file(service, judge, mallory, silent, how):
    place, be_silent = silent
    parameters = run_parameters(service)

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        be_silent()
        send(service, how, fd, parameters)

    pid = mallory(attack)
    everybody_else_is_served(service)
    judge(26, f"silent_file_{how}", "denied served", "denied EAGAIN" if comes_back(pid) else "SUCCEEDED",
          {"served"})


@pytest.mark.parametrize("read_only", [False, True])
def test_silent_directory_as_bind(service, silent, read_only):
    """The sandbox may hang in it; whoever makes the bind must not."""
    place, be_silent = silent
    fd = os.open(place, os.O_PATH)
    be_silent()
    control = Control()
    bind = {"fd": 1, "target": "/mnt", "source": str(place), "read_only": read_only}
    with Raw(service) as raw:
        raw.ask("Run", [control.theirs.fileno(), fd], more=True,
                **run_parameters(service, binds=[bind]))
        everybody_else_is_served(service)
    control.close()
    os.close(fd)
    everybody_else_is_served(service)


def test_silent_file_system_over_another(service):
    """With rbind the mount that cannot be id-mapped is looked for, to be named. Its path may lead
    through another one by now, which does not answer."""
    top = service.path("top")
    servers = []
    try:
        (top / "over/under").mkdir(parents=True)
        for place in (top / "over/under", top / "over"):
            server = subprocess.Popen([service.programs / "fuse", place], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            servers.append((server, place))
            if not server.stdout.readline().startswith("mounted"):
                pytest.skip("this kernel has no FUSE for us")
        fd = os.open(top, os.O_PATH)
        servers[1][0].stdin.write("x\n")
        servers[1][0].stdin.flush()
        control = Control()
        bind = {"fd": 1, "target": "/mnt", "source": str(top), "recursive": True}
        with Raw(service) as raw:
            raw.socket.settimeout(RUN_SECONDS)
            answer = raw.call("Run", [control.theirs.fileno(), fd], more=True,
                              **run_parameters(service, binds=[bind]))
            assert "cannot be id-mapped" in answer["parameters"]["message"], answer
            everybody_else_is_served(service)
        control.close()
        os.close(fd)
    finally:
        for server, _ in servers:
            server.kill()
            server.communicate(timeout=RUN_SECONDS)
        for _, place in reversed(servers):
            subprocess.run(["umount", "-l", place], check=False)
        for place in (top / "over/under", top / "over", top):
            place.rmdir()


def test_silent_file_as_control(service, mallory, silent):
    place, be_silent = silent
    parameters = run_parameters(service)

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        be_silent()
        with Raw(service) as raw:
            raw.ask("Run", [fd], more=True, **parameters)

    mallory(attack)
    everybody_else_is_served(service)


def test_many_hung_decoders(service, mallory, silent):
    """Mallory hangs one decoder after the other: that uid's loss, and bounded."""
    place, be_silent = silent

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        be_silent()
        for _ in range(600):
            with contextlib.suppress(OSError), Raw(service) as raw:
                raw.send(b'{"method":"io.isolate.List"}\0', [fd])

    mallory(attack)
    everybody_else_is_served(service)
    assert len(service.decoders()) <= 20, "each of them is a process that cannot be ended"


def test_hung_decoder_and_lingering_connections(service, mallory, silent):
    """Nobody reads Mallory's connections any more: what is queued there is closed by somebody."""
    place, be_silent = silent
    sender, others = lingering_socket()

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        be_silent()
        with Raw(service) as raw:
            raw.send(b'{"method":"io.isolate.List"}\0', [fd])
        for _ in range(600):
            raw = Raw(service)
            with contextlib.suppress(OSError):
                raw.send(b"{", [sender.fileno()])
            LEFT.append(raw.socket.detach())

    pid = mallory(attack)
    sender.close()
    os.kill(pid, signal.SIGKILL)
    everybody_else_is_served(service)
    for other in others:
        other.close()


LEFT = []


@pytest.fixture(params=["file", "overlay"])
def lies_on_it(request, service, silent):
    """A file of the server's, or one of an overlay over it, which tells nobody on whose it lies."""
    if request.param == "file":
        yield silent[0] / "file", "silent_file_of_a_decoder"
        return
    upper = service.path("upper")
    place = service.path("over")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={silent[0]}:{upper}", place], check=True)
    yield place / "file", "silent_overlay_of_a_decoder"
    subprocess.run(["umount", "-l", place], check=True)
    place.rmdir(), upper.rmdir()


def test_silent_file_of_a_decoder_that_is_taken_over(service, judge, mallory, silent, lies_on_it):
    """Only that one can hand files to isolated itself, where each close() waits for the server: Mallory's,
    here, although the decoder is that of a friend."""
    be_silent = silent[1]
    path, name = lies_on_it

    def attack():
        fd = os.open(path, os.O_RDONLY)
        be_silent()
        assert closes(lambda: fd) == "SUCCEEDED", "the file does not hang"
        before = set(service.decoders())
        with Raw(service, FRIEND) as raw:
            raw.call("List")
            (decoder,) = set(service.decoders()) - before
            with link_of(decoder) as link:
                socket.send_fds(link, [b"x"], [fd] * 8)
                assert raw.receive() is None, "it goes on"

    mallory(attack)
    everybody_else_is_served(service)
    assert service.serves(MALLORY)
    judge(26, name, "denied served", "SUCCEEDED", {"served"})


@pytest.mark.long
def test_many_files_that_do_not_close(service, mallory, silent):
    """Something is written in them, so that whoever closes them last waits for the server: where a hook
    was to come first, that is isolated's side. Those of others are closed all the same."""
    place, be_silent = silent

    def attack():
        mine = os.open(place / "file", os.O_RDWR)
        raws = [held(service, MALLORY, os.open(place / "file", os.O_RDWR)) for _ in range(MANY_FILES)]
        os.write(mine, b"x" * 4096)
        be_silent()
        for raw in raws:
            raw.socket.close()

    mallory(attack)
    assert wait_until(lambda: "wait to be closed" in pathlib.Path(service.log.name).read_text(), RUN_SECONDS)
    before = settled_fds(service)
    for _ in range(MANY_FILES):
        held(service, BERT, os.open(os.devnull, os.O_RDWR)).socket.close()
    everybody_else_is_served(service)
    assert settled_fds(service) < before + MANY_FILES / 2, "files of others wait behind Mallory's"
    # and when there are too many of them, what Mallory serves is ended
    for _ in range(MANY_FILES):
        with contextlib.suppress(KeyError, TypeError, OSError):  # it is refused, or told nothing
            held(service, MALLORY, os.open(os.devnull, os.O_RDWR)).socket.close()
    assert wait_until(lambda: "FUSE file systems are aborted" in pathlib.Path(service.log.name).read_text(), RUN_SECONDS)
    assert wait_until(lambda: is_served(service), RUN_SECONDS)


MANY_FILES = 150


UNLISTED = 61999


def queue_at_once(service, mallory, place, be_silent, uid, groups=(MEMBERS,)):
    """Connections that all wait to be accepted, as many as the queue takes; what they have sent are the only copies
    then of a file that hangs."""
    def attack():
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
        mine = os.open(place / "file", os.O_RDWR)
        for _ in range(3500):  # more than the link to a decoder holds
            fd = os.open(place / "file", os.O_RDWR)
            raw = Raw(service, uid, groups)
            raw.send(b"{", [fd])
            os.close(fd)
            LEFT.append(raw.socket.detach())
        os.write(mine, b"x" * 4096)
        be_silent()

    service.process.send_signal(signal.SIGSTOP)
    try:
        mallory(attack)
    finally:
        service.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("uid,groups", [(MALLORY, (MEMBERS,)), (MALLORY, (MEMBERS, *range(62000, 62065))), (UNLISTED, (MEMBERS,))],
                         ids=["many", "of_many_groups", "gone"])
def test_file_systems_of_others_are_left_alone(service, mallory, berts_place, uid, groups):
    """However many files Mallory has isolated wait for, and whoever is refused with them, for whatever reason: who
    has no line in /etc/passwd is looked at, and no longer there (acting_as)."""
    log = pathlib.Path(service.log.name)
    before = log.read_text()
    with served(service, "fuse", uid) as (place, be_silent):
        queue_at_once(service, mallory, place, be_silent, uid, groups)
        everybody_else_is_served(service)
        assert wait_until(lambda: is_aborted(log.read_text()[len(before):]), RUN_SECONDS)
        time.sleep(1)
        os.stat(berts_place / "file")


@pytest.mark.long
def test_file_systems_of_a_friend(service, mallory):
    """Mallory's files hang who closes the friend's connections: to end what the friend serves is not enough."""
    log = pathlib.Path(service.log.name)
    before = log.read_text()
    with contextlib.ExitStack() as stack:
        for n in range(3):
            place, be_silent = stack.enter_context(served(service, f"fuse{n}", MALLORY))
            queue_at_once(service, mallory, place, be_silent, HELPER)
            everybody_else_is_served(service)
        assert wait_until(lambda: is_aborted(log.read_text()[len(before):]), RUN_SECONDS)
        assert wait_until(lambda: is_served(service), RUN_SECONDS)


HELPER = 61478


def is_aborted(said):
    return re.search(r"[1-9]\d* FUSE file systems are aborted", said)


def settled_fds(service):
    """How many isolated has open when all that ends has ended."""
    seen = [service.fds()[service.process.pid]]
    assert wait_until(lambda: seen.append(service.fds()[service.process.pid]) or
                      (time.sleep(0.5) or len(seen) > 4 and len(set(seen[-4:])) == 1), RUN_SECONDS)
    return seen[-1]


def held(service, uid, fd):
    """A sandbox that waits for its caller's hook, with the last fd of a file queued at its control."""
    control = Control([fd] * 3)
    os.close(fd)
    raw = Raw(service, uid)
    raw.ask("Run", [control.theirs.fileno()], more=True, **run_parameters(service, pre_hook=True))
    control.close()
    assert raw.receive()["parameters"]["state"] == "held"
    return raw


FRIEND = 61477  # who has no decoder yet
PIDFD_GETFD = 438


def socket_of(pid, number):
    """A copy of a process's socket, as whoever has taken it over has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return socket.socket(fileno=fd)


def link_of(pid):
    """What a decoder sends at, once it is started."""
    return socket_of(pid, 3)


def packet_sockets(pid):
    """Copies of where it gets and sends messages: those of isolated's own, between its processes."""
    found = []
    for number in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        with contextlib.suppress(OSError):  # it has closed that one meanwhile
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                one = socket_of(pid, number)
                if (one.family, one.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                    found.append(one)
    return found


def send_files(sockets, fd):
    """How many take them."""
    taken = 0
    for one in sockets:
        try:
            socket.send_fds(one, [b"x"], [fd] * 8)
            taken += 1
        except OSError as error:
            assert error.errno in (errno.EPERM, errno.EPIPE, errno.ENOTCONN, errno.ECONNRESET), error
    return taken


def init_of(service, sandbox):
    """The oldest of its processes."""
    return min(map(int, (service.cgroup / sandbox / "cgroup.procs").read_text().split()))


def test_silent_file_of_an_init_that_is_taken_over(service, mallory, silent):
    """The kernel lets it send none to isolated since 6.16; as before, it is ended for it."""
    place, be_silent = silent
    started = service.call("run", "-d", "t", "--", "/attack/ids", "1000", uid=MALLORY)
    assert started.returncode == 0, started
    init = init_of(service, started.stdout.strip())
    inits = packet_sockets(init)

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        be_silent()
        has_option = send_files(inits, fd) == 0
        for one in packet_sockets(service.process.pid) if has_option else ():
            one.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
        assert not has_option or send_files(inits, fd) > 0, "nothing was sent: no test"

    mallory(attack)
    everybody_else_is_served(service)
    assert wait_until(lambda: "its init sends files" in pathlib.Path(service.log.name).read_text(), RUN_SECONDS)
    assert wait_until(lambda: not pathlib.Path(f"/proc/{init}").exists(), RUN_SECONDS)
    for one in inits:
        one.close()


SO_PASSRIGHTS = 83


@pytest.mark.long
def test_many_that_cannot_be_killed(service, mallory, silent):
    """Their command waits in the kernel for the silent server. That they do not end is found out by a
    clock of each, and not by the one process that takes away everybody's; also where a hook of their
    caller's was to see what they leave."""
    place, be_silent = silent
    parameters = run_parameters(service, timeout_ms=5000, argv=["/attack/ids", "60"])
    log = pathlib.Path(service.log.name)

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        for n in range(MANY_HUNG):
            LEFT.append(Control([fd] * 3))
            LEFT.append(Raw(service))
            started = LEFT[-1].call("Run", [LEFT[-2].theirs.fileno()], more=True, post_hook=n % 2 == 0, **parameters)
            assert "error" not in started
        be_silent()

    mallory(attack)
    assert wait_until(lambda: len(set(HUNG.findall(log.read_text()))) >= MANY_HUNG, 2 * RUN_SECONDS)
    bert_is_not_held_up(service, 5 * MANY_HUNG / 2)
    states = {one["state"] for one in json.loads(service.call("ps", "--json", uid=MALLORY).stdout)}
    assert states == {"quarantined"}, states


MANY_HUNG = 12
HUNG = re.compile(r"sandbox (\S+): it is killed and does not end")


def bert_is_not_held_up(service, seconds):
    """What somebody keeps can be used when it is taken apart, behind all that ended before it."""
    began = time.monotonic()
    done = service.call("run", "--keep", "--name", "bert-s", "t", "--", "/attack/look", "/etc/passwd", uid=BERT)
    assert done.returncode == 0, done
    assert service.call("rm", "bert-s", uid=BERT).returncode == 0
    assert time.monotonic() - began < seconds, "each of Mallory's costs the others five seconds"


def test_processes_that_outlive_pid_1(service, mallory, silent):
    """As those of a foreign engine may: their sandbox has ended, and its cgroup is not empty."""
    place, be_silent = silent
    held = [mallory(lambda: LEFT.append(os.open(place / "file", os.O_RDWR))) for _ in range(5)]
    for n, pid in enumerate(held):
        started = service.call("run", "-d", "--name", f"outlived{n}", "t", "--", "/attack/ids", "1000", uid=MALLORY)
        assert started.returncode == 0, started
        (service.cgroup / started.stdout.strip() / "cgroup.procs").write_text(str(pid))
    be_silent()
    for n in range(len(held)):
        assert service.call("kill", "-s", "KILL", f"outlived{n}", uid=MALLORY).returncode == 0
    bert_is_not_held_up(service, 5 * len(held) / 2)
    log = pathlib.Path(service.log.name)
    assert wait_until(lambda: len(set(QUARANTINED.findall(log.read_text()))) >= len(held), RUN_SECONDS)


def mallorys(service):
    """{id: state} of her sandboxes, those of the tests before included."""
    return {one["id"]: one["state"] for one in json.loads(service.call("ps", "--json", uid=MALLORY).stdout)}


def test_hung_ones_and_the_next_daemon(service, mallory, silent):
    """Their pid 1 is killed and waits for the others, and is in no list of processes any more: they
    count against Mallory's quota all the same, and nobody waits for them again and again."""
    place, be_silent = silent
    parameters = run_parameters(service, argv=["/attack/ids", "60"])
    before = set(mallorys(service))

    def attack():
        fd = os.open(place / "file", os.O_RDWR)
        for n in range(3):
            LEFT.append(Control([fd] * 3))
            LEFT.append(Raw(service))
            assert "error" not in LEFT[-1].call("Run", [LEFT[-2].theirs.fileno()], more=True, name=f"hung{n}",
                                                **parameters)
        be_silent()

    mallory(attack)
    for n in range(3):
        assert service.call("kill", "-s", "KILL", f"hung{n}", uid=MALLORY).returncode == 0
    time.sleep(1)
    service.restart()
    everybody_else_is_served(service, 1)
    states = [state for name, state in mallorys(service).items() if name not in before]
    assert states == ["quarantined"] * 3, states


QUARANTINED = re.compile(r"sandbox (\S+) is quarantined")


def test_killed_with_files_that_hang(service, mallory, silent):
    """Its end waits for the server, and does so last: the next isolated can have all that it had locked."""
    place, be_silent = silent

    def attack():
        mine = os.open(place / "file", os.O_RDWR)
        LEFT.append(held(service, MALLORY, os.open(place / "file", os.O_RDWR)))
        os.write(mine, b"x" * 4096)
        be_silent()

    mallory(attack)
    killed = service.process
    killed.kill()
    time.sleep(1)
    assert pathlib.Path(f"/proc/{killed.pid}/stat").read_text().split()[2] not in "ZX", "nothing hangs: no test"
    service.begin_again()
    everybody_else_is_served(service, 2)
    assert wait_until(lambda: json.loads(service.call("ps", "--json").stdout) == [], RUN_SECONDS)
    ENDING.append(killed)


ENDING = []


def test_nothing_hangs_for_ever(service):
    """When the servers have ended, Mallory is served again."""
    assert wait_until(lambda: is_served(service), RUN_SECONDS)
    for killed in ENDING:
        killed.wait(RUN_SECONDS)


def is_served(service):
    try:
        return service.serves(MALLORY)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
