# SPDX-License-Identifier: Apache-2.0
"""Attack 15 where it is allowed: with --seccomp nested a command may make user and mount namespaces, and
the sandbox's own mounts are locked there. Control: the same program where it has made such mounts
itself, so that nothing locks them."""

import re
import subprocess

import pytest

from instance import ENGINE, parse

EXPECTED = """unmask_file unmask_directory remount_writable unmount_read_only remount_bind_writable unmount_bind
uncover_proc look_behind move_mask copy_whole""".split()
NESTED = ("--seccomp", "nested")

pytestmark = pytest.mark.skipif(ENGINE != "native", reason="only engine native can nest")


@pytest.fixture(scope="module")
def nested(instance):
    bound = instance.path("bound-nested")
    found = {name: instance.attack("nested", options=(*NESTED, "-v", f"{bound}:/mnt:ro", *options))
             for name, options in (("root", ()), ("user", ("-u", "1000:1000")))}
    bound.rmdir()
    return found


@pytest.fixture(scope="module")
def control(instance):
    done = subprocess.run([instance.programs / "nested", "control"], capture_output=True, text=True, check=True,
                          timeout=60)
    return parse(done.stdout)


def test_all_are_judged(nested, control):
    assert set(control) == set(nested["root"]) == set(nested["user"]) == set(EXPECTED)


@pytest.mark.parametrize("what", EXPECTED)
def test_locked(judge, nested, control, what):
    # a machine whose kernel has no kcore, or no firmware, masks what is not there
    judge(15, f"nested: {what}", {name: found[what] for name, found in nested.items()}, control[what],
          {"EPERM", "EINVAL", "EACCES", "EROFS", "ENOENT"})


def test_not_by_default(instance):
    done = instance.run("nested")
    assert done.returncode == 1 and "not permitted" in done.stderr, done


def test_files_of_root(instance):
    """A user namespace could give files of root's capabilities: they are not bound for writing there."""
    bound = instance.path("bound-root")
    done = instance.run("nested", options=(*NESTED, "-v", f"{bound}:/mnt"))
    bound.rmdir()
    assert done.returncode == 125 and re.search("--seccomp nested: not with files of root", done.stderr), done
