# SPDX-License-Identifier: Apache-2.0
"""What --seccomp strict refuses beyond the default, as root of the sandbox with every capability.
Controls: the same program without a filter, and with the default one, under which it works."""

import pytest

from instance import capability_options

EXPECTED = """inet inet6_high_bits route ptrace process_vm_readv process_vm_writev shared_memory semaphores
messages queue asynchronous personality chroot unshare sched_setscheduler vmsplice adjtimex""".split()
STRICT = ("--seccomp", "strict")


@pytest.fixture(scope="module")
def strict(instance):
    return {"strict": instance.attack("strict", options=STRICT),
            "strict, all capabilities": instance.attack("strict", options=(*STRICT, *capability_options()))}


@pytest.fixture(scope="module")
def default(instance):
    return instance.attack("strict")


@pytest.fixture(scope="module")
def control(instance):
    return instance.control("strict")


def test_all_are_judged(strict, default, control):
    assert set(control) == set(default) == set(strict["strict"]) == set(EXPECTED)


@pytest.mark.parametrize("what", EXPECTED)
def test_refused(judge, strict, default, control, what):
    judge(17, f"strict: {what}", {variant: results[what] for variant, results in strict.items()}, control[what],
          {"EPERM", "EAFNOSUPPORT"})
    assert default[what] == "SUCCEEDED", "the default filter refuses it, too: strict is not what stops it"
