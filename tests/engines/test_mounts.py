# SPDX-License-Identifier: Apache-2.0
"""Cells 35 to 44: what the caller shows it, and what it may write."""

import os
import pwd


def bound(box, options, script, **kw):
    """What the script wrote to stdout; None where the engine binds nothing, and says so."""
    done = box.shell(script, options, **kw)
    if box.refused(done, "binds"):
        return None
    assert done.returncode == 0, done
    return done.stdout


def test_35_bind_directory(box, tmp_path):
    (tmp_path / "in").write_text("from the host\n")
    out = bound(box, ["-v", f"{tmp_path}:/mnt"], "cd /mnt && cat in && echo inside >out")
    if out is not None:
        assert out == "from the host\n"
        assert (tmp_path / "out").read_text() == "inside\n"


def test_36_bind_file(box, tmp_path):
    """Over one that is there, and where none is."""
    file = tmp_path / "f"
    file.write_text("1")
    out = bound(box, ["-v", f"{file}:/mnt/new", "-v", f"{file}:/etc/passwd"],
                "cat /mnt/new /etc/passwd; echo 2 >/mnt/new")
    if out is not None:
        assert (out, file.read_text()) == ("11", "2\n")


def test_37_read_only_bind(box, tmp_path):
    (tmp_path / "x").write_text("1")
    out = bound(box, ["-v", f"{tmp_path}:/mnt:ro"], """
        cat /mnt/x
        { echo 2 >/mnt/x; } 2>/dev/null || echo refused
        touch /mnt/y 2>/dev/null || echo refused
        mount -o remount,rw /mnt 2>/dev/null || echo refused""")
    if out is not None:
        assert out == "1refused\nrefused\nrefused\n"
        assert (tmp_path / "x").read_text() == "1" and os.listdir(tmp_path) == ["x"]


def test_38_nested_binds(box, tmp_path):
    """The order on the command line does not matter. In a tmpfs places are made, also where that is in
    a bind."""
    for name in ("outer/sub", "outer/sub2", "inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outer/o").write_text("o")
    (tmp_path / "inner/i").write_text("i")
    words = [["-v", f"{tmp_path}/outer:/mnt"], ["-v", f"{tmp_path}/inner:/mnt/sub:ro"], ["--tmpfs", "/mnt/sub2"],
             ["-v", f"{tmp_path}/inner:/mnt/sub2/made/here"]]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
        out = bound(box, [word for i in order for word in words[i]],
                    "cat /mnt/o /mnt/sub/i /mnt/sub2/made/here/i; touch /mnt/sub2/t; touch /mnt/sub/t 2>/dev/null || echo refused")
        if out is None:
            return
        assert out == "oiirefused\n", order
    assert os.listdir(tmp_path / "outer/sub2") == []


def test_39_missing_target_made(box, tmp_path, rootfs):
    """In the clone, never in the template or in what the caller shows."""
    (tmp_path / "x").write_text("1")
    out = bound(box, ["-v", f"{tmp_path}:/made/deep/place"], "cat /made/deep/place/x; stat -c %u:%a /made/deep")
    if out is not None:
        assert out == "10:755\n" and not (rootfs / "made").exists()
        done = box.run(["-v", f"{tmp_path}:/mnt", "-v", f"{tmp_path}:/mnt/new"])
        assert done.returncode == 125 and "/mnt/new" in done.stderr and not (tmp_path / "new").exists(), done


def test_40_target_through_a_symlink(box, tmp_path, rootfs):
    """The root's own is followed, within the root; one in what the caller shows is not, and nothing is
    made or runs."""
    (tmp_path / "link").symlink_to("/srv")
    (tmp_path / "x").write_text("1")
    before = sorted(os.listdir(tmp_path))
    for target, place in (("/var/run/place", "/run/place"), ("/bin/place", "/usr/bin/place"),
                          ("/bin/tool", "/usr/bin/tool")):
        source = f"{tmp_path}/x" if target == "/bin/tool" else str(tmp_path)
        file = "" if target == "/bin/tool" else "/x"
        out = bound(box, ["-v", f"{source}:{target}"], f"cat {target}{file} {place}{file}")
        if out is None:
            return
        assert out == "11", target
    assert not (rootfs / "usr/bin/place").exists() and not (rootfs / "usr/bin/tool").exists()
    done = box.run(["-v", f"{tmp_path}:/mnt/link/place", "-v", f"{tmp_path}:/mnt"], ["echo", "ran"])
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "/mnt/link/place" in done.stderr and "is a symbolic link (to " in done.stderr and "name the place" in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_41_tmpfs_with_size(box):
    done = box.shell("stat -f -c '%T %S %b' /srv; head -c 2M /dev/zero >/srv/x", ["--tmpfs", "/srv:1M"])
    kind, size, blocks = done.stdout.split()
    assert kind == "tmpfs" and int(size) * int(blocks) == 1 << 20, done
    assert done.returncode != 0 and "No space left" in done.stderr, done


def test_42_ownership_of_files_made(box, tmp_path):
    """They are the caller's, whoever made them inside, or those of --owner."""
    games = pwd.getpwnam("games")
    os.chown(tmp_path, games.pw_uid, games.pw_gid)
    for number, inside in enumerate(([], ["-u", "1234:4321"])):
        out = bound(box, ["--owner", "games", "-v", f"{tmp_path}:/mnt", *inside],
                    f"cd /mnt && mkdir -p {number}/d && echo x >{number}/d/f && stat -c %u {number}/d/f && id -u")
        if out is None:
            return
        seen, uid = out.split()
        assert seen == uid
        for path in (tmp_path / str(number), tmp_path / f"{number}/d/f"):
            assert (path.stat().st_uid, path.stat().st_gid) == (games.pw_uid, games.pw_gid), path


def test_43_root_read_only(box):
    """And no device, nor set-id bit, counts in it, whatever the engine mounts anew."""
    out = box.output(["--read-only"], ["sh", "-c", """
        for d in / /etc /usr /root; do ! touch $d/x 2>/dev/null || echo writable $d; done
        for d in /tmp /run /dev/shm; do touch $d/x || exit 1; done
        cat /proc/self/mounts"""])
    words = out.splitlines()[0].split()
    assert words[1] == "/" and {"ro", *(("nosuid", "nodev") if box.can("isolates") else ())} <= set(words[3].split(",")), out


def test_44_50_binds(box, tmp_path):
    options = []
    for number in range(50):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "f").write_text(f"{number}\n")
        options += ["-v", f"{tmp_path}/{number}:/srv/b{number}:{'ro' if number % 2 else 'rw'}"]
    out = bound(box, options, "for i in $(seq 0 49); do cat /srv/b$i/f; touch /srv/b$i/t 2>/dev/null; done; true")
    if out is not None:
        assert out.split() == [str(number) for number in range(50)]
        assert [(tmp_path / f"{number}/t").exists() for number in range(50)] == [True, False] * 25
