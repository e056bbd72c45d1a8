# SPDX-License-Identifier: Apache-2.0
"""Templates that are sent and received: the same generation on both sides, or nothing."""

import gzip
import hashlib
import json
import os
import signal
import struct
import subprocess
import threading
import time

import pytest

from sandboxes import BUILD, Disk, children, comm, wait_until
from terminal import Terminal
from test_storage import btrfs, own, xfs  # noqa: F401
from test_template import base, current, generations, inside, templates, tree_hash  # noqa: F401
from test_template_travel import refused

MAGIC = b"isolate-template-stream-1\n"

# What differs from the generation before in every way that there is.
CHANGES = """set -e; cd /etc; echo new > issue; rm -r /var/tmp; mkdir -p new/deep; echo x > new/deep/file
             ln new/deep/file hard; ln -s file new/link; rm -rf /srv; echo file > /srv; chmod 700 /home
             mkfifo fifo; truncate -s 3M hole; chown 1:2 hole; touch -d @5 /home; echo same > dated; touch -d @7 dated
             echo a > one; ln one two; ln one three"""
MORE = """set -e; cd /etc; rm /srv; mkdir /srv; echo in > /srv/file; rm -rf new; echo new > new; echo diff > dated
          touch -d @7 dated; rm two; cp one three.new; mv three.new three; ln issue issue2; chmod 4755 hole"""


def send(instance, operand, *options):
    done = subprocess.run([BUILD / "isolate", "template", "send", *options, operand], capture_output=True,
                          env=instance._environment(None), stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def receive(instance, name, stream, *options):
    """Through a pipe, as from ssh."""
    done = subprocess.run([BUILD / "isolate", "template", "receive", *options, name], input=stream,
                          capture_output=True, env=instance._environment(None), timeout=120, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def received(instance, name, stream, *options):
    done = receive(instance, name, stream, *options)
    assert done.returncode == 0, done
    return done


def update(instance, name, script):
    instance.ok("template", "update", name, "--", "sh", "-c", script)


@pytest.fixture
def history(instance, base):
    """A template with three generations, and what travels of them."""
    first = instance.ok("template", "snapshot", base).strip()
    update(instance, base, CHANGES)
    second = instance.ok("template", "snapshot", base).strip()
    update(instance, base, MORE)
    return base, first, second


def test_all_of_it(instance, base, also):
    stream = send(instance, base)
    also("copy")
    done = received(instance, "copy", stream)
    assert current(instance, base) in done.stderr
    assert current(instance, "copy") == current(instance, base)
    assert tree_hash(instance, "copy") == tree_hash(instance, base)
    assert templates(instance)["copy"]["source"] == templates(instance)[base]["source"]
    assert inside(instance, "copy", "cat /etc/issue") == "a small system\n"
    (here,), (there,) = generations(instance, base), generations(instance, "copy")
    assert here["created"] == there["created"]


@pytest.mark.parametrize("place", ["overlay", "btrfs", "xfs"])
def test_increments(instance, own, history, btrfs, xfs, place):
    """To another installation, on each driver, and back."""
    base, first, second = history
    storage = {"overlay": "overlay", "btrfs": btrfs.storage, "xfs": xfs.storage}[place]
    hashes = [tree_hash(instance, f"{base}@{g}") for g in (first, second)] + [tree_hash(instance, base)]
    received(own, "copy", send(instance, f"{base}@{first}"), "--storage", storage)
    assert tree_hash(own, "copy") == hashes[0]
    whole = send(instance, f"{base}@{second}")
    increment = send(instance, f"{base}@{second}", "--since", first)
    assert len(increment) < len(whole) / 4
    received(own, "copy", increment)
    assert current(own, "copy") == second and tree_hash(own, "copy") == hashes[1]
    received(own, "copy", send(instance, base, "--since", second))
    assert current(own, "copy") == current(instance, base) and tree_hash(own, "copy") == hashes[2]
    assert inside(own, "copy", "cat /etc/new /srv/file /etc/dated") == "new\nin\ndiff\n"
    if place == "overlay":
        assert [g["layers"] for g in generations(own, "copy")][-1] == 3
    # and back: what came from elsewhere goes on travelling
    pinned = own.ok("template", "snapshot", "copy").strip()
    update(own, "copy", "echo back > /etc/issue")
    received(instance, base, send(own, "copy", "--since", pinned))
    assert tree_hash(instance, base) == tree_hash(own, "copy")
    own.ok("template", "rm", "copy")


@pytest.mark.parametrize("place", ["overlay", "btrfs"])
def test_an_increment_below_a_default_acl(instance, own, small_root, also, btrfs, tmp_path, place):
    """What a directory hands down is what is made in it there, not what arrives."""
    acl = struct.pack("<I" + 5 * "HHI", 2, 1, 7, 2**32 - 1, 2, 7, 3, 4, 5, 2**32 - 1, 16, 7, 2**32 - 1, 32, 5, 2**32 - 1)
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    (root / "srv/down").mkdir()
    os.setxattr(root / "srv/down", "system.posix_acl_default", acl)
    also("acl")
    base = "acl"
    instance.ok("template", "create", base, "--from", f"dir:{root}")
    first = instance.ok("template", "snapshot", base).strip()
    storage = {"overlay": "overlay", "btrfs": btrfs.storage}[place]
    received(own, "copy", send(instance, f"{base}@{first}"), "--storage", storage)
    update(instance, base, "cd /srv; mkfifo fifo; echo new > new; mkdir dir; cp /etc/issue dir; mv fifo new dir down")
    received(own, "copy", send(instance, base, "--since", first))
    assert tree_hash(own, "copy") == tree_hash(instance, base)
    own.ok("template", "rm", "copy")


def test_an_increment_over_a_rename_of_the_base(instance, history, also):
    """It is the content that has to be the same, not the name of the generation."""
    base, first, second = history
    also("copy")
    stream = send(instance, f"{base}@{second}")
    received(instance, "copy", stream)
    time.sleep(1.1)  # a generation is named after its second
    again = instance.ok("template", "snapshot", "copy").strip()
    assert again != second
    received(instance, "copy", send(instance, base, "--since", second))
    assert tree_hash(instance, "copy") == tree_hash(instance, base)


def test_an_increment_whose_base_is_missing(instance, history, also):
    base, first, second = history
    also("copy")
    received(instance, "copy", send(instance, f"{base}@{first}"))
    before = generations(instance, "copy")
    refused(receive(instance, "copy", send(instance, base, "--since", second)), second, "not here", "copy")
    refused(receive(instance, "nothere", send(instance, base, "--since", second)), "nothere", "there is none")
    assert generations(instance, "copy") == before and "nothere" not in templates(instance)


def test_an_increment_over_other_changes(instance, history, also):
    base, first, second = history
    increment = send(instance, f"{base}@{second}", "--since", first)
    also("copy")
    received(instance, "copy", send(instance, f"{base}@{first}"))
    update(instance, "copy", "echo other > /etc/issue")
    refused(receive(instance, "copy", increment), first, "rollback copy")
    instance.ok("template", "rollback", "copy", first)
    received(instance, "copy", increment)
    assert tree_hash(instance, "copy") == tree_hash(instance, f"{base}@{second}")
    refused(receive(instance, "copy", increment), second, "already")


def test_all_of_it_where_there_is_something(instance, base, also):
    refused(receive(instance, base, send(instance, base)), base, "exists", "--since")


def test_nothing_has_changed(instance, base):
    pinned = instance.ok("template", "snapshot", base).strip()
    refused(instance.isolate("template", "send", "--since", pinned, base), "nothing has changed")


@pytest.mark.parametrize("arguments,words", [
    (["nothere"], ["nothere"]),
    (["base@20200101T000000Z"], ["20200101T000000Z"]),
    (["--since", "20200101T000000Z", "base"], ["20200101T000000Z"]),
])
def test_bad_sends(instance, base, arguments, words):
    refused(instance.isolate("template", "send", *arguments), *words)


# streams that are not as they were sent


def records(stream):
    """The records of a stream, each with its letter."""
    assert stream.startswith(MAGIC)
    at = len(MAGIC)
    while at < len(stream):
        (length,) = struct.unpack(">I", stream[at + 1:at + 5])
        yield chr(stream[at]), stream[at + 5:at + 5 + length]
        at += 5 + length


def stream_of(parts):
    """A stream with the right digest, whatever is in it."""
    stream = MAGIC + b"".join(letter.encode() + struct.pack(">I", len(data)) + data for letter, data in parts)
    return stream + b"E" + struct.pack(">I", 32) + hashlib.sha256(stream).digest()


def parts_of(stream):
    return [part for part in records(stream) if part[0] != "E"]


@pytest.fixture
def nothing_new(instance):
    """Whatever happens, no template and no import is there afterwards."""
    before = templates(instance).keys()
    yield
    assert templates(instance).keys() == before
    assert not [name for name in instance.clones() if "/imports/" in name]


def test_streams_that_are_cut_off(instance, base, nothing_new):
    stream = send(instance, base)
    for length in (0, 5, len(MAGIC), len(MAGIC) + 3, len(MAGIC) + 20, len(stream) // 2, len(stream) - 40,
                   len(stream) - 1):
        refused(receive(instance, "cut", stream[:length]), "cut off")


def test_streams_that_are_damaged(instance, base, nothing_new):
    stream = send(instance, base)
    for at in (3, len(MAGIC), len(MAGIC) + 1, len(MAGIC) + 9, len(stream) // 2, len(stream) - 70, len(stream) - 5):
        broken = bytearray(stream)
        broken[at] ^= 0x40
        refused(receive(instance, "broken", bytes(broken)), "broken")
    refused(receive(instance, "broken", stream + b"x"), "follows its end")
    refused(receive(instance, "broken", b"\0" * 100000), "no stream")


def test_streams_of_something_else(instance, base, nothing_new):
    (_, header), *rest = parts_of(send(instance, base))
    for key, value, words in (
            ("payload", "zfs", ["zfs", "this isolate cannot take"]), ("payload", None, ["cannot take"]),
            ("generation", "../../x", ["header"]), ("generation", "20260131T120000Z/..", ["header"]),
            ("identity", "../x", ["header"]), ("identity", "", ["header"]), ("driver", "../x", ["header"]),
            ("template", "A B", ["header"]), ("source", "x" * 256, ["header"]), ("created", -1, ["header"]),
            ("pinned", "yes", ["header"]), ("base", {}, ["header"]), ("base", {"generation": "x"}, ["header"]),
            ("tree", "0" * 64, ["not what was sent"]), ("tree", "x" * 64, ["header"])):
        changed = json.loads(header) | {key: value}
        stream = stream_of([("H", json.dumps(changed).encode()), *rest])
        refused(receive(instance, "else", stream), *words)


def test_native_streams_of_another_driver(instance, base, nothing_new):
    (_, text), *rest = parts_of(send(instance, base))
    header = json.loads(text) | {"driver": "zfs", "payload": "zfs"}
    del header["tree"]
    stream = stream_of([("H", json.dumps(header).encode()), *rest])
    refused(receive(instance, "other", stream), "zfs's own", "cannot take", "without --native")
    own = header | {"driver": json.loads(text)["driver"], "payload": json.loads(text)["driver"]}
    refused(receive(instance, "other", stream_of([("H", json.dumps(own).encode()), *rest])), "cannot take")
    refused(instance.isolate("template", "send", "--native", base), "without --native")


def image_worker(*arguments, fds):
    return subprocess.run([BUILD / "isolate-image", *map(str, arguments)], pass_fds=fds, capture_output=True,
                          text=True, timeout=60, check=False)


def send_native(path, program):
    with open(path, "wb") as out:
        return image_worker("send-native", out.fileno(), '{"a":"header"}', *program, fds=[out.fileno()])


def receive_native(stream, payload, directory):
    """Behind the header, which another worker has read."""
    with open(stream, "rb", buffering=0) as source, open(payload, "wb") as out:
        source.seek(len(MAGIC) + 5 + len('{"a":"header"}'))
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        try:
            return image_worker("receive-native", source.fileno(), out.fileno(), place, '{"a":"header"}',
                                fds=[source.fileno(), out.fileno(), place])
        finally:
            os.close(place)


def test_an_increment_in_which_nothing_differs(tmp_path, small_root):
    """As of two snapshots of one dataset: what arrives is the same tree, its root as well."""
    trees = tmp_path / "here", tmp_path / "there"
    for tree in trees:
        subprocess.run(["cp", "-a", small_root, tree], check=True)
        tree.chmod(0o751)
        os.setxattr(tree, "user.x", b"y")
        os.utime(tree, (5, 5))
    with open(tmp_path / "stream", "w+b", buffering=0) as stream:
        places = [os.open(tree, os.O_RDONLY) for tree in trees]
        done = image_worker("send", stream.fileno(), places[0], places[0], "tar", "{}", fds=[stream.fileno(), places[0]])
        assert done.returncode == 0, done
        stream.seek(0)
        ((_, header), *_) = parts_of(stream.read())
        stream.seek(len(MAGIC) + 5 + len(header))
        done = image_worker("receive", stream.fileno(), places[1], "tree", header.decode(), fds=[stream.fileno(), places[1]])
        assert done.returncode == 0, done
        done = image_worker("hash", places[1], fds=places)
        assert done.stdout.strip() == json.loads(header)["tree"]
        for place in places:
            os.close(place)


def test_an_archive_that_ends_before_its_stream(instance, base, nothing_new):
    """Its reader is done too early to see that the digest is wrong."""
    header, *rest = parts_of(send(instance, base))
    packed = gzip.compress(b"".join(data for letter, data in rest if letter == "T"))
    stream = bytearray(stream_of([header, ("T", packed[:200000]), *(("T", packed[at:at + 200000])
                                  for at in range(200000, len(packed), 200000)), *[("T", b"x" * 200000)] * 20]))
    stream[-1] ^= 1
    refused(receive(instance, "early", bytes(stream)), "damaged")


def test_native_payloads(tmp_path):
    """What the program wrote arrives; one that fails leaves a stream that nobody takes."""
    stream, payload = tmp_path / "stream", tmp_path / "payload"
    content = os.urandom(700001)
    (tmp_path / "content").write_bytes(content)
    assert send_native(stream, ["cat", tmp_path / "content"]).returncode == 0
    assert receive_native(stream, payload, tmp_path).returncode == 0 and payload.read_bytes() == content
    whole = stream.read_bytes()
    for broken in (whole[:-1], whole[:300000], whole[:400000] + b"x" + whole[400001:], whole + b"x",
                   stream_of([("H", b'{"a":"header"}'), ("D", b"etc"), ("T", content[:100])])):
        stream.write_bytes(broken)
        assert receive_native(stream, payload, tmp_path).returncode == 1
    done = send_native(stream, ["sh", "-c", "head -c 1000000 /dev/zero; echo cannot do more >&2; exit 3"])
    assert done.returncode == 1 and "cannot do more" in done.stderr, done
    assert [letter for letter, _ in records(stream.read_bytes())][-1] == "T"
    assert receive_native(stream, payload, tmp_path).returncode == 1


@pytest.mark.parametrize("path", ["../outside", "/etc/issue", "a/../../x", "", "."])
def test_hostile_paths(instance, history, nothing_new, tmp_path, path):
    """What a stream says is gone leads nowhere else."""
    base, _, second = history
    header, *rest = parts_of(send(instance, base, "--since", second))
    instance.ok("template", "rollback", base, second)
    before = generations(instance, base)
    (_, text) = header
    changed = json.loads(text) | {"generation": "20300101T000000Z"}
    stream = stream_of([("H", json.dumps(changed).encode()), ("D", path.encode()), *rest])
    refused(receive(instance, base, stream), "gone")
    assert generations(instance, base) == before


def test_a_path_through_a_link(instance, history, nothing_new):
    base, _, _ = history
    update(instance, base, "ln -s /etc /via")
    since = instance.ok("template", "snapshot", base).strip()
    update(instance, base, "touch /x")
    header, *rest = parts_of(send(instance, base, "--since", since))
    instance.ok("template", "rollback", base, since)
    (_, text) = header
    changed = json.loads(text) | {"generation": "20300101T000000Z"}
    stream = stream_of([("H", json.dumps(changed).encode()), ("D", b"via/issue"), *rest])
    done = receive(instance, base, stream)
    assert done.returncode == 125
    assert inside(instance, base, "cat /etc/issue")


def test_records_out_of_order(instance, base, nothing_new):
    header, *rest = parts_of(send(instance, base))
    for parts in ([header, *rest, ("D", b"etc/issue")], [header, header, *rest], [header, ("X", b""), *rest],
                  [header, ("D", b"etc\0issue"), *rest]):
        refused(receive(instance, "order", stream_of(parts)), "damaged")


@pytest.mark.long
def test_full_disk(instance, rootfs, also, session_directory):
    also("large")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    place = session_directory / "small-disk"
    place.mkdir(mode=0o755)
    disk = Disk(place, "overlay", "ext4", "40M")
    try:
        refused(receive(instance, "copy", send(instance, "large"), "--storage", disk.storage), "copy", "full", "free")
        assert "copy" not in templates(instance)
        instance.ok("prune")
        assert not [name for name in os.listdir(place) if name == "copy"]
    finally:
        instance.isolate("storage", "forget", disk.storage)
        disk.remove()


@pytest.mark.long
def test_interrupted_receive_leaves_nothing(instance, rootfs, also, nothing_new):
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    stream = send(instance, "large")
    instance.ok("template", "rm", "large")
    for step in range(9):
        run = subprocess.Popen([BUILD / "isolate", "template", "receive", "cut"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=instance._environment(None))
        run.stdin.write(stream[:len(stream) * (step + 1) // 10])
        run.stdin.flush()
        time.sleep(0.05)
        victims = {0: lambda: [run.pid], 1: lambda: [p for p in children(run.pid) if comm(p) == "isolated"],
                   2: lambda: instance.members()[:1]}[step % 3]()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        run.communicate(timeout=60)
        assert run.returncode in (123, 125, -signal.SIGKILL), (step, run.returncode)
        assert "cut" not in templates(instance)
        wait_until(lambda: not [n for n in instance.clones() if "/imports/" in n or "/layers/" in n]
                   and not instance.records_of_sandboxes() and not instance.leaves(), 20, f"the end (step {step})")


# on a terminal


def drain_slowly(path):
    with open(path, "rb") as pipe:
        while pipe.read(1 << 20):
            time.sleep(0.02)


@pytest.mark.long
def test_progress_with_what_is_left(instance, rootfs, also, tmp_path):
    also("large")
    also("copy")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    stream = tmp_path / "stream"
    stream.write_bytes(send(instance, "large"))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = {**instance.env, "TERM": "vt100"}
    left = rb": \d+ entries, [\d.]+ MiB, [\d.]+ MiB/s, \d+% of [\d.]+ MiB, \d+ s left"
    reader = threading.Thread(target=drain_slowly, args=(fifo,))
    reader.start()
    with Terminal([str(BUILD / "isolate"), "template", "export", "large", "--to", f"tar:{fifo}"], env,
                  columns=120) as terminal:
        terminal.expect(b"export" + left, 60)
        assert terminal.wait(60) == 0
        assert b"\r\x1b[K" in terminal.seen
    reader.join()
    with open(stream, "rb") as file, \
            Terminal([str(BUILD / "isolate"), "template", "receive", "copy"], env, columns=120, stdin=file) as terminal:
        terminal.expect(b"receive" + left, 60)
        assert terminal.wait(60) == 0
