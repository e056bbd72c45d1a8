# SPDX-License-Identifier: Apache-2.0
"""@host: a throwaway clone of the machine's own root."""

import os
import pathlib

import pytest

from sandboxes import wait_until


def test_host(instance):
    marker = f"/etc/isolate-e2e-{os.getpid()}"
    script = f"echo x >{marker} && cat {marker}; id -u"
    assert instance.output([], ["sh", "-c", script], template="@host") == "x\n0\n"
    assert not os.path.exists(marker)
    assert instance.run([], ["test", "-e", marker], template="@host").returncode == 1
    inside = instance.output([], ["cat", "/etc/os-release"], template="@host")
    assert inside == pathlib.Path("/etc/os-release").read_text()


def test_deletions_do_not_reach_the_host(instance):
    path = pathlib.Path(f"/var/tmp/isolate-e2e-{os.getpid()}")
    path.write_text("mine")
    try:
        script = f"rm {path} && echo other >{path}.new"
        assert instance.run([], ["sh", "-c", script], template="@host").returncode == 0
        assert path.read_text() == "mine"
        assert not pathlib.Path(f"{path}.new").exists()
    finally:
        path.unlink()


def test_isolates_own_state_is_masked(instance):
    (instance.state / "secret").write_text("x")
    try:
        script = f"cat {instance.state}/secret; ls -A {instance.state} {instance.runtime} | grep -v :"
        done = instance.run([], ["sh", "-c", script], template="@host")
        assert done.stdout.strip() == "", done
    finally:
        (instance.state / "secret").unlink()


def test_hosts_root_only(instance):
    """Other file systems of the machine are not part of it."""
    seen = instance.output([], ["sh", "-c", "ls -A /tmp"], template="@host").split()
    # the place where the tests' own state is masked is all there may be
    assert set(seen) <= {pathlib.Path(instance.base).parts[2]}


def test_host_keeps_ids(instance):
    out = instance.output([], ["stat", "-c", "%u:%g:%a", "/etc/shadow"], template="@host").strip()
    st = os.stat("/etc/shadow")
    assert out == f"{st.st_uid}:{st.st_gid}:{st.st_mode & 0o7777:o}"


def test_host_and_dir_storage(instance):
    """dir means that changes persist, here on the machine itself: so it does, or it is refused."""
    marker = f"/etc/isolate-e2e-dir-{os.getpid()}"
    try:
        done = instance.run(["--storage", "dir"], ["touch", marker], template="@host")
        assert done.returncode in (0, 125)
        assert os.path.exists(marker) == (done.returncode == 0)
        assert done.returncode == 0 or done.stderr
    finally:
        pathlib.Path(marker).unlink(missing_ok=True)


def test_host_can_be_kept(instance):
    if not instance.isolate("ps").returncode == 0:
        pytest.skip("isolate-ctl is not built")
    instance.output(["--keep", "--name", "h"], ["sh", "-c", "echo x >/etc/isolate-e2e-kept"], template="@host")
    assert "A /etc/isolate-e2e-kept" in instance.ok("diff", "h")
    assert instance.ok("start", "h", "--", "cat", "/etc/isolate-e2e-kept") == "x\n"
    instance.ok("rm", "h")
    wait_until(lambda: not instance.leaves(), 20)
