# SPDX-License-Identifier: Apache-2.0
"""An archive whose reader it has taken over: what that process could do. It makes the archive's device
nodes, as root of the machine, and must not be able to open one: that of a disk would be the machine's
files. Control: such a node in a directory of root's."""

import errno
import os
import pathlib
import signal
import stat
import subprocess
import tarfile

import pytest

from instance import RUN_SECONDS, wait_until

NODE = (1, 5)  # zero
FILES = 20000  # so that there is time to look


@pytest.fixture
def archive(instance):
    path = instance.directory / "devices.tar"
    with tarfile.open(path, "w") as tar:
        node = tarfile.TarInfo("node")
        node.type, node.mode, node.devmajor, node.devminor = tarfile.CHRTYPE, 0o666, *NODE
        tar.addfile(node)
        for number in range(FILES):
            tar.addfile(tarfile.TarInfo(f"file-{number}"))
    yield path
    path.unlink()


def unpacker(instance):
    """The process of this instance's that has another root, once the node is in it: its pid."""
    machine = os.stat("/")
    for procs in instance.cgroup.glob("*/cgroup.procs"):
        for pid in procs.read_text().split():
            root = pathlib.Path("/proc", pid, "root")
            try:
                st = os.stat(root)
                if (st.st_dev, st.st_ino) != (machine.st_dev, machine.st_ino) and stat.S_ISCHR(os.lstat(root / "node").st_mode):
                    return int(pid)
            except OSError:
                continue
    return None


def opens(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return f"denied {errno.errorcode[error.errno]}"
    return "SUCCEEDED"


def test_device_of_an_archive(instance, judge, archive):
    found = []
    create = subprocess.Popen([str(instance.build / "isolate"), "template", "create", "hostile", "--from",
                               f"tar:{archive}"], env=instance.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: found.append(unpacker(instance)) or found[-1] or create.poll() is not None)
        assert found[-1], f"it was not seen at work: {create.communicate()}"
        os.kill(found[-1], signal.SIGSTOP)
        native = opens(f"/proc/{found[-1]}/root/node")
        os.kill(found[-1], signal.SIGCONT)
        _, said = create.communicate(timeout=RUN_SECONDS)
        assert create.returncode == 0, said
    finally:
        create.kill()
        create.wait()
        subprocess.run([str(instance.build / "isolate"), "template", "rm", "hostile"], env=instance.environment,
                       check=False, capture_output=True)
    place = instance.path("control-node")
    os.mknod(place / "node", stat.S_IFCHR | 0o666, os.makedev(*NODE))
    control = opens(place / "node")
    (place / "node").unlink()
    place.rmdir()
    judge(13, "device_of_an_archive_by_its_reader", native, control, {"EACCES"})
