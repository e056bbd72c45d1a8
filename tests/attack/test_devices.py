# SPDX-License-Identifier: Apache-2.0
"""Attack 13: device nodes, made or found, and mounts; attack 14: cgroup v1's release_agent
(CVE-2022-0492) and a move to a parent group; attack 9: descriptors of the host as stdio. Controls:
the same programs as root in throwaway namespaces, with a loop device on a file of the test's."""

import os
import shutil
import stat
import subprocess

import pytest

from attempts import both_variants, of
from instance import cgroup2_mount, parse

WORD = "WORD-OF-THE-HOST"


@pytest.fixture(scope="module")
def loop(instance):
    """A loop device with an ext4 file system in a file of ours, and a word at its start."""
    image = instance.directory / "disk"
    with open(image, "wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=True)
    with open(image, "r+b") as file:
        file.write(WORD.encode())  # the boot sector, which ext4 leaves alone
    done = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device: {done.stderr}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)
    image.unlink()


# --- 13 ---

DEVICES = """mknod_block mknod_mem mknod_kmsg mount_proc mount_sysfs mount_cgroup mount_cgroup2
mount_devtmpfs mount_tmpfs mount_block remount_root bind_root umount_cover template_block
template_char bound_block bound_char""".split()


@pytest.fixture(scope="module")
def devices(instance, loop):
    root = instance.directory / "nodes"
    bound = instance.path("bound-nodes")
    work = instance.path("device-work")
    shutil.copytree(instance.root, root)
    disk = os.stat(loop).st_rdev
    for directory, prefix in ((root, "template"), (bound, "bound")):
        os.mknod(directory / f"{prefix}_block", stat.S_IFBLK | 0o666, disk)
        os.mknod(directory / f"{prefix}_char", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    native = both_variants(instance, "devices", "/tmp", loop, "/template_block", "/template_char",
                           "/bound/bound_block", "/bound/bound_char", root=root,
                           options=("-v", f"{bound}:/bound"))
    control = instance.control("devices", work, loop, root / "template_block",
                               root / "template_char", bound / "bound_block", bound / "bound_char")
    for path in (root, bound, work):
        shutil.rmtree(path)
    return native, control


def test_all_devices_are_judged(devices):
    assert set(devices[1]) == set(DEVICES)


@pytest.mark.parametrize("what", DEVICES)
def test_devices(judge, devices, what):
    native, control = devices
    judge(13, what, of(native, what), control[what], {"EPERM", "EACCES"},
          missing={"ENXIO", "EBUSY", "ENODEV"})


@pytest.mark.parametrize("capability", ["SYS_ADMIN", "MKNOD", "SETFCAP"])
def test_capability_refused(instance, capability):
    done = instance.run("look", options=("--cap-add", capability))
    assert done.returncode == 125 and f"CAP_{capability}" in done.stderr


def test_device_cannot_be_bound(instance, loop):
    done = instance.run("look", options=("-v", f"{loop}:/dev/disk"))
    assert done.returncode == 125 and "device" in done.stderr


# --- 14 ---

CGROUP = """release_agent_in_sight release_agent_by_mount cgroup_in_new_userns unshare_cgroup
move_to_parent move_to_parent_by_mount""".split()


@pytest.fixture(scope="module")
def cgroup(instance):
    native = both_variants(instance, "cgroup", "/tmp/cgroup")
    native["host network"] = instance.attack("cgroup", "/tmp/cgroup",
                                             options=("--network", "host"))
    parent = cgroup2_mount() / f"{instance.cgroup_name}-control"
    place = instance.path("cgroup-work")
    (parent / "leaf").mkdir(parents=True)
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
               'echo 0 > "$0/leaf/cgroup.procs" && "$1" "$2" "$0"', str(parent),
               str(instance.programs / "cgroup"), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (parent / "leaf").rmdir()
    parent.rmdir()
    place.rmdir()
    return native, parse(done.stdout)


@pytest.mark.parametrize("what", CGROUP)
def test_cgroup(judge, cgroup, what):
    native, control = cgroup
    missing = {"ENOENT", "EINVAL", "EBUSY"} if what.startswith("release_agent") else {"ENODEV"}
    judge(14, what, of(native, what), control[what], {"EPERM", "EACCES", "ENOENT", "EROFS"},
          missing=missing)


# --- 9 ---

KINDS = ("directory", "path", "block")


@pytest.mark.parametrize("fd", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_stdio(instance, judge, loop, kind, fd):
    secret = instance.directory / "secret"
    secret.write_text(WORD)
    jail = instance.directory / "jail"
    shutil.copytree(instance.root, jail)
    (jail / "proc/self").mkdir(parents=True, exist_ok=True)
    door = {"directory": lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY),
            "path": lambda: os.open(secret, os.O_PATH),
            "block": lambda: os.open(loop, os.O_RDONLY)}[kind]()
    names = ("stdin", "stdout", "stderr")
    redirect = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, names[fd]: door}
    arguments = (str(fd), WORD, str(secret))
    try:
        done = instance.run("stdio", *arguments, **redirect)
        assert done.returncode == 125
        assert fd == 2 or (names[fd] in done.stderr and "refused" not in done.stderr)
        assert not done.stdout or "door" not in done.stdout
        # a chroot, which asks no questions
        control = subprocess.run(
            ["unshare", "--mount", "sh", "-c",
             'mount -t proc proc "$0/proc" && exec chroot "$0" /attack/stdio "$@"', str(jail),
             *arguments], text=True, timeout=60, check=True, **redirect)
    finally:
        os.close(door)
        shutil.rmtree(jail)
        secret.unlink()
    text = (control.stdout or "") + (control.stderr or "")
    judge(9, f"{kind}_as_{names[fd]}", "denied refused", parse(text).get("door", text),
          {"refused"})
