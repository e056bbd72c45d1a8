# SPDX-License-Identifier: Apache-2.0
"""Attacks on proc: 8, overwriting a program through an exe link (CVE-2019-5736); 10, descriptors
that leak; 12, switches and secrets of the kernel; 18, pid 1; 19, rights at the start
(CVE-2022-29162) or won by set-id programs. Controls: the same programs as root in throwaway
namespaces, with a proc that nothing covers and a shell as pid 1."""

import os
import shutil
import subprocess

import pytest

from attempts import both_variants, of
from instance import ENGINE, file_hash, parse

DENIED = {"EPERM", "EACCES", "EROFS", "ENODATA", "ENOENT", "EIO"}

# --- 8 ---

EXE = [f"{who}_{how}" for who in ("1",) for how in ("write", "truncate", "reopen", "read", "chmod")]


@pytest.fixture(scope="module")
def exe_control(instance):
    place = instance.path("exe")
    for name in ("victim", "other"):
        shutil.copy(instance.programs / "exe", place / name)
    before = file_hash(place / "victim")
    done = subprocess.run(["./victim", "overwrite"], cwd=place, stdout=subprocess.PIPE, text=True,
                          timeout=30, check=True)
    assert file_hash(place / "victim") != before
    shutil.rmtree(place)
    return parse(done.stdout)["overwrite"]


@pytest.mark.parametrize("what", EXE)
def test_exe(instance, judge, exe_control, what):
    native = of(both_variants(instance, "exe"), what)
    judge(8, "pid" + what, native, exe_control, {"EACCES", "EPERM", "ETXTBSY"})


def test_exe_as_interpreter(instance, judge, exe_control):
    """The command is a script whose interpreter is /proc/self/exe: init's program, if it worked."""
    root = instance.directory / "interpreter"
    shutil.copytree(instance.root, root)
    (root / "attack/script").write_text("#!/proc/self/exe\n")
    (root / "attack/script").chmod(0o755)
    done = instance.run("script", root=root)
    shutil.rmtree(root)
    assert "SUCCEEDED" not in done.stdout and done.returncode != 0
    judge(8, "script_of_proc_self_exe", "denied EACCES", exe_control, {"EACCES"})


# --- 10 ---

FDS = """extra_fds pid1_fd_list pid1_fdinfo_list pid1_fd_open pid1_environ pid1_maps pid1_auxv
pid1_cwd pid1_root""".split()


@pytest.fixture(scope="module")
def fds(instance):
    with open("/etc/passwd", "rb") as leak:
        high = os.dup2(leak.fileno(), 50)
        passed = (leak.fileno(), high)
        native = both_variants(instance, "fds", pass_fds=passed)
        control = instance.control("fds", pass_fds=passed)
        os.close(high)
    return native, control


@pytest.mark.parametrize("what", FDS)
def test_fds(judge, fds, what):
    native, control = fds
    judge(10, what, of(native, what), control[what], {"EPERM", "EACCES", "EBADF"})


# --- 12 ---

PROC_FILES = """write_core_pattern write_hostname write_modprobe write_hotplug write_binfmt
write_ip_forward write_ns_last_pid write_sysrq_trigger write_irq_affinity sweep_proc_sys sweep_sys
read_kcore read_keys read_timer_list read_kmsg read_kpageflags read_kpagecount read_sched_debug
read_interrupts read_kallsyms_debug read_tracing read_security read_firmware read_virtual_disks read_acpi read_scsi
read_asound""".split()


@pytest.fixture(scope="module")
def proc_files(instance):
    return both_variants(instance, "proc_files"), instance.control("proc_files")


def test_all_proc_files_are_judged(proc_files):
    assert set(proc_files[1]) == set(PROC_FILES)


@pytest.mark.parametrize("what", PROC_FILES)
def test_proc_files(judge, proc_files, what):
    native, control = proc_files
    # systemd-nspawn has an empty fifo there
    denied = DENIED | ({"EAGAIN"} if what == "read_kmsg" and ENGINE == "nspawn" else set())
    judge(12, what, of(native, what), control[what], denied, missing={"ENOENT", "ENODATA"})


# --- 18 ---

PID1 = """ptrace_attach ptrace_seize process_vm_readv process_vm_writev proc_1_mem pidfd_getfd
proc_1_ns setns_pidfd""".split()


@pytest.fixture(scope="module")
def pid1(instance):
    return both_variants(instance, "pid1"), instance.control("pid1")


@pytest.mark.parametrize("what", PID1)
def test_pid1(judge, pid1, what):
    native, control = pid1
    judge(18, what, of(native, what), control[what], {"EPERM", "EACCES"})


# --- 19 ---

PRIVILEGES = ["inheritable", "ambient", "beyond_default", "may_gain_rights", "no_filter",
              "raise_ambient", "user_with_rights", "foreign_groups"]
SOME = "+chown,+kill,+setuid,+net_raw,+sys_admin"
INHERIT = ["setpriv", f"--inh-caps={SOME}", f"--ambient-caps={SOME}"]


@pytest.fixture(scope="module")
def privileges(instance):
    """The caller itself has inheritable and ambient capabilities, and groups."""
    native = {}
    for variant, options in (("root", ()), ("user", ("-u", "1000:1000"))):
        done = subprocess.run(
            [*INHERIT, "--groups=4,27", *instance.command("privileges", options=options)],
            env=instance.environment, capture_output=True, text=True, timeout=60, check=True)
        native[variant] = parse(done.stdout)
    done = subprocess.run([*INHERIT, str(instance.programs / "privileges")], capture_output=True,
                          text=True, timeout=60, check=True)
    control = parse(done.stdout)
    done = subprocess.run([*INHERIT, "--groups=4,27", "--reuid=1000", "--regid=1000",
                           str(instance.programs / "privileges")], capture_output=True,
                          text=True, timeout=60, check=True)
    for what in ("user_with_rights", "foreign_groups"):
        control[what] = parse(done.stdout)[what]
    return native, control


@pytest.mark.parametrize("what", PRIVILEGES)
def test_privileges(judge, privileges, what):
    native, control = privileges
    judge(19, what, of(native, what), control[what], {"EPERM"})


@pytest.mark.parametrize("what", ["setuid", "setgid", "filecap"])
def test_set_id_program(instance, judge, what):
    root = instance.directory / "set-id"
    shutil.copytree(instance.root, root)
    program = root / "attack" / what
    shutil.copy(instance.programs / "privileges", program)
    program.chmod({"setuid": 0o4755, "setgid": 0o2755, "filecap": 0o755}[what])
    if what == "filecap":
        # VFS_CAP_REVISION_2 with the effective bit: CAP_KILL
        os.setxattr(program, "security.capability",
                    bytes.fromhex("0100000220000000000000000000000000000000"))
    root.chmod(0o755)
    (root / "attack").chmod(0o755)
    native = instance.attack("privileges", f"/attack/{what}", root=root)
    control = instance.control("privileges", program)
    shutil.rmtree(root)
    judge(19, f"{what}_program", native[what], control[what], {"EPERM"})
