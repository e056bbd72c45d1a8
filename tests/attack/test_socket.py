# SPDX-License-Identifier: Apache-2.0
"""Attacks 25 to 28 at the socket of a running daemon: messages that are none, fds without end,
connections without end, strangers. Afterwards another user is served, and nothing is held."""

import contextlib
import json
import os
import random
import resource
import signal
import socket

import pytest

from instance import RUN_SECONDS, wait_until
from resident import MALLORY, MEMBERS, STRANGER, Control, Raw, count_fds, memory_kb, version, run_parameters

GOOD = json.dumps({"method": "io.isolate.List", "parameters": {}}).encode() + b"\0"
LONG = os.environ.get("ISOLATE_LONG") == "1"


def control(service):
    """The same connection with a message that is one."""
    with Raw(service) as raw:
        raw.send(GOOD)
        answer = raw.receive()
    return "SUCCEEDED" if answer and "sandboxes" in answer["parameters"] else f"denied {answer}"


HOSTILE = {
    "no_json": b"hello\0",
    "empty": b"\0",
    "many_empty": b"\0" * 5000,
    "no_method": b"{}\0",
    "method_is_a_number": b'{"method":7}\0',
    "unknown_method": b'{"method":"io.isolate.NoSuch"}\0',
    "unknown_interface": b'{"method":"com.example.x"}\0',
    "long_method": b'{"method":"' + b"x" * 100000 + b'"}\0',
    "parameters_is_a_list": b'{"method":"io.isolate.List","parameters":[1]}\0',
    "twice_the_same_key": b'{"method":"a","method":"io.isolate.List"}\0',
    "deep": b"[" * 200000 + b"\0",
    "deep_parameters": b'{"method":"io.isolate.List","parameters":{"a":' + b"[" * 100000 + b"]" * 100000
                       + b"}}\0",
    "not_utf8": b'{"method":"\xff\xfe"}\0',
    "nul_in_string": b'{"method":"io.isolate.Inspect","parameters":{"name":"a\\u0000b"}}\0',
    "huge_number": b'{"method":"io.isolate.List","parameters":{"all":1e999999}}\0',
    "run_without_more": b'{"method":"io.isolate.Run","parameters":{}}\0',
    "run_of_nothing": b'{"method":"io.isolate.Run","more":true,"parameters":{}}\0',
    "fd_that_did_not_come": b'{"method":"io.isolate.Run","more":true,"parameters":{"control":4294967295}}\0',
    "for_root": b'{"method":"io.isolate.Prune"}\0',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_message(service, judge, what):
    with Raw(service) as raw:
        raw.send(HOSTILE[what])
        answer = raw.receive()
    assert answer is None or "sandboxes" not in answer.get("parameters", {}) or what == "huge_number", answer
    native = "denied closed" if answer is None else "denied " + answer.get("error", "answered").split(".")[-1]
    assert service.serves()
    judge(25, what, native, control(service), {"closed", "Protocol", "Invalid", "Denied", "NotFound",
                                               "MethodNotFound", "InvalidParameter", "InterfaceNotFound",
                                               "answered"})


@pytest.mark.parametrize("kind", ["without_an_end", "as_one"])
def test_oversized(service, judge, kind):
    """More than 16 MB, with or without an end."""
    block = b"x" * (1 << 20)
    with Raw(service) as raw:
        answer = None
        try:
            for _ in range(20):
                raw.send(block)
            if kind == "as_one":
                raw.send(b"\0")
            answer = raw.receive()
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert answer is None
    assert service.serves()
    judge(25, f"oversized_{kind}", "denied closed", control(service), {"closed"})


def call_of(method, parameters):
    return b'{"method":"' + method + b'","parameters":{' + parameters + b"}}\0"


MILLION = 1000000
MANY = {
    "objects": call_of(b"x", b'"a":[' + b"{}," * MILLION + b"{}]"),
    "lists": call_of(b"x", b'"a":[' + b"[]," * MILLION + b"[]]"),
    "numbers": call_of(b"io.isolate.Run", b'"env":[' + b"0," * 7 * MILLION + b"0]"),
    "strings": call_of(b"io.isolate.Explain", b'"env":[' + b'"",' * 5 * MILLION + b'""]'),
    "members": call_of(b"io.isolate.Exec", b",".join(b'"%x":0' % i for i in range(MILLION))),
    "behind_a_quote": call_of(b"io.isolate.Run", b'"\\\\\\"":[' + b"{}," * MILLION + b"{}]"),
    "half": call_of(b"io.isolate.Run", b'"a":[' + b"{}," * 5 * MILLION),
}


@pytest.mark.parametrize("what", MANY)
def test_message_of_many_values(service, judge, what):
    """Each would cost isolated up to a GiB and more than a second, and all others wait for it. What isolated does where
    its decoder has let one through is in test_decoder."""
    answers = []
    with contextlib.ExitStack() as stack:
        sent = [stack.enter_context(Raw(service)) for _ in range(4)]
        for raw in sent:
            raw.send(MANY[what])
        assert service.serves()
        for raw in sent:
            raw.socket.settimeout(60)
            answers.append(raw.receive())
    assert all(answer["error"] == "io.isolate.Protocol" and "more than 150000 values" in str(answer)
               for answer in answers), answers
    assert service.serves()
    judge(25, f"many_{what}", "denied Protocol", control(service), {"Protocol"})


def test_memory_of_a_large_message_is_given_back(service):
    """Or each fork of the daemon's would cost as much for ever."""
    with Raw(service) as raw:
        raw.socket.settimeout(60)
        raw.send(call_of(b"io.isolate.Run", b'"env":[' + b"{}," * 70000 + b'"' + b"x" * (10 << 20) + b'"]'))
        assert service.serves()
        assert raw.receive()["error"] == "io.isolate.Protocol"  # called without more
    assert service.serves()
    assert wait_until(lambda: memory_kb(service.process.pid, "VmRSS") < 32 * 1024), memory_kb(service.process.pid, "VmRSS")


PADDING = b'"x":"' + b"x" * 70000 + b'"'
LARGE = {
    "list": call_of(b"io.isolate.List", PADDING),
    "kill": call_of(b"io.isolate.Kill", PADDING),
    "unknown": call_of(b"io.isolate.NoSuch", PADDING),
    "method_at_the_end": b'{"parameters":{' + PADDING + b'},"method":"io.isolate.List"}\0',
    "method_in_escapes": b'{"method":"io.isolate.\\u004cist","parameters":{' + PADDING + b"}}\0",
    "name_in_escapes": b'{"\\u006dethod":"io.isolate.List","parameters":{' + PADDING + b"}}\0",
    "another_before": b'{"parameters":{"method":"io.isolate.Run",' + PADDING + b'},"method":"io.isolate.List"}\0',
    "twice": b'{"method":"io.isolate.Run","\\u006dethod":"io.isolate.List","parameters":{' + PADDING + b"}}\0",
    "no_method": b'{"parameters":{' + PADDING + b"}}\0",
    "spaces": b'{"method":"io.isolate.List","parameters":{' + b" " * 70000 + b"}}\0",
}


@pytest.mark.parametrize("what", LARGE)
def test_large_call_of_what_needs_none(service, judge, what):
    """What such a call was made of is copied into a process of its own, and kept while nobody reads its answer."""
    with Raw(service) as raw:
        raw.send(LARGE[what])
        answer = raw.receive()
        assert answer["error"] == "io.isolate.Protocol", answer
        assert what == "twice" or "may have more than 65536" in answer["parameters"]["message"], answer
        raw.send(GOOD)
        assert raw.receive() == {"parameters": {"sandboxes": []}}
    judge(25, f"large_{what}", "denied Protocol", control(service), {"Protocol"})


def test_largest_call_of_what_needs_little(service):
    message = call_of(b"io.isolate.List", b"X")
    with Raw(service) as raw:
        raw.send(message.replace(b"X", b" " * (65536 + 2 - len(message))))
        assert raw.receive() == {"parameters": {"sandboxes": []}}
        raw.send(message.replace(b"X", b" " * (65536 + 3 - len(message))))
        assert raw.receive()["error"] == "io.isolate.Protocol"


def test_most_arguments_and_variables(service):
    """What a command may have goes through: 65536 of each."""
    stdio = Control()
    parameters = run_parameters(service, env=[f"V={i}" for i in range(65536)])
    parameters["argv"] += ["x"] * (65536 - len(parameters["argv"]))
    with Raw(service) as raw:
        answer = raw.call("Explain", request={name: parameters[name] for name in ("client", "template", "argv", "env")})
        assert "plan" in answer["parameters"], answer
        assert len(answer["parameters"]["plan"]["argv"]) == 65536
        for name in ("argv", "env"):
            more = parameters | {name: [*parameters[name], "A=1"]}
            answer = raw.call("Run", [stdio.theirs.fileno()], more=True, **more)
            assert "one list of at most 65536 strings" in str(answer), answer
        raw.ask("Run", [stdio.theirs.fileno()], more=True, **parameters)
        assert raw.receive()["parameters"]["state"] == "started"
        assert raw.receive()["parameters"]["exit"] == {"kind": "exited", "code": 0}
    stdio.close()


def test_one_byte_at_a_time(service):
    with Raw(service) as raw:
        for i in range(len(GOOD)):
            raw.send(GOOD[i:i + 1])
            if i % 20 == 0:
                assert service.serves()
        assert raw.receive() == {"parameters": {"sandboxes": []}}


def test_truncated(service):
    """It ends in the middle of a message, at every byte."""
    for i in range(len(GOOD)):
        with Raw(service) as raw:
            raw.send(GOOD[:i])
    for i in range(0, len(GOOD), 7):
        with Raw(service) as raw:
            raw.send(GOOD[:i])
            raw.socket.shutdown(socket.SHUT_WR)
            assert raw.receive() is None
    assert service.serves()


def test_several_calls_at_once(service):
    """Pipelined: answered one after the other, in order."""
    with Raw(service) as raw:
        raw.send(GOOD * 50)
        for _ in range(50):
            assert raw.receive() == {"parameters": {"sandboxes": []}}


def test_caller_that_does_not_read(service):
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            raw = stack.enter_context(Raw(service))
            raw.socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(2000):
                    raw.send(GOOD)
        assert service.serves()


METHODS = {"Exec": {"sandbox": "deaf", "control": 0, "argv": ["/attack/look", "/etc/passwd"]},
           "Attach": {"name": "deaf", "control": 0}, "Kill": {"name": "deaf", "signal": 10}}


@pytest.fixture
def deaf(service):
    """A sandbox of Mallory's whose init reads nothing any more, as one does that waits for a
    file of its caller's."""
    started = service.call("run", "-d", "--name", "deaf", "t", "--", "/attack/ids", "1000", uid=MALLORY)
    assert started.returncode == 0, started
    init, = service.children(b"isolate-init\0")
    os.kill(init, signal.SIGSTOP)
    yield
    assert service.call("kill", "-s", "KILL", "deaf", uid=MALLORY).returncode == 0
    wait_until(lambda: "deaf" not in service.call("ps", "-a", uid=MALLORY).stdout)


@pytest.mark.parametrize("method", METHODS)
def test_init_that_does_not_read(service, deaf, method):
    """Its caller tells it more and more: nobody else waits for that."""
    parameters = METHODS[method] | ({"client": version(service)} if method == "Exec" else {})
    answer = None
    with contextlib.ExitStack() as stack:
        for n in range(250):
            raw = stack.enter_context(Raw(service))
            stdio = Control()
            stack.callback(stdio.close)
            raw.send({"method": f"io.isolate.{method}", "parameters": parameters},
                     [stdio.theirs.fileno()] if "control" in parameters else [])
            raw.socket.settimeout(0.05 if method == "Exec" else RUN_SECONDS)
            with contextlib.suppress(TimeoutError): # init would answer an Exec
                answer = raw.receive()
                if "error" in answer:
                    break
            if n % 50 == 0:
                assert service.serves()
        assert answer and answer.get("error") == "io.isolate.Busy", answer
        assert "its init" in answer["parameters"]["message"]
        assert service.serves()


@pytest.mark.parametrize("name, value", [
    ("seccomp", "strict"), ("personality", "32bit"), ("usage", True), ("tmpfs", [{"target": "/mnt", "size_bytes": 4096}]), ("hostname", "h"),
    ("timeout_ms", 5), ("cap_add", ["NET_RAW"]), ("keep", True), ("read_only", True), ("ulimits", ["core=0"]),
    ("memory_bytes", 1 << 30), ("engine", "native"), ("name", "n"), ("here", True)])
def test_exec_ignores_nothing(service, name, value):
    """What only the building of a sandbox can give is refused, and not left out."""
    control = Control()
    right = {"client": version(service), "sandbox": "none", "control": 0, "argv": ["/attack/look"], "tty": False}
    with Raw(service) as raw:
        answer = raw.call("Exec", [control.theirs.fileno()], **right, **{name: value})
        assert answer["error"] == "io.isolate.Invalid", answer
        assert f'"{name}" is of no use here' in answer["parameters"]["message"], answer
        answer = raw.call("Exec", [control.theirs.fileno()], **right)
        assert answer["error"] == "io.isolate.NotFound", answer
    control.close()


@pytest.mark.parametrize("method", ["Run", "Explain"])
def test_fd_that_nothing_names(service, method):
    """It would be closed whenever that is convenient, by isolated itself."""
    control, spare = Control(), Control()
    parameters = run_parameters(service)
    if method == "Explain":
        parameters = {"request": {"template": "t", "argv": ["/attack/look"]}}
    with Raw(service) as raw:
        fds = [control.theirs.fileno(), spare.theirs.fileno()]
        answer = raw.call(method, fds, more=method == "Run", **parameters)
        assert answer["error"] == "io.isolate.Invalid" and "named by no member" in str(answer), answer
    control.close()
    spare.close()


def mutate(dice, message):
    data = bytearray(message)
    for _ in range(dice.randint(1, 8)):
        kind = dice.randrange(4)
        at = dice.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] = dice.randrange(256)
        elif kind == 1:
            data[at:at] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 20)))
        elif kind == 2:
            del data[at:at + dice.randint(1, 20)]
        else:
            data += data[at:at + 40]
    return bytes(data) + b"\0"


def test_fuzz(service):
    """Thousands of half right messages; the seed is said where it fails."""
    seed = int(os.environ.get("ISOLATE_SEED", "20261124"))
    dice = random.Random(seed)
    seeds = [GOOD[:-1], HOSTILE["run_of_nothing"][:-1], json.dumps({
        "method": "io.isolate.Run", "more": True, "parameters": {
            "client": "0.1.0", "template": "t", "argv": ["/attack/look"], "control": 0, "env": ["A=b"],
            "binds": [{"fd": 0, "target": "/mnt", "source": "x"}], "tmpfs": [{"target": "/tmp"}]}}).encode()]
    for i in range(20000 if LONG else 2000):
        with Raw(service) as raw:
            raw.send(mutate(dice, dice.choice(seeds)))
            if i % 4 == 0:
                raw.receive()
        if i % 500 == 0:
            assert service.serves(), f"seed {seed}, message {i}"
    assert service.serves(), f"seed {seed}"


# --- 26 ---


def settle(service, before):
    """The fds of the daemon, and of each process that was there before, are as many as before."""
    def back():
        return all(count_fds(pid) is None or count_fds(pid) <= n for pid, n in before.items())
    assert wait_until(back, 30), (before, {pid: count_fds(pid) for pid in before})


@pytest.mark.parametrize("kind", ["path", "file", "socket", "pipe"])
def test_fds_without_end(service, judge, kind):
    """253 a message, a thousand times."""
    service.serves(MALLORY)
    assert service.serves()
    before = service.fds()
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = {"path": lambda: os.open("/etc", os.O_PATH), "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
            "socket": lambda: os.dup(one.fileno()), "pipe": lambda: os.pipe()[0]}[kind]()
    fds = [made] * 253
    answers = set()
    for i in range(10):
        with Raw(service) as raw:
            for _ in range(100):
                raw.send(GOOD, fds)
                answer = raw.receive()
                answers.add(answer.get("error") if answer else None)
                if answer is None:
                    break
        assert i % 5 or service.serves()
    os.close(made)
    one.close(), two.close()
    assert answers == {"io.isolate.Protocol"}, answers
    settle(service, before)
    assert service.serves()
    judge(26, f"fds_without_end_{kind}", "denied Protocol", control(service), {"Protocol"})


def test_fds_of_messages_without_an_end(service, judge):
    """Held by half messages of many connections: the limit is that uid's own."""
    assert service.serves()
    before = service.fds()
    fds = [0] * 0 + [os.open("/etc", os.O_PATH)] * 253
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            raw = stack.enter_context(Raw(service))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in GOOD[:5]:
                    raw.send(bytes([byte]), fds)
        assert service.serves()
        held = count_fds(service.process.pid)
        assert held < before[service.process.pid] + 100, "the daemon itself holds none of them"
    os.close(fds[0])
    settle(service, before)
    judge(26, "fds_of_half_messages", "denied limited", control(service), {"limited"})


# --- 27 ---


def still_open(connections):
    """Those of them that nobody has closed; the others are taken out."""
    for raw in list(connections):
        with contextlib.suppress(BlockingIOError):
            raw.receive()
            connections.discard(raw)
    return connections


def test_idle_connections(service, judge):
    """10,000 of one uid: those beyond its share are told so and closed, others are served. The daemon does not
    leave its processor to the children that close them, so that these do not keep up."""
    wanted = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 1000), hard))
    # their decoders, and what the first run has made, are there before it is counted
    assert service.serves(MALLORY) and service.serves()
    before = service.fds()
    open_ones = []
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(service.process.pid, {min(processors)})
    os.sched_setscheduler(service.process.pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        for i in range(wanted):
            raw = Raw(service)
            open_ones.append(raw)
            if i in (300, 5000):
                assert service.serves()
        assert service.serves()
        asked = set(open_ones)
        for raw in asked:
            raw.socket.setblocking(False)
        # those that are told so wait for one process of that uid
        assert wait_until(lambda: len(still_open(asked)) <= 256), f"{len(asked)} are open"
        assert len(asked) < wanted
    finally:
        for raw in open_ones:
            raw.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.sched_setscheduler(service.process.pid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(service.process.pid, processors)
    settle(service, before)
    assert service.serves(MALLORY), "and that uid is when it has let go"
    judge(27, "idle_connections", f"denied capped", control(service), {"capped"})


# --- 28 ---


@pytest.mark.parametrize("groups", [(), (61235,), (0,)])
def test_stranger_cannot_connect(service, judge, groups):
    with pytest.raises(PermissionError):
        Raw(service, STRANGER, groups).__enter__()
    with Raw(service, STRANGER, (MEMBERS,)) as raw:
        raw.send(GOOD)
        answer = raw.receive()
    judge(28, f"stranger_in_{len(groups)}_groups_{sum(groups)}", "denied EACCES",
          "SUCCEEDED" if "parameters" in answer and "error" not in answer else "denied", {"EACCES"})
