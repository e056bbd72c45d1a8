# SPDX-License-Identifier: Apache-2.0
"""An instance of isolate of its own: configuration, state, records and cgroup that nobody else
uses, and that are gone at the end."""

import contextlib
import os
import pathlib
import subprocess
import time

CGROUP_MOUNTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Instance:
    """Use with `with`. directory must be on a file system that can hold an overlay's upper."""

    count = 0

    def __init__(self, directory, build=None):
        Instance.count += 1
        self.directory = pathlib.Path(directory)
        self.cgroup = f"isolate-bench-{os.getpid()}-{Instance.count}"
        self.config = self.directory / "isolated.conf"
        self.run_directory = self.directory / "run"
        self.program = str(build / "isolate") if build else "isolate"
        self.variables = [f"ISOLATE_CONFIG={self.config}"]
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
        )
        return self

    def __exit__(self, *_exception):
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

    def create(self, template, source):
        """A template of a directory."""
        self.run("template", "create", "--quiet", template, "--from", f"dir:{source}")

    def settle(self, seconds=10):
        """Waits until the last one-shot has destroyed its clone."""
        records = self.run_directory / "sandboxes"
        end = time.monotonic() + seconds
        while records.is_dir() and any(records.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)

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
