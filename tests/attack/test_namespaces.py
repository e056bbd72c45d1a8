# SPDX-License-Identifier: Apache-2.0
"""Attack 15: new namespaces by unshare, clone and clone3, also with high bits, and the mount calls.
Control: the same program as root in throwaway namespaces, without the filter."""

import pytest

from attempts import both_variants, of

KINDS = ("user", "mount", "pid", "net", "uts", "ipc", "cgroup")
EXPECTED = [f"{call}_{kind}" for call in ("unshare", "clone", "clone_high_bits", "clone3")
            for kind in KINDS] + """unshare_time clone3_time setns fsopen fsconfig fsmount fspick
            open_tree open_tree_attr move_mount mount_setattr pivot_root""".split()


@pytest.fixture(scope="module")
def native(instance):
    return both_variants(instance, "namespaces")


@pytest.fixture(scope="module")
def control(instance):
    return instance.control("namespaces")


def test_all_are_judged(native, control):
    assert set(control) == set(native["default"]) == set(EXPECTED)


@pytest.mark.parametrize("what", EXPECTED)
def test_denied(judge, native, control, what):
    judge(15, what, of(native, what), control[what], {"EPERM", "ENOSYS"})
