# SPDX-License-Identifier: Apache-2.0
"""The programs that isolate is compared with: each one's command line for /bin/true in the same
root, and what it needs to be there for it. Who is not installed, or does not work here, is left
out by name."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import machine

CGROUP_MOUNTS = pathlib.Path("/sys/fs/cgroup")
# what lxc-execute and systemd-nspawn make where they are started, and leave there
CGROUPS = ("payload", "supervisor", "lxc.*")
SCHROOT_CONFIGURATIONS = pathlib.Path("/etc/schroot/chroot.d")


def cgroups_of_peers():
    return {
        group
        for place in ("", "*/")
        for name in CGROUPS
        for group in CGROUP_MOUNTS.glob(place + name)
        if group.is_dir()
    }


@contextlib.contextmanager
def cgroups_as_before():
    """Takes away the peers' control groups that appear in the block, as far as they are empty."""
    before = cgroups_of_peers()
    try:
        yield
    finally:
        for group in cgroups_of_peers() - before:
            with contextlib.suppress(OSError):
                group.rmdir()


def export_template(template, root):
    """The template's tree as a plain directory for the peers, through a sandbox of it."""
    root.mkdir(mode=0o755)
    pack = ["tar", "-C", "/", "--one-file-system", "--numeric-owner", "-c", "."]
    with subprocess.Popen(
        ["isolate", "run", template, "--", *pack], stdout=subprocess.PIPE
    ) as packing:
        subprocess.run(
            ["tar", "-C", root, "--numeric-owner", "-xp"], stdin=packing.stdout, check=True
        )
    if packing.returncode != 0:
        raise subprocess.CalledProcessError(packing.returncode, ["isolate run"])
    for name in ("proc", "sys", "dev", "tmp", "run"):
        (root / name).mkdir(exist_ok=True)


def schroot_overlay(root):
    """The settings of a schroot with an overlay over the root."""
    return {"type": "directory", "directory": root, "union-type": "overlay"}


@contextlib.contextmanager
def schroot(settings, suffix=""):
    """A schroot of these settings, as long as the block lasts; None where it is not installed."""
    if not shutil.which("schroot"):
        yield None
        return
    name = f"isolate-bench-{os.getpid()}{suffix}"
    configuration = SCHROOT_CONFIGURATIONS / name
    try:
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        configuration.write_text(
            f"[{name}]\n{lines}profile=minimal\nusers=root\nroot-users=root\n"
        )
        yield name
    finally:
        end_schroot_sessions(name)
        configuration.unlink(missing_ok=True)


def end_schroot_sessions(name):
    result = subprocess.run(
        ["schroot", "--list", "--all-sessions"], capture_output=True, text=True, check=False
    )
    for session in result.stdout.split():
        if session.startswith(f"session:{name}-"):
            subprocess.run(["schroot", "--end-session", "--chroot", session], check=False)


def bwrap_command(root):
    return [
        "bwrap", "--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--die-with-parent", "/bin/true",
    ]  # fmt: skip


def podman_command(root):
    return ["podman", "run", "--rm", "--network=none", "--rootfs", f"{root}:O", "/bin/true"]


def lxc_command(root, directory):
    configuration = directory / "lxc.conf"
    configuration.write_text(
        f"lxc.rootfs.path = dir:{root}\nlxc.uts.name = bench\nlxc.net.0.type = empty\n"
        "lxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\n"
    )
    return [
        "lxc-execute", "--name", f"bench-{os.getpid()}", "--lxcpath", directory,
        "--rcfile", configuration, "--", "/bin/true",
    ]  # fmt: skip


def schroot_command(name):
    return ["schroot", "--chroot", name, "--directory", "/", "--", "/bin/true"]


def runc_command(root, directory):
    """A bundle as `runc spec` makes it, without a terminal."""
    bundle = directory / "runc"
    bundle.mkdir()
    subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
    path = bundle / "config.json"
    spec = json.loads(path.read_text())
    spec["process"].update(terminal=False, args=["/bin/true"])
    spec["root"] = {"path": str(root), "readonly": False}
    path.write_text(json.dumps(spec))
    return ["runc", "run", "--bundle", bundle, f"isolate-bench-{os.getpid()}"]


def file_system(path):
    argv = ["df", "--output=fstype", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[-1]


@contextlib.contextmanager
def file_system_in_a_file(kind, directory, gigabytes):
    """A mounted file system of mkfs's defaults; None, with the reason said, where there are no such
    file systems or no loop devices."""
    image, mount = directory / f"{kind}.image", directory / kind
    if not shutil.which(f"mkfs.{kind}"):
        machine.note(f"no {kind}: mkfs.{kind} is not installed")
        yield None
        return
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(gigabytes << 30)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    argv = ["mount", "-o", "loop", image, mount]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        machine.note(f"no {kind} here: {done.stderr.strip()}")
        yield None
        return
    try:
        yield mount
    finally:
        # lazy: an instance that is just ending may still have something open
        subprocess.run(["umount", "--lazy", mount], check=False)
        image.unlink()


@contextlib.contextmanager
def btrfs_root(root, directory):
    """The root as a subvolume of a small btrfs, which systemd-nspawn -x can clone, or None."""
    if not shutil.which("systemd-nspawn"):
        yield None
        return
    with file_system_in_a_file("btrfs", directory, 2) as mount:
        if mount:
            argv = ["btrfs", "--quiet", "subvolume", "create", mount / "root"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["cp", "-a", f"{root}/.", mount / "root"], check=True)
        yield mount / "root" if mount else None


def nspawn_command(root):
    return [
        "systemd-nspawn", "--quiet", "-x", "--directory", root, "--register=no", "--keep-unit",
        "--private-network", "/bin/true",
    ]  # fmt: skip


def is_installed(name):
    if not shutil.which(name):
        machine.note(f"{name} is left out: it is not installed")
    return bool(shutil.which(name))


def works(name, command):
    """A peer that does not run on this machine is left out, with its own words."""
    environment = dict(word.split("=", 1) for word in command if re.match(r"[A-Z_]+=", str(word)))
    argv = [str(word) for word in command if not re.match(r"[A-Z_]+=", str(word))]
    result = subprocess.run(
        argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        machine.note(f"{name} is left out: {result.stderr.strip()[-300:]}")
    return result.returncode == 0
