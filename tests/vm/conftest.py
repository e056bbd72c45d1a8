# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the Debian package of this tree, a small root, a virtual machine with both."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import image
from machine import Machine

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]


def pytest_configure(config):
    if os.getuid() != 0:
        raise pytest.UsageError("building the image makes mounts: run these tests as root")


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def session_directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="isolate-vm-session-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def changes(session_directory):
    """What dpkg-buildpackage makes of this tree: the .changes file, the packages beside it."""
    need("dpkg-buildpackage", "dh")
    source = session_directory / "isolate"
    source.mkdir()
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], cwd=TOP, stdout=subprocess.PIPE, check=True).stdout
    names = [name for name in listing.split(b"\0") if name and os.path.lexists(TOP / os.fsdecode(name))]
    subprocess.run(["cp", "-a", "--parents", "-t", source, *names], cwd=TOP, check=True)
    built = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b"], cwd=source, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert built.returncode == 0, built.stdout[-6000:]
    shutil.rmtree(source)
    return next(session_directory.glob("*.changes"))


@pytest.fixture(scope="session")
def package(changes, session_directory):
    path = session_directory / "isolate.deb"
    shutil.copy2(next(changes.parent.glob("isolate_*.deb")), path)
    return path


@pytest.fixture(scope="session")
def small_root(session_directory):
    """A root with nothing but busybox and bombs, because every byte is slow in an emulated machine."""
    busybox = shutil.which("busybox")
    if not busybox or subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode == 0:
        pytest.skip("busybox-static is not installed")
    root = session_directory / "root"
    for name in ("bin", "etc", "root", "proc", "sys", "dev", "tmp", "run", "usr", "var", "home"):
        (root / name).mkdir(parents=True)
    shutil.copy2(busybox, root / "bin/busybox")
    for name in subprocess.check_output([busybox, "--list"], text=True).split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    subprocess.run(["cc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", HERE / "bomb.c", "-o",
                    root / "bin/bomb"], check=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return root


@pytest.fixture(scope="session")
def boot_root(virtual_machine, session_directory):
    """A root that boots: the machine's own Debian with systemd, and nothing that is only read by people."""
    root = session_directory / f"boot-{virtual_machine.suite}"
    if not root.exists():
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "i18n", "zoneinfo")]
        subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--include=systemd-sysv,dbus",
                        *left_out, virtual_machine.suite, root, f"deb {image.mirror()} {virtual_machine.suite} main"],
                       check=True)
    return root


def suites():
    """Debian 13; in the long form 12, too: its kernel and systemd are the oldest that isolate runs on."""
    return ["trixie", "bookworm"] if os.environ.get("ISOLATE_LONG") else ["trixie"]


@pytest.fixture(scope="session", params=suites())
def virtual_machine(request, changes):
    """A machine fresh from the image."""
    libc = re.search(r"libc6 \(>= 2\.(\d+)", subprocess.check_output(
        ["dpkg-deb", "--field", next(changes.parent.glob("isolate_*.deb")), "Depends"], text=True))
    if request.param == "bookworm" and int(libc[1]) > 36:
        pytest.skip("a package that is built here does not install on Debian 12")
    try:
        made = Machine(request.param)
    except image.Unavailable as why:
        pytest.skip(str(why))
    with made:
        yield made
