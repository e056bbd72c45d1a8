# SPDX-License-Identifier: Apache-2.0
"""`isolate cp`: into a sandbox and out of it, and what a hostile sandbox sends in the place of what was
asked for. The control: GNU tar, as the caller would start it, makes some of that."""

import hashlib
import io
import os
import stat
import subprocess
import tarfile

import pytest

from services import Member


@pytest.fixture
def box(service, rootfs, tmp_path):
    """(cp, directory): a sandbox "box" whose tar sends directory/archive, where that is there."""
    evil = tmp_path / "evil"
    evil.mkdir()
    service.ok("run", "-d", "--name", "box", "--bind", f"{evil}:/evil", str(rootfs), "--", "sleep", "600")
    service.ok("exec", "box", "sh", "-c", "mv /usr/bin/tar /usr/bin/real-tar && cat >/usr/bin/tar && chmod 755 /usr/bin/tar",
               input="#!/bin/sh\n[ ! -e /evil/archive ] || exec cat /evil/archive\nexec real-tar \"$@\"\n")
    # isolate calls itself for the other end
    more = {"env": {"PATH": f"{service.programs}:{service.env['PATH']}"}}
    yield lambda *operands: service.isolate("cp", *map(str, operands), **more), evil
    service.ok("stop", "box")


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_both_ways(service, box, tmp_path):
    cp, _ = box
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("content")
    assert cp(tmp_path / "in", "box:/srv").returncode == 0
    assert service.ok("exec", "box", "cat", "/srv/in/file") == "content"
    service.ok("exec", "box", "sh", "-c", """mkdir -p /srv/out/below; echo back >/srv/out/file; ln -s file /srv/out/link
        ln /srv/out/file /srv/out/below/hard; head -c 300000 /dev/urandom >/srv/out/below/large; touch -d @7 /srv/out/file""")
    umask = os.umask(0o027)
    try:
        assert cp("box:/srv/out", tmp_path).returncode == 0
    finally:
        os.umask(umask)
    out = tmp_path / "out"
    assert (out / "link").read_text() == "back\n" and os.readlink(out / "link") == "file"
    assert (out / "file").stat().st_mtime == 7 and stat.S_IMODE((out / "file").stat().st_mode) == 0o640
    assert (out / "below" / "hard").samefile(out / "file")
    digest = hashlib.sha256((out / "below" / "large").read_bytes()).hexdigest()
    assert service.ok("exec", "box", "sha256sum", "/srv/out/below/large").split()[0] == digest
    # again, over what is there; and what is in it, under no name of its own
    assert cp("box:/srv/out", tmp_path).returncode == 0
    (tmp_path / "flat").mkdir()
    assert cp("box:/srv/out/.", tmp_path / "flat").returncode == 0
    assert (tmp_path / "flat" / "file").read_text() == "back\n"


def test_what_is_not_there(box, tmp_path):
    cp, _ = box
    refused(cp("box:/none", tmp_path), "none", "No such file", "box:/none failed")
    refused(cp(tmp_path / "none", "box:/srv"), "none", "No such file")
    refused(cp("box:/srv", tmp_path / "none"), "directory", "none", "No such file")
    refused(cp("nobox:/srv", tmp_path), "nobox")
    refused(cp("box:/srv", ""), "needed")
    refused(cp("box:", tmp_path), "absolute")
    refused(cp("box:/", tmp_path), "name of a file")
    refused(cp("/a", "/b"), "SANDBOX:")
    refused(cp("x:a", "/b"), "absolute")


def member(name, content=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def write(path, *members):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))


LINK, HARD, DEVICE, FIFO, DIRECTORY = (
    {"type": kind} for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE))

# what a sandbox may send for "out"; the words of the error; how GNU tar goes wrong with it, if it does
HOSTILE = {
    "another_name": ([member(".profile", b"evil")], "asked for", ".profile"),
    "a_longer_name": ([member("outer", b"evil")], "asked for", "outer"),
    "dotdot": ([member("../up", b"evil")], "..", None),
    "dotdot_inside": ([member("out", **DIRECTORY), member("out/../.profile", b"evil")], "..", None),
    "absolute": ([member("/etc/evil", b"evil")], "absolute", "etc/evil"),
    "a_symlink_at_the_top": ([member("out", linkname="{outside}", **LINK), member("out/evil", b"evil")], "out/evil", None),
    "a_symlink_below": ([member("out", **DIRECTORY), member("out/way", linkname="{outside}", **LINK),
                         member("out/way/evil", b"evil")], "out/way", None),
    "a_link_to_what_is_here": ([member("out", linkname="mine", **HARD)], "asked for", "out"),
    "a_link_through_a_symlink": ([member("out", **DIRECTORY), member("out/way", linkname="{outside}", **LINK),
                                  member("out/hard", linkname="out/way/secret", **HARD)], "out/", None),
    "no_archive": (None, "damaged", None),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archive(box, tmp_path, what):
    cp, evil = box
    members, words, made = HOSTILE[what]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    for info, _ in members or ():
        info.linkname = info.linkname.replace("{outside}", str(outside))
    if members is None:
        (evil / "archive").write_bytes(b"no archive, but long enough for a block of one" * 100)
    else:
        write(evil / "archive", *members)
    for directory in ("home", "control"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "mine").write_text("mine")
    refused(cp("box:/srv/out", tmp_path / "home"), words, "failed")
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {"mine", "out"}
    assert not (tmp_path / "home" / "out").is_file()
    assert os.listdir(outside) == ["secret"] and (outside / "secret").stat().st_nlink == 1
    assert not (tmp_path / "up").exists() and not os.path.exists("/etc/evil")
    if made:
        subprocess.run(["tar", "-C", tmp_path / "control", "-xf", evil / "archive"], check=False, capture_output=True)
        assert (tmp_path / "control" / made).exists(), "this was no attack"


def test_devices_and_set_id(box, tmp_path):
    """Root's copies have no set-id bits, and nothing that is no file: the rest is there, and the error, too."""
    cp, evil = box
    write(evil / "archive", member("out", mode=0o7777, **DIRECTORY), member("out/root", b"evil", mode=0o6755, uid=1, gid=1),
          member("out/device", devmajor=1, devminor=3, mode=0o666, **DEVICE), member("out/fifo", **FIFO),
          member("out/last", b"last"))
    refused(cp("box:/srv/out", tmp_path), "out/device", "out/fifo", "2 devices")
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"root", "last"} and stat.S_IMODE(out.stat().st_mode) == 0o755
    st = (out / "root").stat()
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o755, 0, 0)


def test_what_is_here_is_replaced_and_never_followed(box, tmp_path):
    cp, evil = box
    write(evil / "archive", member("out", b"new"))
    (tmp_path / "victim").write_text("old")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "out").symlink_to(tmp_path / "victim")
    assert cp("box:/srv/out", tmp_path / "home").returncode == 0
    assert (tmp_path / "victim").read_text() == "old"
    assert not (tmp_path / "home" / "out").is_symlink() and (tmp_path / "home" / "out").read_text() == "new"


def test_as_a_member(service, box, tmp_path):
    """Who has called gets the files, and those that it may not write it does not."""
    anne = Member(service, 61301)
    place = service.base / "anne"
    place.mkdir()
    os.chown(place, anne.uid, anne.uid)
    write(place / "archive", member("out", b"hers", uid=0, gid=0))
    (place / "archive").chmod(0o644)
    anne.ok("run", "-d", "--name", "hers", "--bind", f"{place}:/evil", "t", "--", "sleep", "600")
    more = {"env": {**anne.more["env"], "PATH": f"{service.programs}:{service.env['PATH']}"}}
    refused(anne.isolate("cp", "hers:/out", str(place), **more), "tar: no such command in the sandbox")
    anne.ok("exec", "hers", "sh", "-c", "cat >/usr/bin/tar && chmod 755 /usr/bin/tar", input="#!/bin/sh\nexec cat /evil/archive\n")
    assert anne.isolate("cp", "hers:/out", str(place), **more).returncode == 0
    assert (place / "out").read_text() == "hers" and (place / "out").stat().st_uid == anne.uid
    refused(anne.isolate("cp", "hers:/out", str(service.base), **more), "out", "Permission denied")
    refused(anne.isolate("cp", "box:/out", str(place), **more), "box")
    anne.ok("stop", "hers")
    (place / "out").unlink()
