# SPDX-License-Identifier: Apache-2.0
"""Cells 51 to 56: what it may use, and what it sees. Limits hold where cgroup v2 has the controllers."""

import pathlib
import re
import subprocess

import pytest

from sandboxes import PATIENCE, cgroup2_mount, comm, wait_until


@pytest.fixture
def controllers():
    there = (cgroup2_mount() / "cgroup.controllers").read_text().split()
    if not {"memory", "pids", "cpu"} <= set(there):
        pytest.skip("needs the virtual machine: cgroup v2 lacks the controllers here")


def leaf_of(box):
    (leaf,) = box.installation.leaves()
    return box.installation.cgroup / leaf


@pytest.mark.usefixtures("controllers")
def test_51_memory(box):
    """Who takes more is killed."""
    done = box.run(["--memory", "64M"], ["perl", "-e", '$x = "x" x (1 << 20) while push @all, $x . @all; '])
    assert done.returncode == 137, done
    assert box.run(["--memory", "64M"]).returncode == 0


@pytest.mark.usefixtures("controllers")
def test_52_pids(box):
    done = box.run(["--pids", "20"], ["perl", "-e", "for (1 .. 40) { defined(my $pid = fork) or exit 7; $pid or sleep 600 }"])
    assert done.returncode == 7, done


@pytest.mark.usefixtures("controllers")
def test_53_cpu(box):
    with box.popen(["--cpus", "0.2"], ["sh", "-c", "while :; do :; done"]) as run:
        wait_until(lambda: box.pid_of("sh"), PATIENCE, "the command")
        stat = leaf_of(box) / "cpu.stat"
        wait_until(lambda: int(re.search(r"nr_throttled (\d+)", stat.read_text())[1]) > 2, PATIENCE, "throttling")
        run.terminate()
        assert run.wait(PATIENCE) == 143


def test_54_dev_shm(box):
    """A tmpfs of its own, for everybody in it, and empty for the next."""
    for _ in range(2):
        out = box.output(["-u", "1234"], ["sh", "-c", "stat -f -c %T /dev/shm; stat -c %a /dev/shm; ls -A /dev/shm; echo x >/dev/shm/x && cat /dev/shm/x"])
        assert out == "tmpfs\n1777\nx\n"


def test_55_proc_shows_only_its_own(box):
    """No process of the host's, nor the engine's; the same for who signals all."""
    with subprocess.Popen(["sleep", "613"]) as other:
        try:
            out = box.output([], ["sh", "-c", "cd /proc; for p in [0-9]*; do cat $p/comm; done; kill -TERM -1; echo $$"])
            assert other.poll() is None
        finally:
            other.kill()
    names = set(out.split())
    assert names <= {"sh", "cat", "isolate-init", "isolate-inner"} | {word for word in names if word.isdigit()}, out
    assert "sleep" not in names


def test_56_nested_sandbox(box):
    """Namespaces of its own are not for what is isolated, which is asked for by a capability."""
    script = "unshare --mount --pid --fork --mount-proc sh -c 'echo $$; ls /proc | grep -c ^[0-9]'"
    if box.can("nests"):
        assert box.output([], ["sh", "-c", script]).split()[0] == "1"
        return
    for what in (script, "unshare --user true", "unshare --user --map-root-user --mount true"):
        done = box.shell(what)
        assert done.returncode not in (0, 125) and "ermitted" in done.stderr, done
    box.refused(box.run(["--cap-add", "SYS_ADMIN"], ["sh", "-c", script]), "nests")
