# SPDX-License-Identifier: Apache-2.0
"""A member takes all that there is of something that everybody needs: processes that work on calls,
space for records. Others must be served. Part of attack 27."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
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
    with Raw(service_of_many, SUBORDINATE + 65536) as raw:
        control = "denied" if "error" in raw.call("List") else "SUCCEEDED"
    judge(26, "one_who_is_many", "denied EACCES", control, {"EACCES"})


LENT = 900000  # to Mallory's user namespace, as systemd-nsresourced does: no file tells of them


def enter_userns():
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: its maps are its own
    assert ctypes.CDLL(None).unshare(0x10000000) == 0, "CLONE_NEWUSER"


def inside_userns(maps, then):
    """What function then() returns in a process of Mallory's, with the groups it has, in a user namespace of its
    own with these maps."""
    asks, told = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([MEMBERS])
            os.setresgid(MALLORY, MALLORY, MALLORY)
            os.setresuid(MALLORY, MALLORY, MALLORY)
            enter_userns()
            told.send(b"x")
            assert told.recv(1) == b"x"
            told.send(then().encode())
        except BaseException as error:  # pylint: disable=broad-except
            told.send(repr(error).encode())
        finally:
            os._exit(0)
    told.close()
    assert asks.recv(1) == b"x"
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{pid}/{name}").write_text(maps)
    asks.send(b"x")
    said = asks.recv(4096).decode()
    asks.close()
    os.waitpid(pid, 0)
    return said


def test_ids_of_a_user_namespace(service, judge):
    """Nobody else's, though /etc/subuid does not say so; whoever is there as who they are is served."""
    connection = socket.socket(socket.AF_UNIX)

    def become_one_of_them():
        os.setresgid(7, 7, 7)
        os.setresuid(7, 7, 7)

    def as_one_of_them():
        become_one_of_them()
        return ask()

    def ask():
        connection.connect(str(service.socket))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b'{"method":"io.isolate.List"}\0')
        return connection.recv(4096).decode()

    lent = f"0 {LENT} 65536"
    said = inside_userns(lent, as_one_of_them)
    assert f"uid {LENT + 7} is of a user namespace of uid {MALLORY}'s" in said, said

    def nested():
        """Of one's own, in the other one."""
        become_one_of_them()
        enter_userns()
        pathlib.Path("/proc/self/uid_map").write_text("0 7 1")
        return ask()

    connection = socket.socket(socket.AF_UNIX)
    said = inside_userns(lent, nested)
    assert f"uid {LENT + 7} is of a user namespace of uid {MALLORY}'s" in said, said
    connection = socket.socket(socket.AF_UNIX)
    assert '"sandboxes"' in inside_userns(f"0 {MALLORY} 1", ask)
    with Raw(service, LENT + 7) as raw:
        control = "denied" if "error" in raw.call("List") else "SUCCEEDED"
    judge(26, "one_who_is_lent_ids", "denied EACCES", control, {"EACCES"})


def test_who_is_gone_before_it_is_looked_at(service):
    """Whether that was one of a user namespace cannot be known any more."""
    connection = socket.socket(socket.AF_UNIX)
    service.process.send_signal(signal.SIGSTOP)
    try:
        pid = os.fork()
        if pid == 0:
            os.setgroups([MEMBERS])
            os.setresuid(*[LENT + 8] * 3)
            connection.connect(str(service.socket))
            os._exit(0)
        os.waitpid(pid, 0)
    finally:
        service.process.send_signal(signal.SIGCONT)
    connection.settimeout(RUN_SECONDS)
    assert f"uid {LENT + 8} is not in /etc/passwd" in connection.recv(4096).decode()
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
