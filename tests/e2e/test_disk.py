# SPDX-License-Identifier: Apache-2.0
"""Limits of disk space where the storage's file system has no quotas: an image is the clone's disk. What
has quotas is in test_storage.py and in the virtual machine."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from sandboxes import Disk, Instance, receipt, wait_until
from services import Member, Service

MIB = 1 << 20
ENDLESS_FILES = "i=0; while true >/srv/f$i; do i=$((i + 1)); done 2>/dev/null; echo $i"


@pytest.fixture(scope="module")
def limited(session_directory, small_root):
    """An installation with a template on an overlay of ext4 without quotas."""
    base = session_directory / "images"
    base.mkdir(mode=0o755)
    disk = Disk(base, "overlay", "ext4", "1G")
    with Instance(base / "own", f"isolate-test-{os.getpid()}-images") as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}", "--storage", disk.storage)
        made.place = disk
        yield made
        made.ok("prune", "--kept")
        made.ok("template", "rm", "t")
    disk.remove()


def write(mib, name="big"):
    return ["dd", "if=/dev/zero", f"of=/{name}", "bs=64k", f"count={mib * 16}", "conv=fsync"]


def reached(instance, tmp_path, options, command):
    path = tmp_path / "receipt"
    instance.run(["--receipt", path, *options], command, template="t")
    return receipt(path)["sandbox"]["reached"]


def test_more_is_refused(limited):
    assert limited.run(["--disk", "16M"], write(12), template="t").returncode == 0
    done = limited.run(["--disk", "16M"], write(32), template="t")
    assert done.returncode == 1 and "No space left" in done.stderr, done
    assert limited.run([], write(32), template="t").returncode == 0


@pytest.mark.parametrize("mib", [1, 2, 7, 16, 100, 511, 512, 4000, 200000])
def test_what_is_free_is_what_was_asked_for(limited, mib):
    """Nothing more, and not much less; but no more than the disk has."""
    blocks, size = limited.output(["--disk", f"{mib}M"], ["stat", "-f", "-c", "%a %S", "/"],
                                  template="t").split()
    free = int(blocks) * int(size)
    of_disk = os.statvfs(limited.place.path)
    most = min(mib * MIB, of_disk.f_bavail * of_disk.f_frsize)
    assert 0.9 * most - 65536 <= free <= most


def test_inodes_are_bounded(limited, tmp_path):
    made = int(limited.output(["--disk", "16M"], ["sh", "-c", ENDLESS_FILES], template="t"))
    assert 3500 < made <= 4096
    assert limited.run([], ["true"], template="t").returncode == 0


def test_receipts_tell(limited, tmp_path):
    assert reached(limited, tmp_path, ["--disk", "16M"], write(4)) == []
    assert reached(limited, tmp_path, ["--disk", "16M"], write(32)) == ["disk"]
    assert reached(limited, tmp_path, ["--disk", "16M"], ["sh", "-c", ENDLESS_FILES]) == ["inodes"]
    assert reached(limited, tmp_path, [], write(32)) == []


def test_kept(limited):
    """It keeps the limit, its changes can be told and committed, and what is made of it has no limit."""
    limited.ok("run", "--disk", "16M", "--keep", "--name", "k", "t", "--", *write(8))
    assert json.loads(limited.ok("inspect", "k"))["limits"] == {"disk_bytes": 16 * MIB}
    done = limited.isolate("start", "k", "--", *write(12, "more"))
    assert done.returncode == 1 and "No space left" in done.stderr, done
    assert limited.ok("start", "k", "--", "sh", "-c", "rm /more /etc/issue; mv /var /srv/moved; stat -c %s /big"
                      ) == f"{8 * MIB}\n"
    told = limited.ok("diff", "k").splitlines()
    assert {"A /big", "D /etc/issue", "A /srv/moved"} <= set(told), told
    limited.ok("commit", "k", "made")
    assert limited.ok("diff", "k") == ""
    assert limited.output([], ["sh", "-c", "stat -c %s /big; echo /etc/issue* /var* /srv/moved/*"],
                          template="made") == f"{8 * MIB}\n/etc/issue* /var* /srv/moved/run /srv/moved/tmp\n"
    assert limited.run([], write(32), template="made").returncode == 0
    # it goes on, as limited as before
    assert limited.isolate("start", "k", "--", *write(32, "again")).returncode == 1
    limited.ok("rm", "k")
    limited.ok("template", "rm", "made")


def test_full_one_starts_again(limited):
    limited.run(["--disk", "8M", "--keep", "--name", "full"], write(32), template="t")
    for _ in range(3):
        assert limited.isolate("start", "full", "--", "true").returncode == 0
    assert limited.isolate("start", "full", "--", "rm", "/big").returncode == 0
    limited.ok("rm", "full")


def test_space_comes_back(limited):
    """What a sandbox has deleted is the disk's again, while it runs, and all of it behind its end."""

    def used():
        os.sync()
        space = os.statvfs(limited.place.path)
        return (space.f_blocks - space.f_bfree) * space.f_frsize

    before = used()
    script = "dd if=/dev/zero of=/big bs=1M count=100 conv=fsync 2>/dev/null; echo full; read x; " \
             "rm /big; sync -f /; echo empty; read x"
    with limited.popen(["--disk", "200M"], ["sh", "-c", script], template="t",
                       stdin=subprocess.PIPE) as client:
        assert client.stdout.readline() == "full\n"
        assert used() > before + 90 * MIB
        client.stdin.write("\n")
        client.stdin.flush()
        assert client.stdout.readline() == "empty\n"
        assert used() < before + 30 * MIB
        client.stdin.write("\n")
        client.stdin.flush()
    wait_until(lambda: used() < before + 2 * MIB, 10, "the space of the image")


def test_full_disk_below(limited, tmp_path):
    """Sparse images promise more than there is: who writes then, and asks, gets an error, and only they do."""
    ballast = pathlib.Path(limited.place.path) / "ballast"
    with limited.popen(["--disk", "100M"], ["sh", "-c", "echo up; read x; dd if=/dev/zero of=/big bs=1M count=90 "
                                            "conv=fsync 2>&1 && echo done; echo end; read x"], template="t",
                       stdin=subprocess.PIPE) as client:
        assert client.stdout.readline() == "up\n"
        try:
            space = os.statvfs(limited.place.path)
            with open(ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - 20 * MIB)
            client.stdin.write("\n")
            client.stdin.flush()
            said = "".join(iter(client.stdout.readline, "end\n"))  # it holds what it has
            assert "error" in said.lower() or "No space" in said, said
            assert "done" not in said
            # the next one is told; one that is kept has all of its space or does not begin
            for options in (["--disk", "4M"], ["--disk", "100M", "--keep", "--name", "none"]):
                done = limited.run(options, ["true"], template="t")
                assert done.returncode == 125 and "No space left" in done.stderr, done
                assert "free space in storage" in done.stderr
        finally:
            ballast.unlink()
    assert limited.run(["--disk", "100M"], write(80), template="t").returncode == 0


def test_image_cannot_be_reached(limited):
    """What mounts it is root of the machine; a sandbox with every capability it may have sees files, and no
    device that the image is on."""
    script = ("for i in 0 1 2 3 4 5 6 7 8 9; do mknod /l$i b 7 $i; cat /l$i /dev/loop$i; done; "
              "cat /sys/block/loop*/loop/backing_file; ls -a / /proc/1/cwd/ ..; cat /proc/self/mountinfo; true")
    done = limited.run(["--disk", "16M"], ["sh", "-c", script], template="t")
    assert done.returncode == 0
    assert "/dev/loop" not in done.stdout and "lost+found" not in done.stdout
    assert "clones" not in done.stdout and "image" not in done.stdout
    assert "EXT4" not in done.stdout and "\x53\xef" not in done.stdout


def test_hooks_see_it(limited, tmp_path):
    """The clone is shown before and behind, and the limit holds for what they write."""
    done = limited.isolate("run", "--disk", "8M", "--pre-hook", 'echo hook >"$ROOTFS/srv/h"', "--post-hook",
                           f'cat "$ROOTFS/srv/o" >{tmp_path}/seen', "t", "--", "sh", "-c",
                           "cat /srv/h; echo out >/srv/o")
    assert (done.returncode, done.stdout) == (0, "hook\n"), done
    assert (tmp_path / "seen").read_text() == "out\n"


def test_through_a_daemon(session_directory, limited, small_root):
    """Parked ones have no limit; a member's one fills up and its neighbour does not."""
    with Service(session_directory / "imaged", f"isolate-test-{os.getpid()}-imaged",
                 {"Pool.Parked": 2}) as service:
        service.ok("template", "create", "l", "--from", f"dir:{small_root}", "--storage", limited.place.storage)
        service.start_resident()
        service.ok("pool", "set", "l", "2")
        member = Member(service, 61578)
        wait_until(lambda: "parked" in service.states().values(), 30, "a parked sandbox")
        for _ in range(3):
            done = member.run(["--disk", "16M"], write(32), template="l")
            assert done.returncode == 1 and "No space left" in done.stderr, done
        assert member.run([], write(32), template="l").returncode == 0
        service.ok("template", "rm", "l")
        service.stop_resident()


def test_nothing_outlives_all_that_is_killed(limited):
    """Neither mount nor loop device has to be taken back: the fixture of every test compares."""
    client = limited.popen(["--disk", "16M"], ["sh", "-c", "echo up; sleep 100"], template="t")
    assert client.stdout.readline() == "up\n"
    assert [file for file in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
            if file.read_text().strip().endswith("/image")]
    limited.kill_all()
    client.kill()
    client.communicate()
    limited.ok("ps")


WITHOUT_LOOP = """
d=$(mktemp -d) && mount -t tmpfs none $d && for n in null zero full random urandom tty; do
    touch $d/$n && mount --bind /dev/$n $d/$n || exit 99; done
mkdir $d/pts $d/shm && mount --rbind /dev/pts $d/pts && ln -s pts/ptmx $d/ptmx && ln -s /proc/self/fd $d/fd &&
mount --rbind $d /dev && exec "$@"
"""


def test_no_loop_devices(limited, tmp_path):
    """As in a container: refused with the reason, and nothing ran."""
    argv = limited.run_argv(["--disk", "16M", "-v", f"{tmp_path}:/mnt"], ["touch", "/mnt/ran"], template="t")
    done = limited.call(["unshare", "--mount", "--propagation", "private", "sh", "-ec", WITHOUT_LOOP, "sh", *argv])
    assert done.returncode == 125, done
    assert "loop devices" in done.stderr and "prjquota" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not shutil.which("mke2fs"), reason="mke2fs is not installed")
def test_damaged_image_is_mounted_no_more(limited):
    """An image that says of itself that it has errors."""
    limited.ok("run", "--disk", "8M", "--keep", "--name", "broken", "t", "--", "true")
    (image,) = pathlib.Path(limited.place.path).glob("**/clones/*/image")
    subprocess.run(["debugfs", "-w", "-R", "set_super_value state 2", image], check=True, capture_output=True)
    done = limited.isolate("start", "broken", "--", "true")
    assert done.returncode == 125 and "damaged" in done.stderr, done
    limited.ok("rm", "broken")
