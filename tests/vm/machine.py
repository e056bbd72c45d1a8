# SPDX-License-Identifier: Apache-2.0
"""A virtual machine for tests: a copy-on-write disk over the image (image.py), booted as often as
a test likes, each time with a script. QEMU runs as the caller's child; without KVM it
emulates, so everything takes about ten times as long as on the machine itself.

    with Machine() as machine:
        report = machine.run("smoke.sh", files=[package], folders={"root": directory})
        with machine.boot("load.sh") as boot:     # for what needs more than a run to its end
            boot.wait_for("# ready")
            boot.kill()                           # as if the power were cut
        report = machine.run("check.sh", "more.sh")   # the same disk again

A script is a file beside this one; guest.sh runs the functions test_* of each one by one and says
what came of them as TAP on the second serial port."""

import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import image

HERE = pathlib.Path(__file__).parent
PR_SET_PDEATHSIG = 1
NAME = re.compile(r"^(test_\w+)\(\) \{$", re.MULTILINE)
RESULT = re.compile(r"^(not ok|ok) \d+ - (\w+)(?: # (SKIP)?\s*(.*))?$")
LINE_SECONDS = 0.1
BOOT_SECONDS = 420
BOOT_ATTEMPTS = 3


def names_in(script):
    """The names of the tests in a script, in their order."""
    return NAME.findall((HERE / script).read_text())


class Result:
    def __init__(self, name, verdict, remark):
        self.name, self.verdict, self.remark = name, verdict, remark
        self.log = []


class Report:
    """What a script has said: results by name, `# fact KEY VALUE` lines, and whether it came to
    its end."""

    def __init__(self, lines, console):
        self.results, self.facts, self.ended = {}, {}, False
        self.console = console
        last = None
        for line in lines:
            found = RESULT.match(line)
            if found:
                verdict = "skipped" if found[3] else "passed" if found[1] == "ok" else "failed"
                last = self.results[found[2]] = Result(found[2], verdict, found[4] or "")
            elif line.startswith("# fact "):
                name, _, value = line[7:].partition(" ")
                self.facts[name] = value
            elif line.startswith("1.."):
                self.ended = True
            elif last and line.startswith("# "):
                last.log.append(line[2:])

    def why_incomplete(self):
        return "the machine did not come to its end; its console:\n" + "\n".join(self.console[-40:])


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def acceleration():
    """KVM only with the processor's own virtualisation: there are machines with a /dev/kvm that
    comes to a halt at the kernel's first vector instruction."""
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    hardware = flags and {"vmx", "svm"} & set(flags[1].split())
    kvm = hardware and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["-accel", "kvm"] if kvm else ["-accel", "tcg,thread=multi"]


def text_lines(path):
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


class Boot:
    """One run of QEMU, from power on to power off."""

    def __init__(self, machine, stage, number, durable):
        self.console = machine.directory / f"console-{number}"
        self.said = machine.directory / f"report-{number}"
        cache = "writeback" if durable else "unsafe"
        disks = [(machine.disk, "qcow2", "off"), (machine.spare, "qcow2", "off"), (stage, "raw", "on")]
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            *acceleration(), "-cpu", "max", "-smp", "2", "-m", "3G",
            "-kernel", str(machine.image / "vmlinuz"), "-initrd", str(machine.image / "initrd"),
            "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off",
            "-serial", f"file:{self.console}", "-serial", f"file:{self.said}",
        ]
        for path, form, read_only in disks:
            command += ["-drive", f"file={path},format={form},if=virtio,cache={cache},read-only={read_only}"]
        self.began = time.monotonic()
        # pylint: disable=subprocess-popen-preexec-fn,consider-using-with
        self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def lines(self):
        return text_lines(self.said)

    def is_running(self):
        return self.qemu.poll() is None

    def wait_for(self, pattern, seconds):
        """Until a line of the report matches; that line, or None when the machine has ended or the
        time is over."""
        end = time.monotonic() + seconds
        while True:
            running = self.is_running()
            for line in self.lines():
                if re.search(pattern, line):
                    return line
            if not running or time.monotonic() > end:
                return None
            time.sleep(LINE_SECONDS)

    def wait_off(self, seconds):
        """Whether the machine went off by itself in that time."""
        try:
            self.qemu.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self):
        """The power is cut."""
        if self.is_running():
            self.qemu.kill()
        self.qemu.wait()

    def report(self):
        return Report(self.lines(), text_lines(self.console))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Machine:
    """Its disks, in a directory of their own: /dev/vda from the image, /dev/vdb empty, and a new
    read-only "stage" for each boot."""

    def __init__(self, suite="trixie"):
        self.suite = suite
        self.image = image.get(suite)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="isolate-vm-", dir="/var/tmp"))
        self.disk = self.directory / "disk.qcow2"
        self.spare = self.directory / "spare.qcow2"
        self.boots = 0
        create = ["qemu-img", "create", "-q", "-f", "qcow2"]
        base = ["-b", str(self.image / "disk.raw"), "-F", "raw"]
        subprocess.run([*create, *base, str(self.disk)], check=True)
        subprocess.run([*create, str(self.spare), "8G"], check=True)

    def _stage(self, scripts, files, folders, environment):
        """A disk with the scripts, what they need, and /stage/run, which starts them."""
        tree = self.directory / "stage"
        tree.mkdir()
        for path in (*HERE.glob("*.sh"), *files):
            shutil.copy2(path, tree)
        for name, path in folders.items():
            subprocess.run(["cp", "-a", str(path), str(tree / name)], check=True)
        assignments = "".join(f"export {name}={value!r}\n" for name, value in environment.items())
        run = tree / "run"
        run.write_text(f"#!/bin/bash\ncd /stage\n{assignments}exec bash guest.sh {' '.join(scripts)}\n")
        run.chmod(0o755)
        disk = self.directory / f"stage-{self.boots}.raw"
        used = int(subprocess.check_output(["du", "-s", "--block-size=1M", str(tree)]).split()[0])
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "stage", "-d",
                        str(tree), str(disk), f"{used + used // 4 + 16}M"], stdout=subprocess.DEVNULL, check=True)
        shutil.rmtree(tree)
        return disk

    def boot(self, *scripts, files=(), folders=None, environment=None, durable=False):
        """Switches it on, until the first script begins. `durable`: what the machine has synced survives
        kill(). An emulator with several processors now and then executes code of the kernel while
        that is being patched, mostly in the first second: nothing of the script has run then, so it
        is tried again."""
        stage = None
        for attempt in range(BOOT_ATTEMPTS):
            self.boots += 1
            stage = stage or self._stage(scripts, files, folders or {}, environment or {})
            boot = Boot(self, stage, self.boots, durable)
            if boot.wait_for("", BOOT_SECONDS):
                break
            boot.kill()
            print(f"boot {attempt + 1} ended before the script began: {boot.report().console[-3:]}")
        return boot

    def run(self, *scripts, seconds=1800, **arguments):
        """A boot, the scripts to their end, power off (not a shutdown: the disk is synced); its report."""
        with self.boot(*scripts, **arguments) as boot:
            boot.wait_for(r"^1\.\.", seconds)
            boot.wait_for(r"^# synced$", 30)
            return boot.report()

    def another(self):
        """A second one, as fresh as this one was."""
        return Machine(self.suite)

    def remove(self):
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
