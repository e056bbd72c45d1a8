# SPDX-License-Identifier: Apache-2.0
"""Cells 28 to 34: who the command is, where it begins, what it is told."""

import os


def test_28_environment_exact(box):
    """Nothing of the caller's, and nothing that an engine adds."""
    got = box.output(["-e", "A=b c", "-e", "EMPTY=", "-e", "COPIED"], ["env", "-0"],
                     env={"SECRET": "1", "COPIED": "2", "TERM": "xterm", "container": "x"})
    assert dict(item.split("=", 1) for item in got.split("\0")[:-1]) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root",
        "LOGNAME": "root", "SHELL": "/bin/bash", "A": "b c", "EMPTY": "", "COPIED": "2"}


def test_29_workdir(box):
    assert box.output([], ["pwd"]) == "/root\n"
    assert box.output(["-w", "/usr/lib"], ["pwd"]) == "/usr/lib\n"
    assert box.output(["-u", "games", "-w", "/var/../etc"], ["pwd"]) == "/etc\n"


def test_30_missing_workdir(box):
    done = box.run(["-w", "/no/such/directory"], ["echo", "ran"])
    assert (done.returncode, done.stdout) == (125, "") and "/no/such/directory" in done.stderr, done


def test_31_hostname(box):
    before = os.uname().nodename
    assert box.output(["--hostname", "box-1.example"], ["hostname"]) == "box-1.example\n"
    longest = "a" * 31 + "." + "b" * 32  # of which the kernel has room for
    assert box.output(["--hostname", longest], ["uname", "-n"]) == longest + "\n"
    assert box.output(["--name", "some_name"], ["uname", "-n"]) == "some-name\n"
    assert os.uname().nodename == before


def identity(box, options, **kw):
    """Real, effective, saved and file-system ids, and the groups."""
    text = box.output(options, ["grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status"], **kw)
    return [[int(number) for number in line.split()[1:]] for line in text.splitlines()]


def test_32_uid_and_gid(box):
    assert identity(box, [])[:2] == [[0] * 4, [0] * 4]
    assert identity(box, ["-u", "1234:4321"])[:2] == [[1234] * 4, [4321] * 4]
    assert identity(box, ["-u", "65534"])[:2] == [[65534] * 4, [65534] * 4]


def test_33_no_supplementary_groups(box):
    for options in ([], ["-u", "1234:4321"], ["-u", "daemon"]):
        assert identity(box, options, extra_groups=[4, 27])[2] == [], options


def test_34_user_by_name(box):
    uids, gids, groups = identity(box, ["-u", "games"])
    assert (uids, gids, groups) == ([5] * 4, [60] * 4, [])
    assert box.shell("echo $HOME $USER $LOGNAME; id -un", ["-u", "games"]).stdout == "/usr/games games games\ngames\n"
    done = box.run(["-u", "no-such-user"], ["echo", "ran"])
    assert (done.returncode, done.stdout) == (125, "") and "no-such-user" in done.stderr, done
