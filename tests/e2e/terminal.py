# SPDX-License-Identifier: Apache-2.0
"""A terminal that a test sits at: a pty of the host whose slave is the controlling terminal of
the program under test."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    def __init__(self, argv, env, *, rows=24, columns=80, **kw):
        self.master, self.slave = pty.openpty()
        self.seen = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        slave = self.slave

        def become_leader():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        kw.setdefault("stdin", slave)
        kw.setdefault("stdout", slave)
        kw.setdefault("stderr", slave)
        self.process = subprocess.Popen(
            argv, env=env, preexec_fn=become_leader, pass_fds=(slave,), **kw
        )

    @property
    def pid(self):
        return self.process.pid

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def attributes(self):
        return termios.tcgetattr(self.slave)

    def is_restored(self):
        return self.attributes() == self.before

    def is_raw(self):
        return not self.attributes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def write(self, text):
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def _read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def expect(self, pattern, seconds=20):
        """Reads until pattern (bytes, a regular expression) is seen, and consumes up to there."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} did not come; there is {self.seen!r}"
            self._read(min(left, 0.2))

    def wait(self, seconds=20):
        """The exit status, as a shell names it; keeps reading meanwhile."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end; there is {self.seen!r}"
            self._read(0.02)
        while self._read(0):
            pass
        status = self.process.returncode
        return 128 - status if status < 0 else status

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for fd in (self.master, self.slave):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
