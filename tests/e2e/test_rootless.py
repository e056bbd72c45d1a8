# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that are parked without a root: who names a directory with storage dir (the original's
-t) gets one, and it becomes the sandbox that would have been built for the directory."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from sandboxes import PATIENCE, comm, process_state, wait_until
from services import Member, finish, refused
from terminal import Terminal

pytestmark = pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 0})

ENGINES = [
    pytest.param(engine, marks=pytest.mark.skipif(bool(program and not shutil.which(program)), reason=f"{program} is not installed"))
    for engine, program in (("native", ""), ("bwrap", "bwrap"), ("lxc", "lxc-start"), ("nspawn", "systemd-nspawn"),
                            ("oci", "runc"))]
needs_bwrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")


@pytest.fixture
def directory(small_root, session_directory):
    """A root of this test's own, to be changed."""
    return copy_root(small_root, session_directory / "roots" / "changed")


@pytest.fixture
def another(small_root, session_directory):
    return copy_root(small_root, session_directory / "roots" / "another")


def copy_root(small_root, path):
    shutil.rmtree(path, ignore_errors=True)
    subprocess.run(["cp", "-a", small_root, path], check=True)
    return path


def shape(service, engine):
    """Of the network that was asked for last."""
    shapes = json.loads(service.ok("pool", "--json"))
    return next((one for one in shapes if one["template"] == "" and one["engine"] == engine), {"ready": 0, "claims": 0})


def claims(service, engine):
    return shape(service, engine)["claims"]


def park(service, engine, directory, *options):
    """The first run has none, and shows what is wanted."""
    service.ok("run", "--engine", engine, "--storage", "dir", *options, str(directory), "true")
    wait_until_parked(service, engine)


def wait_until_parked(service, engine):
    wait_until(lambda: shape(service, engine)["ready"] == 2 and len(service.parked()) == 2, PATIENCE, "parked ones")


def run(service, engine, directory, command, *options):
    return service.isolate("run", "--engine", engine, "--storage", "dir", *options, str(directory), "--", *command)


def inner_inits(service):
    """Those of the parked engines, when all of them wait."""
    def all_of_them():
        found = {pid for pid in service.members() if comm(pid) == "isolate-inner"}
        return found if len(found) == 2 else None
    return wait_until(all_of_them, PATIENCE, "engines that wait")


LOOK = ("id; hostname; pwd; env; cat /proc/self/status /proc/self/mountinfo /proc/self/uid_map /proc/self/cgroup;"
        " ls -la / /dev /run /tmp /proc/self/fd; readlink /proc/self/root")


def on_top(lines):
    """The mounts that are seen: nothing is over their place, or over one that they are in."""
    mounts = {line.split()[0]: line.split() for line in lines if " - " in line}
    covered = {mount[1] for mount in mounts.values() if mount[1] in mounts and mounts[mount[1]][4] == mount[4]}

    def is_seen(mount):
        parent = mounts.get(mount[1])
        return not parent or ((parent[4] == mount[4] or parent[0] not in covered) and is_seen(parent))
    return [" ".join(mount[3:]) for mount in mounts.values() if mount[0] not in covered and is_seen(mount)]


def seen(text):
    """What is a sandbox's own number, or the moment's, is left out."""
    lines = [line for line in text.splitlines() if " - " not in line] + on_top(text.splitlines())
    text = "\n".join(lines)
    text = re.sub(r"\b(uid|gid)=\d{6,}|shared:\d+ |master:\d+ |\b\d{9,}\b", "N", text)
    text = re.sub(r"^(?:Pid|PPid|Tgid|Ngid|NSpid|NStgid|NSpgid|NSsid|Vm\w+|Rss\w+|\w*ctxt_switches|x86\w*|SigQ|Cpus\w*|Mems\w*):.*\n",
                  "", text, flags=re.MULTILINE)
    text = re.sub(r"(\w+)_N\b", "SANDBOX", text)
    text = re.sub(r"\S+ +\d+ \d+:\d\d", "TIME", text)
    text = re.sub(r"(boot-id|proc-kmsg|pipe:)\S+", r"\1", text)
    text = re.sub(r"-> /proc/\d+/fd$", "-> /proc/PID/fd", text, flags=re.MULTILINE)
    text = re.sub(r"^([-a-z]{10}) +\d+ ", r"\1 ", text, flags=re.MULTILINE)
    return sorted(text.splitlines())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [(), ("--read-only", "--tmpfs", "/home", "--cap-drop", "ALL", "--hostname", "box", "-w", "/srv"),
                                     ("-v", "/usr:/mnt/usr:ro", "-u", "user")], ids=["plain", "original", "bind"])
def test_it_is_the_sandbox_that_would_have_been_built(service, directory, engine, options):
    cold = run(service, engine, directory, ["sh", "-c", LOOK], *options)
    park(service, engine, directory)
    before = claims(service, engine)
    warm = run(service, engine, directory, ["sh", "-c", LOOK], *options)
    assert claims(service, engine) == before + 1
    assert [(done.returncode, done.stderr) for done in (cold, warm)] == [(0, "")] * 2, (cold, warm)
    assert seen(cold.stdout) == seen(warm.stdout)


@pytest.mark.parametrize("engine", ENGINES)
def test_with_the_machines_network(service, directory, engine):
    """Another shape: there the sysfs is the machine's."""
    show = ["sh", "-c", "readlink /proc/self/ns/net; ls /sys/class/net; cat /proc/self/mountinfo"]
    cold = run(service, engine, directory, show, "--network", "host")
    park(service, engine, directory, "--network", "host")
    before = claims(service, engine)
    warm = run(service, engine, directory, show, "--network", "host")
    assert claims(service, engine) == before + 1 and cold.returncode == warm.returncode == 0, warm
    assert warm.stdout.startswith(os.readlink("/proc/self/ns/net") + "\n")
    assert seen(cold.stdout) == seen(warm.stdout)


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_at_a_terminal(service, directory, engine):
    park(service, engine, directory)
    argv = service.run_argv(["-t", "--engine", engine, "--storage", "dir"],
                            ["sh", "-c", "tty; test -c /dev/console && echo console; ls /dev/pts; exit 7"], str(directory))
    with Terminal(argv, service.env) as terminal:
        terminal.expect(rb"/dev/pts/0\r\nconsole\r\n0")
        assert terminal.wait() == 7
    assert claims(service, engine) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_changes_persist_and_nothing_else(service, directory, engine):
    park(service, engine, directory)
    before = sorted(os.listdir(directory))
    done = run(service, engine, directory, ["sh", "-c", "echo x >/srv/file; touch /tmp/t /run/r /dev/d; exit 7"])
    assert done.returncode == 7, done
    assert (directory / "srv/file").read_text() == "x\n"
    st = (directory / "srv/file").stat()
    assert (st.st_uid, st.st_gid) == (0, 0)
    assert sorted(os.listdir(directory)) == before
    assert [os.listdir(directory / name) for name in ("tmp", "run", "dev", "proc", "sys")] == [[]] * 5
    assert run(service, engine, directory, ["cat", "/srv/file"]).stdout == "x\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_accounts_are_those_of_the_directory(service, directory, engine):
    (directory / "etc/passwd").write_text("root:x:0:0:root:/srv:/bin/sh\nsomebody:x:1234:1235::/var:/bin/sh\n")
    park(service, engine, directory)
    show = ["sh", "-c", "id -u; id -g; echo $HOME"]
    assert run(service, engine, directory, show, "-u", "somebody").stdout == "1234\n1235\n/var\n"
    assert run(service, engine, directory, show).stdout == "0\n0\n/srv\n"
    assert claims(service, engine) == 2
    refused(run(service, engine, directory, show, "-u", "user"), "user")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_directories_at_once(service, directory, another, engine):
    (directory / "srv/name").write_text("one\n")
    (another / "srv/name").write_text("two\n")
    park(service, engine, directory)
    root = Member(service, 0)
    options = ("--engine", engine, "--storage", "dir")
    script = ["sh", "-c", "echo up; read x; cat /srv/name; exit 7"]
    first, second = (root.popen(options, script, template=str(path)) for path in (directory, another))
    for process in (first, second):
        assert process.stdout.readline() == "up\n", process.stderr.read()
    assert claims(service, engine) == 2
    assert sorted(item["root"] for item in service.ps()) == sorted(map(str, (directory, another)))
    for process, name in ((first, "one"), (second, "two")):
        out, errors = process.communicate("\n", timeout=PATIENCE)
        assert (process.returncode, out) == (7, f"{name}\n"), errors


def mounts_of(pids, words):
    lines = []
    for pid in pids:
        try:
            lines += pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:
            continue
    return [line for line in lines if words in line]


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_a_directory_is_held_by_what_is_parked(service, directory, engine):
    """Neither before, by those that wait, nor behind a run, by those that wait for the next one."""
    park(service, engine, directory)
    for _ in range(2):
        assert mounts_of({*service.members(), *service.resident_processes()}, directory.name) == []
        assert run(service, engine, directory, ["true"]).returncode == 0
        wait_until_parked(service, engine)
    held = [os.readlink(link) for pid in service.resident_processes() for link in pathlib.Path(f"/proc/{pid}/fd").iterdir()
            if os.path.islink(link)]
    assert [path for path in held if directory.name in path] == []
    moved = directory.with_name("moved")
    directory.rename(moved)
    shutil.rmtree(moved)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_that_died_while_it_was_parked(service, directory, engine):
    park(service, engine, directory)
    parked = set(service.parked())
    for pid in [pid for pid in service.members() if comm(pid) == "isolate-init"]:
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not parked & set(service.parked()), PATIENCE, "the end of them")
    assert run(service, engine, directory, ["sh", "-c", "exit 6"]).returncode == 6
    wait_until_parked(service, engine)
    assert run(service, engine, directory, ["sh", "-c", "exit 7"]).returncode == 7


@needs_bwrap
def test_engine_that_died_while_it_was_parked(service, directory):
    park(service, "bwrap", directory)
    inner_inits(service)
    killed = {pid for pid in service.members() if comm(pid) == "bwrap"}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(process_state(pid) in ("Z", "") for pid in killed), PATIENCE, "their end")
    done = run(service, "bwrap", directory, ["sh", "-c", "exit 6"], "-v", "/usr:/mnt:ro")
    assert done.returncode == 6, done
    assert claims(service, "bwrap") == 1


@needs_bwrap
def test_the_engine_that_waited_serves(service, directory):
    park(service, "bwrap", directory)
    waiting = inner_inits(service)
    process = Member(service, 0).popen(("--engine", "bwrap", "--storage", "dir"), ["sh", "-c", "echo up; read x; exit 7"],
                                       template=str(directory))
    assert process.stdout.readline() == "up\n", process.stderr.read()
    (item,) = service.ps()
    inside = [int(p) for path in (service.cgroup / item["id"]).rglob("cgroup.procs") for p in path.read_text().split()]
    inner = [pid for pid in inside if comm(pid) == "isolate-inner"]
    assert len(inner) == 1 and inner[0] in waiting
    assert mounts_of(inner, " / / ") == [] and len(mounts_of(inner, f"{directory.name} / ")) == 1
    finish(process)


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_daemon_killed(service, directory, engine):
    """What was parked is gone, what runs goes on and is taken over, and the next daemon keeps some ready."""
    park(service, engine, directory)
    process = Member(service, 0).popen(("--engine", engine, "--storage", "dir", "--name", "going"),
                                       ["sh", "-c", "echo up; read x; exit 7"], template=str(directory))
    assert process.stdout.readline() == "up\n", process.stderr.read()
    wait_until_parked(service, engine)
    parked = service.parked()
    service.kill_resident()
    service.start_again()
    wait_until_parked(service, engine)
    assert not set(parked) & set(service.parked())
    (item,) = service.ps()
    assert (item["name"], item["root"], item["storage"]) == ("going", str(directory), "dir")
    assert service.isolate("exec", "going", "sh", "-c", "exit 5").returncode == 5
    finish(process)
    assert run(service, engine, directory, ["sh", "-c", "exit 6"]).returncode == 6
    assert claims(service, engine) == 1


@pytest.mark.parametrize("options, words", [
    (("--keep",), None), (("--first-id", "400000"), None), (("--pre-hook", "true"), None),
    (("--disk", "1G"), "dir cannot limit disk space"), (("--boot",), "cannot start a template's own init")])
def test_what_one_without_a_root_cannot_serve(service, directory, options, words):
    """Is built for its caller, or refused, as if none were parked."""
    park(service, "native", directory)
    parked = service.parked()
    command = () if "--boot" in options else ("sh", "-c", "exit 7")
    done = run(service, "native", directory, command, *options)
    if words:
        refused(done, words)
    else:
        assert done.returncode == 7, done
    assert (claims(service, "native"), service.parked()) == (0, parked)
    if "--keep" in options:
        (item,) = service.ps("-a")
        assert service.isolate("start", item["id"]).returncode == 7
        service.ok("rm", item["id"])


@pytest.mark.parametrize("engine", ENGINES[:2])
@pytest.mark.parametrize("more", [(), ("-u", "user"), ("--network", "nat")], ids=["plain", "user", "network"])
def test_a_directory_that_is_no_root(service, directory, engine, more):
    if "nat" in more and not os.environ.get("ISOLATE_TEST_NETWORK"):
        pytest.skip("no network to be given")
    (directory / "proc").rmdir()
    (directory / "proc").symlink_to("etc")
    service.ok("run", "--engine", engine, "--storage", "dir", str(directory.with_name("small")), "true")
    wait_until_parked(service, engine)
    refused(run(service, engine, directory, ["true"], *more), "/proc of the template is not a directory", "--storage=overlay")
    assert os.readlink(directory / "proc") == "etc"
    wait_until_parked(service, engine)
    refused(run(service, engine, "/proc", ["true"], *more), "template /proc: its file system cannot be id-mapped")
    wait_until_parked(service, engine)
    if more == ():
        refused(run(service, engine, service.state, ["true"]), "is isolate's own state")


def test_members_have_none(service, directory):
    park(service, "native", directory)
    parked = service.parked()
    done = Member(service, 61301).isolate("run", "--storage", "dir", "/", "true")
    assert done.returncode == 125 and "for root only" in done.stderr, done
    assert service.parked() == parked


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_explained_as_one_that_is_built(service, directory, engine):
    argv = ("run", "--explain", "--json", "--engine", engine, "--storage", "dir", str(directory), "true")
    before = json.loads(service.ok(*argv))
    park(service, engine, directory)
    assert json.loads(service.ok(*argv)) == before
    assert claims(service, engine) == 0
    assert "(directories)" in service.ok("pool")
