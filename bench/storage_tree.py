# SPDX-License-Identifier: Apache-2.0
"""Roots for bench/storage.py: made-up files in the proportions of a minimal Debian, the same in
each run, around a /bin/true that runs in there, and a shell."""

import os
import pathlib
import random
import re
import shutil
import subprocess

# of the entries of a Debian made by `debootstrap --variant=minbase`: 6,946 files, 1,132
# directories, 655 symlinks, 2 more names of a file
FILES_PER_DIRECTORY = 6
FILES_PER_SYMLINK = 10
FILES_PER_LINK = 3000
# the sizes of its files, in twentieths; the last one stands for all that are larger
SIZES = (0, 160, 360, 540, 630, 750, 960, 1220, 1540, 1880, 2250, 2740, 3690, 5070, 7980, 12630,
         18680, 23250, 41080, 350_000)  # fmt: skip
SMALL = (1000,)


def make_root(root, entries, small=False):
    """So many entries at least; small: none of the files is large."""
    for name in ("dev", "etc", "proc", "run", "sys", "tmp", "usr/share"):
        (root / name).mkdir(parents=True)
    copy_programs(root)
    made = count_entries(root)
    sizes = SMALL if small else SIZES
    content = random.Random(entries).randbytes(2 * max(sizes))
    number = 0
    while made < entries:
        directory = root / "usr/share" / f"{number // FILES_PER_DIRECTORY:06}"
        if number % FILES_PER_DIRECTORY == 0:
            directory.mkdir()
            made += 1
        made += make_file(directory, number, content, sizes[number % len(sizes)])
        number += 1


def make_file(directory, number, content, size):
    """A file, of other content than its neighbours, and now and then another name of it."""
    path = directory / f"file-{number:06}"
    # a copy on write is of whole blocks
    begin = number * 4096 % (len(content) - size)
    path.write_bytes(content[begin : begin + size])
    path.chmod(0o755 if number % 7 == 0 else 0o644)
    made = 1
    if number % FILES_PER_SYMLINK == 0:
        (directory / f"symlink-{number:06}").symlink_to(path.name)
        made += 1
    if number % FILES_PER_LINK == 0:
        os.link(path, directory / f"link-{number:06}")
        made += 1
    return made


def count_entries(root):
    return sum(len(directories) + len(files) for _path, directories, files in os.walk(root))


def copy_programs(root):
    """This machine's /bin/true and /bin/sh with their libraries."""
    programs = ["/bin/true", "/bin/sh"]
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    for name in [*programs, *sorted(set(re.findall(r"(/\S+) \(0x", said)))]:
        copy_file(root, pathlib.Path(name))


def copy_file(root, path):
    """A file of this machine to the same path of the root, and the symlinks on the way to it."""
    for found in [*reversed(path.parents), path]:
        copy = root / found.relative_to("/")
        if found.is_symlink():
            link = os.readlink(found)
            if not copy.is_symlink():
                copy.symlink_to(link)
            target = os.path.normpath(found.parent / link)
            copy_file(root, pathlib.Path(target) / path.relative_to(found))
            return
        if found.is_dir():
            copy.mkdir(exist_ok=True)
        else:
            shutil.copy(found, copy)
