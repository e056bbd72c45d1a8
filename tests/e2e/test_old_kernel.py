# SPDX-License-Identifier: Apache-2.0
"""What isolate does otherwise on kernels that are older than this one."""

import ctypes
import errno
import platform
import struct

import pytest

from images import Layout, directory, file, gone

FSCONFIG, FSCONFIG_SET_FD = 431, 5
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="numbers of 64-bit machines"
)


def without_layers_by_fd(answer):
    """A seccomp filter under which fsconfig takes no fds, as overlayfs before Linux 6.15."""
    code = b"".join((
        struct.pack("HBBI", LOAD, 0, 0, 0),  # the call's number
        struct.pack("HBBI", IF_EQUAL, 0, 3, FSCONFIG),
        struct.pack("HBBI", LOAD, 0, 0, 24),  # its second argument
        struct.pack("HBBI", IF_EQUAL, 0, 1, FSCONFIG_SET_FD),
        struct.pack("HBBI", RETURN, 0, 0, ERRNO | answer),
        struct.pack("HBBI", RETURN, 0, 0, ALLOW),
    ))

    def install():
        program = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
        if ctypes.CDLL(None, use_errno=True).prctl(22, 2, header, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")

    return install


@pytest.mark.parametrize("answer", [errno.EBADF, errno.EINVAL])
def test_layers_by_path(instance, answer):
    """The layers are attached in a namespace that nobody else sees."""
    script = "echo new >/etc/new && cat /etc/new && id -u && ! grep place /proc/self/mountinfo"
    done = instance.run(command=("sh", "-c", script), preexec_fn=without_layers_by_fd(answer))
    assert (done.returncode, done.stdout, done.stderr) == (0, "new\n0\n", "")


def test_many_layers_by_path(instance, small_root):
    """Each update is a layer; what a diff and a session see are all of them."""
    old = without_layers_by_fd(errno.EBADF)
    instance.ok("template", "create", "layers", "--from", f"dir:{small_root}", preexec_fn=old)
    try:
        for number in range(12):
            instance.ok("template", "update", "layers", "--", "sh", "-c", f"echo {number} >/f{number}",
                        preexec_fn=old)
        assert instance.output(command=("sh", "-c", "cat /f*"), template="layers",
                               preexec_fn=old).split() == sorted(map(str, range(12)), key=lambda n: f"f{n}")
        instance.ok("run", "--keep", "--name", "changed", "layers", "--", "rm", "/f3", preexec_fn=old)
        assert "/f3" in instance.ok("diff", "changed", preexec_fn=old)
        instance.ok("rm", "changed", preexec_fn=old)
    finally:
        instance.ok("template", "rm", "layers")


def test_layers_of_an_image_by_path(instance, tmp_path):
    """The same template comes of it."""
    layout = Layout(tmp_path / "layout")
    layout.image([directory("d/", mode=0o750, uid=3), file("d/a", "1"), file("d/b", "1")], [gone("d/a"), file("d/b", "2")],
                 [file("c", "3")])
    hashes = []
    for more in ({}, {"preexec_fn": without_layers_by_fd(errno.EBADF)}):
        try:
            instance.ok("template", "create", "layers", "--from", str(layout), **more)
            hashes.append(instance.ok("template", "inspect", "--hash", "layers", **more))
        finally:
            instance.isolate("template", "rm", "layers")
    assert hashes[0] == hashes[1]
