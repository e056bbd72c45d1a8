# SPDX-License-Identifier: Apache-2.0
"""Cells 51 to 56: what it may use, and what it sees. Limits hold where cgroup v2 has the controllers."""

import re
import subprocess

import pytest

from sandboxes import PATIENCE, cgroup2_mount, wait_until


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
    done = box.run(["--memory", "64M"], ["perl", "-e", "push @all, 'x' x (1 << 20) . @all while 1"])
    assert done.returncode == 137, done
    assert box.run(["--memory", "64M"]).returncode == 0


@pytest.mark.usefixtures("controllers")
def test_52_pids(box):
    script = "for (1 .. 40) { defined(my $pid = fork) or exit 7; $pid or sleep 600 }"
    done = box.run(["--pids", "20"], ["perl", "-e", script])
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
        out = box.output(["-u", "1234"], ["sh", "-c", """
            cd /dev/shm; stat -f -c %T .; stat -c %a .; ls -A; echo x >x && cat x"""])
        assert out == "tmpfs\n1777\nx\n"


def test_55_proc_shows_only_its_own(box):
    """No process of the host's, nor the engine's; the same for who signals all."""
    with subprocess.Popen(["sleep", "613"]) as other:
        try:
            out = box.output([], ["sh", "-c", """
                cd /proc; for p in [0-9]*; do cat $p/comm; done; kill -TERM -1; echo done"""])
            assert other.poll() is None
        finally:
            other.kill()
    assert set(out.split()) <= {"sh", "cat", "isolate-init", "isolate-inner", "done"}, out


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
