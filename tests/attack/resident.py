# SPDX-License-Identifier: Apache-2.0
"""A resident daemon for the attacks at its socket, and raw connections of users to it."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import time
import struct
import subprocess
import tempfile

from instance import RUN_SECONDS, Instance, wait_until

MEMBERS = 61234
MESSAGE_VERSION = int(re.search(r"#define MESSAGE_VERSION (\d+)", (
    pathlib.Path(__file__).resolve().parents[2] / "src/spec/message.h").read_text())[1])
MALLORY, BERT, STRANGER = 61401, 61402, 61409
WITH_LINES = range(61400, 61600)


@contextlib.contextmanager
def acting_as(uid, groups=(MEMBERS,)):
    """What the kernel notes of who connects, without a process for each."""
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([0])


@contextlib.contextmanager
def users_with_lines():
    """All of them have a line in /etc/passwd while this lasts, in this mount namespace (tests/all.py makes one): as who
    has none only a process is served that is that uid, and acting_as no longer is when it is looked at."""
    with tempfile.NamedTemporaryFile("w", prefix="isolate-passwd-") as file:
        file.write(pathlib.Path("/etc/passwd").read_text())
        file.write("".join(f"uid_{uid}:x:{uid}:{uid}::/:/bin/false\n" for uid in WITH_LINES))
        file.flush()
        os.chmod(file.name, 0o644)
        subprocess.run(["mount", "--bind", file.name, "/etc/passwd"], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "/etc/passwd"], check=True)


class Resident(Instance):
    """The attack instance with a template "t" and a daemon that serves."""

    def __init__(self, more_config="", environment=None, suffix=None, inside=()):
        super().__init__(suffix or "-resident" + ("-2" if more_config else ""))
        self.socket = self.runtime / "io.isolate"
        self.environment["ISOLATE_SOCKET"] = ""
        config = self.directory / "isolated.conf"
        config.write_text(config.read_text() + f"[Daemon]\nGroup={MEMBERS}\n[Pool]\nParked=0\nFresh=0\n{more_config}")
        self.clients = self.directory / "clients"
        self.clients.mkdir()
        self.clients.chmod(0o755)
        for name in ("isolate", "isolate-ctl"):
            shutil.copy(self.build / name, self.clients)
        done = self.call("template", "create", "t", "--from", f"dir:{self.root}")
        assert done.returncode == 0, done
        self.log = open(self.directory / "isolated.log", "ab")
        self.begin = lambda: subprocess.Popen(
            [*inside, self.build / "isolated"], env=self.environment | (environment or {}), stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True)
        self.process = self.begin()
        assert wait_until(self.socket.exists, RUN_SECONDS)

    def restart(self):
        """As after a crash, or an upgrade."""
        helpers = self.helpers()
        self.process.kill()
        self.process.wait(RUN_SECONDS)
        assert wait_until(lambda: not any(count_fds(pid) for pid in helpers), RUN_SECONDS)
        self.begin_again()

    def begin_again(self):
        self.socket.unlink()
        self.process = self.begin()
        assert wait_until(self.socket.exists, RUN_SECONDS)

    def client(self, *arguments, uid=None, groups=str(MEMBERS)):
        """Words and environment of `isolate ARGUMENTS…`, as a user of the daemon's where there is a uid."""
        environment = dict(self.environment)
        words = [str(self.build / "isolate"), *map(str, arguments)]
        if uid is not None:
            environment |= {"ISOLATE_SOCKET": str(self.socket),
                            "ISOLATE_LIBEXEC_DIR": str(self.clients)}
            words[0] = str(self.clients / "isolate")
            group = ["--groups", groups] if groups else ["--clear-groups"]
            words = ["setpriv", "--reuid", str(uid), "--regid", str(uid), *group, "--", *words]
        return words, environment

    def call(self, *arguments, uid=None, groups=str(MEMBERS), **more):
        words, environment = self.client(*arguments, uid=uid, groups=groups)
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(words, env=environment, cwd="/", text=True, timeout=RUN_SECONDS,
                              capture_output=True, check=False, **more)

    def serves(self, uid=BERT):
        """Somebody else is served, now."""
        assert self.process.poll() is None, pathlib.Path(self.log.name).read_text()
        done = self.call("run", "t", "--", "/attack/look", "/etc/passwd", uid=uid)
        assert (done.returncode, done.stdout) == (0, "/etc/passwd: present\n"), done
        return True

    def helpers(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in pathlib.Path(path).read_text().split()]

    def children(self, command_line):
        """Those of its children whose command line, with all its NULs, this is."""
        def is_one(pid):
            try:
                return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == command_line
            except OSError:
                return False
        return [pid for pid in self.helpers() if is_one(pid)]

    def decoders(self):
        return self.children(b"isolate-decoder\0")

    def fds(self):
        """How many fds the daemon and each lasting process of its has open."""
        return {pid: count_fds(pid) for pid in (self.process.pid, *self.helpers())
                if count_fds(pid) is not None}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(RUN_SECONDS)
        self.log.close()
        super().close()


def count_fds(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def memory_kb(pid, which):
    """A number of its status file: VmRSS, or VmHWM for the most since forget_peak."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:"))


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def connect(connection, path):
    """Patiently: where the queue of the socket is full, one that does not block is told so."""
    end = time.monotonic() + RUN_SECONDS
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            assert time.monotonic() < end, "the socket takes no connection"
            time.sleep(0.01)


class Raw:
    """A connection of a user's, with nothing between them and the wire."""

    def __init__(self, service, uid=MALLORY, groups=(MEMBERS,)):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(RUN_SECONDS)
        self.rest = b""
        with acting_as(uid, groups):
            try:
                connect(self.socket, str(service.socket))
            except OSError:
                self.socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, message, fds=()):
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\0"
        if fds:
            sent = socket.send_fds(self.socket, [data], list(fds))
            data = data[sent:]
        self.socket.sendall(data)

    def receive(self):
        """The next message; None where the connection is closed."""
        while b"\0" not in self.rest:
            try:
                block = self.socket.recv(65536)
            except ConnectionError:
                block = b""
            if not block:
                return None
            self.rest += block
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def ask(self, method, fds=(), more=False, **parameters):
        self.send({"method": f"io.isolate.{method}", "more": more, "parameters": parameters}, fds)

    def call(self, method, fds=(), more=False, **parameters):
        with contextlib.suppress(BrokenPipeError):  # who is not served has been told so already
            self.ask(method, fds, more, **parameters)
        return self.receive()


def version(service):
    return service.call("--version", uid=0).stdout.split()[-1]


class Control:
    """A control socket with what a client queues on it: the stdio of the command."""

    def __init__(self, stdio=None):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.null = os.open("/dev/null", os.O_RDWR)
        stdio = [self.null] * 3 if stdio is None else stdio
        # struct message: version, STDIO, value, detail, serial, text
        data = struct.pack("=HHiiI", MESSAGE_VERSION, 1, 0, 0, 0).ljust(MESSAGE_SIZE, b"\0")
        if stdio:
            socket.send_fds(self.ours, [data], stdio)

    def close(self):
        self.ours.close()
        self.theirs.close()
        os.close(self.null)


MESSAGE_SIZE = 16 + 512


def run_parameters(service, **parameters):
    return {"client": version(service), "template": "t", "argv": ["/attack/look", "/etc/passwd"],
            "control": 0, **parameters}


def lingering_socket():
    """A TCP socket that whoever closes it last waits for: unsent data, and an hour to send it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while sender.send(b"x" * 65536):
            pass
    flags = fcntl.fcntl(sender.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(sender.fileno(), fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
    return sender, (receiver, listener)
