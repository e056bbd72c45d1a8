# SPDX-License-Identifier: Apache-2.0
"""Images as other tools make and read them: umoci, buildah, skopeo."""

import hashlib
import os
import shutil
import stat
import struct
import subprocess
import tarfile

import pytest

from images import MTIME, Layout, directory, docker_archive, entry, file, gone, hard_link, layer_tar, link, opaque, tree_tar
from sandboxes import BUILD

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def unpack(source, path, *front):
    """The tree alone, by the image worker."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        subprocess.run([*front, BUILD / "isolate-image", "import", source, str(fd)], pass_fds=[fd], check=True,
                       capture_output=True, timeout=120)
    finally:
        os.close(fd)


def described(path, inodes, name):
    """All metadata of an entry that a tree has."""
    st = os.lstat(path)
    said = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns, "links": None,
            "attributes": {a: os.getxattr(path, a, follow_symlinks=False)
                           for a in os.listxattr(path, follow_symlinks=False)}}
    if stat.S_ISREG(st.st_mode):
        said["content"] = (st.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    if stat.S_ISLNK(st.st_mode):
        said["target"] = os.readlink(path)
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        said["device"] = st.st_rdev
    if not stat.S_ISDIR(st.st_mode):
        said["links"] = inodes.setdefault(st.st_ino, name)
    return said


def walk(root):
    said, inodes = {}, {}
    for at, directories, names in os.walk(root):
        directories.sort()
        for name in [".", *sorted(directories + names)]:
            path = root.__class__(at) / name
            said[str(path.relative_to(root))] = described(path, inodes, str(path.relative_to(root)))
    return said


def assert_same_tree(layout, tmp_path):
    unpack(str(layout), tmp_path / "ours")
    subprocess.run(["umoci", "unpack", "--image", f"{layout.path}:t", tmp_path / "theirs"], check=True,
                   capture_output=True, timeout=120)
    ours, theirs = walk(tmp_path / "ours"), walk(tmp_path / "theirs/rootfs")
    assert len(ours) > 5
    assert ours == theirs


def with_xattrs(name, attributes, data=b"x", **fields):
    info, data = file(name, data, **fields)
    info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in attributes.items()}
    return info, data


LAYERS = [
    [directory("./", mode=0o755), directory("d/", mode=0o2750, uid=1, gid=2), file("d/stays", "1", mtime=1),
     file("d/goes", "1"), file("d/changes", "1", mode=0o4711), directory("hidden/", mtime=2), file("hidden/below", "1"),
     directory("hidden/sub/"), file("hidden/sub/x"), directory("deep/"), directory("deep/er/"), file("deep/er/x", "1"),
     file("becomes-dir", "1"), directory("becomes-file/"), file("becomes-file/x", "1"), file("first", "same", uid=7),
     hard_link("second", "first"), hard_link("d/third", "second"), link("link", "d/stays", uid=8, mtime=3),
     link("way", "d"), link("absolute", "/deep"), entry("fifo", tarfile.FIFOTYPE, mode=0o620),
     entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666, gid=5),
     entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=1), directory("sticky/", mode=0o1777),
     with_xattrs("attributes", {"user.one": "1", "user.two": "zwei"}), file("no mode", mode=0), file("é ü\n", "name"),
     directory("x" * 200 + "/"), file("x" * 200 + "/" + "y" * 200, "long"), directory("untouched/", mtime=5), file("untouched/x", mtime=6)],
    [gone("d/goes"), file("d/changes", "2", uid=1000), opaque("hidden"), file("hidden/new", "2"), gone("deep"),
     directory("becomes-dir/"), file("becomes-dir/x", "2"), file("becomes-file", "2"), hard_link("fourth", "first"),
     gone("not-there"), gone("null"), file("first", "changed"), directory("sticky/", mode=0o700, mtime=9),
     file("link", "no link any more")],
    [file("way/through", "3", mode=0o600), gone("second"), link("becomes-file", "becomes-dir"), directory("deep/"),
     file("absolute/again", "3"), directory("hidden/"), gone("hidden/new"), directory("new/"), file("new/x"),
     with_xattrs("attributes", {"user.two": "2"}), file("d/stays", "3", mtime=1), gone("fifo")],
]


def test_same_tree_as_umoci(tmp_path):
    need("umoci")
    layout = Layout(tmp_path / "layout")
    layout.image(*LAYERS, tag="t")
    assert_same_tree(layout, tmp_path)


@pytest.mark.long
def test_same_tree_as_umoci_of_a_system(tmp_path, rootfs):
    """All of Debian, as two layers of which the second takes a third of it away."""
    need("umoci")
    layout = Layout(tmp_path / "layout")
    names = sorted(str(path.relative_to(rootfs)) for path in (rootfs / "usr/share").iterdir())
    layout.image(layout.layer(tree_tar(rootfs)), [gone(name) for name in names[::3]], tag="t")
    assert_same_tree(layout, tmp_path)


class Bundle:
    """An image that umoci makes, change by change."""

    def __init__(self, path, root):
        self.path = path / "image"
        self.bundle = path / "bundle"
        self.rootfs = self.bundle / "rootfs"
        for argv in (["init", "--layout", self.path], ["new", "--image", f"{self.path}:t"],
                     ["unpack", "--image", f"{self.path}:t", self.bundle]):
            self.umoci(*argv)
        subprocess.run(["cp", "-a", f"{root}/.", self.rootfs], check=True)

    def umoci(self, *argv):
        subprocess.run(["umoci", *argv], check=True, capture_output=True, timeout=120)

    def layer(self):
        self.umoci("repack", "--refresh-bundle", "--image", f"{self.path}:t", self.bundle)

    def __str__(self):
        return f"oci:{self.path}:t"


def test_image_of_umoci(instance, tmp_path, small_root):
    need("umoci")
    bundle = Bundle(tmp_path, small_root)
    os.setxattr(bundle.rootfs / "usr/bin/cat", "security.capability", CAPABILITY)
    bundle.layer()
    (bundle.rootfs / "etc/issue").unlink()
    (bundle.rootfs / "etc/new").write_text("new\n")
    shutil.rmtree(bundle.rootfs / "home")
    bundle.layer()
    bundle.umoci("config", "--image", f"{bundle.path}:t", "--config.cmd", "cat", "--config.cmd", "/etc/new",
                 "--config.env", "A=b", "--config.user", "user")
    unpack(str(bundle), tmp_path / "ours")
    bundle.umoci("unpack", "--image", f"{bundle.path}:t", tmp_path / "theirs")
    ours = walk(tmp_path / "ours")
    assert ours == walk(tmp_path / "theirs/rootfs")
    assert ours["usr/bin/cat"]["attributes"]["security.capability"] == CAPABILITY
    try:
        instance.ok("template", "create", "umoci", "--from", str(bundle))
        assert instance.output([], [], template="umoci") == "new\n"
        assert instance.output([], ["sh", "-c", "id -u; echo $A"], template="umoci") == "1000\nb\n"
    finally:
        instance.isolate("template", "rm", "umoci")


@pytest.fixture
def buildah(tmp_path):
    need("buildah")
    options = ["--root", tmp_path / "store", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]

    def go(*argv):
        done = subprocess.run(["buildah", *options, *argv], capture_output=True, text=True, check=False, timeout=300,
                              env={**os.environ, "HOME": str(tmp_path), "BUILDAH_ISOLATION": "chroot"})
        assert done.returncode == 0, done
        return done.stdout.strip()

    yield go
    go("rm", "-a")
    go("rmi", "-a", "-f")


@pytest.mark.parametrize("to", ["oci", "docker-archive", "oci-archive"])
def test_image_of_buildah(instance, tmp_path, small_root, buildah, to):
    image = tmp_path / "image"
    container = buildah("from", "scratch")
    buildah("add", "-q", container, small_root, "/")
    buildah("config", "--entrypoint", '["cat"]', "--cmd", "/etc/issue", "--env", "A=b", "--workingdir", "/srv/w",
            "--user", "1000:1000", container)
    name = {"oci": f"oci:{image}:t", "docker-archive": f"docker-archive:{image}:t:1",
            "oci-archive": f"oci-archive:{image}:t"}[to]
    buildah("commit", "-q", container, name)
    source = {"oci": name, "docker-archive": name, "oci-archive": f"docker-archive:{image}:t"}[to]
    try:
        instance.ok("template", "create", "built", "--from", source)
        assert instance.output([], [], template="built") == "a small system\n"
        script = "id -u; id -g; pwd; echo $A"
        assert instance.output(["--entrypoint", "sh"], ["-c", script], template="built") == "1000\n1000\n/srv/w\nb\n"
    finally:
        instance.isolate("template", "rm", "built")


def test_image_that_skopeo_has_converted(tmp_path):
    """zstd, and docker's own types, give the same tree."""
    need("skopeo", "umoci")
    layout = Layout(tmp_path / "layout")
    layout.image(*LAYERS, tag="t")
    unpack(str(layout), tmp_path / "plain")
    for i, options in enumerate((["--dest-compress-format", "zstd", "--dest-force-compress-format"],
                                 ["--format", "v2s2"], ["--dest-decompress"])):
        to = tmp_path / f"converted{i}"
        done = subprocess.run(["skopeo", "copy", "-q", *options, f"{layout}:t", f"oci:{to}:t"], capture_output=True,
                              text=True, check=False)
        if "unknown flag" in done.stderr:
            continue
        assert done.returncode == 0, done
        unpack(f"oci:{to}:t", tmp_path / f"tree{i}")
        assert walk(tmp_path / f"tree{i}") == walk(tmp_path / "plain")
    assert (tmp_path / "tree1").exists()


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_compressed_archive_is_read_once(tmp_path, how):
    """However many files it has, and in whatever order: what says which there are comes last."""
    need("strace", "zstd")
    layers = [layer_tar([file(f"f{i}", os.urandom(1 << 20))]) for i in range(8)]
    path = tmp_path / "saved"
    source = docker_archive(path, layers, compress=how)
    trace = tmp_path / "trace"
    unpack(source, tmp_path / "tree", "strace", "-f", "-y", "-qq", "-e", "trace=pread64,read", "-e", "signal=none", "-o", trace)
    read = [int(line.rpartition("= ")[2]) for line in trace.read_text(errors="replace").splitlines()
            if f"<{path}>" in line and "resumed" not in line and "unfinished" not in line]
    assert path.stat().st_size <= sum(read) < path.stat().st_size + (1 << 20)
    unpack(docker_archive(tmp_path / "plain", layers), tmp_path / "other")
    assert walk(tmp_path / "tree") == walk(tmp_path / "other")
    assert len(walk(tmp_path / "tree")) == 9
    assert not list((tmp_path / "tree").glob(".*"))


def test_times_are_those_of_the_layers(tmp_path):
    layout = Layout(tmp_path / "layout")
    layout.image([directory("d/", mtime=MTIME), file("d/x", mtime=MTIME + 1)], layer_tar([]), tag="t")
    unpack(str(layout), tmp_path / "tree")
    assert walk(tmp_path / "tree")["d"]["mtime"] == MTIME * 10**9
    assert walk(tmp_path / "tree")["d/x"]["mtime"] == (MTIME + 1) * 10**9


def test_directories_that_no_layer_names(tmp_path):
    """They are made, and always in the same way."""
    layout = Layout(tmp_path / "layout")
    layout.image([file("a/b/x", uid=5)], [file("a/c/x")], tag="t")
    unpack(str(layout), tmp_path / "tree")
    tree = walk(tmp_path / "tree")
    for name in (".", "a", "a/b", "a/c"):
        assert (tree[name]["mode"], tree[name]["owner"], tree[name]["mtime"]) == ("0o40755", (0, 0), 0), name


def test_peak_of_memory(tmp_path):
    """Two layers of 50,000 files and 100 MiB, the one over the other: no process takes more than 64 MiB."""
    need("time")
    layout = Layout(tmp_path / "layout")
    members = [file(f"d{i // 1000}/f{i}") for i in range(50_000)] + [file(f"big{i}", bytes(1 << 20)) for i in range(100)]
    layout.image(layout.layer(members), layout.layer(members), tag="t")
    place = tmp_path / "memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "memory", place], check=True)
    try:
        unpack(str(layout), place / "tree", "/usr/bin/time", "-f", "%M", "-o", tmp_path / "peak")
    finally:
        subprocess.run(["umount", place], check=True)
    assert int((tmp_path / "peak").read_text()) < 64 << 10
