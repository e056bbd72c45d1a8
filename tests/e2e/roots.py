# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the directory of a session, a root of Debian in it, and a small one."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from cache import cache_directory, remove_unused

KEPT_DAYS = 7  # the distribution goes on


def machine_suite():
    return re.search(
        r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE
    ).group(1)


def machine_sources(suite):
    """The machine's own apt sources of its suite."""
    candidates = [pathlib.Path("/etc/apt/sources.list")]
    candidates += sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.list"))
    candidates += sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"))
    return [
        str(path)
        for path in candidates
        if path.exists() and re.search(rf"\b{suite}\b", path.read_text())
    ]


def cached_root(name, *options):
    """A root of Debian by mmdebstrap, made once a week for these options and kept in the test cache, as a tar."""
    suite = machine_suite()
    cache = cache_directory()
    name += "-" + hashlib.sha256("\0".join((suite, *options)).encode()).hexdigest()[:8]
    tar = cache / f"{name}.tar"
    remove_unused(cache.glob("*.tar"), KEPT_DAYS)
    if tar.exists():
        return tar
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed, and no root is cached")
    cache.mkdir(parents=True, exist_ok=True)
    new = cache / f"new-{name}-{os.getpid()}.tar"
    try:
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", *options, suite, new, *machine_sources(suite)],
                       check=True)
        new.rename(tar)
    finally:
        new.unlink(missing_ok=True)
    return tar


@pytest.fixture(scope="session")
def root_tar():
    """A Debian minbase root."""
    return cached_root("debian-minbase")


@pytest.fixture(scope="session")
def session_directory():
    # not below pytest's own: a path with the user's name is nothing that state may lie in
    path = pathlib.Path(tempfile.mkdtemp(prefix="isolate-e2e-"))
    path.chmod(0o711)  # other users must reach a daemon's socket
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def rootfs(root_tar, session_directory):
    """The root, unpacked below a directory that only root enters."""
    parent = session_directory / "roots"
    parent.mkdir(mode=0o700)
    root = parent / "debian"
    root.mkdir(mode=0o755)
    subprocess.run(["tar", "--numeric-owner", "-xpf", root_tar, "-C", root], check=True)
    return root


SMALL_PROGRAMS = ("sh", "dash", "bash", "cat", "ls", "sleep", "rm", "touch", "mkdir", "mv", "ln", "chmod",
                  "chown", "true", "false", "head", "stat", "id", "env", "test", "cp", "dd", "readlink",
                  "hostname", "pwd", "tty", "rmdir", "mkfifo", "truncate", "find")
SMALL_LIBRARIES = ("libc.so.*", "libselinux.so.*", "libpcre2-8.so.*", "libtinfo.so.*", "libacl.so.*",
                   "libattr.so.*", "libgmp.so.*", "libm.so.*", "libcrypto.so.*", "libz.so.*")


@pytest.fixture(scope="session")
def small_root(rootfs, session_directory):
    """A few programs of the root: enough for a shell, small enough to be copied often."""
    root = session_directory / "roots" / "small"
    for name in ("usr/bin", "usr/lib", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var/tmp", "srv", "home"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("/run")
    (root / "usr/lib64").mkdir()
    for program in SMALL_PROGRAMS:
        path = rootfs / "usr/bin" / program
        if path.exists():
            shutil.copy2(path, root / "usr/bin" / program, follow_symlinks=False)
    for pattern in SMALL_LIBRARIES:
        for path in (rootfs / "usr/lib").glob(f"*-linux-gnu/{pattern}"):
            to = root / path.relative_to(rootfs)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to, follow_symlinks=False)
    for loader in (rootfs / "usr/lib").glob("*-linux-gnu/ld-linux*"):
        shutil.copy2(loader, root / loader.relative_to(rootfs))
        for link in (rootfs / "usr/lib64").glob("ld-linux*"):
            shutil.copy2(link, root / "usr/lib64" / link.name, follow_symlinks=False)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    (root / "etc/issue").write_text("a small system\n")
    return root
