# SPDX-License-Identifier: Apache-2.0
"""A private isolate for the attacks: its own state, runtime directory and cgroup, a template made
by hand of nothing but the attack programs, and controls, which run the same programs as root
outside of any sandbox, in namespaces that are thrown away."""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SETTLE_SECONDS = 20
ENGINE = os.environ.get("ISOLATE_TEST_ENGINE", "native")
RUN_SECONDS = 60
NOBODY = 65534

# Everything that engine native gives at all: what the command line can ask for at most.
ALL_CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
LEASE AUDIT_WRITE AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE""".split()

DATA_FILES = """victim overwrite mapped early reopened linked removed renamed punched cloned
directory/file""".split()

WATCHED_FILES = ("/bin/sh", "/usr/bin/env", "/usr/bin/unshare", "/usr/bin/setpriv", "/etc/passwd",
                 "/etc/shadow")
WATCHED_DIRECTORIES = ("/", "/etc", "/usr", "/usr/bin", "/usr/local/bin")
WATCHED_SWITCHES = ("kernel/core_pattern", "kernel/modprobe", "kernel/hostname",
                    "kernel/domainname", "net/ipv4/ip_forward")


def capability_options():
    return [word for name in ALL_CAPABILITIES for word in ("--cap-add", name)]


def parse(output):
    """{name: "SUCCEEDED" | "denied ERRNO" | "killed SIGNAL"} of an attack program's lines."""
    return dict(re.findall(r"^([^\s:]+): (SUCCEEDED|denied \S+|killed \S+)$", output, re.M))


def file_hash(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def describe(path):
    """What of a file must not change: all but the access time."""
    st = os.lstat(path)
    content = ""
    if stat.S_ISREG(st.st_mode):
        content = file_hash(path)
    elif stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    return (st.st_mode, st.st_uid, st.st_gid, st.st_rdev, st.st_nlink, st.st_mtime_ns, content,
            xattrs)


def tree_hash(root):
    total = hashlib.sha256(repr(describe(root)).encode())
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            total.update(repr((os.path.relpath(path, root), describe(path))).encode())
    return total.hexdigest()


def cgroup2_mount():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    raise RuntimeError("cgroup v2 is not mounted")


class Instance:
    engine = ENGINE
    mode = "oneshot"

    def __init__(self, suffix=""):
        self.build = pathlib.Path(os.environ.get("ISOLATE_BUILD", HERE.parents[1] / "build"))
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="isolate-attack-"))
        self.directory.chmod(0o711)
        self.state = self.directory / "state"
        self.runtime = self.directory / "run"
        self.root = self.directory / "root"
        self.cgroup_name = f"isolate-attack-{os.getpid()}{suffix}"
        self.cgroup = cgroup2_mount() / self.cgroup_name
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ISOLATE_LIBEXEC_DIR": str(self.build),
            "ISOLATE_CONFIG": str(self.directory / "isolated.conf"),
        }
        (self.directory / "isolated.conf").write_text(
            f"[Paths]\nStateDirectory={self.state}\nRuntimeDirectory={self.runtime}\n"
            f"[Sandboxes]\nCgroup={self.cgroup_name}\n")
        self.programs = self.compile()
        self.make_root(self.root)
        self.template = self.root  # what is run on
        self.baseline = None

    def compile(self):
        """The attack programs, static: they run in a root without any library."""
        ready = os.environ.get("ISOLATE_ATTACK_BIN")
        if ready:
            return pathlib.Path(ready)
        target = self.directory / "bin"
        target.mkdir()
        target.chmod(0o755)

        def build(source):
            command = ["cc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", str(source), "-o",
                       str(target / source.stem)]
            subprocess.run(command, check=True, timeout=RUN_SECONDS)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(build, sorted(HERE.glob("*.c"))))
        return target

    def make_root(self, root):
        """The smallest system root: accounts, mount points, the attack programs, some data."""
        for name in ("attack/data/directory", "etc", "usr", "dev", "proc", "sys", "tmp", "run", "mnt"):
            (root / name).mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
        for program in self.programs.iterdir():
            shutil.copy(program, root / "attack" / program.name)
        for name in DATA_FILES:
            (root / "attack/data" / name).write_text("ORIGINAL " + name + "\n" * 4096)

    def path(self, name):
        """A directory of the host for one test."""
        path = self.directory / name
        path.mkdir()
        return path

    def engine_options(self):
        return () if self.engine == "native" else ("--engine", self.engine)

    def command(self, program, *arguments, options=(), root=None):
        return [str(self.build / "isolate"), "run", *self.engine_options(), *map(str, options),
                str(root or self.template), "--", f"/attack/{program}", *map(str, arguments)]

    def run(self, program, *arguments, options=(), root=None, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(self.command(program, *arguments, options=options, root=root),
                              env=self.environment, text=True, timeout=RUN_SECONDS, **more)

    def attack(self, program, *arguments, **more):
        """The results of an attack program in a sandbox."""
        done = self.run(program, *arguments, **more)
        assert done.returncode == 0, f"isolate run failed: {done.returncode} {done.stderr}"
        return parse(done.stdout)

    def start(self, program, *arguments, outside=False, **more):
        """A running sandbox (or, outside, a program of the host) with pipes."""
        command = ([str(self.programs / program), *map(str, arguments)] if outside
                   else self.command(program, *arguments, **more))
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def control_command(self, program, *arguments, network=True):
        """Root of the host without any defence, but in mount, pid, uts, ipc, net and cgroup
        namespaces that nobody else uses. pid 1 is a shell."""
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts",
                 "--ipc", "--cgroup"]
        words += ["--net"] if network else []
        return words + ["sh", "-c", '"$0" "$@"; exit $?', str(self.programs / program),
                        *map(str, arguments)]

    def control(self, program, *arguments, network=True, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.control_command(program, *arguments, network=network),
                              env=self.environment, text=True, timeout=RUN_SECONDS,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        assert done.returncode == 0, f"control failed: {done.returncode} {done.stderr}"
        return parse(done.stdout)

    def clones(self):
        return list((self.state / "overlay/clones").iterdir())

    def leftovers(self):
        """What exists only while a sandbox does."""
        found = []
        for pattern in ("overlay/clones/*", "overlay/trash/*", "dir/clones/*", "dir/trash/*", "kept/*"):
            found += self.state.glob(pattern)
        for pattern in ("sandboxes/*", "ids/*"):
            found += self.runtime.glob(pattern)
        if self.cgroup.is_dir():
            found += [path for path in self.cgroup.iterdir() if path.is_dir()]
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        found += [line for line in mounts
                  if f" {self.directory}/" in line and f" {self.runtime} " not in line]
        return sorted(map(str, found))

    def host_state(self):
        state = {"template": tree_hash(self.root)}
        for path in (*WATCHED_FILES, *(self.build / name
                                       for name in ("isolate", "isolated", "isolate-init"))):
            state[str(path)] = file_hash(path)
        for path in WATCHED_DIRECTORIES:
            state[path + " (names)"] = sorted(os.listdir(path))
        for switch in WATCHED_SWITCHES:
            path = pathlib.Path("/proc/sys", switch)
            state[switch] = path.read_text() if path.exists() else None
        return state

    def assert_host_unchanged(self):
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.leftovers() and time.monotonic() < deadline:
            time.sleep(0.02)
        left = self.leftovers()
        assert not left, f"something is left behind: {left}"
        now = self.host_state()
        changed = [key for key in now if now[key] != self.baseline[key]]
        assert not changed, f"the host is not as before: {changed}"

    def close(self):
        procs = self.cgroup / "cgroup.procs"
        if procs.exists():
            for group in sorted(self.cgroup.glob("*/"), reverse=True):
                (group / "cgroup.kill").write_text("1")
                wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text())
                group.rmdir()
            self.cgroup.rmdir()
        subprocess.run(["umount", "-q", str(self.runtime)], check=False)
        shutil.rmtree(self.directory, ignore_errors=False)


def wait_until(condition, seconds=SETTLE_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def read_until(process, line):
    """Output up to a line that begins with that word."""
    text = ""
    for got in process.stdout:
        text += got
        if got.startswith(line):
            return text
    raise AssertionError(f"ended before {line!r}: {text}{process.stderr.read()}")


def end(process):
    """Closes its stdin and waits for its end: the rest of its output."""
    try:
        return process.communicate(timeout=RUN_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
