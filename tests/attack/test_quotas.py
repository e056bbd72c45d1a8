# SPDX-License-Identifier: Apache-2.0
"""A member takes all that there is of something that everybody needs: processes that work on calls,
space for records. Others must be served. Part of attack 27."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from instance import RUN_SECONDS, wait_until
from resident import BERT, MALLORY, MEMBERS, Control, Raw, Resident, run_parameters, version

BIG = "x" * 100000


def big_environment(megabytes):
    return [f"A{i}={BIG}" for i in range(int(megabytes * 10))]


def run_one(service, raw, megabytes, **more):
    control = Control()
    raw.ask("Run", [control.theirs.fileno()], more=True, **run_parameters(
        service, env=big_environment(megabytes), **more))
    return control


def test_calls_whose_answer_nobody_reads(service):
    """Each of them keeps a process of isolated's busy: that uid's share of them."""
    with Raw(service) as raw:
        control = run_one(service, raw, 1, keep=True, name="big", argv=["/attack/look"])
        while raw.receive().get("continues"):
            pass
        control.close()
    with contextlib.ExitStack() as stack:
        for n in range(300):  # more than all have together
            raw = stack.enter_context(Raw(service))
            raw.ask("List", all=True)
        for _ in range(3):
            assert service.serves()
            with Raw(service, BERT) as other:
                assert "error" not in other.call("List")
            assert service.call("ps", uid=0).returncode == 0
        with Raw(service) as raw:
            assert raw.call("List")["error"] == "io.isolate.Busy"
    # its connections count until their end has been heard of
    assert wait_until(lambda: service.call("rm", "big", uid=MALLORY).returncode == 0, 30)


def test_large_calls_whose_answer_nobody_reads(service):
    """Each of them keeps a process, too, and in it what was sent, several times over."""
    request = {"client": version(service), "template": "t", "argv": ["/attack/look"], "env": big_environment(2)}
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Raw(service)).ask("Explain", request=request)
        assert service.serves(MALLORY) and service.serves()
        with Raw(service) as raw:
            assert raw.call("Explain", request=request)["error"] == "io.isolate.Busy"
            assert "plan" in raw.call("Explain", request=request | {"env": []})["parameters"]
            assert "error" not in raw.call("List")
        with Raw(service, BERT) as other:
            assert "plan" in other.call("Explain", request=request)["parameters"]
    with Raw(service) as raw:
        assert wait_until(lambda: "plan" in raw.call("Explain", request=request)["parameters"])


def test_all_who_wait_hear_of_the_end(service):
    """Many replies at once to one user are no reason to end who passes them on."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Raw(service))
        control = run_one(service, first, 0, name="awaited", argv=["/attack/ids", "1000"])
        while first.receive()["parameters"].get("state") != "started":
            pass
        waiting = [stack.enter_context(Raw(service)) for _ in range(250)]
        for raw in waiting:
            raw.ask("Wait", name="awaited")
        assert service.serves()
        with Raw(service) as other:
            other.call("Kill", name="awaited", signal=9)
        for raw in waiting:
            assert raw.receive()["parameters"]["exit"] == {"kind": "signaled", "signal": 9}
        control.close()


def test_records_of_large_requests(service):
    """What a request says is written down: one user's cannot fill the runtime directory."""
    with contextlib.ExitStack() as stack:
        controls = []
        # from coarse to fine, until the last page is taken
        for megabytes, times in ((1.5, 50), (0.1, 20), (0, 60)):
            for _ in range(times):
                raw = stack.enter_context(Raw(service))
                controls.append(run_one(service, raw, megabytes, argv=["/attack/ids", "1000"]))
                raw.receive()
            assert service.serves()
        for control in controls:
            control.close()


# one who is many


@pytest.fixture
def service_of_many(tmp_path):
    """Its machine has given subordinate ids to somebody."""
    (tmp_path / "subuid").write_text(f"# users\nroot:{BERT}:1\nmallory:{SUBORDINATE}:65536\nmallory:65534:1\n")
    bind = f'mount --bind {tmp_path / "subuid"} /etc/subuid && exec "$@"'
    made = Resident(suffix="-many", inside=["unshare", "--mount", "sh", "-c", bind, "sh"])
    try:
        yield made
    finally:
        made.close()


SUBORDINATE = 700000


def test_subordinate_ids(service_of_many, judge):
    """Root of a user namespace can act as each of them, with the groups that it has kept: quotas would be
    held 65536 times, and so many decoders started."""
    answers = set()
    most = 0
    for uid in range(SUBORDINATE, SUBORDINATE + 20):
        with Raw(service_of_many, uid) as raw:
            answers.add(raw.call("List").get("parameters", {}).get("message", "served"))
        most = max(most, len(service_of_many.decoders()))
    assert most == 1, "those who are not served share one"
    assert len(answers) == 20 and all("subordinate id of mallory" in answer for answer in answers), answers
    for uid in (BERT, 65534):  # given to root, to map it into containers; and nobody, who has a line in passwd
        with Raw(service_of_many, uid) as raw:
            assert "error" not in raw.call("List")
    said = said_by(lambda _: (become(SUBORDINATE + 65536), ask(service_of_many))[1])
    judge(26, "one_who_is_many", "denied EACCES", control_of(said), {"EACCES"})


LENT = 900000  # to Mallory's user namespace, as systemd-nsresourced does: no file tells of them
MAPS = f"0 {LENT} 65536"


def said_by(function, maps=None):
    """What function(socket) returns in a process of its own; its maps are written when it has said m."""
    asks, told = socket.socketpair()
    asks.settimeout(RUN_SECONDS)
    pid = os.fork()
    if pid == 0:
        try:
            told.send(function(told).encode())
        except BaseException as error:  # pylint: disable=broad-except
            told.send(repr(error).encode())
        finally:
            os._exit(0)
    told.close()
    try:
        if maps:
            assert asks.recv(1) == b"m"
            write_maps(pid, maps)
            asks.send(b"x")
        return asks.recv(4096).decode()
    finally:
        asks.close()
        os.waitpid(pid, 0)


def write_maps(pid, maps):
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{pid}/{name}").write_text(maps)


def become(uid, groups=(MEMBERS,)):
    if groups:
        os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def enter_userns():
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: its maps are its own
    assert ctypes.CDLL(None).unshare(0x10000000) == 0, "CLONE_NEWUSER"


def ask(service):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(RUN_SECONDS)
        connection.connect(str(service.socket))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b'{"method":"io.isolate.List"}\0')
        return connection.recv(4096).decode()


def inside_userns(maps, then, owner=MALLORY):
    """What then() returns in a user namespace of its own of that uid's, which has kept its groups."""
    def enter(told):
        os.setgroups([MEMBERS])
        if owner != 0:
            become(owner)
        enter_userns()
        told.send(b"m")
        assert told.recv(1) == b"x"
        return then()

    return said_by(enter, maps)


def control_of(said):
    return "SUCCEEDED" if '"sandboxes"' in said else f"denied {said}"


def test_ids_of_a_user_namespace(service, judge):
    """Nobody else's, though /etc/subuid does not say so; whoever is there as who they are is served."""
    def one_of_them():
        become(7, groups=())
        return ask(service)

    def nested():
        """In a namespace of its own, in the other one."""
        become(7, groups=())
        enter_userns()
        pathlib.Path("/proc/self/uid_map").write_text("0 7 1")
        return ask(service)

    for then in (one_of_them, nested):
        said = inside_userns(MAPS, then)
        assert f"uid {LENT + 7} is of a user namespace of uid {MALLORY}'s" in said, said
    assert '"sandboxes"' in inside_userns(f"0 {MALLORY} 1", lambda: ask(service))
    said = said_by(lambda _: (become(LENT + 8), enter_userns(), ask(service))[2])
    assert '"sandboxes"' in said, "its own namespace, and no line in /etc/passwd"
    said = inside_userns(f"0 {LENT + 100} 65536", one_of_them, owner=0)
    assert '"sandboxes"' in said, "a container of root's"
    said = said_by(lambda _: (become(LENT + 9), ask(service))[1])
    judge(26, "one_who_is_lent_ids", "denied EACCES", control_of(said), {"EACCES"})


@contextlib.contextmanager
def borrower(service, path, uid):
    """Connects there with the ids of a process in a namespace, as uid there: it is outside of it."""
    process = subprocess.Popen(["setpriv", "--reuid", str(MALLORY), "--regid", str(MALLORY), "--groups", str(MEMBERS), "--",
                                service.programs / "personality", path, str(uid)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        if first.startswith("io_uring_setup"):
            pytest.skip(f"no io_uring here: {first.strip()}")
        write_maps(int(first.split()[1]), MAPS)
        process.stdin.write("\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate(timeout=RUN_SECONDS)


def test_ids_that_are_borrowed(service, judge):
    """The uid that the kernel tells of who connects need not be that of the process that it tells of."""
    with borrower(service, service.socket, 11) as process:
        said = process.stdout.readline()
    assert f"uid {LENT + 11} has no line in /etc/passwd" in said and "not permitted" in said, said
    plain = service.path("plain") / "socket"
    plain.parent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plain))
        listener.listen()
        listener.settimeout(RUN_SECONDS)
        plain.chmod(0o666)
        with borrower(service, plain, 11) as process:
            connection, _ = listener.accept()
            pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            same = os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")
            connection.close()
    plain.unlink()
    plain.parent.rmdir()
    control = "SUCCEEDED" if (pid, uid, same) == (process.pid, LENT + 11, True) else f"denied {uid}"
    judge(26, "one_who_borrows_ids", "denied EACCES", control, {"EACCES"})


def test_who_is_gone_before_it_is_looked_at(service):
    """Whether that was one of a user namespace cannot be known any more."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(RUN_SECONDS)
    service.process.send_signal(signal.SIGSTOP)
    try:
        assert said_by(lambda _: (become(LENT + 10), connection.connect(str(service.socket)), "connected")[2]) == "connected"
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert f"uid {LENT + 10} has no line in /etc/passwd" in connection.recv(4096).decode()
    connection.close()


def test_who_connects_without_end_holds_up_no_end(service):
    """Ends of sandboxes are noticed, however much there is to hear of callers."""
    hammer = """import socket, sys
while True:
    one = socket.socket(socket.AF_UNIX)
    try:
        one.connect(sys.argv[1])
    except OSError:
        pass
    one.close()
"""
    with contextlib.ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(Raw(service))
        words, environment = service.client("run", "--keep", "--name", "kept", "t", "--", "/attack/ids", "1", uid=BERT)
        run = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        prefix = ["setpriv", "--reuid", str(MALLORY), "--regid", str(MALLORY), "--groups", str(MEMBERS), "--"]
        hammers = [subprocess.Popen([*prefix, sys.executable, "-c", hammer, service.socket]) for _ in range(3)]
        try:
            assert run.wait(30) == 0
        finally:
            for one in hammers:
                one.kill()
                one.wait()
    assert wait_until(lambda: service.call("rm", "kept", uid=BERT).returncode == 0, 30)
    assert service.serves()


def test_fds_in_flight_are_nobody_elses(service):
    """The kernel charges what is queued in a caller's socket to who has sent it: the caller's decoder. That
    one can send no more then; the next one, anybody's, can."""
    started = service.call("run", "-d", "--name", "logged", "t", "--", "/attack/ids", "1000", uid=MALLORY)
    assert started.returncode == 0, started
    decoders = set(service.decoders())
    with contextlib.ExitStack() as stack:
        for _ in range(24):
            raw = stack.enter_context(Raw(service))
            raw.send(b'{"method":"io.isolate.Logs","parameters":{"name":"logged"}}\0' * 200)
        end = time.monotonic() + 30
        while decoders <= set(service.decoders()) and time.monotonic() < end:
            with Raw(service) as other, contextlib.closing(Control()) as control:
                other.call("Run", [control.theirs.fileno()], more=True, **run_parameters(service, template="none"))
        assert not decoders <= set(service.decoders()), "all of it was sent: no test"
        for uid in (BERT, FRIEND, 0):
            assert service.serves(uid)
    assert wait_until(lambda: service.call("stop", "logged", uid=MALLORY).returncode == 0, 30)


FRIEND = 61478


def test_large_messages_leave_time_for_others(service):
    """Each takes isolated a good part of a second to parse, and nothing else is done meanwhile: who sends
    them without end gets some of its time, and not all."""
    message = {"method": "io.isolate.Run", "more": True,
               "parameters": run_parameters(service, template="none", env=["A=" + "x" * (12 << 20)])}

    def flood(raw, end):
        with raw:
            while time.monotonic() < end:
                raw.send(message)
                assert raw.receive()["error"].startswith("io.isolate.")

    def used_s():
        ticks = pathlib.Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    before = used_s()
    began = time.monotonic()
    floods = [threading.Thread(target=flood, args=(Raw(service), time.monotonic() + FLOOD_S)) for _ in range(4)]
    for one in floods:
        one.start()
    served = 0
    while any(one.is_alive() for one in floods):
        served += service.serves()
        time.sleep(1)
    used = used_s() - before
    lasted = time.monotonic() - began
    assert used < lasted / 2, f"isolated has computed for {used:.1f} s of {lasted:.1f}"
    assert served >= 3


FLOOD_S = 8
