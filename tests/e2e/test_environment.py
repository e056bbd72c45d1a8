# SPDX-License-Identifier: Apache-2.0
"""What isolated and the programs that it starts are told of the caller: nothing by their environment
that could make them do something else, and no secret by their arguments, which everybody reads."""

import os
import pathlib
import secrets
import shutil
import subprocess

import pytest

from sandboxes import ENGINE, wait_until
from test_engines import FOREIGN

PROGRAMS = """mount umount tar zfs zpool mmdebstrap pasta bwrap runc crun lxc-start systemd-nspawn sh bash perl
modprobe ip xauth newuidmap newgidmap gpg apt apt-get""".split()
ENGINES = [pytest.param("native"), *(
    pytest.param(engine, marks=pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed"))
    for engine, program in FOREIGN)]

if ENGINE != "native":
    pytest.skip("names each engine itself", allow_module_level=True)


@pytest.fixture
def poison(tmp_path):
    """(environment, whether a program of its PATH has run)"""
    tmp_path.chmod(0o755)
    places = tmp_path / "poisoned"
    places.mkdir()
    for name in PROGRAMS:
        program = places / name
        program.write_text(f"#!/bin/bash -p\necho {name} >> {tmp_path}/ran\nexit 1\n")
        program.chmod(0o755)
    path = str(places)
    environment = {
        "PATH": f"{path}:/usr/bin:/bin", "LD_PRELOAD": f"{path}/none.so", "LD_LIBRARY_PATH": path,
        "LD_BIND_NOW": path, "GCONV_PATH": path, "LOCPATH": path, "NLSPATH": path, "HOSTALIASES": f"{path}/hosts",
        "IFS": path, "BASH_ENV": f"{path}/sh", "ENV": f"{path}/sh", "PERL5OPT": f"-I{path} -Mpoisoned",
        "PERL5LIB": path, "PYTHONPATH": path, "TAR_OPTIONS": f"--poisoned={path}", "NOTIFY_SOCKET": f"{path}/notify",
        "XDG_RUNTIME_DIR": path, "APT_CONFIG": f"{path}/apt.conf", "ZFS_MODULE_TIMEOUT": path, "HOME": path,
        "LXC_PATH": path, "SYSTEMD_LOG_TARGET": path, "BASH_FUNC_mount%%": f"() {{ {path}/mount; }}"}
    return environment, lambda: pathlib.Path(tmp_path, "ran").exists()


def processes_with(file, words):
    """{pid: command line} of those in whose /proc/PID/FILE one of these is."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            content = pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
            if int(pid) != os.getpid() and any(os.fsencode(word) in content for word in words):
                found[int(pid)] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
    return found


def up(process):
    assert process.stdout.readline() == "up\n", process.stderr.read()


def end(process):
    said, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, said) == (7, ""), errors
    return errors


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("network", ["none", "nat"])
def test_environment_of_helpers(instance, poison, engine, network):
    if network == "nat" and not shutil.which("pasta"):
        pytest.skip("pasta is not installed")
    environment, ran = poison
    options = ["--engine", engine, "--network", network]
    with instance.popen(options, ["sh", "-c", "echo up; read x; exit 7"], env=environment,
                        stdin=subprocess.PIPE) as client:
        up(client)
        poisoned = processes_with("environ", [environment["LD_LIBRARY_PATH"]])
        assert set(poisoned) == {client.pid}, poisoned
        # isolated is there, and says what it was given
        ours = processes_with("environ", [f"ISOLATE_CONFIG={instance.config}"])
        assert any(line.startswith(b"isolated\0--oneshot") for line in ours.values()), ours
        assert end(client) == ""
    assert not ran()


def test_environment_of_image_workers(instance, poison, tmp_path, small_root):
    environment, ran = poison
    archive = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", small_root, "-cf", archive, "."], check=True)
    for source in (f"tar:{archive}", f"dir:{small_root}"):
        done = instance.isolate("template", "create", "poisoned", "--from", source, env=environment)
        assert done.returncode == 0, done
        # isolate-ctl is the caller's own program, and complains once
        assert done.stderr.count("LD_PRELOAD") == 1, done.stderr
        assert instance.isolate("template", "rm", "poisoned", env=environment).returncode == 0
    assert not ran()


@pytest.mark.settings({"Pool.Parked": 1})
def test_environment_of_builders(service, poison):
    """A daemon that root starts by hand, with an environment of any kind."""
    environment, ran = poison
    del environment["LD_PRELOAD"] # which is the daemon's own in this case
    service.stop_resident()
    service.env, own = service.env | environment, service.env
    service.start_resident()
    service.env = own | {"ISOLATE_SOCKET": service.env["ISOLATE_SOCKET"]}
    assert service.run([], ["true"]).returncode == 0
    wait_until(service.parked, 30, "a parked sandbox")
    poisoned = processes_with("environ", [environment["LD_LIBRARY_PATH"]])
    assert set(poisoned) == {service.resident.pid}, poisoned
    assert not ran()


@pytest.mark.parametrize("engine", ENGINES)
def test_secrets_are_in_no_command_line(service, engine):
    secret = secrets.token_hex(20)
    again = secrets.token_hex(20)
    script = "[ ${#SECRET} = 40 ] && echo up; read x; exit 7"
    options = ["--engine", engine, "--name", "secretive", "-e", "SECRET"]
    with service.popen(options, ["sh", "-c", script], env={"SECRET": secret}, stdin=subprocess.PIPE) as client:
        up(client)
        assert processes_with("cmdline", [secret]) == {}
        with service.popen_isolate("exec", "-e", "SECRET", "secretive", "sh", "-c", script, env={"SECRET": again},
                                    stdin=subprocess.PIPE) as other:
            up(other)
            assert processes_with("cmdline", [secret, again]) == {}
            # it is with the clients and the two commands, so that this would find it
            assert len(processes_with("environ", [secret])) >= 2 and len(processes_with("environ", [again])) >= 2
            end(other)
        end(client)


def traced(words, *more):
    """`strace …`: all that is executed from there on, with all arguments, in that order."""
    return ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-s", "100000", *more, *words]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("network", ["none", "nat"])
def test_secrets_are_in_no_argument_at_any_time(instance, tmp_path, engine, network):
    """From the client's first moment to the end of the last helper."""
    if network == "nat" and not shutil.which("pasta"):
        pytest.skip("pasta is not installed")
    copied, filed = secrets.token_hex(20), secrets.token_hex(20)
    (tmp_path / "variables").write_text(f"FILED={filed}\n")
    options = ["--engine", engine, "--network", network, "-e", "COPIED", "--env-file", tmp_path / "variables"]
    argv = instance.run_argv(options, ["sh", "-c", "echo ${#COPIED} ${#FILED}"])
    done = instance.call(traced(argv, "-o", tmp_path / "trace"), env={"COPIED": copied})
    assert (done.returncode, done.stdout) == (0, "40 40\n"), done
    trace = (tmp_path / "trace").read_text()
    # all of it is there, the command and what made its sandbox included
    for word in ["--oneshot", "isolate-init", "echo ${#COPIED}"] + ["pasta"] * (network == "nat"):
        assert word in trace, trace
    assert engine == "native" or dict(FOREIGN)[engine] in trace, trace
    assert copied not in trace and filed not in trace
