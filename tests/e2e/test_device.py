# SPDX-License-Identifier: Apache-2.0
"""--device and --gpu: a character device of the machine in a sandbox. The nodes are this test's own,
of the numbers of /dev/null and of a loop device that nothing uses."""

import os
import pathlib
import shutil
import stat

import pytest

from services import Member

MEMBER = 4242
NULL = os.makedev(1, 3)

# opens its argument for reading and writing, and writes
USE = 'stat -c "%t:%T %u:%g %a" "$1" && exec 3<>"$1" && echo x >&3 && echo used'


@pytest.fixture
def nodes():
    """A directory of nodes in /dev: anybody's and root's."""
    directory = pathlib.Path(f"/dev/isolate-test-{os.getpid()}")
    directory.mkdir(mode=0o755)
    try:
        for name, mode, number in (("open", stat.S_IFCHR | 0o666, NULL), ("closed", stat.S_IFCHR | 0o600, NULL),
                                   ("block", stat.S_IFBLK | 0o666, os.makedev(7, 250))):
            os.mknod(directory / name, mode, number)
            (directory / name).chmod(mode & 0o777)
        yield directory
    finally:
        shutil.rmtree(directory)


def use(box, options, path):
    return box.output(options, ("sh", "-c", USE, "-", str(path))).split("\n")


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


@pytest.mark.parametrize("user", ["0:0", "1000:1000"])
def test_device(instance, nodes, user):
    """The node belongs to the user of the command, whoever has the machine's; no other node can be
    made or opened by that."""
    path = nodes / "closed"
    assert use(instance, ("--device", path, "-u", user), path) == [f"1:3 {user} 660", "used", ""]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_uid == 0


def test_device_under_another_name(instance, nodes):
    assert use(instance, ("--device", f"{nodes}/open:/dev/other/name"), "/dev/other/name")[1] == "used"


def test_no_device_without_the_option(instance, nodes):
    assert instance.run((), ("test", "-e", str(nodes))).returncode == 1


def test_device_by_a_link(instance, nodes):
    """Names such as those of /dev/disk/by-id are links."""
    (nodes / "link").symlink_to("open")
    assert use(instance, ("--device", f"{nodes}/link"), nodes / "link")[1] == "used"


def test_kept_sandbox_has_it_again(instance, nodes):
    name = f"device-{os.getpid()}"
    use(instance, ("--device", nodes / "open", "--keep", "--name", name), nodes / "open")
    try:
        assert "used" in instance.ok("start", name)
        os.unlink(nodes / "open")
        refused(instance.isolate("start", name), "--device", "open", "No such file")
    finally:
        instance.ok("rm", name)


@pytest.mark.parametrize("value, words", [
    ("{nodes}/block", ("block device", "--bind")),
    ("/etc/passwd:/dev/x", ("is no device",)),
    ("{nodes}:/dev/x", ("is no device",)),
    ("{nodes}/none", ("--device", "No such file")),
    ("{nodes}/open:/tmp/x", ("not below /dev",)),
    ("{nodes}/open:/dev/../etc/x", ("target",)),
    ("{nodes}/open:/dev/pts/9", ("file system of the sandbox's own",)),
    ("{nodes}/open:", ("PATH:TARGET",)),
    ("", ("PATH:TARGET",)),
])
def test_refused(instance, nodes, value, words):
    refused(instance.run(("--device", value.format(nodes=nodes))), *words)


def test_bind_of_a_device_names_the_option(instance, nodes):
    refused(instance.run(("-v", f"{nodes}/open:/dev/x")), "device nodes cannot be bound", "--device")


def test_engine_that_cannot(instance, nodes, rootfs):
    refused(instance.isolate("run", "--engine", "chroot", "--storage", "dir", "--device", nodes / "open",
                             rootfs, "--", "true"), "engine chroot")


def test_gpu(instance):
    """All that there are, by the one option."""
    directory = pathlib.Path("/dev/dri")
    if directory.exists():
        pytest.skip("this machine has graphics processors")
    refused(instance.run(("--gpu",)), "--gpu", "/dev/dri/renderD*")
    directory.mkdir()
    try:
        for name in ("renderD128", "renderD129", "card0"):
            os.mknod(directory / name, stat.S_IFCHR | 0o600, NULL)
        shown = instance.output(("--gpu",), ("sh", "-c", "cd /dev/dri && for d in *; do echo x > $d && echo $d; done"))
        assert shown == "renderD128\nrenderD129\n"
    finally:
        shutil.rmtree(directory)


# --- members ---


def test_members_may_not(service, nodes):
    refused(Member(service, MEMBER).run(("--device", nodes / "open")), "root only", "Devices=", "[Policy]")


def test_members_may_by_configuration(service, nodes):
    """What is listed, by whatever name it is asked for, and the caller can open itself."""
    service.stop_resident()
    service.write_configuration(Devices_Members=f"/dev/isolate-none {nodes}/open")
    service.start_again()
    member = Member(service, MEMBER)
    done = member.run(("--device", nodes / "open", "-u", "7:8"), ("sh", "-c", USE, "-", nodes / "open"))
    assert done.stdout == "1:3 7:8 660\nused\n", done
    refused(member.run(("--device", "/dev/zero")), "root only")
    service.stop_resident()
    service.write_configuration(Devices_Members=f"{nodes}/closed")
    service.start_again()
    refused(member.run(("--device", f"{nodes}/open:/dev/x")), "you cannot open", "closed", "Permission denied")
