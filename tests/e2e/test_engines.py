# SPDX-License-Identifier: Apache-2.0
"""Engines: what each says that it can, what it refuses, what goes wrong in a foreign one. What a
run is like on each is what the other files show with ISOLATE_TEST_ENGINE."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from sandboxes import PATIENCE, comm, process_state, wait_until, wait_until_started
from services import Member

BWRAP = pathlib.Path("/usr/bin/bwrap")
needs_bwrap = pytest.mark.skipif(not BWRAP.exists(), reason="bubblewrap is not installed")
# engine, program, the name of its process
FOREIGN = (("bwrap", "bwrap"), ("lxc", "lxc-start"), ("nspawn", "systemd-nspawn"), ("oci", "runc"),
           ("oci:/usr/bin/crun", "crun"))


def on_each(only=None):
    """Parametrizes `engine` with the foreign engines."""
    return pytest.mark.parametrize("engine", [
        pytest.param(engine, marks=pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed"))
        for engine, program in FOREIGN if not only or engine in only])


def test_engines_are_listed(instance):
    listed = {item["name"]: item for item in json.loads(instance.ok("engines", "--json"))}
    assert set(listed) == {"native", "bwrap", "lxc", "nspawn", "oci", "chroot"}
    assert listed["chroot"]["capabilities"] == ["nests"]
    assert listed["native"]["problem"] == "" and "exec" in listed["native"]["capabilities"]
    assert listed["bwrap"]["package"] == "bubblewrap"
    assert ("not installed" in listed["bwrap"]["problem"]) == (not BWRAP.exists())
    title, *rows = instance.ok("engines").replace("PARKED AHEAD", "PARKS").splitlines()
    names = title.lower().split()
    assert names[0] == "engine" and names[-1] == "problem" and len(rows) == len(listed)
    for row in rows:
        name, *cells = row.split()
        can = {what for what, cell in zip(names[1:-1], cells) if cell == "yes"}
        assert can == set(listed[name]["capabilities"]), row


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_engines_are_completed(instance, shell):
    names = " ".join(item["name"] for item in json.loads(instance.ok("engines", "--json")))
    assert names in instance.ok("completion", shell)


@pytest.mark.parametrize("name, words", [
    ("oci:", "PATH is empty"), ("oci:crun", "below /usr"), ("oci:/usr/../etc/x", "below /usr"),
    ("oci:/usr/bin/no-such-runtime", "No such file"), ("bwrap:/usr/bin/bwrap", "nothing may follow"),
    ("bwrao", 'did you mean "bwrap"'), ("", "no such engine"),
    ("x" * 300, "no such engine"), ("na\ntive", "engine")])
def test_engines_that_are_not_there(instance, name, words):
    done = instance.isolate("run", "--engine", name, instance.template, "true")
    assert done.returncode == 125 and words in done.stderr, done


def with_bwrap(instance, content):
    """A run in a mount namespace in which another program (None: none) is the machine's bwrap."""
    if instance.resident:
        pytest.skip("the engine is the daemon's, which has another mount namespace")
    cover = instance.base / "usr"
    program = cover / "bin/bwrap"
    program.parent.mkdir(parents=True)
    if content is None:
        os.mknod(program, stat.S_IFCHR, 0)  # overlayfs's word for a file that is gone
    else:
        program.write_text(content)
        program.chmod(0o755)
    script = f"mount -t overlay -o lowerdir={cover}:/usr none /usr && exec \"$@\""
    argv = instance.run_argv(["--engine", "bwrap"], ["true"])
    try:
        return instance.call(["unshare", "--mount", "sh", "-c", script, "sh", *argv])
    finally:
        shutil.rmtree(cover)


@needs_bwrap
@pytest.mark.parametrize("content, words", [
    ("#!/bin/sh\necho it is broken >&2\nexit 3\n", "it is broken; status 3"),
    ("#!/bin/sh\necho 'bwrap: Unknown option --add-seccomp-fd' >&2\nexit 1\n", "isolate needs bubblewrap 0.8 or later"),
    ("#!/bin/sh\nexit 4\n", "bwrap could not make its sandbox: it ended"),
    ("#!/bin/sh\nkill -9 $$\n", "ended by signal 9"),
    ("no program\n", "bwrap")])
def test_engine_that_fails(instance, content, words):
    done = with_bwrap(instance, content)
    assert done.returncode == 125 and words in done.stderr, done
    assert instance.leaves() == []


@needs_bwrap
@pytest.mark.long
def test_engine_that_hangs(instance):
    """As a program does whose disk does not answer: nobody waits for its start for ever."""
    done = with_bwrap(instance, "#!/bin/sh\nexec sleep 600\n")
    assert done.returncode == 123 and "has not started within 40 s" in done.stderr, done
    assert instance.leaves() == []


def test_engine_that_is_not_installed(instance):
    done = with_bwrap(instance, None)
    assert done.returncode == 125 and "apt install bubblewrap" in done.stderr, done
    assert instance.leaves() == []


@on_each()
def test_killed_engine_is_told_by_its_signal(instance, engine):
    program = dict(FOREIGN)[engine]
    with instance.popen(["--engine", engine], ["sleep", "600"]) as client:
        wait_until_started(client, lambda: instance.member_named("sleep"))
        found = [pid for pid in instance.members() if comm(pid) == program[:15]]
        os.kill(min(found), signal.SIGKILL)
        assert client.wait(20) == 137
    wait_until(lambda: instance.leaves() == [], 20, "the end of all")


@on_each()
def test_nothing_of_the_host_is_seen(instance, engine):
    out = instance.output(["--engine", engine], [
        "sh", "-c", "ls -a /sandbox /oldroot /engine /view /.old 2>&1; ls /proc/self/fd; grep -c . /proc/1/environ;"
        " tr '\\0' ' ' </proc/1/cmdline; cat /proc/kcore | head -c 1 | wc -c; ls /proc/acpi 2>/dev/null;"
        " echo x >/proc/sys/kernel/core_pattern || echo refused"], stderr=subprocess.STDOUT)
    assert out.count("No such file") >= 5 and "refused" in out
    assert "\n0\n1\n2\n3\n" in out


def wait_until_runs(service, name):
    """The command does, and the daemon, which hears of that a moment later, knows."""
    wait_until(lambda: service.member_named("sleep") and service.isolate("exec", name, "true").returncode == 0,
               PATIENCE, "the command")


@on_each()
@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_in_a_foreign_engine(service, engine):
    """One more command is in the same namespaces as the first, and ends with it."""
    with service.popen(["--engine", engine, "--name", "foreign"],
                       ["sh", "-c", "echo x >/tmp/x; exec sleep 600"]) as client:
        wait_until_runs(service, "foreign")
        done = service.isolate("exec", "foreign", "sh", "-c", "cat /tmp/x; readlink /proc/self/ns/pid; exit 6")
        assert done.returncode == 6, done
        first = os.readlink(f"/proc/{service.member_named('sleep')}/ns/pid")
        assert done.stdout.split() == ["x", first]
        assert service.isolate("exec", "foreign", "sh", "-c", "kill -KILL $$").returncode == 137
        assert service.isolate("exec", "foreign", "nosuch").returncode == 127
        many = [service.popen_isolate("exec", "foreign", "sh", "-c", f"sleep 0.2; exit {n}") for n in range(8)]
        assert [one.wait(20) for one in many] == list(range(8))
        late = service.popen_isolate("exec", "foreign", "sleep", "600")
        wait_until(lambda: len([p for p in service.members() if comm(p) == "sleep"]) == 2, 20, "the second one")
        client.send_signal(signal.SIGTERM)
        assert client.wait(20) == 143
        assert late.wait(20) == 137
    wait_until(lambda: service.leaves() == [], 20, "the end of all")


@pytest.mark.parametrize("engine, option, words", [
    ("chroot", ("--network", "none"), "engine chroot cannot have a network of its own"),
    ("chroot", ("--cap-drop", "ALL"), "engine chroot cannot add or drop capabilities"),
    ("native", ("--cap-add", "SYS_ADMIN"), "engine native cannot give the capability CAP_SYS_ADMIN"),
    pytest.param("bwrap", ("--cap-add", "MKNOD"), "CAP_MKNOD: engine bwrap does not", marks=needs_bwrap)])
def test_refused_by_the_engines_name(instance, rootfs, engine, option, words):
    storage = ("--storage", "dir") if engine == "chroot" else ()
    done = instance.isolate("run", "--engine", engine, *storage, *option, str(rootfs), "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "") and words in done.stderr, done


@pytest.mark.parametrize("engine, options, words", [
    ("native", ("--boot",), "engine native cannot start a template's own init"),
    pytest.param("bwrap", ("--boot",), "engine bwrap cannot start a template's own init", marks=needs_bwrap),
    pytest.param("bwrap", ("--seccomp", "nested"), "engine bwrap cannot let the command make namespaces", marks=needs_bwrap)])
@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 0})
def test_refused_where_one_is_parked(service, engine, options, words):
    """The parked one is not asked to try."""
    service.ok("run", "--engine", engine, "t", "true")
    wait_until(lambda: len(service.parked()) == 2, 20, "parked ones")
    parked = service.parked()
    command = () if "--boot" in options else ("echo", "ran")
    done = service.isolate("run", "--engine", engine, *options, "t", *command)
    assert (done.returncode, done.stdout) == (125, "") and words in done.stderr, done
    told = service.isolate("run", "--explain", "--engine", engine, *options, "t", *command)
    assert told.returncode == 125 and words in told.stderr, told
    assert service.parked() == parked


@needs_bwrap
@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 0})
def test_pods_are_parked(service):
    """What a foreign engine runs in is built before it is asked for, apart from native's."""
    def shape(engine):
        shapes = json.loads(service.ok("pool", "--json"))
        return next((one for one in shapes if one["engine"] == engine), {"ready": 0, "claims": 0})

    service.ok("run", "--engine", "bwrap", "t", "true")
    wait_until(lambda: shape("bwrap")["ready"] > 0, 20, "a parked pod")
    assert shape("native")["ready"] == 0
    done = service.isolate("run", "--engine", "bwrap", "--read-only", "-e", "A=b", "-u", "user", "t", "--",
                           "sh", "-c", "id -u; echo $A; echo x 2>/dev/null >/x || echo refused; exit 7")
    assert (done.returncode, done.stdout) == (7, "1000\nb\nrefused\n"), done
    assert shape("bwrap")["claims"] == 1


# those that are executed while their pod is parked
AHEAD = ("bwrap", "nspawn")


def inner_inits(service):
    return {pid for pid in service.members() if comm(pid) == "isolate-inner"}


def waiting_inner_inits(service, engine):
    """Those of parked pods, when as many wait as are wanted."""
    service.ok("run", "--engine", engine, "t", "true")
    wait_until(lambda: len(service.parked()) == 2 and len(inner_inits(service)) == 2, 20, "engines that wait")
    return inner_inits(service)


def check_confined(engine, options, lines):
    """As much as in a sandbox whose engine came after its options."""
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    by_target = {line.split()[4]: line.split() for line in lines if " - " in line}
    none = "ALL" in options or "user" in options
    capabilities = 0 if none else 0x405fb | (1 << 12 if "NET_ADMIN" in options else 0)
    assert [int(status[name], 16) for name in ("CapBnd", "CapPrm", "CapEff")] == [capabilities] * 3
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {"nosuid", "nodev"} <= set(by_target["/"][5].split(",")), by_target["/"]
    assert ("ro" in by_target["/"][5].split(",")) == ("--read-only" in options)
    assert ("/mnt" in by_target) == ("/mnt" in options or "/usr:/mnt:ro" in options)
    for target in ("/proc/sys", "/proc/keys"):
        assert target in by_target, "masked"


def parent_of(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))


@on_each(AHEAD)
@pytest.mark.parametrize("options, fits", [
    ((), AHEAD), (("-u", "user", "-w", "/tmp", "--timeout", "100s"), AHEAD), (("--network", "nat"), AHEAD),
    (("--cap-drop", "ALL"), AHEAD), (("--tmpfs", "/mnt"), AHEAD), (("--read-only",), AHEAD),
    (("--cap-add", "NET_ADMIN"), ()), (("--bind", "/usr:/mnt:ro"), ("bwrap",)),
    (("--read-only", "--bind", "/usr:/mnt:ro"), ("bwrap",))])
@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 0})
def test_engine_waits_for_its_command(service, engine, options, fits):
    """A start for which the engine would have been told something else, or in which it would have to see
    more mounts, gets a new one, and nothing stays of the one that was there."""
    if "nat" in options and not os.environ.get("ISOLATE_TEST_NETWORK"):
        pytest.skip("no network to be given")
    waiting = waiting_inner_inits(service, engine)
    process = Member(service, 0).popen(("--engine", engine, *options), ["sh", "-c", "echo up; read x; cat /proc/self/status /proc/self/mountinfo; exit 7"])
    assert process.stdout.readline() == "up\n", process.stderr.read()
    (item,) = service.ps()
    inside = [int(p) for path in (service.cgroup / item["id"]).rglob("cgroup.procs") for p in path.read_text().split()]
    inner = [pid for pid in inside if comm(pid) == "isolate-inner"]
    assert [pid in waiting for pid in inner] == [engine in fits]
    assert parent_of(next(pid for pid in inside if comm(pid) == "sh")) == inner[0]
    assert len([pid for pid in inside if comm(pid) == dict(FOREIGN)[engine][:15]]) == 1
    status, _ = process.communicate("\n", timeout=20)
    assert process.returncode == 7
    check_confined(engine, options, status.splitlines())


@on_each(AHEAD)
@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 0})
def test_engine_that_was_killed_as_it_waited(service, engine):
    waiting_inner_inits(service, engine)
    killed = {pid for pid in service.members() if comm(pid) == dict(FOREIGN)[engine][:15]}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(process_state(pid) in ("Z", "") for pid in killed), 20, "their end")
    done = service.isolate("run", "--engine", engine, "t", "--", "sh", "-c", "exit 6")
    assert done.returncode == 6, done


def test_chroot_is_for_root_only(service, small_root):
    member = Member(service, 61301)
    done = member.isolate("run", "--engine", "chroot", "--storage", "dir", "t", "true")
    assert done.returncode == 125 and "for root only" in done.stderr, done


@pytest.mark.settings({"Pool.Parked": 0})
def test_chroot_through_a_daemon(service, small_root):
    done = service.isolate("run", "--engine", "chroot", "--storage", "dir", str(small_root), "cat", "/proc/self/uid_map")
    assert done.returncode == 0 and done.stdout.split() == ["0", "0", "4294967295"], done


@needs_bwrap
@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_is_told_apart_from_that_of_an_earlier_daemon(service):
    """Commands are numbered by init, not by a daemon that begins anew."""
    with service.popen(["--engine", "bwrap", "--name", "foreign"], ["sleep", "600"]) as client:
        wait_until_runs(service, "foreign")
        first = service.popen_isolate("exec", "foreign", "sh", "-c", "while test ! -e /tmp/go; do sleep 0.1; done; exit 7")
        wait_until(lambda: len([p for p in service.members() if comm(p) == "sh"]) == 1, 20, "the first one")
        service.stop_resident(signal.SIGKILL)
        service.start_resident()
        wait_until(lambda: service.isolate("exec", "foreign", "sh", "-c", "exit 0").returncode == 0, 20, "the second")
        assert first.poll() is None
        assert service.isolate("exec", "foreign", "touch", "/tmp/go").returncode == 0
        assert first.wait(20) == 7
        client.terminate()
        client.wait(20)


@on_each()
def test_masks_stay_below_a_bind_at_dev(instance, tmp_path, engine):
    """What masks is the host's own null, not what the caller shows as one; OCI runtimes take the latter, which
    hides as well."""
    (tmp_path / "null").write_text("the caller's\n")
    done = instance.run(["--engine", engine, "-v", f"{tmp_path}:/dev:ro"],
                        ["sh", "-c", "cat /dev/null; cat /proc/interrupts /proc/kcore; echo $?"])
    if not engine.startswith("oci") or done.returncode == 0:
        assert done.stdout.startswith("the caller's\n"), done
    assert engine.startswith("oci") or "the caller's" not in done.stdout[14:], done
    assert "CPU0" not in done.stdout


@on_each()
@pytest.mark.parametrize("options", [["-v", "{}:/dev"], ["--tmpfs", "/dev"]], ids=["bind", "tmpfs"])
def test_nothing_that_an_engine_needs_at_dev(instance, tmp_path, engine, options):
    """It runs, or is refused by all names: the engine, what is at /dev, and what would work."""
    done = instance.run(["--engine", engine, *(word.format(tmp_path) for word in options)],
                        ["sh", "-c", "cd /dev; echo *"])
    kind = "bind" if options[0] == "-v" else "tmpfs"
    if kind == "bind" and engine in ("lxc", "nspawn"):
        assert (done.returncode, done.stdout) == (125, ""), done
        for word in ("bind at /dev: engine ", engine, "things of its own", "read-only (:ro)", "below /dev"):
            assert word in done.stderr, done
    elif engine.startswith(("oci", "nspawn")):
        assert (done.returncode, done.stdout) == (125, ""), done
        for word in ("could not make its sandbox", "/dev/null", f"the {kind} at /dev hides", "--engine native"):
            assert word in done.stderr, done
    else:
        assert done.returncode == 0 and "null" not in done.stdout, done
    assert os.listdir(tmp_path) == []


def everything(root):
    return sorted((path, os.lstat(path).st_mode, os.lstat(path).st_mtime_ns) for where, directories, files in os.walk(root)
                  for path in (os.path.join(where, name) for name in directories + files))


@on_each()
def test_nothing_is_added_to_the_root(instance, small_root, session_directory, engine):
    """Directories that every system has and this one has not: neither in a directory that is run on itself,
    nor in a clone, where they would be a change of the command's."""
    root = session_directory / "roots/bare"
    shutil.copytree(small_root, root, symlinks=True)
    try:
        for name in ("var", "root", "srv", "home"):
            shutil.rmtree(root / name)
        before = everything(root)
        script = "echo /*; touch /new && rm /new && ! mkdir /proc/x 2>/dev/null"
        for options in (["--storage", "dir"], []):
            done = instance.run(["--engine", engine, *options], ["sh", "-c", script], template=str(root))
            assert done.returncode == 0, done
            assert not {"/var", "/root", "/srv", "/home"} & set(done.stdout.split()), done
        assert everything(root) == before
    finally:
        shutil.rmtree(root)


@on_each()
@pytest.mark.parametrize("option", ["", ":ro"])
@pytest.mark.parametrize("null", [False, True])
def test_nothing_is_made_in_a_directory_at_dev(instance, tmp_path, engine, null, option):
    if null:
        (tmp_path / "null").write_text("")
    instance.run(["--engine", engine, "-v", f"{tmp_path}:/dev{option}"])
    assert os.listdir(tmp_path) == (["null"] if null else [])


@on_each()
@pytest.mark.parametrize("target", ["/proc", "/proc/sys/kernel", "/sys/fs/cgroup", "/dev/pts"])
def test_nothing_over_file_systems_of_its_own(instance, tmp_path, engine, target):
    done = instance.run(["--engine", engine, "-v", f"{tmp_path}:{target}"])
    assert (done.returncode, done.stdout) == (125, ""), done
    for word in (f'"{target}"', "of the sandbox's own", "any engine", "choose another place"):
        assert word in done.stderr, done


def flags_of_mounts(text):
    """Of each place those of what is seen there."""
    return {line.split()[1]: set(line.split()[3].split(",")) for line in text.splitlines()}


@on_each()
def test_what_mounts_take_away_stays_so(instance, tmp_path, engine):
    """Devices and set-id bits, and writing: an engine that mounts the root or /dev anew does not give
    them back, neither of a template's nor of a caller's."""
    (tmp_path / "null").write_text("")
    flags = flags_of_mounts(instance.output(["--engine", engine, "--read-only"], ["cat", "/proc/self/mounts"]))
    assert {"ro", "nosuid", "nodev"} <= flags["/"] and {"nosuid", "noexec"} <= flags["/dev"]
    done = instance.run(["--engine", engine, "-v", f"{tmp_path}:/dev:ro", "-v", f"{tmp_path}:/mnt:ro"],
                        ["cat", "/proc/self/mounts"])
    if engine == "oci:/usr/bin/crun" and done.returncode == 125:  # which wants to write to null there
        assert "/dev/null: Read-only file system" in done.stderr, done
        return
    assert done.returncode == 0, done
    flags = flags_of_mounts(done.stdout)
    assert {"ro", "nosuid", "nodev"} <= flags["/dev"] and {"ro", "nosuid", "nodev"} <= flags["/mnt"], done.stdout


@pytest.mark.parametrize("engine", ["native", pytest.param("bwrap", marks=needs_bwrap)])
@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_that_is_stopped_on_its_way_does_not_stop_init(service, engine):
    """What runs there can stop the exec'd process before its first instruction, and init waits for that."""
    stopper = "echo ready; while :; do kill -STOP -1 2>/dev/null; done"
    with service.popen(["--engine", engine, "--name", "s"], ["sh", "-c", stopper]) as client:
        assert client.stdout.readline() == "ready\n"
        for _ in range(5 if os.environ.get("ISOLATE_LONG") else 1):
            # one that came as far as its first instruction is stopped behind it, and waited for
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.isolate("exec", "s", "true", timeout=30)
        client.terminate()
        assert client.wait(50) == 143


@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_leaves_no_memory_in_init(service):
    with service.popen(["--name", "m"], ["sleep", "600"]) as client:
        wait_until_runs(service, "m")
        init = min(pid for pid in service.members() if comm(pid) == "isolate-init")
        for _ in range(5):
            assert service.isolate("exec", "-e", "BIG=" + "x" * 100000, "m", "true").returncode == 0
        assert pathlib.Path(f"/proc/{init}/maps").read_text().count("isolate-start") <= 1
        client.terminate()
        client.wait(20)


@pytest.mark.parametrize("engine", ["native", pytest.param("bwrap", marks=needs_bwrap)])
@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_reaches_no_abstract_socket_either(service, engine):
    """What the first command may not with the host's network, one that is exec'd may not."""
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this kernel's Landlock cannot scope sockets")
    name = f"isolate-test-exec-{os.getpid()}"
    code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        with service.popen_isolate("run", "--engine", engine, "--network", "host", "--name", "h", "@host", "sleep",
                                   "600") as client:
            wait_until_runs(service, "h")
            done = service.isolate("exec", "h", "/usr/bin/python3", "-c", code)
            client.terminate()
            client.wait(20)
    assert done.returncode == 1 and "PermissionError" in done.stderr, done


@pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="systemd-nspawn is not installed")
@pytest.mark.parametrize("target", ["/run", "/run/host", "/run/host/x", "/var/run", "/var/run/host/x"])
def test_nspawn_makes_nothing_in_a_directory_of_the_callers(instance, tmp_path, target):
    done = instance.run(["--engine", "nspawn", "-v", f"{tmp_path}:{target}"], ["true"])
    assert done.returncode == 125 and target in done.stderr and ": engine nspawn has a /run/host" in done.stderr, done
    assert os.listdir(tmp_path) == []
    assert instance.run(["--engine", "nspawn", "-v", f"{tmp_path}:/run/hosts"], ["true"]).returncode == 0


SCHEMA = pathlib.Path("/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema")


@pytest.mark.skipif(not (shutil.which("runc") or shutil.which("crun")), reason="no OCI runtime is installed")
@pytest.mark.parametrize("options", [(), ("--read-only", "--cap-drop", "ALL", "--tmpfs", "/x:1M")])
def test_bundle_is_what_the_specification_says(instance, options):
    """By its own JSON schema, as Debian's package has it."""
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
    if not SCHEMA.exists():
        pytest.skip("golang-github-opencontainers-specs-dev is not installed")
    told = json.loads(instance.ok("run", "--explain", "--json", "--engine", "oci", *options, instance.template, "true"))
    file, = told["plan"]["engine_files"]
    assert file["path"] == "/engine/config.json"
    schema = json.loads((SCHEMA / "config-schema.json").read_text())
    resolver = jsonschema.RefResolver(f"{SCHEMA.as_uri()}/config-schema.json", schema)
    validator = jsonschema.Draft4Validator(schema, resolver=resolver)
    config = json.loads(file["content"])
    validator.validate(config)
    config["process"]["args"] = 7  # the control
    assert not validator.is_valid(config)


@on_each()
@pytest.mark.parametrize("network", ["none", "nat"])
def test_no_socket_of_the_engines_is_in_reach(instance, engine, network):
    """Root of the sandbox could give orders to the engine there."""
    if network == "nat" and not os.environ.get("ISOLATE_TEST_NETWORK"):
        pytest.skip("needs ISOLATE_TEST_NETWORK")
    script = "cat /proc/net/unix; echo ==; cat /sys/class/net/lo/operstate; echo ==; ls /sys/class/net"
    sockets, loopback, interfaces = instance.output(["--engine", engine, "--network", network],
                                                    ["sh", "-c", script]).split("==\n")
    assert "Path" in sockets and "@" not in sockets
    # it is the sandbox's network all the same
    assert loopback == "unknown\n" and len(interfaces.split()) == (2 if network == "nat" else 1), interfaces


@pytest.mark.skipif(not shutil.which("lxc-start"), reason="lxc is not installed")
def test_nobody_takes_the_engines_socket(instance):
    """With the host's network lxc-start listens at an abstract socket of the machine. Who knew its
    name could have it first, and lxc-start would wait for that user's answer for ever."""
    options = ("--engine", "lxc", "--network", "host")

    def names():
        table = instance.output(options, ("cat", "/proc/net/unix"))
        return {line.split("@", 1)[1] for line in table.splitlines() if "@/run/sandbox" in line}

    first = names()
    assert len(first) == 1
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(b"\0" + first.pop().encode())
        squatter.listen()
        done = instance.run(options, ("echo", "ran"), timeout=20)
        assert (done.returncode, done.stdout) == (0, "ran\n"), done
