# SPDX-License-Identifier: Apache-2.0
"""A private installation of isolate out of the build tree: directories, cgroup and id ranges of
its own, so that tests neither see nor disturb another one. Needs root."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

BUILD = pathlib.Path(
    os.environ.get("ISOLATE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build")
).resolve()

# the gid whose members may use a resident daemon
MEMBERS = 61234

# ISOLATE_TEST_ENGINE: everything that run() and its like start goes through that engine
ENGINE = os.environ.get("ISOLATE_TEST_ENGINE", "native")
ENGINE_OPTIONS = () if ENGINE == "native" else ("--engine", ENGINE)

# liveness only: a test that waits this long has failed
PATIENCE = 60

# A command that says when it is ready for a signal, and that it came: perl, because a shell would
# speak of the children that the signal ends as well
TRAP = """
    $| = 1;
    $SIG{{{name}}} = sub {{ print "got-{name}\\n"; exit 7 if {ends} }};
    print "ready\\n";
    sleep 1 while 1;
"""


def undo_inherited_ignores():
    """A background job of a script has these ignored, and its children would, too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_until(condition, seconds=20.0, what="the condition"):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)


def cgroup2_mount():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    raise RuntimeError("cgroup v2 is not mounted")


class Client(subprocess.Popen):
    """A process whose `with` block never waits for ever: where the block fails it is killed, and where
    it does not end by itself, too. What it still says is lost then."""

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.kill()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.wait(PATIENCE)
        finally:
            self.kill()  # nobody, once it has been waited for
            super().__exit__(kind, value, traceback)


class Disk:
    """A file system of its own for templates and clones, on a loop device. ISOLATE_TEST_STORAGE
    says DRIVER:FILESYSTEM."""

    def __init__(self, base, driver, kind, size="4G"):
        self.path = base / "disk"
        self.image = base / "disk.img"
        self.storage = f"{driver}:{self.path}"
        self.path.mkdir(mode=0o700)
        subprocess.run(["truncate", "-s", size, self.image], check=True)
        subprocess.run([f"mkfs.{kind}", "-q", self.image], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    @classmethod
    def from_environment(cls, base):
        wanted = os.environ.get("ISOLATE_TEST_STORAGE")
        return cls(base, *wanted.split(":")) if wanted else None

    def remove(self):
        wait_until(lambda: try_umount(self.path), 10, "the umount of the disk")
        self.path.rmdir()
        self.image.unlink()


class Instance:
    """One private installation. `template` is what run() runs on unless told otherwise."""

    live = []

    def __init__(self, base, name, template=None):
        self.base = pathlib.Path(base)
        self.state = self.base / "state"
        self.runtime = self.base / "run"
        self.config = self.base / "isolated.conf"
        self.cgroup_name = name
        self.cgroup = cgroup2_mount() / name
        self.template = template
        self.base.mkdir(mode=0o700, exist_ok=True)
        self.disk = Disk.from_environment(self.base)
        self.config.write_text(
            f"[Paths]\nStateDirectory={self.state}\nRuntimeDirectory={self.runtime}\n"
            f"[Sandboxes]\nCgroup={name}\n[Templates]\nKeepGenerations=0\n"
            f"Storage={self.disk.storage if self.disk else ''}\n"
            f"[Daemon]\nGroup={MEMBERS}\n[Pool]\nFresh=0\nParked={os.environ.get('ISOLATE_TEST_PARKED', '0')}\n"
        )
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "ISOLATE_LIBEXEC_DIR": str(BUILD),
            "ISOLATE_CONFIG": str(self.config),
            "ISOLATE_SOCKET": "",
        }
        self.resident = None
        if os.environ.get("ISOLATE_TEST_MODE") == "resident":
            self.start_resident()
        Instance.live.append(self)

    # the resident daemon

    def start_resident(self, **kw):
        """Starts `isolated` and waits until it serves."""
        self.env["ISOLATE_SOCKET"] = str(self.runtime / "io.isolate")
        self.resident = subprocess.Popen(
            [str(BUILD / "isolated")], env={**self.env, "ISOLATE_SOCKET": ""},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.base / "isolated.log", "ab"), start_new_session=True, **kw
        )
        wait_until(self.serves, 20, "the resident daemon's socket")

    def serves(self):
        assert self.resident.poll() is None, (self.base / "isolated.log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(self.env["ISOLATE_SOCKET"]) != 0:
                return False
            # a child of the last daemon, between fork and exec, may have that one's socket still
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return struct.unpack("3i", peer)[0] == self.resident_pid()

    def resident_pid(self):
        return self.resident.pid

    def resident_processes(self):
        """The resident daemon and what always belongs to it."""
        if not self.resident:
            return set()
        helpers = [pid for pid in children(self.resident.pid) if comm(pid) not in ("isolate-init", "isolate-network")]
        return {self.resident.pid, *helpers}

    def stop_resident(self, number=signal.SIGTERM):
        """Ends it and returns its exit status; what it wrote is in isolated.log."""
        if not self.resident:
            return None
        self.resident.send_signal(number)
        status = self.resident.wait(PATIENCE)
        self.resident = None
        self.env["ISOLATE_SOCKET"] = ""
        return status

    # command lines

    def run_argv(self, options=(), command=("true",), template=None):
        template = self.template if template is None else template
        return [str(BUILD / "isolate"), "run", *ENGINE_OPTIONS, *options, template, "--", *command]

    def _environment(self, env):
        return {**self.env, **(env or {})}

    def call(self, argv, *, env=None, text=True, timeout=PATIENCE, **kw):
        """Runs argv with this installation's environment to its end."""
        if "input" not in kw:
            kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        errors = "surrogateescape" if text else None
        return subprocess.run(
            argv, env=self._environment(env), text=text, errors=errors, timeout=timeout, **kw
        )

    def isolate(self, *arguments, **kw):
        """`isolate ARGUMENTS…`."""
        return self.call([str(BUILD / "isolate"), *arguments], **kw)

    def ok(self, *arguments, **kw):
        """The same, which must succeed; returns its stdout."""
        done = self.isolate(*arguments, **kw)
        assert done.returncode == 0, (arguments, done)
        return done.stdout

    def run(self, options=(), command=("true",), *, template=None, **kw):
        """`isolate run OPTIONS… TEMPLATE -- COMMAND…`."""
        return self.call(self.run_argv(options, command, template), **kw)

    def output(self, options=(), command=("true",), **kw):
        """The same, which must succeed; returns its stdout."""
        done = self.run(options, command, **kw)
        assert done.returncode == 0, done
        return done.stdout

    def popen(self, options=(), command=("true",), *, template=None, env=None, text=True, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        return Client(
            self.run_argv(options, command, template), env=self._environment(env), text=text, **kw
        )

    def popen_isolate(self, *arguments, env=None, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        return Client(
            [str(BUILD / "isolate"), *arguments], env=self._environment(env), text=True, **kw
        )

    # what the host shows of it

    def leaves(self):
        """cgroups of sandboxes and workers."""
        try:
            return sorted(entry.name for entry in os.scandir(self.cgroup) if entry.is_dir())
        except FileNotFoundError:
            return []

    def members(self):
        """Host pids in those cgroups."""
        pids = []
        # an engine may have made more below a leaf, and all of it may go meanwhile
        for directory, _, _ in os.walk(self.cgroup):
            if directory == str(self.cgroup):
                continue
            try:
                pids += [int(p) for p in pathlib.Path(directory, "cgroup.procs").read_text().split()]
            except OSError:
                continue
        return pids

    def member_named(self, name):
        """The host pid of the first process called name in a sandbox, or 0."""
        for pid in self.members():
            if comm(pid) == name:
                return pid
        return 0

    def daemons(self):
        """Host pids of this installation's isolated, isolate-image and clients."""
        wanted = b"ISOLATE_CONFIG=" + os.fsencode(self.config)
        found = []
        resident = self.resident_processes()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) in resident:
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def clones(self):
        """Names below the state directory, deep enough to see clones, layers and records, not
        deep enough to see what is in them."""
        stores = [self.disk.path / "isolate"] if self.disk else []
        # but the list of other places, which the first of them makes
        return sorted(name for place in [self.state, *stores] for name in names_below(place, 3)
                      if name not in ("stores", "stores.lock"))

    def records(self):
        """Names in the runtime directory; what is only ever locked, or a daemon's own for as long
        as it lives, does not count."""
        own = ("swept", "io.isolate", "decoder-ids", "shapes", "templates.changed", "empty")
        return sorted(
            name
            for name in names_below(self.runtime, 2)
            if not name.endswith(".lock") and not name.startswith("create.") and name not in own
            and not self.is_range_of_decoders(name)
        )

    def is_range_of_decoders(self, name):
        try:
            return name.startswith("ids/") and (self.runtime / name).read_text().startswith("decoders")
        except OSError:
            return False

    def records_of_sandboxes(self):
        return [name for name in self.records() if name.startswith(("sandboxes/", "ids/"))]

    # the end of it

    def kill_all(self):
        """Ends whatever runs."""
        for pid in self.daemons() + self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def remove_leaves(self):
        """Where all members have ended. nspawn makes more below its leaf."""
        for leaf in self.leaves():
            groups = [directory for directory, _, _ in os.walk(self.cgroup / leaf, topdown=False)]
            for group in groups:
                wait_until(lambda path=group: try_rmdir(path), 10, f"the removal of {group}")

    def remove(self):
        self.stop_resident()
        self.kill_all()
        wait_until(lambda: not self.members(), 10, "the end of all members")
        self.remove_leaves()
        if self.cgroup.exists():
            wait_until(lambda: try_rmdir(self.cgroup), 10, "the removal of the cgroup")
        # the daemon's helpers may end a moment after it
        wait_until(lambda: try_umount(self.runtime), 10, "the umount of the runtime directory")
        Instance.live.remove(self)
        if self.disk:
            self.disk.remove()
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)
        self.config.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def try_umount(path):
    """Everything that is mounted there."""
    while os.path.ismount(path):
        if subprocess.run(["umount", path], stderr=subprocess.DEVNULL, check=False).returncode:
            return False
    return True


def try_rmdir(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except OSError:
        return ""


def process_state(pid):
    """The letter of /proc/PID/stat, "" when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def live(pid):
    return process_state(pid) not in ("", "Z", "X")


def wait_until_started(client, find):
    """Until the command is there, which find() tells the pid of, and its init, which forwards signals, knows
    that it has started: what dies before that is a start that failed."""
    pid = wait_until(find, PATIENCE, "the command")
    for number, state in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "S")):
        client.send_signal(number)
        wait_until(lambda state=state: process_state(pid) == state, PATIENCE, f"state {state}")


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def names_below(directory, depth):
    found = []
    todo = [(directory, "", depth)]
    while todo:
        path, prefix, left = todo.pop()
        try:
            entries = list(os.scandir(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            found.append(prefix + entry.name)
            if left > 1 and entry.is_dir(follow_symlinks=False):
                todo.append((entry.path, prefix + entry.name + "/", left - 1))
    return found


def tree_walk(root):
    """Every entry of a tree with what lstat says of it, access times excepted."""
    found = {}
    todo = [str(root)]
    while todo:
        path = todo.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                st = entry.stat(follow_symlinks=False)
                found[entry.path] = (
                    st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns, st.st_ctime_ns,
                    st.st_ino,
                )
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
    return found


def record_in(path):
    """What isolate has on file of a sandbox: a line of JSON to look for it by, one of the rest."""
    head, rest = path.read_text().splitlines()
    return {**json.loads(rest), **json.loads(head)}


def receipt(path):
    return json.loads(pathlib.Path(path).read_text())
