# SPDX-License-Identifier: Apache-2.0
"""Mounts that isolated hands to callers: of the clone, for a hook. Whoever has one can attach it in a mount
namespace of a user namespace of their own, of which they are root, and change its flags there."""

import os
import shutil
import socket
import stat
import subprocess

import pytest

from resident import MALLORY, Control, Raw, run_parameters


@pytest.fixture(scope="module")
def nodes(service):
    """What the template "nodes" was made of: it has a device node."""
    root = service.path("nodes") / "root"
    shutil.copytree(service.root, root, symlinks=True)
    os.mknod(root / "dev" / "node", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(root / "dev" / "node", 0o666)
    assert service.call("template", "create", "nodes", "--from", f"dir:{root}").returncode == 0
    yield root
    assert service.call("template", "rm", "nodes").returncode == 0
    shutil.rmtree(root.parent)


def attempt(service, what, place, *mount, prefix=(), **more):
    done = subprocess.run([*prefix, service.programs / "view", place, what, *map(str, mount)], text=True,
                          capture_output=True, check=True, timeout=60, **more)
    name, _, outcome = done.stdout.strip().partition(": ")
    assert name == what, done
    return outcome


def as_mallory(service, what, place):
    """The mount comes as long as the sandbox waits for the hook."""
    control = Control()
    with Raw(service) as raw:
        raw.ask("Run", [control.theirs.fileno()], more=True, **run_parameters(service, template="nodes", pre_hook=True))
        data, fds, *_ = socket.recv_fds(raw.socket, 65536, 4)
        assert b'"held"' in data and len(fds) == 1, data
        prefix = ["setpriv", "--reuid", str(MALLORY), "--regid", str(MALLORY), "--clear-groups", "--"]
        outcome = attempt(service, what, place, fds[0], prefix=prefix, pass_fds=fds)
        os.close(fds[0])
    control.close()
    return outcome


@pytest.fixture
def place(service):
    made = service.path("place")
    os.chown(made, MALLORY, MALLORY)
    yield made
    made.rmdir()


@pytest.mark.parametrize("what", ["device", "set_id"])
def test_flags_of_a_view(service, judge, nodes, place, what):
    judge(13, f"view_{what}", as_mallory(service, what, place), attempt(service, what, place, nodes, MALLORY), {"EPERM"})


def test_flags_of_a_copy(service, nodes, place):
    """Of which the kernel makes none of root's own mounts in the control."""
    assert as_mallory(service, "device_of_a_copy", place) in ("denied EPERM", "denied EINVAL")
