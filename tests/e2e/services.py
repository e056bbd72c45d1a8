# SPDX-License-Identifier: Apache-2.0
"""An installation with a resident daemon, and members of its group who call it. Its directories
can be passed by everybody, and its clients are copies that everybody can execute."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from sandboxes import BUILD, MEMBERS, PATIENCE, Client, Instance, children, process_state, record_in, wait_until


class Service(Instance):
    """`settings` are lines of the configuration: {"Pool.Parked": 4}."""

    def __init__(self, base, name, settings=None):
        super().__init__(base, name, template="t")
        self.base.chmod(0o755)
        self.settings = {"Pool.Parked": 0, "Pool.Fresh": 0, **(settings or {})}
        self.write_configuration()
        self.programs = self.base / "bin"
        self.programs.mkdir(exist_ok=True)
        self.programs.chmod(0o755)
        for program in ("isolate", "isolate-ctl", "isolate-image"):
            shutil.copy(BUILD / program, self.programs / program)

    def write_configuration(self, extra="", **changed):
        """Settings with a "." in their name are given as Section_Key."""
        self.settings.update({key.replace("_", ".", 1): value for key, value in changed.items()})
        settings = {
            "Paths.StateDirectory": self.state, "Paths.RuntimeDirectory": self.runtime,
            "Sandboxes.Cgroup": self.cgroup_name, "Templates.KeepGenerations": 0,
            "Daemon.Group": MEMBERS,
            **({"Templates.Storage": self.disk.storage} if self.disk else {}), **self.settings,
        }
        lines = [f"[{key.split('.')[0]}]\n{key.split('.')[1]}={value}\n"
                 for key, value in settings.items()]
        self.config.write_text("".join(lines) + extra)

    def log(self):
        return (self.base / "isolated.log").read_text()

    def start_again(self):
        """A new daemon after one that was killed or stopped."""
        assert self.resident is None
        self.start_resident()

    def kill_resident(self):
        """kill -9, and the end of all that belongs to it."""
        helpers = self.resident_processes() - {self.resident.pid}
        self.resident.kill()
        self.resident.wait(PATIENCE)
        self.resident = None
        wait_until(lambda: all(process_state(pid) in ("", "Z") for pid in helpers), PATIENCE,
                   "the end of the daemon's helpers")

    def helpers(self, *words):
        """Pids of the daemon's own processes whose command line begins so: "isolated",
        "--builder" are builder and destroyer, "isolate-nursery", "isolate-decoder"."""
        wanted = [word.encode() for word in words]
        return [pid for pid in children(self.resident.pid)
                if command_line(pid)[:len(wanted)] == wanted]

    def zombies(self):
        return [pid for pid in children(self.resident.pid) if process_state(pid) == "Z"]

    def record(self, name):
        return record_in(self.runtime / "sandboxes" / name)

    def states(self):
        """{id: state} of all sandboxes, parked ones too."""
        found = {}
        for path in (self.runtime / "sandboxes").glob("[!.]*"):
            try:
                found[path.name] = record_in(path)["state"]
            except FileNotFoundError:
                continue
        return found

    def wait_for_ends(self):
        """Until nothing runs: a caller may know of the end a little before the daemon does, and
        what it does not know of is the next daemon's to clear away."""
        wait_until(lambda: not set(self.states().values()) - {"parked", "fresh"}, PATIENCE, "the end of all")

    def parked(self):
        return sorted(name for name, state in self.states().items() if state == "parked")

    def ps(self, *options):
        return json.loads(self.ok("ps", "--json", *options))

    def leftovers(self):
        """What exists only while a sandbox does."""
        clones = [name for name in self.clones() if "/clones/" in name]
        parks = [name for name in self.records() if name.startswith("parks/")]
        return self.records_of_sandboxes() + clones + self.leaves() + parks

    def assert_clean(self):
        try:
            wait_until(lambda: not self.leftovers(), PATIENCE, "that nothing is left")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.leftovers()}\n{self.log()}") from None

    def remove(self):
        super().remove()
        shutil.rmtree(self.programs)


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


class Member:
    """Somebody with a uid of their own and, unless told otherwise, in the group."""

    def __init__(self, service, uid, groups=str(MEMBERS)):
        self.service = service
        self.uid = uid
        group = ["--groups", groups] if groups else ["--clear-groups"]
        self.prefix = ["setpriv", "--reuid", str(uid), "--regid", str(uid), *group, "--"]
        self.more = {"env": {"ISOLATE_LIBEXEC_DIR": str(service.programs), "HOME": "/"}, "cwd": "/"}

    def argv(self, *arguments):
        return [*self.prefix, str(self.service.programs / "isolate"), *map(str, arguments)]

    def isolate(self, *arguments, **kw):
        return self.service.call(self.argv(*arguments), **{**self.more, **kw})

    def ok(self, *arguments, **kw):
        done = self.isolate(*arguments, **kw)
        assert done.returncode == 0, (arguments, done)
        return done.stdout

    def run(self, options=(), command=("true",), template="t", **kw):
        return self.isolate("run", *options, template, "--", *command, **kw)

    def popen(self, options=(), command=("true",), template="t"):
        return self.popen_isolate("run", *options, template, "--", *command)

    def popen_isolate(self, *arguments):
        return Client(
            self.argv(*arguments), cwd="/", text=True,
            env={**self.service.env, **self.more["env"]}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sleeper(self, *options):
        """A sandbox that runs until its stdin ends, and then exits with 7."""
        process = self.popen(options, ["sh", "-c", "echo up; read x; exit 7"])
        assert process.stdout.readline() == "up\n", process.stderr.read()
        return process


def refused(done, *words):
    """Before anything ran: one line, which has these words."""
    assert done.returncode == 125, done
    assert done.stderr.startswith("isolate: ") and done.stderr.count("\n") == 1, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert done.stdout == "", done


def finish(process, status=7):
    """Ends a sleeper, which must say that status."""
    _, errors = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == status, (process.returncode, errors)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the death of another helper may have been its own
