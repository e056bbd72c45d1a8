# SPDX-License-Identifier: Apache-2.0
"""The image that virtual machines start from: built once by image.sh and kept in the user's cache
directory under the hash of that recipe. As root, with the machine's own Debian mirror."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

from cache import cache_directory, remove_unused

RECIPE = pathlib.Path(__file__).with_name("image.sh")
FILES = ("disk.raw", "vmlinuz", "initrd")
UNUSED_DAYS = 14


class Unavailable(Exception):
    """Why this machine cannot have the image; a reason to skip, not to fail."""


def mirror():
    """The mirror that this machine's apt has Debian from."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
         "Created-By: Packages"],
        stdout=subprocess.PIPE, text=True, check=False,
    )
    for line in listing.stdout.splitlines():
        origin, label, address = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian"):
            return address
    raise Unavailable("this machine's apt has no Debian mirror (apt-get update?)")


def key(suite):
    return f"{suite}-{hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:16]}"


def check_programs():
    if platform.machine() != "x86_64":
        raise Unavailable(f"the virtual machine is x86_64, this machine {platform.machine()}")
    for program in ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs"):
        if not shutil.which(program):
            raise Unavailable(f"{program} is not installed")


def build(cache, suite, image):
    address = mirror()
    new = pathlib.Path(tempfile.mkdtemp(prefix="new-vm-", dir=cache))
    try:
        subprocess.run(["bash", RECIPE, suite, address, new], check=True)
        new.rename(image)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def locked(path):
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def get(suite):
    """The directory of the image, built now (4 minutes) where it is not in the cache."""
    check_programs()
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    image = cache / f"vm-{key(suite)}"
    with locked(cache / "vm.lock"):
        if not all((image / name).exists() for name in FILES):
            build(cache, suite, image)
        os.utime(image)
        remove_unused(cache.glob("vm-*-*"), UNUSED_DAYS)
    return image
