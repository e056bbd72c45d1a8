# SPDX-License-Identifier: Apache-2.0
"""The main job: a command in a throwaway clone, and nothing of it afterwards."""

import os
import pathlib
import subprocess

import pytest

from sandboxes import ENGINE, comm, wait_until


def test_runs_a_command(instance):
    done = instance.run([], ["echo", "hello"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_runs_without_double_dash(instance, rootfs):
    assert instance.ok("run", str(rootfs), "echo", "-n", "--", "x") == "-- x"


def test_what_follows_the_template_is_the_commands(instance, rootfs):
    assert instance.ok("run", str(rootfs), "echo", "-t", "--keep") == "-t --keep\n"


def test_changes_are_gone_afterwards(instance, rootfs):
    assert instance.run([], ["sh", "-c", "echo x >/etc/marker && rm /etc/passwd"]).returncode == 0
    assert not (rootfs / "etc/marker").exists()
    assert (rootfs / "etc/passwd").exists()
    assert instance.run([], ["test", "-e", "/etc/marker"]).returncode == 1
    assert instance.run([], ["test", "-e", "/etc/passwd"]).returncode == 0


def test_relative_path_as_template(instance, rootfs):
    done = instance.run([], ["true"], template=f"./{rootfs.name}", cwd=rootfs.parent)
    assert done.returncode == 0, done
    assert instance.run([], ["true"], template=".", cwd=rootfs).returncode == 0


def test_dir_storage_persists(instance, tmp_path, rootfs):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", rootfs, root], check=True)
    instance.output(["--storage", "dir"], ["sh", "-c", "echo kept >/srv/marker"], template=str(root))
    assert (root / "srv/marker").read_text() == "kept\n"
    st = (root / "srv/marker").stat()
    assert (st.st_uid, st.st_gid) == (0, 0)
    hosts = (root / "etc/hosts").read_text() if (root / "etc/hosts").exists() else None
    assert instance.output(["--storage", "dir"], ["cat", "/srv/marker"], template=str(root)) == "kept\n"
    now = (root / "etc/hosts").read_text() if (root / "etc/hosts").exists() else None
    assert now == hosts


def test_namespaces_are_its_own(instance):
    kinds = ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"]
    inside = instance.output([], ["readlink", *[f"/proc/self/ns/{kind}" for kind in kinds]])
    for kind, link in zip(kinds, inside.split(), strict=True):
        assert link.startswith(f"{kind}:[")
        assert link != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_id_range_is_this_sandboxes_alone(instance):
    a = instance.popen([], ["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; cat"],
                       stdin=subprocess.PIPE)
    lines = [a.stdout.readline().split() for _ in range(2)]
    b = instance.output([], ["cat", "/proc/self/uid_map"]).split()
    a.communicate("")
    for inside, outside, count in [*lines, b]:
        assert (inside, count) == ("0", "65536")
        assert int(outside) >= 65536 and int(outside) % 65536 == 0
    assert lines[0][1] != b[1]


def test_template_is_seen_with_its_own_ids(instance, rootfs):
    names = ["/etc/passwd", "/etc/shadow", "/usr/bin/passwd", "/var/mail"]
    there = [name for name in names if (rootfs / name[1:]).exists()]
    inside = instance.output([], ["stat", "-c", "%u:%g:%a", *there]).split()
    for name, seen in zip(there, inside, strict=True):
        st = (rootfs / name[1:]).stat()
        assert seen == f"{st.st_uid}:{st.st_gid}:{st.st_mode & 0o7777:o}", name


def test_sees_no_process_of_the_host(instance):
    pids = instance.output([], ["sh", "-c", "cd /proc && ls -d [0-9]*"]).split()
    assert 0 < len(pids) <= 3 and pids[0] == "1"


def test_sees_no_mount_of_the_host(instance, session_directory):
    mounts = instance.output([], ["cat", "/proc/self/mountinfo"])
    points = [line.split()[4] for line in mounts.splitlines()]
    assert "/" in points and "/proc" in points and "/dev/shm" in points
    inside = [line for line in mounts.splitlines() if " - overlay " not in line]
    assert not [line for line in inside if str(session_directory) in line]
    for line in mounts.splitlines():
        if line.split()[4] == "/":
            assert "nosuid" in line and "nodev" in line


def test_only_stdio_is_open(instance):
    # 3 is ls's own
    assert instance.output([], ["ls", "/proc/self/fd"]).split() == ["0", "1", "2", "3"]
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        seen = instance.output([], ["ls", "/proc/self/fd"], pass_fds=(write,))
    finally:
        os.close(read)
        os.close(write)
    assert seen.split() == ["0", "1", "2", "3"]


def test_dev_is_private(instance):
    names = set(instance.output([], ["ls", "/dev"]).split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd",
            "stdin", "stdout", "stderr"} <= names
    assert not names & {"vda", "sda", "kmsg", "mem", "kvm", "fuse", "loop0", "console0"}
    assert instance.output([], ["sh", "-c", "echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1"]
                           ).split() == ["00", "00", "00"]


def test_proc_and_sys_are_masked(instance):
    script = """
        for f in /proc/kcore /proc/keys /proc/timer_list; do
            [ ! -e $f ] || [ "$(head -c 1 $f 2>/dev/null | wc -c)" = 0 ] || echo readable $f
        done
        for f in /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/sys/vm/drop_caches; do
            ! { echo 1 >$f; } 2>/dev/null || echo writable $f
        done
        ! mkdir /sys/fs/cgroup/x 2>/dev/null || echo cgroup
        ! mount -t tmpfs x /mnt 2>/dev/null || echo mount
    """
    # systemd-nspawn gives its container a group to make more in
    assert instance.output([], ["sh", "-c", script]) == ("cgroup\n" if ENGINE == "nspawn" else "")


def test_no_new_privs_and_filter(instance):
    status = dict(
        line.split(":\t", 1)
        for line in instance.output([], ["cat", "/proc/self/status"]).splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert int(status["SigBlk"], 16) == 0 and int(status["SigIgn"], 16) == 0
    assert status["Umask"].strip() == "0022"
    # uid 0 of the sandbox holds what apt needs, never what reaches out of it
    held = int(status["CapEff"], 16)
    assert held == int(status["CapBnd"], 16)
    assert held >> 0 & 1 and held >> 7 & 1  # CHOWN, SETUID
    for number in (13, 16, 17, 21, 27, 29, 31):  # NET_RAW … SYS_ADMIN, MKNOD, AUDIT_WRITE, SETFCAP
        assert not held >> number & 1, number


def test_signals_ignored_by_the_caller_are_default_inside(instance):
    argv = ["sh", "-c", "trap '' TERM INT HUP; exec \"$@\"", "sh",
            *instance.run_argv([], ["cat", "/proc/self/status"])]
    text = instance.call(argv).stdout
    assert "SigIgn:\t0000000000000000\n" in text


def test_environment_is_not_inherited(instance):
    text = instance.output([], ["env"], env={"SECRET": "1", "TERM": "xterm", "LANG": "de_DE"})
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert names == {"PATH", "HOME", "USER", "LOGNAME", "SHELL"}
    assert "HOME=/root\n" in text and "USER=root\n" in text


def test_starts_in_the_users_home(instance):
    assert instance.output([], ["pwd"]) == "/root\n"


def test_tmpfs_places_are_empty_and_writable(instance):
    script = "for d in /tmp /run /dev/shm; do ls -A $d; touch $d/x || exit 1; done; stat -c %a /tmp"
    assert instance.output([], ["sh", "-c", script]).split() == (["host"] if ENGINE == "nspawn" else []) + ["1777"]


def commands_of(instance):
    """Who is left; pid 1, which has just said that the command has ended, may still be exiting."""
    return [name for name in map(comm, instance.members()) if name not in ("", "isolate-init")]


def test_background_processes_die_with_the_command(instance):
    done = instance.run([], ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo started"])
    assert done.stdout == "started\n"
    assert not commands_of(instance)


def test_returns_only_when_every_process_is_dead(instance):
    # a process that holds stdout would keep the reader waiting
    for _ in range(5):
        done = instance.run([], ["sh", "-c", "for i in 1 2 3 4 5; do sleep 600 & done; exit 4"])
        assert done.returncode == 4
        assert not commands_of(instance)


def test_orphans_are_reaped(instance):
    # a zombie would be seen in its parent's list
    script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &) ; done; sleep 0.3; grep -l Z /proc/[0-9]*/stat"
    done = instance.run([], ["bash", "-c", script.replace("grep -l Z", "grep -lE ' Z '")])
    assert done.stdout == ""


def test_template_is_not_written_by_provided_files(instance, rootfs):
    (text,) = [instance.output(["--hostname", "provided"], ["cat", "/etc/hosts"])]
    assert "provided" in text and "127.0.0.1" in text
    path = rootfs / "etc/hosts"
    assert not path.exists() or "provided" not in path.read_text()


def test_localtime_is_the_hosts(instance):
    zone = os.path.realpath("/etc/localtime")
    if not zone.startswith("/usr/share/zoneinfo/"):
        pytest.skip("the host's /etc/localtime is no link")
    if instance.run([], ["test", "-e", zone]).returncode != 0:
        pytest.skip("the template has no tzdata")
    assert instance.output([], ["readlink", "-f", "/etc/localtime"]).strip() == zone


def test_twenty_at_once(instance):
    runs = [
        instance.popen(["--hostname", f"h{i}"], ["sh", "-c", f"hostname; echo {i} >/x; cat /x; exit {i}"])
        for i in range(20)
    ]
    for i, run in enumerate(runs):
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err) == (i, f"h{i}\n{i}\n", "")


def test_two_hundred_in_a_row_leave_nothing(instance):
    for _ in range(200):
        done = instance.run([], ["true"])
        assert (done.returncode, done.stderr) == (0, "")


def test_large_argument_list_travels(instance):
    many = [f"argument-{i}" for i in range(20000)]
    out = instance.output([], ["sh", "-c", 'echo $#; eval echo \\${$#}', "sh", *many])
    assert out.split() == ["20000", "argument-19999"]


def test_command_sees_only_its_cgroup(instance):
    assert instance.output([], ["cat", "/proc/self/cgroup"]).splitlines()[-1].endswith(":/")


def test_cgroup_has_one_leaf_while_it_runs(instance):
    run = instance.popen([], ["sleep", "600"])
    wait_until(lambda: instance.member_named("sleep"), what="the command")
    (leaf,) = instance.leaves()
    assert {comm(pid) for pid in instance.members()} == {"isolate-init", "sleep"}
    assert leaf.startswith("debian_")
    run.terminate()
    assert run.wait(20) == 143
    run.communicate()


def test_init_cannot_be_read_or_traced(instance):
    script = "cat /proc/1/environ >/dev/null; readlink /proc/1/exe; cat /proc/1/maps; head -c 4 /proc/1/exe"
    done = instance.run([], ["sh", "-c", script])
    assert done.stdout == ""


def test_unshare_of_the_user_namespace_is_refused(instance):
    assert instance.run([], ["unshare", "-U", "true"]).returncode != 0
    assert instance.run([], ["unshare", "-m", "true"]).returncode != 0


def test_help_and_version(instance):
    assert "--bind" in instance.ok("run", "--help")
    assert instance.ok("--version").startswith("isolate ")
    assert "run" in instance.ok("--help")


def test_path_names_with_spaces_and_newlines(instance, rootfs, tmp_path):
    odd = tmp_path / "a b\nc"
    odd.mkdir()
    (odd / "f").write_text("x")
    assert instance.output(["-v", f"{odd}:/mnt/a b\nc"], ["cat", "/mnt/a b\nc/f"]) == "x"
    assert pathlib.Path(rootfs).is_dir()
