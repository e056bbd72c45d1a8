# SPDX-License-Identifier: Apache-2.0
"""Cells 57 to 62: nothing is left, whatever it was and however it ended."""

import os

from sandboxes import PATIENCE, cgroup2_mount, comm, wait_until

LONG = bool(os.environ.get("ISOLATE_LONG"))

# Forks until 128 are there, all of which ignore what can be ignored; then says so. Bounded, because
# the machine's own limits are all there is where cgroup v2 lacks the controller pids
BOMB = """
    $SIG{$_} = "IGNORE" for qw(INT TERM HUP QUIT PIPE ALRM USR1 USR2 TSTP);
    pipe my $read, my $write;
    for (1 .. 7) { defined fork or last }
    syswrite $write, "x";
    if ($$ == $ARGV[0]) { my $n = 0; $n += sysread $read, my $data, 100 while $n < 128; print "full\n"; exit 9 }
    sleep 1 while 1;
"""


def nothing_left(box):
    """Of processes a moment later at most init, which has just said that it ends."""
    assert not [name for name in map(comm, box.installation.members()) if name not in ("", "isolate-init")]
    wait_until(lambda: not box.left(), PATIENCE, "that nothing is left")


def test_57_nothing_left_after_exit(box):
    for status in (0, 42):
        assert box.shell(f"mkdir -p /tmp/d /run/d; echo x >/tmp/d/f; echo x >/run/d/f; exit {status}").returncode == status
        nothing_left(box)


def test_58_nothing_left_after_fork_bomb(box):
    done = box.run([], ["sh", "-c", 'exec perl -e "$0" $$', BOMB])
    assert (done.returncode, done.stdout) == (9, "full\n"), done
    nothing_left(box)
    if "pids" in (cgroup2_mount() / "cgroup.controllers").read_text().split():
        done = box.run(["--pids", "64", "--timeout", "1s"], ["perl", "-e", "fork while 1"])
        assert done.returncode in (124, 137), done
        nothing_left(box)


def test_59_nothing_left_after_a_stubborn_one(box):
    """A process in the background, in a session of its own, that ignores all signals."""
    done = box.shell("(trap '' INT TERM HUP QUIT TSTP; exec setsid sleep 600) >/dev/null 2>&1 & echo up; exit 3")
    assert (done.returncode, done.stdout) == (3, "up\n"), done
    nothing_left(box)


def test_60_nothing_left_after_a_killed_client(served_box):
    """Which the daemon sees; cell 17 is the same without one."""
    script = "trap '' INT TERM HUP; setsid sleep 600 & echo ready; while :; do sleep 1; done"
    with served_box.popen([], ["sh", "-c", script]) as run:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        run.kill()
        run.wait(PATIENCE)
    wait_until(lambda: not served_box.left(), PATIENCE, "that nothing is left")


def test_61_clone_unchanged_for_the_next(box, rootfs):
    script = "echo x >/etc/marker; rm /etc/passwd; mkdir /srv/d; chmod 700 /usr; mv /etc/group /etc/group2"
    if not box.can("clones"):
        done = box.installation.run(["--engine", box.engine], ["sh", "-c", script])
        assert box.refused(done, "clones")
        return
    look = "cd /; ls -A /etc /srv; stat -c %a /usr; cat /etc/passwd"
    before = box.shell(look).stdout
    assert box.shell(script).returncode == 0
    assert box.shell(look).stdout == before
    assert not (rootfs / "etc/marker").exists() and (rootfs / "etc/passwd").exists()


def test_62_many_in_a_row(box):
    for number in range(200 if LONG else 20):
        done = box.shell(f"exit {number % 5}")
        assert (done.returncode, box.said(done.stderr)) == (number % 5, ""), number
    nothing_left(box)
