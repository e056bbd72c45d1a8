# SPDX-License-Identifier: Apache-2.0
"""The options of the system call filter: which there are, who may have them, what they hold for."""

import base64
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


def test_accounts_can_be_made(instance):
    """What makes accounts wants to tell the audit system, and goes on only where that is not there."""
    done = instance.run((), ("sh", "-c", "groupadd -r thing && useradd -r -g thing thing && id -gn thing"))
    assert (done.returncode, done.stdout) == (0, "thing\n"), done


def test_strict_and_what_a_start_needs(instance, tmp_path):
    """Terminal, user, binds, working directory: all of a start still works."""
    done = instance.run(("--seccomp", "strict", "-u", "daemon", "-w", "/usr/lib", "-e", "A=1", "--tmpfs", "/mnt",
                         "-v", f"{tmp_path}:/srv:ro"), ("sh", "-c", "id -un; pwd; echo $A; ls /srv | wc -l"))
    assert (done.returncode, done.stdout) == (0, "daemon\n/usr/lib\n1\n0\n"), done


def test_unknown(instance):
    refused(instance.run(("--seccomp", "lax"), PERL), "lax", "default, strict, nested")
    refused(instance.run(("--seccomp", ""), PERL), "default, strict")


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


def write_profile(tmp_path, name="profile.json", **profile):
    path = tmp_path / name
    path.write_text(json.dumps(profile))
    return path


def denying(*names, **more):
    """A profile in the format of the OCI runtime specification."""
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": 1, **more}]}


def test_profile(instance, tmp_path):
    """Of root it takes the place of the default, and the rules for arguments stay."""
    profile = write_profile(tmp_path, **denying("shmget"))
    assert instance.output(("--seccomp", str(profile)), PERL) == DEFAULT.replace("shm made", "shm EPERM")
    keyctl = ("perl", "-e", "print syscall(250, 0, -1, 0) >= 0 || !$!{EPERM} ? 'yes' : 'no'")
    assert instance.output((), keyctl) == "no"
    assert instance.output(("--seccomp", str(profile)), keyctl) == "yes"
    for number in (272, 435):  # unshare(CLONE_NEWUSER), clone3
        script = f"print syscall({number}, 0x10000000, 0) < 0 ? 0 + $! : 'made'"
        assert instance.output(("--seccomp", str(profile)), ("perl", "-e", script)) in ("1", "38")


def test_profile_that_forbids_the_start(instance, tmp_path):
    """It holds from the command's first instruction on, not for what starts it."""
    profile = write_profile(tmp_path, **denying("setresuid", "setgroups", "capset", "chdir", "dup2", "umask", "fork",
                                                "seccomp", "recvmsg", "sendmsg", "poll", "socketpair", "clone", "vfork"))
    script = 'printf("%s %s\\n", $<, chdir("/") ? "moved" : $!{EPERM} ? "EPERM" : $!)'
    done = instance.run(("--seccomp", str(profile), "-u", "games", "-w", "/usr"), ("perl", "-e", script))
    assert (done.returncode, done.stdout) == (0, "5 EPERM\n"), done


def test_profile_with_arguments(instance, tmp_path):
    """Conditions of one rule must all hold; two of one argument are two rules."""
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}]
    profile = write_profile(tmp_path, **denying("socket", args=both))
    script = 'use Socket; printf("%d", socket(my $s, $_, SOCK_STREAM, 0) ? 1 : 0) for (AF_UNIX, AF_INET, AF_INET6);'
    assert instance.output(("--seccomp", str(profile)), ("perl", "-e", script)) == "010"
    masked = [{"index": 1, "value": 0xF, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"},
              {"index": 0, "value": 2, "op": "SCMP_CMP_GE"}]
    profile = write_profile(tmp_path, **denying("socket", args=masked))
    assert instance.output(("--seccomp", str(profile)), ("perl", "-e", script)) == "100"


def test_profile_of_docker(instance, tmp_path):
    """Its format, with names of errnos, and rules by capability, architecture and kernel."""
    def rule(name, **more):
        return {"names": [name], "action": "SCMP_ACT_ERRNO", "errno": "EDEADLK", "comment": "", "args": [], **more}
    profile = write_profile(
        tmp_path, defaultAction="SCMP_ACT_ALLOW", defaultErrno="ENOSYS", defaultErrnoRet=38,
        archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                 {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
        syscalls=[rule("shmget", includes={"caps": ["CAP_CHOWN"]}, excludes={"caps": ["CAP_NET_ADMIN"]}),
                  rule("getcwd", includes={"arches": ["s390x"]}), rule("chdir", includes={"minKernel": "99.1"}),
                  rule("mkdir", includes={"minKernel": "4.8", "arches": ["amd64", "arm64"]})])
    script = """printf("%s %s %s", defined(shmget(0, 4096, 0600)) ? "made" : $!{EDEADLK} ? "no" : $!,
                       chdir("/") ? "moved" : "no", mkdir("/tmp/a") ? "made" : $!{EDEADLK} ? "no" : $!)"""
    look = ("perl", "-e", script)
    assert instance.output(("--seccomp", str(profile)), look) == "no moved no"
    assert instance.output(("--seccomp", str(profile), "--cap-drop", "CHOWN"), look) == "made moved no"
    assert instance.output(("--seccomp", str(profile), "--cap-add", "NET_ADMIN"), look) == "made moved no"


@pytest.mark.parametrize("profile,words", [
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, ["SCMP_ACT_NOTIFY", "nobody to notify"]),
    ({"defaultAction": "SCMP_ACT_MAYBE"}, ["SCMP_ACT_MAYBE"]),
    ({"syscalls": []}, ["defaultAction"]),
    ({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}, ["listenerPath"]),
    ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}, ["SECCOMP_FILTER_FLAG_LOG"]),
    ({"defaultAction": "SCMP_ACT_ERRNO"}, ["execve"]),
    ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}, ["other architectures"]),
    (denying("no_such_call"), ["no_such_call", "not known"]),
    (denying("socket", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]), ["index from 0 to 5"]),
    (denying("socket", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_IN"}]), ["SCMP_CMP_IN"]),
    (denying("socket", errnoRet=70000), ["0 to 4095"]),
    (denying("socket", includes={"cpu": 1}), ["cpu"])])
def test_profile_refused(instance, tmp_path, profile, words):
    refused(instance.run(("--seccomp", str(write_profile(tmp_path, **profile))), ("true",)), "profile.json", *words)


def test_profile_files(instance, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    refused(instance.run(("--seccomp", str(bad)), ("true",)), "bad.json", "line 1")
    bad.write_text("")
    refused(instance.run(("--seccomp", str(bad)), ("true",)), "is empty")
    refused(instance.run(("--seccomp", str(tmp_path)), ("true",)), "Is a directory")
    many = [{"index": 0, "value": i, "op": "SCMP_CMP_EQ"} for i in range(6000)]
    large = write_profile(tmp_path, **denying("socket", args=many))
    refused(instance.run(("--seccomp", str(large)), ("true",)), "instructions")


def test_profile_explained_and_saved(instance, tmp_path):
    profile = write_profile(tmp_path, **denying("shmget"))
    engine = ("--engine", ENGINE) if ENGINE != "native" else ()
    document = json.loads(instance.ok("run", "--explain", "--json", *engine, "--seccomp", str(profile),
                                      instance.template, "--", *PERL))
    plan = document["plan"]
    assert (plan["seccomp"], plan["seccomp_source"], plan["filters"]) == ("profile", str(profile), 2)
    profile.unlink()  # the spec has what it was compiled to
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(document))
    assert instance.ok("run", "--spec", str(spec)) == DEFAULT.replace("shm made", "shm EPERM")


def test_hostile_programs(instance, tmp_path):
    """What is no program of the kernel's is refused by it, and by its size before."""
    document = json.loads(instance.ok("run", "--explain", "--json", instance.template, "--", "true"))
    spec = tmp_path / "spec.json"
    for program, word in ((b"\xff" * 8, "system call filter"), (b"\x06" * 7, "instructions"), (b"", "instructions"),
                          (b"\x06\0\0\0\0\0\xff\x7f" * 4097, "instructions"),
                          (b"\x05\0\0\0\xff\xff\xff\xff" * 4, "system call filter")):
        document["spec"]["seccomp"] = {"source": "x", "program": base64.b64encode(program).decode()}
        spec.write_text(json.dumps(document))
        refused(instance.isolate("run", "--spec", str(spec)), word)


def test_profile_for_32_bits(instance, program_32, tmp_path):
    bind = ("-v", f"{program_32}:/srv:ro", "--personality", "32bit")
    refused(instance.run((*bind, "--seccomp", str(write_profile(tmp_path, **denying("shmget")))), ("/srv/program",)),
            "SCMP_ARCH_X86")
    both = {**denying("shmget"), "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}
    done = instance.run((*bind, "--seccomp", str(write_profile(tmp_path, **both))), ("/srv/program",))
    assert done.stdout == "hello\n" and done.returncode == 8, done  # socketcall is the profile's to decide


def test_profile_of_a_member(service, session_directory):
    """It only tightens: what the default refuses stays refused."""
    member = Member(service, MEMBER)
    profile = write_profile(session_directory, **denying("mkdir", "mkdirat"))
    done = member.run(("--seccomp", str(profile)), ("sh", "-c", "cat /proc/self/status; mkdir /tmp/a"))
    # isolated's own, the default's two, and the profile
    assert "Seccomp_filters:\t4" in done.stdout and "not permitted" in done.stderr, done


@pytest.mark.settings({"Policy.Seccomp": "profile"})
def test_members_who_may_choose_any(service, session_directory):
    profile = write_profile(session_directory, **denying("mkdir", "mkdirat"))
    done = Member(service, MEMBER).run(("--seccomp", str(profile)), ("cat", "/proc/self/status"))
    assert "Seccomp_filters:\t3" in done.stdout, done


@pytest.mark.settings({"Policy.Seccomp": "strict"})
def test_members_who_may_not(service, session_directory):
    profile = write_profile(session_directory, **denying("mkdir"))
    refused(Member(service, MEMBER).run(("--seccomp", str(profile))), "--seccomp profile", "Seccomp=")


only_native = pytest.mark.skipif(ENGINE != "native", reason="only engine native can nest")

NEST = r"""
set -eu
unshare -Ur id -u
unshare -Urmpf --mount-proc sh -c 'echo $$; head -n 1 /proc/1/status; mount -t tmpfs none /mnt; ls /mnt'
unshare -Urn sh -c 'ls /sys/class/net >/dev/null; echo net'
unshare -Uru hostname inside && hostname
unshare -Urmpf sh -c 'mount -t proc proc /proc; echo x >/proc/sys/kernel/core_pattern' 2>&1 | grep -c -i denied
"""


@only_native
@pytest.mark.parametrize("user", [(), ("-u", "games")])
def test_nested(instance, user):
    """Namespaces of the command's own, with a proc in them, that gives it nothing of the machine's."""
    done = instance.run(("--seccomp", "nested", "--hostname", "outer", *user), ("sh", "-c", NEST))
    assert (done.returncode, done.stdout) == (0, "0\n1\nName:\tsh\nnet\nouter\n1\n"), done
    assert instance.run(("--seccomp", "nested"), ("mount", "-t", "tmpfs", "none", "/mnt")).returncode != 0
    assert instance.run(user, ("unshare", "-Ur", "true")).returncode == 1


@only_native
def test_nested_sees_nothing_more(instance):
    assert instance.output(("--seccomp", "nested"), ("sh", "-c", "ls -A /dev/.nested; find /proc/keys -size +0")) == ""
    assert "/dev/.nested" not in instance.output((), ("cat", "/proc/self/mountinfo"))


def test_engines_that_cannot_nest(instance):
    if ENGINE == "native":
        pytest.skip("native can")
    refused(instance.run(("--seccomp", "nested")), "cannot let the command make namespaces")


def test_members_may_not_nest(service):
    refused(Member(service, MEMBER).run(("--seccomp", "nested")), "--seccomp nested", "Seccomp=")


@only_native
@pytest.mark.settings({"Policy.Seccomp": "default nested"})
def test_members_who_may_nest(service):
    member = Member(service, MEMBER)
    assert member.run(("--seccomp", "nested"), ("true",)).returncode == 0


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
