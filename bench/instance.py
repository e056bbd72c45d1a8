# SPDX-License-Identifier: Apache-2.0
"""An instance of isolate of its own: configuration, state, records and cgroup that nobody else
uses, and that are gone at the end."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import machine

CGROUP_MOUNTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Instance:
    """Use with `with`. directory must be on a file system that can hold an overlay's upper."""

    count = 0

    def __init__(self, directory, build=None, parked=32, fresh=None):
        Instance.count += 1
        self.directory = pathlib.Path(directory)
        self.cgroup = f"isolate-bench-{os.getpid()}-{Instance.count}"
        self.config = self.directory / "isolated.conf"
        self.run_directory = self.directory / "run"
        self.program = str(build / "isolate") if build else "isolate"
        # never the machine's own daemon
        self.variables = [f"ISOLATE_CONFIG={self.config}", "ISOLATE_SOCKET="]
        self.build = build
        self.parked = parked
        self.fresh = fresh
        self.socket = self.run_directory / "io.isolate"
        self.daemon = None
        self.connection = None
        if build:
            self.variables.append(f"ISOLATE_LIBEXEC_DIR={build}")

    def __enter__(self):
        self.directory.mkdir(mode=0o700)
        self.config.write_text(
            "[Paths]\n"
            f"StateDirectory={self.directory}/state\n"
            f"RuntimeDirectory={self.run_directory}\n"
            "[Sandboxes]\n"
            f"Cgroup={self.cgroup}\n"
            "[Pool]\n"
            f"Parked={self.parked}\n"
            + (f"Fresh={self.fresh}\n" if self.fresh is not None else "")
        )
        return self

    def __exit__(self, *_exception):
        if self.daemon:
            self.stop_serving()
            self.kill_all()
        self.settle()
        # lazy: a one-shot that is just ending may still have it open
        if self.run_directory.is_mount():
            subprocess.run(["umount", "--lazy", self.run_directory], check=False)
        for mount in CGROUP_MOUNTS:
            parent = pathlib.Path(mount) / self.cgroup
            if parent.is_dir():
                self.remove_cgroup(parent)

    def command(self, *arguments):
        """The words for interleave: variables, then the program and its arguments."""
        return [*self.variables, self.program, *map(str, arguments)]

    def environment(self):
        return {**os.environ, **dict(variable.split("=", 1) for variable in self.variables)}

    def run(self, *arguments, **options):
        return subprocess.run(
            [self.program, *map(str, arguments)],
            check=True,
            text=True,
            env=self.environment(),
            **options,
        )

    def create(self, template, source, storage=None):
        """A template of a directory."""
        where = ["--storage", storage] if storage else []
        self.run("template", "create", "--quiet", template, "--from", f"dir:{source}", *where)

    def settle(self, seconds=10):
        """Waits until the last one-shot has destroyed its clone."""
        records = self.run_directory / "sandboxes"
        end = time.monotonic() + seconds
        while records.is_dir() and any(records.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)

    def serve(self, *prefix):
        """Starts a resident daemon of this instance; from here on command() goes through it.
        prefix: words before the program, for another mount namespace for example."""
        # here, so that we see the socket even where the daemon has mounts of its own
        self.run_directory.mkdir(exist_ok=True)
        if not self.run_directory.is_mount():
            argv = ["mount", "-t", "tmpfs", "-o", "mode=0755", "isolate-bench", self.run_directory]
            subprocess.run(argv, check=True)
        with open(self.directory / "isolated.log", "ab") as log:
            self.daemon = subprocess.Popen(
                [*map(str, prefix), self.build / "isolated"], env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 20
        while self.connection is None:
            with contextlib.suppress(OSError):
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(self.socket))
                self.connection = connection
            if self.daemon.poll() is not None or time.monotonic() > end:
                raise subprocess.CalledProcessError(
                    self.daemon.poll() or 1, ["isolated"], stderr=self.log()
                )
            time.sleep(0.01)
        self.variables[1] = f"ISOLATE_SOCKET={self.socket}"

    def log(self):
        return (self.directory / "isolated.log").read_text(errors="replace")

    def call(self, method, **parameters):
        """One varlink call to the daemon, over a connection that stays."""
        message = {"method": f"io.isolate.{method}", "parameters": parameters}
        self.connection.sendall(json.dumps(message).encode() + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            part = self.connection.recv(1 << 20)
            if not part:
                raise subprocess.CalledProcessError(1, [f"isolated {method}"], stderr=self.log())
            answer += part
        reply = json.loads(answer[:-1])
        if "error" in reply:
            raise subprocess.CalledProcessError(1, [f"isolated {method}"], stderr=str(reply))
        return reply["parameters"]

    def wait_idle(self, seconds=60):
        """Until the pool is as full as it wants to be and nothing is being taken away; returns
        what the pool says."""
        records = self.run_directory / "sandboxes"
        end = time.monotonic() + seconds
        while True:
            shapes = self.call("PoolList")["shapes"]
            ready = sum(shape["ready"] for shape in shapes)
            idle = all(
                shape["building"] == 0 and shape["ready"] >= min(shape["wanted"], self.parked)
                for shape in shapes
            )
            running = len(self.call("List")["sandboxes"])
            if idle and len(os.listdir(records)) == ready + running + sum(shape["fresh"] for shape in shapes):
                return shapes
            if time.monotonic() > end:
                machine.note(f"the pool did not settle within {seconds} s: {shapes}")
                return shapes
            time.sleep(0.002)

    def stop_serving(self):
        if self.connection:
            self.connection.close()
        if self.daemon:
            self.daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.daemon.wait(timeout=30)
            if self.daemon.poll() is None:
                self.daemon.kill()
                self.daemon.wait()
        self.daemon = self.connection = None
        self.variables[1] = "ISOLATE_SOCKET="

    def cgroups(self):
        """The leaves of this instance's sandboxes."""
        for mount in CGROUP_MOUNTS:
            parent = pathlib.Path(mount) / self.cgroup
            if parent.is_dir():
                yield from (leaf for leaf in parent.iterdir() if leaf.is_dir())

    def members(self):
        """Host pids of everything in its sandboxes."""
        pids = []
        for leaf in self.cgroups():
            with contextlib.suppress(OSError):
                pids += map(int, (leaf / "cgroup.procs").read_text().split())
        return pids

    def kill_all(self):
        """What runs, and the records of it, which only a daemon or a one-shot would take away."""
        for leaf in self.cgroups():
            with contextlib.suppress(OSError):
                (leaf / "cgroup.kill").write_text("1")
        with contextlib.suppress(subprocess.CalledProcessError, OSError):
            self.run("prune", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def remove_cgroup(parent):
        for leaf in parent.iterdir():
            if leaf.is_dir():
                with contextlib.suppress(OSError):
                    (leaf / "cgroup.kill").write_text("1")
        for _try in range(100):
            for leaf in [*parent.iterdir(), parent]:
                if leaf.is_dir():
                    with contextlib.suppress(OSError):
                        leaf.rmdir()
            if not parent.exists():
                return
            time.sleep(0.02)
