# SPDX-License-Identifier: Apache-2.0
"""Attack 17: keyrings, io_uring, bpf, perf, userfaultfd, kexec, modules and what else a sandbox has
no use for; attack 11: open_by_handle_at ("Shocker"), also through a bind of the host's file system.
Control: the same programs as root in throwaway namespaces, without the filter."""

import pytest

from attempts import both_variants, of

EXPECTED = """keyctl keyctl_high_bits add_key request_key io_uring_setup io_uring_enter
io_uring_register bpf perf_event_open userfaultfd kexec_load kexec_file_load init_module
finit_module delete_module syslog iopl ioperm settimeofday adjtimex kcmp pidfd_getfd fanotify_init
reboot swapon acct quotactl sethostname""".split()
# kexec and modules say so in their own way where the kernel was built without them; outside of
# the first pid namespace reboot is refused in the control, too
MISSING = {"ENOSYS"}
HANDLES = ["own_handle_bound", "root_inode_bound", "own_handle_tmp", "own_handle_root",
           "root_inode_root", "root_inode_tmp"]


@pytest.fixture(scope="module")
def native(instance):
    return both_variants(instance, "kernel_api")


@pytest.fixture(scope="module")
def control(instance):
    return instance.control("kernel_api")


def test_all_are_judged(native, control):
    assert set(control) == set(native["default"]) == set(EXPECTED)


@pytest.mark.parametrize("what", EXPECTED)
def test_refused(judge, native, control, what):
    judge(17, what, of(native, what), control[what], {"EPERM", "ENOSYS"}, missing=MISSING)


@pytest.fixture(scope="module")
def handles(instance):
    bound = instance.path("bound")
    options = ("-v", f"{bound}:/bound")
    found = both_variants(instance, "handle", "/", "/tmp", "/bound", options=options)
    control = instance.control("handle", "/", "/tmp", bound)
    bound.rmdir()
    return found, control


@pytest.mark.parametrize("what", HANDLES)
def test_handles(judge, handles, what):
    native, control = handles
    # overlayfs gives no handles; the walk from inode 2 works on ext file systems
    judge(11, what, of(native, what), control[what], {"EPERM", "EOPNOTSUPP"},
          missing={"ESTALE", "EOPNOTSUPP"})
