# SPDX-License-Identifier: Apache-2.0
"""Templates that travel as `btrfs send` has them, and streams that say they are that."""

import json
import os
import pathlib
import signal
import stat
import struct
import subprocess
import time

import pytest

from sandboxes import BUILD, wait_until
from test_storage import btrfs, own  # noqa: F401
from test_template import base, current, generations, inside, templates, tree_hash  # noqa: F401
from test_template_streams import (CHANGES, MAGIC, MORE, image_worker, parts_of, receive, received, send, stream_of,
                                   update)
from test_template_travel import refused

# What only some file systems have, and what a stream has a command of its own for.
KINDS = """set -e; mkdir -p /etc/kinds; cd /etc/kinds; head -c 300000 /dev/urandom > file; cp file later
           mknod null c 1 3 2>/dev/null || :; mkfifo fifo; ln file hard; ln -s ../passwd link; truncate -s 64M sparse
           echo end >> sparse; mkdir -p from/a/b; echo x > from/a/b/c; mkdir to; chmod 3775 from; chmod 0 later
           touch -d @1.5 -h link; touch -d 1960-01-01 old; touch 'a name'; touch "$(printf 'n\\377\\n')"
           for i in $(seq 100); do mkdir -p many/$i; echo $i > many/$i/file; done; touch many/1/set-id; chgrp 5 many/1/set-id
           chmod 4755 many/1/set-id; perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "/etc/socket", Listen => 1)'"""
MOVES = """set -e; cd /etc/kinds; mv from to/from; mv to/from/a swap; mv file file2; mv later file; mv file2 later
           chgrp 6 many/1/set-id; chmod 4755 many/1/set-id; chown 7 /etc/socket; rm fifo; mkdir fifo; echo y > fifo/in; echo more >> sparse; truncate -s 100 later; chown 3:4 link; rm old
           mv swap/b/c c; rmdir swap/b swap"""


@pytest.fixture
def places(instance, btrfs):
    """Two storages on one disk: a storage's name is its location's."""
    for name in ("here", "there"):
        (btrfs.path / name).mkdir(mode=0o700, exist_ok=True)
    made = [f"btrfs:{btrfs.path / name}" for name in ("here", "there")]
    yield made
    instance.isolate("template", "rm", "copy")
    instance.isolate("storage", "forget", made[1])  # the disk goes


def things(place, what):
    return [str(path) for path in pathlib.Path(place.split(":", 1)[1]).glob(f"isolate/btrfs/{what}/*")]


@pytest.fixture
def sent(own, places, rootfs):
    """A template on btrfs with three generations."""
    own.ok("template", "create", "sent", "--from", f"dir:{rootfs}", "--storage", places[0], timeout=120)
    names = []
    for script in (f"{KINDS}\n{CHANGES}", f"{MOVES}\n{MORE}"):
        update(own, "sent", script)
        names.append(own.ok("template", "snapshot", "sent").strip())
    yield "sent", *names
    own.ok("template", "rm", "sent")


@pytest.mark.long
def test_increments(own, instance, places, sent):
    name, first, second = sent
    whole = send(own, f"{name}@{first}", "--native")
    increment = send(own, f"{name}@{second}", "--native", "--since", first)
    assert len(increment) < len(whole) / 4
    (_, header), *_ = parts_of(whole)
    assert json.loads(header)["payload"] == "btrfs"
    received(instance, "copy", whole, "--storage", places[1])
    assert tree_hash(instance, "copy") == tree_hash(own, f"{name}@{first}")
    received(instance, "copy", increment)
    assert current(instance, "copy") == second
    assert tree_hash(instance, "copy") == tree_hash(own, f"{name}@{second}")
    assert inside(instance, "copy", "cat /etc/kinds/c /etc/new") == "x\nnew\n"
    # what came from elsewhere goes on travelling, in either form
    update(instance, "copy", "echo back > /etc/issue")
    received(own, name, send(instance, "copy", "--native", "--since", second))
    pinned = own.ok("template", "snapshot", name).strip()
    update(own, name, "rm /etc/issue; cp /etc/kinds/later /etc/issue")
    received(instance, "copy", send(own, name, "--since", pinned))
    assert tree_hash(instance, "copy") == tree_hash(own, name)


@pytest.mark.long
def test_over_a_base_that_came_otherwise(own, instance, places, sent):
    """It has no sockets; and what changes deep below leaves the root as old as it was."""
    name, first, second = sent
    received(instance, "copy", send(own, f"{name}@{first}"), "--storage", places[1])
    received(instance, "copy", send(own, f"{name}@{second}", "--native", "--since", first))
    assert tree_hash(instance, "copy") == tree_hash(own, f"{name}@{second}")
    update(own, name, "echo deep > /etc/kinds/many/50/new; rm /etc/socket; mv /etc/kinds/many/7 /etc/kinds/many/8/7")
    received(instance, "copy", send(own, name, "--native", "--since", second))
    assert tree_hash(instance, "copy") == tree_hash(own, name)


def test_shared_blocks_and_attributes(own, instance, places, rootfs):
    """Files that share blocks do so there; attributes and ACLs are those that there were."""
    root = places[0].split(":")[1] + "/root"
    subprocess.run(["cp", "-a", rootfs, root], check=True)
    try:
        with open(f"{root}/etc/large", "wb") as large:
            large.write(os.urandom(8 << 20))
        for n in range(4):
            subprocess.run(["cp", "--reflink=always", f"{root}/etc/large", f"{root}/etc/large{n}"], check=True)
        os.setxattr(f"{root}/etc/large", "user.x", b"y" * 1000)
        os.setxattr(f"{root}/etc/large0", "user.empty", b"")
        # of the root, which hands it down to all that is made in it, on its way too
        acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 7, 3, 4, 5, 2**32 - 1, 16, 7, 2**32 - 1, 32, 5,
                          2**32 - 1)
        os.setxattr(root, "system.posix_acl_default", acl)
        os.setxattr(f"{root}/etc", "system.posix_acl_access", acl)
        own.ok("template", "create", "sent", "--from", f"dir:{root}", "--storage", places[0], timeout=120)
    finally:
        subprocess.run(["rm", "-r", root], check=True)
    try:
        stream = send(own, "sent", "--native")
        received(instance, "copy", stream, "--storage", places[1])
        assert tree_hash(instance, "copy") == tree_hash(own, "sent")
        assert len(stream) < len(send(own, "sent"))
    finally:
        own.ok("template", "rm", "sent")


@pytest.mark.long
def test_of_another_driver(own, instance, places, sent):
    name, first, _ = sent
    stream = send(own, f"{name}@{first}", "--native")
    refused(receive(instance, "other", stream, "--storage", "overlay"), "btrfs's own", "cannot take", "without --native")
    (_, text), *rest = parts_of(stream)
    header = json.loads(text)
    for changed, words in (({"driver": "zfs", "payload": "zfs"}, ["zfs's own"]), ({"tree": None}, ["header"]),
                           ({"tree": "0" * 64}, ["not what was sent"])):
        broken = stream_of([("H", json.dumps({**header, **changed}).encode()), *rest])
        refused(receive(instance, "other", broken, "--storage", places[1]), *words)
    del header["tree"]
    refused(receive(instance, "other", stream_of([("H", json.dumps(header).encode()), *rest]), "--storage", places[1]),
            "has no hash")
    assert "other" not in templates(instance)


def test_removed_while_it_is_sent(own, places, sent):
    """Who reads slowly keeps nobody from removing it: what btrfs holds meanwhile goes later."""
    name, first, _ = sent
    before = len(things(places[0], "layers"))
    run = subprocess.Popen([BUILD / "isolate", "template", "send", "--native", f"{name}@{first}"],
                           stdout=subprocess.PIPE, env=own._environment(None))
    try:
        run.stdout.read(300)  # the pipe is full behind that
        time.sleep(0.5)
        own.ok("template", "rm", f"{name}@{first}")
        assert first not in [generation["id"] for generation in generations(own, name)]
        assert inside(own, name, "echo yes") == "yes\n"
        assert things(places[0], "trash")
    finally:
        run.kill()
        run.communicate()

    def gone():
        own.ok("prune")
        return len(things(places[0], "layers")) == before - 1 and not things(places[0], "trash")
    wait_until(gone, 30, "the end of what was sent")


@pytest.mark.long
def test_interrupted(own, instance, places, sent):
    name, first, _ = sent
    stream = send(own, f"{name}@{first}", "--native")
    for step in range(6):
        run = subprocess.Popen([BUILD / "isolate", "template", "receive", "--storage", places[1], "cut"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=instance._environment(None))
        run.stdin.write(stream[:len(stream) * (step + 1) // 7])
        run.stdin.flush()
        time.sleep(0.05)
        for pid in [run.pid] if step % 2 else instance.members()[:1]:
            os.kill(pid, signal.SIGKILL)
        run.communicate(timeout=60)
        assert run.returncode in (123, 125, -signal.SIGKILL), (step, run.returncode)
        wait_until(lambda: not instance.leaves() and not instance.records_of_sandboxes(), 20, "the end")
        instance.ok("prune")
        assert "cut" not in templates(instance)
        assert not things(places[1], "layers") + things(places[1], "imports")
    for broken in (stream[:-1], stream[:len(stream) // 2], stream[:-40] + b"x" + stream[-39:], stream + b"x"):
        refused(receive(instance, "cut", broken, "--storage", places[1]), "send it again")


# what says it is such a stream: an image worker makes of any directory what it says

SUBVOL, SNAPSHOT, MKFILE, MKDIR, MKNOD, MKFIFO, MKSOCK, SYMLINK, RENAME, LINK, UNLINK, RMDIR, SET_XATTR, \
    REMOVE_XATTR, WRITE, CLONE, TRUNCATE, CHMOD, CHOWN, UTIMES, END, UPDATE_EXTENT = range(1, 23)
UUID, SIZE, MODE, UID, GID, RDEV = 1, 4, 5, 6, 7, 8
MTIME, ATIME, NAME, VALUE, PATH, TO, TARGET, OFFSET, DATA = 10, 11, 13, 14, 15, 16, 17, 18, 19
FROM_UUID, FROM_PATH, FROM_OFFSET, LENGTH = 20, 22, 23, 24
OWN = bytes(range(16))
BEGIN = (SUBVOL, {PATH: "sent", UUID: OWN})


def number(value):
    return struct.pack("<Q", value)


def command(kind, attributes):
    data = b""
    for key, value in attributes.items():
        value = number(value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
        data += struct.pack("<HH", key, len(value)) + value
    return struct.pack("<IHI", len(data), kind, 0) + data


def payload(*commands, version=1):
    return b"btrfs-stream\0" + struct.pack("<I", version) + b"".join(
        part if isinstance(part, bytes) else command(*part) for part in commands)


@pytest.fixture
def tree(tmp_path):
    """A directory that a stream is made a part of, with one outside that it shall not reach."""
    for name in ("outside", "tree"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside/file").write_text("outside")
    (tmp_path / "tree/dir").mkdir()
    (tmp_path / "tree/file").write_text("here")
    (tmp_path / "tree/up").symlink_to("../outside")
    (tmp_path / "tree/link").symlink_to("file")
    yield tmp_path / "tree"
    assert os.listdir(tmp_path / "outside") == ["file"] and (tmp_path / "outside/file").read_text() == "outside"
    assert sorted(os.listdir(tmp_path)) == ["outside", "stream", "tree"]


def apply(tree, data, pieces=100000):
    """What the worker says of a stream with that in it, in records of that length."""
    header = b'{"a":"header"}'
    path = tree.parent / "stream"
    path.write_bytes(stream_of([("H", header), *(("T", data[at:at + pieces]) for at in range(0, len(data), pieces))]))
    with open(path, "rb", buffering=0) as source:
        source.seek(len(MAGIC) + 5 + len(header))
        place = os.open(tree, os.O_PATH | os.O_DIRECTORY)
        try:
            return image_worker("receive", source.fileno(), place, "btrfs", header.decode(), fds=[source.fileno(), place])
        finally:
            os.close(place)


TIME = struct.pack("<QI", 5, 7)
GOOD = [
    BEGIN, (MKDIR, {PATH: "o257"}), (RENAME, {PATH: "o257", TO: "dir/new"}), (CHMOD, {PATH: "dir/new", MODE: 0o2750}),
    (MKFILE, {PATH: "dir/new/file"}), (WRITE, {PATH: "dir/new/file", OFFSET: 4096, DATA: b"x" * 40000}),
    (WRITE, {PATH: "dir/new/file", OFFSET: 0, DATA: b"begin"}),
    (LINK, {PATH: "dir/hard", TARGET: "dir/new/file"}), (MKFILE, {PATH: "copy"}),
    (CLONE, {PATH: "copy", OFFSET: 0, LENGTH: 8192, FROM_UUID: OWN, FROM_PATH: "dir/new/file", FROM_OFFSET: 4096}),
    (TRUNCATE, {PATH: "copy", SIZE: 5000}), (CHOWN, {PATH: "copy", UID: 5, GID: 6}), (CHMOD, {PATH: "copy", MODE: 0o4755}),
    (SYMLINK, {PATH: "new-link", TARGET: "/etc/passwd"}), (MKFIFO, {PATH: "fifo"}), (MKSOCK, {PATH: "socket"}),
    (MKNOD, {PATH: "null", MODE: stat.S_IFCHR | 0o666, RDEV: os.makedev(1, 3)}), (UNLINK, {PATH: "file"}),
    (SET_XATTR, {PATH: "copy", NAME: "user.a", VALUE: b"b"}), (SET_XATTR, {PATH: "copy", NAME: "user.c", VALUE: b""}),
    (REMOVE_XATTR, {PATH: "copy", NAME: "user.a"}), (UTIMES, {PATH: "copy", ATIME: TIME, MTIME: TIME}),
    (UTIMES, {PATH: "", ATIME: TIME, MTIME: TIME}), (CHMOD, {PATH: "", MODE: 0o751}), (END, {})]


@pytest.mark.parametrize("pieces", [1, 7, 100000])
def test_all_commands(tree, pieces):
    done = apply(tree, payload(*GOOD), pieces)
    assert done.returncode == 0, done
    assert (tree / "dir/hard").read_bytes() == b"begin".ljust(4096, b"\0") + b"x" * 40000
    assert (tree / "copy").read_bytes() == b"x" * 5000
    status = (tree / "copy").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (5, 6, 0o4755)
    assert status.st_mtime_ns == tree.stat().st_mtime_ns == 5 * 10**9 + 7
    assert os.listxattr(tree / "copy") == ["user.c"]
    assert os.readlink(tree / "new-link") == "/etc/passwd" and not (tree / "file").exists()
    assert (tree / "null").stat().st_rdev == os.makedev(1, 3) and (tree / "null").is_char_device()
    assert (tree / "fifo").is_fifo() and (tree / "socket").is_socket()
    assert (tree / "dir/new").stat().st_mode & 0o7777 == 0o2750 and tree.stat().st_mode & 0o7777 == 0o751


OUTSIDE = ["../outside/file", "up/file", "/etc/hostname", "dir/../../outside/file", "dir/./../file", "link/x"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("kind,more", [
    (MKFILE, {}), (MKDIR, {}), (MKFIFO, {}), (SYMLINK, {TARGET: "x"}), (RENAME, {TO: "moved"}), (LINK, {TARGET: "file"}),
    (UNLINK, {}), (RMDIR, {}), (SET_XATTR, {NAME: "user.a", VALUE: b"x"}), (WRITE, {OFFSET: 0, DATA: b"x"}),
    (TRUNCATE, {SIZE: 0}), (CHMOD, {MODE: 0o777}), (CHOWN, {UID: 1, GID: 1}), (UTIMES, {ATIME: TIME, MTIME: TIME}),
    (CLONE, {OFFSET: 0, LENGTH: 4, FROM_UUID: OWN, FROM_PATH: "file", FROM_OFFSET: 0})])
def test_paths_that_lead_out(tree, kind, more, path):
    done = apply(tree, payload(BEGIN, (kind, {PATH: path, **more}), (END, {})))
    assert done.returncode == 1 and done.stderr, done


@pytest.mark.parametrize("path", OUTSIDE)
def test_other_paths_that_lead_out(tree, path):
    for kind, attributes in ((RENAME, {PATH: "file", TO: path}), (LINK, {PATH: "new", TARGET: path}),
                             (CLONE, {PATH: "file", OFFSET: 0, LENGTH: 4, FROM_UUID: OWN, FROM_PATH: path, FROM_OFFSET: 0})):
        done = apply(tree, payload(BEGIN, (kind, attributes), (END, {})))
        assert done.returncode == 1 and done.stderr, done


@pytest.mark.parametrize("parts", [
    [(MKFILE, {PATH: "x"})],  # no beginning
    [BEGIN, BEGIN], [BEGIN, (END, {}), (MKFILE, {PATH: "x"})], [BEGIN], [],
    [BEGIN, (UPDATE_EXTENT, {PATH: "file", OFFSET: 0, SIZE: 5}), (END, {})], [BEGIN, (0, {}), (END, {})],
    [BEGIN, (200, {}), (END, {})], [(SUBVOL, {PATH: "x", UUID: b"short"}), (END, {})],
    [BEGIN, (MKFILE, {}), (END, {})], [BEGIN, (MKFILE, {PATH: b"a\0b"}), (END, {})],
    [BEGIN, (CHMOD, {PATH: "file", MODE: b"\1\0\0"}), (END, {})], [BEGIN, (CHMOD, {PATH: "link", MODE: 0o777}), (END, {})],
    [BEGIN, (CHOWN, {PATH: "file", UID: 2**32 - 1, GID: 0}), (END, {})],
    [BEGIN, (WRITE, {PATH: "file", OFFSET: 2**63, DATA: b"x"}), (END, {})],
    [BEGIN, (WRITE, {PATH: "file", OFFSET: 0}), (END, {})], [BEGIN, (WRITE, {PATH: "dir", OFFSET: 0, DATA: b"x"}), (END, {})],
    [BEGIN, (MKFIFO, {PATH: "f"}), (WRITE, {PATH: "f", OFFSET: 0, DATA: b"x"}), (END, {})],
    [BEGIN, (TRUNCATE, {PATH: "file", SIZE: 2**63}), (END, {})],
    [BEGIN, (MKNOD, {PATH: "n", MODE: stat.S_IFREG, RDEV: 0}), (END, {})],
    [BEGIN, (MKNOD, {PATH: "n", MODE: stat.S_IFDIR, RDEV: 0}), (END, {})],
    [BEGIN, (UTIMES, {PATH: "file", ATIME: TIME, MTIME: struct.pack("<QI", 0, 10**9)}), (END, {})],
    [BEGIN, (CLONE, {PATH: "file", OFFSET: 0, LENGTH: 4, FROM_UUID: bytes(16), FROM_PATH: "file", FROM_OFFSET: 0}), (END, {})],
    [BEGIN, (CLONE, {PATH: "dir/x", OFFSET: 0, LENGTH: 4, FROM_UUID: OWN, FROM_PATH: "link", FROM_OFFSET: 0}), (END, {})],
    [BEGIN, (CLONE, {PATH: "file", OFFSET: 9, LENGTH: 2**63, FROM_UUID: OWN, FROM_PATH: "file", FROM_OFFSET: 0}), (END, {})],
    [BEGIN, struct.pack("<IHI", 2**31, WRITE, 0)], [BEGIN, struct.pack("<IHIHH", 4, MKDIR, 0, PATH, 9), (END, {})],
    [BEGIN, struct.pack("<IHIH", 2, MKDIR, 0, PATH), (END, {})], [BEGIN, command(*BEGIN)[:-1]],
    [BEGIN, struct.pack("<IHI", 10, MKDIR, 0) + struct.pack("<HHc", PATH, 1, b"a") * 2, (END, {})],
    [BEGIN, (RMDIR, {PATH: ""}), (END, {})], [BEGIN, (UNLINK, {PATH: ""}), (END, {})],
    [BEGIN, (RENAME, {PATH: "", TO: "dir/x"}), (END, {})], [BEGIN, (MKDIR, {PATH: ""}), (END, {})],
    [BEGIN, (SET_XATTR, {PATH: "file", NAME: "user.a"}), (END, {})], [BEGIN, (MKDIR, {PATH: "a/" * 2000 + "a"}), (END, {})],
])
def test_streams_that_are_none(tree, parts):
    done = apply(tree, payload(*parts))
    assert done.returncode == 1 and done.stderr, done
    assert (tree / "file").read_text() == "here"


def test_copies_are_no_more_than_what_came(tree):
    """Of blocks that cannot be shared. A few bytes shall not fill a disk."""
    begin = [BEGIN, (MKFILE, {PATH: "from"}), (WRITE, {PATH: "from", OFFSET: 0, DATA: b"x" * 100}), (MKFILE, {PATH: "to"})]
    copies = [(CLONE, {PATH: "to", OFFSET: 9 + 90 * n, LENGTH: 50, FROM_UUID: OWN, FROM_PATH: "from", FROM_OFFSET: 1})
              for n in range(3)]
    assert apply(tree, payload(*begin, *copies[:2], (END, {}))).returncode == 0
    assert (tree / "to").read_bytes() == bytes(9) + b"x" * 50 + bytes(40) + b"x" * 50
    for name in ("from", "to"):
        (tree / name).unlink()
    done = apply(tree, payload(*begin, *copies, (END, {})))
    assert done.returncode == 1 and "cannot be shared" in done.stderr, done


def test_other_versions(tree):
    done = apply(tree, payload(BEGIN, (END, {}), version=2))
    assert done.returncode == 1 and "version 2" in done.stderr, done
    assert apply(tree, b"zfs-stream\0\0\0" + bytes(9)).returncode == 1


def test_attributes_of_others_are_left_out(tree):
    names = ["trusted.overlay.opaque", "system.nfs4_acl", "btrfs.compression", "user.kept"]
    commands = [(SET_XATTR, {PATH: "dir", NAME: name, VALUE: b"y"}) for name in names]
    done = apply(tree, payload(BEGIN, *commands, (END, {})))
    assert done.returncode == 0 and os.listxattr(tree / "dir") == ["user.kept"], done
