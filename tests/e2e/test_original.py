# SPDX-License-Identifier: Apache-2.0
"""The original's command line on directories, and what of it is refused before ZFS is asked. The rest is
in the virtual machine (tests/vm/seed.sh)."""

import os
import pathlib
import shlex
import shutil
import socket
import subprocess

import pytest

from sandboxes import BUILD, cgroup2_mount, wait_until
from terminal import Terminal

needs_bwrap = pytest.mark.skipif(not pathlib.Path("/usr/bin/bwrap").exists(),
                                 reason="bubblewrap is not installed")


@pytest.mark.parametrize("arguments, words", [
    (["-r"], "usage"),
    (["-f", "-s"], "DATASET is missing"),
    (["-r", "rpool/isolate/debisl"], "NUM is missing"),
    (["-r", "rpool/isolate/debisl", "many"], "not a number from 0 to 1000"),
    (["-r", "rpool/isolate/debisl", "1001"], "not a number from 0 to 1000"),
    (["-r", "rpool/isolate/debisl", "-5"], "-5"),
    (["-r", "rpool/isolate/debisl", "1", "2"], '"2"'),
    # options stand where they like
    (["-r", "-f", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "-s", "rpool"], "dataset \"rpool\""),
    (["-r", "-f", "-s", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "rpool", "-f", "1"], "dataset \"rpool\""),
    (["-f", "1", "-r", "rpool"], "dataset \"rpool\""),
    (["-r", "-f", "1"], "NUM is missing"),
    (["-r", "-x", "rpool/isolate/debisl", "1"], '"-x"'),
    (["-r", "-r", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "rpool", "1"], "inside of another"),
    (["-r", "rpool/isolate/Debian", "1"], "Debian"),
    (["-r", "rpool/iso@late/debisl", "1"], "no name of a ZFS dataset"),
    (["-r", "rpool/isolate/dübisl", "1"], "dübisl"),
    (["-z"], "-z needs a value"),
    (["-z", "rpool/isolate/debisl"], "COMMAND is missing"),
    (["-z", "debisl", "true"], "inside of another"),
    (["-z", "rpool/isolate/debisl", "true"], "holds no templates"),
    (["-t", "/", "-z", "rpool/isolate/debisl", "true"], "exclude each other"),
    (["-n", "true"], "-t DIR or -z DATASET is missing"),
    (["-t", "", "true"], "empty"),
    (["-t", "/no/such/place", "true"], "/no/such/place"),
    (["-k", "-t", "/", "true"], "unknown option -k"),
    (["-e", "jail", "-t", "/", "true"], '"jail": no such engine'),
    (["-d", "/etc", "-t", "/", "true"], '-d "/etc": write HOST:TARGET'),
    (["-d", "/a:/b:/c", "-t", "/", "true"], "with one colon"),
    (["-d", ":/b", "-t", "/", "true"], "HOST:TARGET"),
    (["-d", "/a:", "-t", "/", "true"], "HOST:TARGET"),
    (["-d", "/no/such/source:/b", "-t", "/", "true"], "/no/such/source"),
    (["-v"], "-v needs a value"),
    (["-v", "NAME", "-t", "/", "true"], "NAME:VALUE"),
    (["-v", ":VALUE", "-t", "/", "true"], "NAME:VALUE"),
    (["-1", "-t", "/", "true"], "--x11: DISPLAY is not set"),
    (["-u"], "-u needs a value"),
    (["-g"], "-g needs a value"),
])
def test_refused(instance, arguments, words):
    done = instance.isolate(*arguments)
    assert done.returncode == 125
    assert words in done.stderr, done.stderr
    assert done.stdout == ""


@needs_bwrap
def test_default_engine_is_bwrap_as_it_was(instance, small_root):
    """A read-only root, tmpfs on /tmp and /home, no capabilities, the root's name as host name."""
    script = ("id -u; pwd; hostname; echo $PATH; echo x 2>/dev/null >/etc/x || echo read-only; echo y >/home/y;"
              " echo z >/tmp/z; cat /home/y /tmp/z; cat /proc/self/status; exit 9")
    done = instance.isolate("-t", small_root, "sh", "-c", script)
    assert done.returncode == 9, done
    assert done.stdout.split()[:7] == ["0", "/", "small", "/usr/local/bin:/usr/bin:/bin:/usr/sbin", "read-only",
                                       "y", "z"]
    assert "CapEff:\t0000000000000000" in done.stdout
    assert done.stderr == f"[+] bwrap: {small_root}\n"


@needs_bwrap
def test_options_as_they_were(instance, small_root, tmp_path):
    (tmp_path / "file").write_text("content\n")
    done = instance.isolate("-q", "-d", "file:/mnt/made/file", "-d", f"{tmp_path}:/srv", "-v", "A:b:c d", "-v", "B:",
                            "-p", "srv", "-t", small_root, "sh", "-c",
                            "pwd; echo $A-$B-; cat /mnt/made/file; echo new >/srv/new", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "/srv\nb:c d--\ncontent\n", ""), done
    assert (tmp_path / "new").read_text() == "new\n" and (tmp_path / "new").stat().st_uid == 0
    (small_root / "mnt/made/file").unlink()
    (small_root / "mnt/made").rmdir()


def test_options_end_at_the_command(instance, small_root):
    done = instance.isolate("-qe", "native", "-t", small_root, "sh", "-c", "echo $0 $@", "-t", "-x", "--", "-z")
    assert (done.returncode, done.stdout) == (0, "-t -x -- -z\n"), done


def test_trace(instance, small_root):
    done = instance.isolate("-x", "-e", "native", "-n", "-t", small_root, "true")
    assert done.returncode == 0
    assert f"+ isolate run --engine=native --hostname=small --network=host --workdir=/ --storage=dir {small_root}" \
        in done.stderr
    long = instance.isolate("-x", "-e", "native", "-v", f"A:{'x' * 2000}", "-t", small_root, "true").stderr
    assert f" --env=A={'x' * 2000} --storage=dir {small_root}" in long


def test_trace_can_be_typed(instance, small_root):
    """The same run again, with every word as it was, whatever is in it."""
    value = "b  $(c)'\"" + 2000 * "x"
    command = ["sh", "-c", 'echo "$A" "$@"', "name", "d  e", ""]
    first = instance.isolate("-x", "-e", "native", "-v", f"A:{value}", "-t", small_root, *command)
    traced = [line[2:] for line in first.stderr.splitlines() if line.startswith("+ ")]
    assert first.returncode == 0 and len(traced) == 1, first
    words = shlex.split(traced[0])
    assert words[-len(command) - 1:] == ["--", *command]
    again = instance.isolate(*words[1:])
    assert (again.returncode, again.stdout) == (0, f"{value} d  e \n") == (first.returncode, first.stdout), again


def test_seccomp_stays(instance, small_root):
    done = instance.isolate("-e", "native", "-t", small_root, "cat", "/proc/self/status",
                            env={"DISABLE_SECCOMP_WRAPPER": "1"})
    assert "Seccomp:\t2" in done.stdout and "[!] DISABLE_SECCOMP_WRAPPER" in done.stderr


@pytest.fixture
def maintained(small_root, tmp_path):
    """A root to be changed."""
    root = pathlib.Path(small_root.parent / "maintained")
    subprocess.run(["cp", "-a", small_root, root], check=True)
    yield root
    shutil.rmtree(root)


def test_chroot_changes_the_directory_and_says_what_it_is(instance, maintained):
    script = "echo made >/made; id -u; cat /proc/self/uid_map; kill -TERM $$"
    done = instance.isolate("-e", "chroot", "-t", maintained, "sh", "-c", script)
    assert done.returncode == 143, done
    assert done.stdout.split() == ["0", "0", "0", "4294967295"]
    assert "[!] chroot does not isolate" in done.stderr
    assert (maintained / "made").stat().st_uid == 0
    wait_until(lambda: instance.leaves() == [], 20, "the end of all")
    assert not any(str(maintained) in line for line in open("/proc/self/mounts"))


def test_chroot_takes_its_processes_along(instance, maintained):
    done = instance.isolate("-e", "chroot", "-t", maintained, "sh", "-c", "sleep 600 & echo $!")
    assert done.returncode == 0
    wait_until(lambda: instance.members() == [], 20, "the end of all")


def test_chroot_is_for_a_directory_itself(instance, maintained):
    for options, words in ((["--engine", "chroot"], "run in a clone"),
                           (["--engine", "chroot", "--storage", "dir", "-v", "/etc:/mnt"], "bind")):
        done = instance.run(options, template=str(maintained))
        assert done.returncode == 125 and words in done.stderr, done
    done = instance.isolate("-e", "chroot", "-d", "/etc:/mnt", "-t", maintained, "true")
    assert done.returncode == 125 and "engine chroot cannot bind" in done.stderr


@pytest.fixture(scope="module")
def user(session_directory, small_root):
    """`isolate` as an ordinary user, with a root that it may read, and no daemon."""
    place = session_directory / "user"
    place.mkdir(mode=0o755)
    for program in ("isolate", "isolate-ctl"):
        shutil.copy(BUILD / program, place / program)
    subprocess.run(["cp", "-a", small_root, place / "root"], check=True)
    (place / "root/home").mkdir(exist_ok=True)

    def call(*arguments, engine=(), **kw):
        argv = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "--", place / "isolate",
                *engine, *arguments]
        environment = {"PATH": "/usr/bin:/bin", "ISOLATE_LIBEXEC_DIR": str(place), "ISOLATE_SOCKET": "",
                       **kw.pop("env", {})}
        return subprocess.run(argv, env=environment, text=True, capture_output=True, cwd="/", timeout=60,
                              check=False, **kw)

    call.root = place / "root"
    yield call
    shutil.rmtree(place)


@needs_bwrap
@pytest.mark.parametrize("command, status", [
    (["true"], 0), (["sh", "-c", "exit 42"], 42), (["sh", "-c", "kill -TERM $$"], 143), (["nosuch"], 127),
    (["/etc/passwd"], 126), (["/no/such"], 127), (["sh", "-c", "nosuch"], 127)])
def test_user_without_a_daemon(user, command, status):
    done = user("-q", "-t", user.root, *command)
    assert done.returncode == status, done


@pytest.fixture
def programs(user):
    """A directory to be bound, with programs of the user's; in the root a link that leads there, and a
    program that the tmpfs on /tmp hides."""
    place = user.root.parent / "programs"
    place.mkdir()
    (place / "tool").write_text("#!/bin/sh\necho tool\n")
    (place / "tool").chmod(0o755)
    (place / "data").write_text("")
    (place / "link").symlink_to("/bin/true")
    hidden, alias = user.root / "tmp/hidden", user.root / "etc/alias"
    shutil.copy(place / "tool", hidden)
    alias.symlink_to("/srv")
    (user.root / "usr/local/bin").mkdir(parents=True)
    yield place
    shutil.rmtree(place)
    hidden.unlink()
    alias.unlink()
    shutil.rmtree(user.root / "usr/local")


@needs_bwrap
@pytest.mark.parametrize("target, options, command, status", [
    ("/srv", [], ["/srv/tool"], 0), ("/srv", ["-p", "srv"], ["./tool"], 0), ("/srv", [], ["/srv/../srv/tool"], 0),
    ("/srv/", [], ["/etc/alias/tool"], 0), ("/usr/local/bin", [], ["tool"], 0),
    ("/tmp/deep", [], ["/tmp/deep/tool"], 0), ("/srv", [], ["/srv/link"], 0),
    ("/srv", [], ["/srv/data"], 126), ("/srv", ["-p", "etc"], ["./passwd"], 126),
    ("/srv", [], ["/srv/nosuch"], 127), ("/srv", [], ["nosuch"], 127), ("/srv", ["-p", "srv"], ["./nosuch"], 127),
    ("/srv", [], ["/tmp/hidden"], 127)])
def test_user_s_command_is_looked_for_where_it_will_be(user, programs, target, options, command, status):
    done = user("-q", "-d", f"{programs}:{target}", *options, "-t", user.root, *command)
    assert done.returncode == status, done


@needs_bwrap
def test_user_has_its_own_rights_and_what_the_original_gave(user, tmp_path):
    script = ("id -u; pwd; hostname; echo x 2>/dev/null >/etc/x || echo read-only; echo y >/home/y && cat /home/y;"
              " echo $A; cat /proc/self/status; ls /proc/self/fd | cat; ls /srv")
    with open("/etc/shadow", encoding="utf-8") as secret:
        done = user("-v", "A:b:c", "-p", "srv", "-d", "/usr:/srv", "-t", user.root, "sh", "-c", script,
                    pass_fds=[secret.fileno()])
    assert done.returncode == 0, done
    assert done.stdout.split()[:6] == ["1234", "/srv", "root", "read-only", "y", "b:c"]
    for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"):
        assert line in done.stdout
    assert "\n0\n1\n2\n3\nbin\n" in done.stdout, "an fd of the caller's is seen"
    assert done.stderr == f"[+] bwrap: {user.root}\n"


@needs_bwrap
def test_user_s_home_and_terminal(user):
    show = ["sh", "-c", "cd && pwd && touch made && echo [$TERM]"]
    assert user("-q", "-t", user.root, *show, env={"TERM": "vt220"}).stdout == "/home\n[]\n"
    assert user("-q", "-v", "HOME:/tmp", "-t", user.root, *show).stdout == "/tmp\n[]\n"
    argv = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "--", user.root.parent / "isolate",
            "-q", "-t", user.root, *show]
    with Terminal(argv, {"PATH": "/usr/bin:/bin", "ISOLATE_LIBEXEC_DIR": str(user.root.parent), "ISOLATE_SOCKET": "",
                         "TERM": "vt220"}) as terminal:
        terminal.expect(rb"/home\r\n\[vt220\]")
        assert terminal.wait() == 0


@needs_bwrap
def test_user_s_directory_that_is_closed(user):
    closed = user.root.parent / "closed"
    closed.mkdir(mode=0o700)
    done = user("-t", closed, "true")
    closed.rmdir()
    assert done.returncode == 125 and f"-t {closed}: Permission denied" in done.stderr, done


@needs_bwrap
@pytest.mark.parametrize("arguments, words", [
    (["-e", "chroot", "-t", "/", "true"], "who is not root has engine bwrap alone"),
    (["-e", "native", "-t", "/", "true"], "who is not root has engine bwrap alone"),
    (["-t", "/no/such/place", "true"], "/no/such/place"),
    (["-d", "/etc:relative", "-t", "/", "true"], "TARGET must be absolute"),
    (["-2", "-t", "/", "true"], "--audio: there is no sound server"),
    (["-z", "rpool/isolate/debisl", "true"], "no isolated is running"),
])
def test_user_is_refused(user, arguments, words):
    done = user(*arguments)
    assert done.returncode == 125 and words in done.stderr, done


needs_lxc = pytest.mark.skipif(not os.path.exists("/usr/bin/lxc-start"), reason="lxc is not installed")


@needs_lxc
@pytest.mark.parametrize("name, value, words", [
    ("LXC_CPU_QUOTA", "0", "a number from 1 to 100"), ("LXC_CPU_QUOTA", "101", "a number from 1 to 100"),
    ("LXC_CPU_QUOTA", "abc", "a number from 1 to 100"), ("LXC_MEM_MB_QUOTA", "0", "a number from 1"),
    ("LXC_MEM_MB_QUOTA", "-5", "a number from 1"), ("LXC_MEM_MB_QUOTA", "1G", "a number from 1")])
def test_lxc_quotas_are_numbers(instance, small_root, name, value, words):
    done = instance.isolate("-e", "lxc", "-t", small_root, "true", env={name: value})
    assert done.returncode == 125 and f"{name}: not" in done.stderr and words in done.stderr, done


@needs_lxc
def test_lxc_has_a_default_or_says_so(instance, small_root):
    """What is asked for is held, or refused; a default that cannot be held is left out aloud."""
    controllers = (cgroup2_mount() / "cgroup.controllers").read_text().split()
    done = instance.isolate("-e", "lxc", "-x", "-t", small_root, "true")
    assert done.returncode == 0, done
    for variable, controller, option in (("LXC_CPU_QUOTA", "cpu", "--cpus=0.20"), ("LXC_MEM_MB_QUOTA", "memory", "--memory=")):
        assert (controller in controllers) == (option in done.stderr)
        assert (controller in controllers) == (f"no quota of {controller}" not in done.stderr)
        asked = instance.isolate("-e", "lxc", "-t", small_root, "true", env={variable: "50"})
        assert asked.returncode == (0 if controller in controllers else 125), asked


@needs_lxc
def test_lxc_as_it_was(instance, small_root):
    """Variables, directories, the working directory, a tunnel; nothing that was given is lxc configuration."""
    value = "x\nlxc.mount.entry = /etc mnt none bind 0 0"
    script = 'printf %s "$A"; pwd; stat -c %t:%T /dev/net/tun; exit 42'
    done = instance.isolate("-e", "lxc", "-q", "-t", small_root, "-v", f"A:{value}", "-p", "/root", "sh", "-c", script,
                            env={"LXC_MAP_TUN": "1"})
    assert (done.returncode, done.stdout) == (42, f"{value}/root\na:c8\n"), done


@needs_lxc
@pytest.mark.parametrize("bridge", ["", "no-such-br", "a/b", "lo"])
def test_lxc_bridge_that_is_none(instance, small_root, bridge):
    done = instance.isolate("-e", "lxc", "-n", "-t", small_root, "true", env={"LXC_NET_BR": bridge})
    assert done.returncode == 125 and (bridge or "br_vm") in done.stderr, done


def test_help_shows_it(instance):
    for arguments in (["help"], ["-h"], ["--help"]):
        shown = instance.ok(*arguments)
        assert "isolate -r DATASET [-f] [-s] [NUM]" in shown
        assert "(-t DIR | -z DATASET)" in shown and "[-u UIDBASE]" in shown
    assert "LOCATION" in instance.ok("help", "template", "create")


@pytest.fixture
def hostile(user, tmp_path_factory):
    """A directory of somebody else's, who made links in it, and what they lead to."""
    root = user.root.parent / "hostile"
    subprocess.run(["cp", "-a", user.root, root], check=True)
    victim = user.root.parent / "victim"
    victim.mkdir(mode=0o777)
    victim.chmod(0o777)
    (root / "work").symlink_to(f"/oldroot{victim}")
    (root / "file").symlink_to(f"/oldroot{victim}/made")
    yield root
    assert os.listdir(victim) == [], "something was made on the host"
    shutil.rmtree(root)
    shutil.rmtree(victim)


@needs_bwrap
@pytest.mark.parametrize("target", ["/work/new/deep", "/work", "/file", "/no/such/place", "/tmp/../work/x"])
def test_user_on_a_hostile_directory(user, hostile, target):
    done = user("-q", "-d", f"/etc/issue:{target}", "-t", hostile, "true")
    assert done.returncode == 125 and "where something is to be mounted" in done.stderr, done


@needs_bwrap
def test_user_whose_directory_has_links_for_mount_points(user, hostile):
    shutil.rmtree(hostile / "proc")
    (hostile / "proc").symlink_to("/oldroot/tmp")
    done = user("-q", "-t", hostile, "true")
    assert done.returncode == 125 and "/proc in the directory" in done.stderr, done


@needs_bwrap
def test_user_whose_stdin_is_a_directory(user):
    fd = os.open("/", os.O_RDONLY)
    done = user("-q", "-t", user.root, "cat", "/proc/self/fd/0/etc/passwd", stdin=fd)
    os.close(fd)
    assert done.returncode == 125 and "stdin is a directory" in done.stderr, done


@needs_bwrap
def test_user_with_many_fds_open(user):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(70)]
    for fd in fds:
        os.set_inheritable(fd, True)
    done = user("-q", "-t", user.root, "sh", "-c", "ls /proc/self/fd | cat", pass_fds=fds)
    for fd in fds:
        os.close(fd)
    assert done.stdout.split() == ["0", "1", "2", "3"], done


@needs_bwrap
def test_user_with_the_hosts_network_reaches_no_abstract_socket(user):
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this kernel's Landlock cannot scope sockets")
    name = f"isolate-test-{os.getpid()}"
    code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        outside = subprocess.run(["python3", "-c", code], check=False, capture_output=True)
        assert outside.returncode == 0, outside
        done = user("-q", "-n", "-t", "/", "/usr/bin/python3", "-c", code)
    assert done.returncode == 1 and "PermissionError" in done.stderr, done


def test_chroot_gives_all_capabilities_or_refuses(instance, maintained):
    for options in (["--cap-drop", "ALL"], ["--cap-add", "NET_ADMIN"]):
        done = instance.run(["--engine", "chroot", "--storage", "dir", *options], template=str(maintained))
        assert done.returncode == 125 and "cannot add or drop capabilities" in done.stderr, done


def test_chroot_reads_no_accounts_from_proc(instance, maintained):
    (maintained / "etc/passwd").unlink()
    (maintained / "etc/passwd").symlink_to("/proc/kmsg")
    done = instance.isolate("-e", "chroot", "-t", maintained, "true")
    assert done.returncode == 0, done  # as with no passwd at all


@needs_bwrap
def test_user_s_hooks(user, tmp_path):
    """ROOTFS is DIR; the status is the command's; the rights of hooks are all that the user has."""
    hook = "echo $ISOLATE_HOOK $ROOTFS ${ISOLATE_STATUS-none} $(grep NoNewPrivs /proc/self/status)"
    done = user("-q", "-t", user.root, "sh", "-c", "cat; exit 6", input="in\n",
                env={"PRE_SPAWN_HOOK": hook, "POST_SPAWN_HOOK": hook})
    assert (done.returncode, done.stdout) == (6, "in\n"), done
    before, after = done.stderr.splitlines()
    assert before == f"pre {user.root} none NoNewPrivs: 0"
    assert after == f"post {user.root} 6 NoNewPrivs: 0"


@needs_bwrap
def test_user_s_trace(user):
    done = user("-qx", "-v", "A:b", "-d", "/usr:/tmp/a b", "-t", user.root, "sh", "-c", "true  x", "y")
    assert (done.returncode, done.stdout) == (0, ""), done
    assert done.stderr.startswith(f"+ bwrap --unshare-all --die-with-parent --ro-bind {user.root} / "), done
    assert " --bind /usr '/tmp/a b' " in done.stderr, done
    assert done.stderr.endswith(" --setenv A b --add-seccomp-fd 12 --add-seccomp-fd 13 --chdir / -- "
                                "sh -c 'true  x' y\n"), done


@needs_bwrap
@pytest.mark.parametrize("options, status, said", [(["-q"], 130, "was interrupted"), (["-qi"], 6, "")])
def test_user_s_interrupted_hook(user, options, status, said):
    """-i holds for it, too."""
    interrupt = 'kill -INT $(cut -d " " -f 4 /proc/$PPID/stat)'  # the parent of its guard
    done = user(*options, "-t", user.root, "sh", "-c", "exit 6", env={"PRE_SPAWN_HOOK": interrupt})
    assert done.returncode == status and said in done.stderr, done


@needs_bwrap
@pytest.mark.parametrize("command, status", [
    (["sh", "-c", "kill -9 $$"], 137), (["true"], 0), (["sh", "-c", "exit 255"], 255)])
def test_user_s_status_with_a_hook_behind_the_end(user, command, status):
    done = user("-q", "-t", user.root, *command, env={"POST_SPAWN_HOOK": "echo $ISOLATE_STATUS; exit 4"})
    assert done.returncode == status, done
    assert done.stderr == (f"{status}\nisolate: warning: the hook after the end ended with status 4; "
                           "the exit status is the command's\n")


@needs_bwrap
@pytest.mark.parametrize("hook", ["exit 1", "/no/such/hook", "/etc", "kill -9 $$"])
def test_user_s_failing_hook(user, tmp_path, hook):
    done = user("-q", "-t", user.root, "ls", "/", env={"PRE_SPAWN_HOOK": hook, "POST_SPAWN_HOOK": "echo after"})
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "the command was not started" in done.stderr and "after" not in done.stderr
