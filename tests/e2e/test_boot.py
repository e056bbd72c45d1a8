# SPDX-License-Identifier: Apache-2.0
"""run --boot: the template's own init as process 1 of the sandbox. Here inits are a few lines of shell;
systemd is started in the virtual machine (tests/vm/boot.sh)."""

import contextlib
import json
import os
import shutil
import signal

import pytest

from sandboxes import PATIENCE, wait_until
from services import command_line

pytestmark = pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="systemd-nspawn is not installed")
BOOT = ("--engine", "nspawn", "--boot")
RIGHTS = ("Seccomp", "NoNewPrivs", "Cap")
# one that shuts down when it is asked to, as systemd does
SHUTS_DOWN = "trap 'echo down; exit 3' RTMIN+3; trap 'echo wrong' TERM INT HUP QUIT; echo up; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def boot_root(small_root, session_directory):
    root = session_directory / "roots" / "boot"
    shutil.copytree(small_root, root, symlinks=True)
    (root / "usr/sbin").mkdir()
    (root / "sbin").symlink_to("usr/sbin")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def booted(boot_root):
    """What its /sbin/init is to be: a script, or a mode for none that can be executed."""
    path = boot_root / "sbin/init"

    def make(script, mode=0o755):
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(mode)
        return str(boot_root)

    yield make
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def running(service, root, *options):
    with service.popen([*BOOT, *options], [], template=root) as client:
        assert client.stdout.readline() == "up\n", client.stderr.read()
        yield client
    wait_until(lambda: service.leaves() == [], what="the end of all")


def test_init_is_process_1(instance, booted):
    root = booted("echo $$ $0 $container $A $PWD; cat /proc/self/status; echo end; tty; test -c /dev/console && [ -d /run/lock ] && mkdir /sys/fs/cgroup/mine; "
                  "set -- $(ls /proc/self/fd); echo $#; exit 7")
    done = instance.isolate("run", *BOOT, "-e", "A=b", root)
    lines = done.stdout.replace("\r", "").splitlines()
    assert done.returncode == 7 and lines[0] == "1 /sbin/init systemd-nspawn b /", done
    usual = instance.ok("run", "--engine", "nspawn", root, "--", "cat", "/proc/self/status").splitlines()
    assert [line for line in lines if line.startswith(RIGHTS)] == [line for line in usual if line.startswith(RIGHTS)]
    assert lines[lines.index("end") + 1:] == ["/dev/pts/0", "4"], done  # three of ls, and its directory


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_what_ends_a_command_shuts_down(instance, booted, number):
    with running(instance, booted(SHUTS_DOWN)) as client:
        client.send_signal(number)
        assert client.stdout.readline() == "down\n"
        assert client.wait(PATIENCE) == 3


def test_other_signals_are_its_own(instance, booted):
    with running(instance, booted("trap 'echo one' USR1; trap 'exit 4' USR2; echo up; while :; do sleep 0.1; done")) as client:
        client.send_signal(signal.SIGUSR1)
        assert client.stdout.readline() == "one\n"
        client.send_signal(signal.SIGUSR2)
        assert client.wait(PATIENCE) == 4


def test_timeout_shuts_down_first(instance, booted):
    done = instance.isolate("run", *BOOT, "--timeout", "1s", booted(SHUTS_DOWN))
    assert done.returncode == 124 and done.stdout.split() == ["up", "down"], done
    # a process 1 gets no signal that it has not asked for
    done = instance.isolate("run", *BOOT, "--timeout", "1s", booted("echo up; while :; do sleep 1; done"))
    assert done.returncode == 124 and done.stdout.split() == ["up"], done


def test_console_that_nobody_holds(instance, booted):
    """systemd closes it, and opens it when it has something to say."""
    root = booted("exec </dev/null >/dev/null 2>&1; sleep 1; echo late >/dev/console; sleep 1; echo end >/dev/console")
    done = instance.isolate("run", *BOOT, root)
    assert (done.returncode, done.stdout.split()) == (0, ["late", "end"]), done


def test_no_init(instance, booted, boot_root):
    done = instance.isolate("run", *BOOT, str(boot_root))
    assert done.returncode == 127 and "the template has no init" in done.stderr, done
    done = instance.isolate("run", *BOOT, booted("exit 0", mode=0o644))
    assert done.returncode == 126 and "/sbin/init: cannot be executed" in done.stderr, done
    (boot_root / "sbin/init").unlink()
    (boot_root / "sbin/init").symlink_to("/no/such/program")
    assert instance.isolate("run", *BOOT, str(boot_root)).returncode == 127


@pytest.mark.parametrize("options, command, words", [
    ((), ("true",), "a command cannot go with it"), (("-u", "user"), (), "--user cannot go with it"),
    (("--here",), (), "--here cannot go with it"), (("-w", "/tmp"), (), "--workdir cannot go with it"),
    (("-v", "/etc:/run"), (), "engine nspawn has a /run/host of its own")])
def test_what_does_not_go_together(instance, booted, options, command, words):
    done = instance.isolate("run", *BOOT, *options, booted("echo ran"), "--", *command)
    assert (done.returncode, done.stdout) == (125, "") and words in done.stderr, done


@pytest.mark.parametrize("engine", ["native", "bwrap", "lxc", "oci", "chroot"])
def test_other_engines_refuse(instance, booted, engine):
    storage = ("--storage", "dir") if engine == "chroot" else ()
    listed = {item["name"]: item for item in json.loads(instance.ok("engines", "--json"))}
    if listed[engine]["problem"]:
        pytest.skip(listed[engine]["problem"])
    done = instance.isolate("run", "--engine", engine, "--boot", *storage, booted("echo ran"))
    assert (done.returncode, done.stdout) == (125, ""), done
    assert f"engine {engine} cannot start a template's own init (--boot)" in done.stderr
    assert [name for name, item in listed.items() if "boots" in item["capabilities"]] == ["nspawn"]


def test_explained_and_saved(instance, booted, tmp_path):
    root = booted("echo up; exit 6")
    plan = instance.ok("run", *BOOT, "--explain", "--json", root)
    explained = json.loads(plan)
    assert explained["plan"]["boot"] and explained["plan"]["tty"] and "argv" not in explained["plan"]
    assert "/run/lock" in [mount["target"] for mount in explained["plan"]["mounts"]]
    assert "the template's own init" in instance.ok("run", *BOOT, "--explain", root)
    (tmp_path / "spec").write_text(plan)
    done = instance.isolate("run", "--spec", tmp_path / "spec")
    assert (done.returncode, done.stdout.split()) == (6, ["up"]), done


def test_kept(instance, booted):
    root = booted("echo x >>/count; cat /count; exit 6")
    done = instance.isolate("run", *BOOT, "--keep", "--name", "again", root)
    assert (done.returncode, done.stdout.split()) == (6, ["x"]), done
    done = instance.isolate("start", "again")
    assert (done.returncode, done.stdout.split()) == (6, ["x", "x"]), done
    assert instance.ok("start", "again", "--", "cat", "/count") == "x\nx\n"
    instance.ok("rm", "again")


@pytest.mark.settings({"Pool.Parked": 0})
def test_exec_runs_beside_init(service, booted):
    with running(service, booted(SHUTS_DOWN), "--name", "b") as client:
        wait_until(lambda: service.isolate("exec", "b", "true").returncode == 0, what="that isolated has heard of it")
        done = service.isolate("exec", "b", "sh", "-c", "cat /proc/1/comm; id -u; exit 5")
        assert (done.returncode, done.stdout) == (5, "init\n0\n"), done
        assert "(init)" in service.ok("ps")
        longer = service.popen_isolate("exec", "b", "sleep", "600")
        wait_until(lambda: any(b"600" in command_line(pid) for pid in service.members()), what="it")
        # init ends whom it finds, and asks nobody
        done = service.isolate("exec", "b", "sh", "-c", "kill -TERM 2; sleep 60")
        assert done.returncode == 137, done
        assert longer.wait(PATIENCE) == 137
        done = service.isolate("exec", "b", "true")
        assert done.returncode == 125 and "exec" in done.stderr, done
        assert client.poll() is None
        client.terminate()
        assert client.wait(PATIENCE) == 3


@pytest.mark.settings({"Pool.Parked": 0})
def test_detached(service, booted):
    sandbox = service.ok("run", "-d", *BOOT, booted(SHUTS_DOWN)).strip()
    wait_until(lambda: "up" in service.ok("logs", sandbox), what="its log")
    service.ok("stop", sandbox)
    assert service.isolate("wait", sandbox).stdout.split()[-1] == "3"
    assert service.ok("logs", sandbox).split() == ["up", "down"]


@pytest.mark.settings({"Pool.Parked": 0})
def test_engine_that_is_killed(service, booted):
    with running(service, booted(SHUTS_DOWN)) as client:
        engine = service.member_named("systemd-nspawn")
        os.kill(int(engine), signal.SIGKILL)
        assert client.wait(PATIENCE) == 137
