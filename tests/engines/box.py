# SPDX-License-Identifier: Apache-2.0
"""An installation as one engine has it: what a cell of the contract runs its commands in."""

import pathlib
import shutil

from matrix import REFUSED
from sandboxes import Instance, comm
from terminal import Terminal

# column → the engine's name, the name of its own process (None: init is all there is)
ENGINES = {
    "native": ("native", None),
    "bwrap": ("bwrap", "bwrap"),
    "lxc": ("lxc", "lxc-start"),
    "nspawn": ("nspawn", "systemd-nspawn"),
    "oci": ("oci", "runc"),
    "crun": ("oci:/usr/bin/crun", "crun"),
    "chroot": ("chroot", None),
}


class Box:
    """`directory`: a root that changes persist in, for engines that run in no clone."""

    def __init__(self, column, capabilities, installation, directory, node):
        self.engine, self.program = ENGINES[column]
        self.capabilities = capabilities
        self.node = node
        self.directory = directory
        self.installation: Instance = installation
        clones = "clones" in capabilities
        self.template = installation.template if clones else str(directory)
        self.options = ["--engine", self.engine, *([] if clones else ["--storage", "dir"])]

    def can(self, capability):
        return capability in self.capabilities

    def refused(self, done, capability):
        """False where the engine says that it can. Else what was asked for must have been refused by
        the engine's name, and nothing have run; the matrix says so, and the cell is over."""
        if self.can(capability):
            return False
        name = self.engine.partition(":")[0]
        assert done.returncode == 125 and done.stdout in ("", b""), done
        assert f"engine {name} cannot " in done.stderr, done
        self.node.user_properties.append(REFUSED)
        return True

    def said(self, text):
        """What is on stderr, less the warning that an engine does not isolate."""
        warning = f"isolate: warning: engine {self.engine} does not isolate: the command is root of this machine\n"
        assert self.can("isolates") or text.startswith(warning), text
        return text.removeprefix(warning)

    # as the installation has them, with this engine

    def argv(self, options=(), command=("true",)):
        return self.installation.run_argv([*self.options, *map(str, options)], command, self.template)

    def call(self, argv, **kw):
        return self.installation.call(argv, **kw)

    def run(self, options=(), command=("true",), **kw):
        return self.installation.call(self.argv(options, command), **kw)

    def shell(self, script, options=(), **kw):
        return self.run(options, ["sh", "-c", script], **kw)

    def output(self, options=(), command=("true",), **kw):
        done = self.run(options, command, **kw)
        assert done.returncode == 0, done
        return done.stdout

    def popen(self, options=(), command=("true",), **kw):
        return self.installation.popen([*self.options, *map(str, options)], command, template=self.template, **kw)

    def terminal(self, command, options=("-t",), **kw):
        return Terminal(self.argv(options, command), {**self.installation.env, "TERM": "vt100"}, **kw)

    # what the host shows

    def pid_of(self, name):
        return self.installation.member_named(name)

    def engine_process(self):
        """The host pid of the engine's own process: of several the first."""
        name = (self.program or "isolate-init")[:15]
        return min((pid for pid in self.installation.members() if comm(pid) == name), default=0)

    def left(self):
        """What exists only while a sandbox does."""
        made = self.installation
        return made.leaves() + made.members() + made.records_of_sandboxes() + [
            name for name in made.clones() if "/clones/" in name]


def skip_reason(column, listed):
    """Why the engine cannot run here, or ""."""
    name, program = ENGINES[column]
    if listed["problem"]:
        return listed["problem"]
    if ":" in name and not pathlib.Path(name.partition(":")[2]).exists():
        return f"{name.partition(':')[2]} is not installed"
    if program and not shutil.which(program):
        return f"{program} is not installed"
    return ""

