# SPDX-License-Identifier: Apache-2.0
"""The options of the system call filter: which there are, who may have them, what they hold for."""

import json
import subprocess

import pytest

from sandboxes import ENGINE, wait_until
from services import Member

MEMBER = 61313

# shmget, which strict refuses, and a socket of AF_UNIX, which it does not
LOOK = r"""
use POSIX; use Socket;
printf("shm %s\n", defined(shmget(0, 4096, 0600)) ? "made" : $!{EPERM} ? "EPERM" : $!);
printf("unix %s\n", socket(my $s, AF_UNIX, SOCK_STREAM, 0) ? "made" : $!);
printf("inet %s\n", socket(my $t, AF_INET, SOCK_STREAM, 0) ? "made" : $!{EAFNOSUPPORT} ? "EAFNOSUPPORT" : $!);
"""
PERL = ("perl", "-e", LOOK)
DEFAULT = "shm made\nunix made\ninet made\n"
STRICT = "shm EPERM\nunix made\ninet EAFNOSUPPORT\n"


def refused(done, *words):
    assert done.returncode == 125 and done.stdout == "", done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_variants(instance):
    assert instance.output((), PERL) == DEFAULT
    assert instance.output(("--seccomp", "default"), PERL) == DEFAULT
    assert instance.output(("--seccomp=strict",), PERL) == STRICT
    assert instance.output(("--seccomp", "strict", "-u", "games"), PERL) == STRICT


def test_strict_and_what_a_start_needs(instance, tmp_path):
    """Terminal, user, binds, working directory: all of a start still works."""
    done = instance.run(("--seccomp", "strict", "-u", "daemon", "-w", "/usr/lib", "-e", "A=1", "--tmpfs", "/mnt",
                         "-v", f"{tmp_path}:/srv:ro"), ("sh", "-c", "id -un; pwd; echo $A; ls /srv | wc -l"))
    assert (done.returncode, done.stdout) == (0, "daemon\n/usr/lib\n1\n0\n"), done


def test_unknown(instance):
    refused(instance.run(("--seccomp", "lax"), PERL), "lax", "default and strict")
    refused(instance.run(("--seccomp", ""), PERL), "default and strict")


def test_chroot_has_no_filter(instance, small_root):
    done = instance.isolate("run", "--engine", "chroot", "--storage", "dir", "--seccomp", "strict", small_root, "--",
                            "true")
    refused(done, "engine chroot cannot filter system calls (--seccomp)")


def test_exec_has_the_same(service):
    tcp = ("bash", "-c", "echo >/dev/tcp/127.0.0.1/9")
    for options, word in ((("--seccomp", "strict"), "not supported"), ((), "refused")):
        with service.popen((*options, "--name", "filtered"), ("sh", "-c", "echo up; read line"),
                           stdin=subprocess.PIPE) as process:
            assert process.stdout.readline() == "up\n"
            wait_until(lambda: service.isolate("exec", "filtered", "--", "true").returncode == 0)
            assert word in service.isolate("exec", "filtered", "--", *tcp).stderr
            process.communicate("\n", timeout=60)


def test_kept_keeps_it(instance):
    instance.output(("--keep", "--name", "kept-strict", "--seccomp", "strict"), ("true",))
    try:
        assert instance.ok("start", "kept-strict", "--", *PERL) == STRICT
    finally:
        instance.ok("rm", "kept-strict")


def test_explained(instance):
    def plan(*options):
        engine = ("--engine", ENGINE) if ENGINE != "native" else ()
        return json.loads(instance.ok("run", "--explain", "--json", *engine, *options, instance.template, "--",
                                      "true"))["plan"]
    assert plan()["seccomp"] == "default"
    assert plan("--seccomp", "strict")["seccomp"] == "strict"
    assert plan("--seccomp", "strict")["filters"] == plan()["filters"] == 2


def test_members(service):
    member = Member(service, MEMBER)
    assert member.run(("--seccomp", "strict")).returncode == 0
    assert member.run(()).returncode == 0


@pytest.mark.settings({"Policy.Seccomp": "strict"})
def test_members_who_may_only_be_strict(service):
    member = Member(service, MEMBER)
    assert member.run(("--seccomp", "strict")).returncode == 0
    refused(member.run(()), "--seccomp default", "Seccomp=")
    assert service.ok("run", service.template, "--", "true") == ""
