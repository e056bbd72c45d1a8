# SPDX-License-Identifier: Apache-2.0
"""A running isolated, built with sanitizers, and callers who send it anything: calls after the
interface's description that are right, nearly right or mutated, in pieces of any size, with any fds,
that end anywhere. A member and root do so by turns, while another user asks whether it still answers.
Nothing crashes, nothing leaks, and no fd stays."""

import collections
import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

from messages import Author, Interface
from resident import BERT, MALLORY, MEMBERS, Control, Raw, wait_until

LONG = os.environ.get("ISOLATE_LONG") == "1"
SECONDS = int(os.environ.get("ISOLATE_FUZZ_SECONDS", "600" if LONG else "20"))
WITH_FDS = {"Run": (0, 4), "Explain": (0, 4), "Exec": (0, 0), "Attach": (0, 0), "TemplateHash": (0, 0),
            "TemplateCreate": (0, 0)}  # how many come behind the first
ANSWER_SECONDS = 30  # a sanitizer and a busy machine are slow; one that stands still is slower


class Asker(threading.Thread):
    """Another user, on one connection: how long the daemon took to answer, at worst."""

    def __init__(self, raw):
        super().__init__(daemon=True)
        self.raw = raw
        self.worst = 0.0
        self.answers = 0
        self.failure = None
        self.ends = threading.Event()

    def run(self):
        try:
            while not self.ends.wait(0.05):
                begin = time.monotonic()
                self.raw.send({"method": "org.varlink.service.GetInfo"})
                answer = self.raw.receive()
                if not answer or "vendor" not in answer.get("parameters", {}):
                    raise AssertionError(f"another user got {answer}")
                self.worst = max(self.worst, time.monotonic() - begin)
                self.answers += 1
        except Exception as failure:  # of a thread: told by the one who waits for it
            self.failure = failure


class Attacker:
    """One that sends, as a member and as root by turns."""

    def __init__(self, service, dice):
        self.service = service
        self.dice = dice
        directory = service.path("attacker")
        directory.chmod(0o777)
        (directory / "file").write_text("x")
        known = ["u", "u", "u", "v", str(directory), f"dir:{service.root}", "/attack/look", "/attack/ids",
                 "fuzz", "/mnt"]
        self.author = Author(dice, known, Interface())
        self.paths = [os.open(directory, os.O_PATH), os.open(directory / "file", os.O_PATH),
                      os.open("/dev/null", os.O_PATH)]
        self.open = [*self.paths, os.open("/dev/null", os.O_RDWR)]
        self.sent = {}
        self.errors = {}

    def close(self):
        for fd in self.open:
            os.close(fd)

    def fds(self, method, is_root, stack):
        """Mostly those that a client sends: a control socket, then paths."""
        kind = self.dice.random()
        if kind < 0.03:
            return [self.dice.choice(self.open)] * self.dice.choice([1, 100, 252, 253])
        if kind < 0.9 and method not in WITH_FDS:
            return []
        control = Control() if self.dice.random() < 0.9 else Control([self.open[0]] * self.dice.randint(0, 5))
        others = self.open if is_root or self.dice.random() < 0.1 else self.paths
        stack.callback(control.close)
        # one that nothing in a request names is refused
        more = 0 if self.dice.random() < 0.5 else self.dice.randint(*WITH_FDS.get(method, (0, 2)))
        return [control.theirs.fileno(), *self.dice.choices(others, k=more)]

    def deliver(self, raw, data, fds):
        """Whole, in pieces, byte by byte, or not to its end."""
        dice = self.dice
        way = dice.random()
        if way < 0.6:
            raw.send(data, fds)
        elif way < 0.75:
            raw.send(data[:1], fds)
            for at in range(1, min(len(data), 400)):
                raw.send(data[at:at + 1])
            raw.send(data[400:])
        elif way < 0.9:
            while data:
                n = dice.randint(1, len(data))
                raw.send(data[:n], fds if dice.random() < 0.7 else [])
                data = data[n:]
        else:
            raw.send(data[:dice.randrange(len(data))], fds)
            if dice.random() < 0.5:
                raw.socket.shutdown(socket.SHUT_WR)

    def connection(self):
        """Some calls on one connection."""
        dice = self.dice
        is_root = dice.random() < 0.4
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(Raw(self.service, 0 if is_root else MALLORY, (0,) if is_root else (MEMBERS,)))
            raw.socket.settimeout(0.02 if dice.random() < 0.2 else 0.3)
            with contextlib.suppress(OSError, ValueError):
                for _ in range(dice.choice([1, 1, 1, 2, 5])):
                    method, data = self.author.call()
                    self.sent[method] = self.sent.get(method, 0) + 1
                    self.deliver(raw, data * dice.choice([1, 1, 1, 3]), self.fds(method, is_root, stack))
                    if dice.random() < 0.8:
                        answer = raw.receive() or {"error": "closed"}
                        word = f'{"root" if is_root else "member"} {answer.get("error", "answered").rpartition(".")[2]}'
                        self.errors[word] = self.errors.get(word, 0) + 1


def open_files(service):
    """{process: what it has open}, of the daemon and those that last. Not the logs of detached sandboxes that have
    ended, which the daemon has ready for some minutes."""
    def names(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # has ended: it holds nothing
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    yield re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {pid: sorted(name for name in names(pid) if "/state/logs/" not in name)
            for pid in (service.process.pid, *service.helpers())}


def more_open(service, before):
    """What is open that was not, in processes that were there."""
    return {pid: sorted((collections.Counter(names) - collections.Counter(before[pid])).elements())
            for pid, names in open_files(service).items() if pid in before and len(names) > len(before[pid])}


def test_daemon(watched, capfd):
    seed = int(os.environ.get("ISOLATE_SEED", random.SystemRandom().randrange(1 << 31)))
    dice = random.Random(seed)
    for name in ("u", "v"):
        done = watched.call("template", "create", name, "--from", f"dir:{watched.root}")
        assert done.returncode == 0, done
    assert watched.serves() and watched.serves(MALLORY)
    watched.lasting = {path for path in watched.leftovers() if "/ids/" in path}  # the decoders'
    attacker = Attacker(watched, dice)
    n = 0
    with Raw(watched, BERT) as raw:
        raw.socket.settimeout(ANSWER_SECONDS)
        before = open_files(watched)
        asker = Asker(raw)
        asker.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            attacker.connection()
            n += 1
            if n % 200 == 0:
                assert not watched.findings(), f"seed {seed}, connection {n}:\n{watched.findings()}"
                assert watched.process.poll() is None, f"seed {seed}, connection {n}: it has ended"
                assert asker.failure is None, f"seed {seed}, connection {n}: {asker.failure}"
                assert watched.clean(), f"seed {seed}, connection {n}: {watched.remains()}"
        asker.ends.set()
        asker.join(ANSWER_SECONDS)
        assert asker.failure is None and asker.answers > 0, f"seed {seed}: {asker.failure}"
    attacker.close()
    assert watched.serves(), f"seed {seed}"
    assert watched.clean(), f"seed {seed}: {watched.remains()}"
    assert wait_until(lambda: not more_open(watched, before), 60), f"seed {seed}: {more_open(watched, before)}"
    with capfd.disabled():
        print(f"seed {seed}: {n} connections, {sum(attacker.sent.values())} calls {attacker.sent}, answers {attacker.errors}, "
              f"{asker.answers} of another user, the slowest after {asker.worst * 1000:.0f} ms")
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(60) == 0, f"seed {seed}:\n{watched.findings()}"
    assert not watched.findings(), f"seed {seed}:\n{watched.findings()}"


def test_end_while_a_call_is_at_work(watched):
    """It hears of its end while a process of it waits for what nobody sends."""
    ours, theirs = os.pipe()
    try:
        with Raw(watched, 0, (0,)) as raw:
            before = set(watched.helpers())
            raw.ask("TemplateReceive", [ours], name="u")
            assert wait_until(lambda: set(watched.helpers()) - before, 60)
            watched.process.send_signal(signal.SIGTERM)
            assert watched.process.wait(60) == 0, watched.findings()
        assert not watched.findings(), watched.findings()
    finally:
        os.close(ours)
        os.close(theirs)
