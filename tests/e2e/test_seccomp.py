# SPDX-License-Identifier: Apache-2.0
"""The options of the system call filter: which there are, who may have them, what they hold for."""

import json
import platform
import signal
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


# a program of i386: says hello, asks for a socket by socketcall and by the call of its own, ends with 7
PROGRAM_32 = r"""
static int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
void _start(void)
{
    static const int stream_of_inet[] = {2, 1, 0};
    int old = call(102, 1, stream_of_inet, 0), new = call(359, 2, (void *)1, 0);
    call(4, 1, "hello\n", 6);
    call(1, old == -97 && new >= 3 ? 7 : 8, 0, 0);
}
"""


@pytest.fixture(scope="module")
def program_32(tmp_path_factory):
    if platform.machine() != "x86_64":
        pytest.skip("i386 is x86-64's architecture of 32 bits")
    directory = tmp_path_factory.mktemp("program-32")
    (directory / "program.c").write_text(PROGRAM_32)
    subprocess.run(["cc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie", "-O1",
                    "-fno-stack-protector", "-o", directory / "program", directory / "program.c"], check=True)
    return directory


def test_programs_of_32_bits(instance, program_32):
    bind = ("-v", f"{program_32}:/srv:ro")
    done = instance.run((*bind, "--personality", "32bit"), ("/srv/program",))
    assert (done.returncode, done.stdout) == (7, "hello\n"), done
    done = instance.run((*bind, "--personality=32bit", "--seccomp=strict"), ("/srv/program",))
    assert (done.returncode, done.stdout) == (8, "hello\n"), done
    for options in ((), ("--personality", "native")):
        done = instance.run((*bind, *options), ("/srv/program",))
        assert (done.returncode, done.stdout) == (128 + signal.SIGSYS, ""), done
    assert instance.output(("--personality", "32bit"), PERL) == DEFAULT
    refused(instance.run(("--personality", "x32"), PERL), "x32", "native and 32bit")


def test_chroot_has_no_filter(instance, small_root):
    done = instance.isolate("run", "--engine", "chroot", "--storage", "dir", "--seccomp", "strict", small_root, "--",
                            "true")
    refused(done, "engine chroot cannot filter system calls (--seccomp")


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


def test_members_and_32_bits(service):
    refused(Member(service, MEMBER).run(("--personality", "32bit")), "--personality 32bit", "Seccomp=")


@pytest.mark.settings({"Policy.Seccomp": "default 32bit"})
def test_members_who_may_have_32_bits(service):
    member = Member(service, MEMBER)
    assert member.run(("--personality", "32bit")).returncode == 0
    refused(member.run(("--personality", "32bit", "--seccomp", "strict")), "--seccomp strict", "Seccomp=")


@pytest.mark.settings({"Policy.Seccomp": "strict"})
def test_members_who_may_only_be_strict(service):
    member = Member(service, MEMBER)
    assert member.run(("--seccomp", "strict")).returncode == 0
    refused(member.run(()), "--seccomp default", "Seccomp=")
    assert service.ok("run", service.template, "--", "true") == ""
