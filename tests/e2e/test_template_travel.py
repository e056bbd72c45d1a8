# SPDX-License-Identifier: Apache-2.0
"""Templates that leave the machine, and come back the same."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading

import pytest

from sandboxes import children, comm, wait_until
from test_template import base, inside, tree_hash  # noqa: F401


@pytest.fixture
def full_disk(tmp_path):
    """A directory with 2 MiB of room, which a template is larger than."""
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, done.stderr


# export to an archive


def test_export_and_import_give_the_same_tree(instance, base, also, tmp_path):
    path = tmp_path / "base.tar"
    instance.ok("template", "export", base, "--to", f"tar:{path}")
    assert path.stat().st_mode & 0o7777 == 0o600  # it may hold what only root may read
    also("back")
    instance.ok("template", "create", "back", "--from", f"tar:{path}")
    assert tree_hash(instance, "back") == tree_hash(instance, base)


@pytest.mark.long
def test_export_of_a_whole_system(instance, root_tar, also, tmp_path):
    also("deb")
    also("back")
    path = tmp_path / "deb.tar"
    instance.ok("template", "create", "deb", "--from", f"tar:{root_tar}", timeout=120)
    instance.ok("template", "export", "deb", "--to", f"tar:{path}", timeout=120)
    instance.ok("template", "create", "back", "--from", f"tar:{path}", timeout=120)
    assert tree_hash(instance, "back") == tree_hash(instance, "deb")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", path, "-C", unpacked],
                   check=True)
    also("by-tar")
    instance.ok("template", "create", "by-tar", "--from", f"dir:{unpacked}", timeout=120)
    assert tree_hash(instance, "by-tar") == tree_hash(instance, "deb")


def test_export_is_the_same_twice(instance, base, tmp_path):
    for name in ("a", "b"):
        instance.ok("template", "export", base, "--to", f"tar:{tmp_path}/{name}")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_export_of_a_given_generation(instance, base, tmp_path):
    first = instance.ok("template", "snapshot", base).strip()
    instance.ok("template", "update", base, "--", "sh", "-c", "echo new > /etc/issue")
    for operand, content in ((f"{base}@{first}", "a small system\n"), (base, "new\n")):
        instance.ok("template", "export", operand, "--to", "tar:one", cwd=tmp_path)
        with tarfile.open(tmp_path / "one") as tar:
            assert tar.extractfile("etc/issue").read().decode() == content
    refused(instance.isolate("template", "export", f"{base}@20200101T000000Z", "--to", f"tar:{tmp_path}/no"),
            "20200101T000000Z", base)


def test_export_to_standard_output(instance, base, tmp_path):
    run = instance.popen_isolate("template", "export", base, "--to", "tar:-")
    with tarfile.open(fileobj=run.stdout.buffer, mode="r|") as tar:
        names = tar.getnames()
    run.stdout.buffer.read()
    assert run.wait(timeout=30) == 0 and "etc/issue" in names


def test_export_whose_reader_ends(instance, rootfs, also):
    also("large")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    run = instance.popen_isolate("template", "export", "large", "--to", "tar:-")
    run.stdout.buffer.read(10000)
    run.stdout.close()
    err = run.stderr.read()
    assert run.wait(timeout=30) == 125 and "who reads it has ended" in err


def test_export_to_a_fifo(instance, base, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    instance.ok("template", "export", base, "--to", f"tar:{fifo}")
    reader.join(30)
    assert read and len(read[0]) % 512 == 0 and fifo.is_fifo()


def test_export_replaces_a_file_when_all_is_written(instance, base, tmp_path):
    path = tmp_path / "there"
    path.write_text("before")
    link = tmp_path / "link"
    link.symlink_to("there")
    instance.ok("template", "export", base, "--to", f"tar:{link}")
    assert link.is_symlink() and tarfile.is_tarfile(path)


def test_export_to_a_full_disk_leaves_nothing(instance, rootfs, also, full_disk):
    also("large")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    (full_disk / "out").write_text("before")
    refused(instance.isolate("template", "export", "large", "--to", f"tar:{full_disk}/out"), "large", "No space")
    assert os.listdir(full_disk) == ["out"] and (full_disk / "out").read_text() == "before"


@pytest.mark.long
def test_killed_export_leaves_nothing(instance, rootfs, also, tmp_path):
    also("large")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    place = tmp_path / "place"
    place.mkdir()
    for step, victims in enumerate((lambda run: [run.pid], lambda run: instance.members()[:1],
                                    lambda run: [pid for pid in children(run.pid) if comm(pid) == "isolated"])):
        run = instance.popen_isolate("template", "export", "large", "--to", f"tar:{place}/out")
        wait_until(lambda: instance.members() or run.poll() is not None)
        for pid in victims(run):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        run.communicate(timeout=60)
        assert run.returncode in (0, 123, 125, -signal.SIGKILL), step
        assert os.listdir(place) in ([], ["out"] if run.returncode == 0 else [])
        for name in os.listdir(place):
            os.unlink(place / name)
        wait_until(lambda: not instance.members(), 20)
        instance.ok("template", "ls")
    instance.ok("prune")


# export to an image


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def manifests(layout):
    """By tag; "" is one without."""
    index = json.loads((layout / "index.json").read_text())
    return {m["annotations"].get("org.opencontainers.image.ref.name", ""): m for m in index["manifests"]}


def blob(layout, descriptor):
    """Of the digest and size that a descriptor says."""
    algorithm, digits = descriptor["digest"].split(":")
    content = (layout / "blobs" / algorithm / digits).read_bytes()
    assert hashlib.new(algorithm, content).hexdigest() == digits and len(content) == descriptor["size"]
    return content


def test_export_to_a_layout(instance, base, tmp_path):
    layout = tmp_path / "layout"
    instance.ok("template", "export", base, "--to", f"oci:{layout}:1.0")
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert list(manifests(layout)) == ["1.0"]
    manifest = json.loads(blob(layout, manifests(layout)["1.0"]))
    config = json.loads(blob(layout, manifest["config"]))
    (layer,) = manifest["layers"]
    plain = gzip.decompress(blob(layout, layer))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(plain).hexdigest()]
    assert config["os"] == "linux" and config["created"].endswith("Z")
    assert len(os.listdir(layout / "blobs/sha256")) == 3
    # the same again is the same; another tag and no tag come beside it
    index = (layout / "index.json").read_bytes()
    instance.ok("template", "export", base, "--to", f"oci:{layout}:1.0")
    assert (layout / "index.json").read_bytes() == index and len(os.listdir(layout / "blobs/sha256")) == 3
    instance.ok("template", "update", base, "--", "sh", "-c", "echo new > /etc/issue")
    instance.ok("template", "export", base, "--to", "oci:layout", cwd=tmp_path)
    old = manifests(layout)["1.0"]["digest"]
    os.chown(layout / "index.json", 1000, 1000)
    (layout / "index.json").chmod(0o644)
    instance.ok("template", "export", base, "--to", "oci:layout:1.0", cwd=tmp_path)
    assert sorted(manifests(layout)) == ["", "1.0", "latest"]
    assert manifests(layout)["1.0"]["digest"] == manifests(layout)["latest"]["digest"] != old
    assert manifests(layout)[""]["digest"] == old  # it has lost its name only
    # who could read the index can; what is in a template is root's
    status = (layout / "index.json").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o644, 1000, 1000)
    assert {path.stat().st_mode & 0o7777 for path in (layout / "blobs/sha256").iterdir()} == {0o600}
    assert not [name for name in os.listdir(layout) if name.startswith(".")]


@pytest.mark.long
def test_umoci_unpacks_the_same_tree(instance, root_tar, also, tmp_path):
    needs("umoci")
    also("deb")
    also("back")
    instance.ok("template", "create", "deb", "--from", f"tar:{root_tar}", timeout=120)
    instance.ok("template", "update", "deb", "--", "sh", "-c",
                "ln /etc/issue /etc/issue2; truncate -s 1M /srv/hole; touch '/srv/\u00e9 \n'")
    instance.ok("template", "export", "deb", "--to", "oci:layout:deb", cwd=tmp_path, timeout=120)
    subprocess.run(["umoci", "unpack", "--image", "layout:deb", "bundle"], cwd=tmp_path, check=True,
                   capture_output=True)
    instance.ok("template", "create", "back", "--from", f"dir:{tmp_path}/bundle/rootfs", timeout=120)
    assert tree_hash(instance, "back") == tree_hash(instance, "deb")
    assert (tmp_path / "bundle/config.json").exists()  # what runc takes


def test_skopeo_copies_it(instance, base, tmp_path):
    needs("skopeo")
    instance.ok("template", "export", base, "--to", "oci:layout", cwd=tmp_path)
    subprocess.run(["skopeo", "copy", "--insecure-policy", "oci:layout:latest", "oci:other:x"], cwd=tmp_path,
                   check=True, capture_output=True)
    said = subprocess.run(["skopeo", "inspect", "oci:other:x"], cwd=tmp_path, check=True, capture_output=True)
    assert json.loads(said.stdout)["Os"] == "linux"
    assert manifests(tmp_path / "other")["x"]["digest"] == manifests(tmp_path / "layout")["latest"]["digest"]


def test_podman_mounts_it(instance, base, tmp_path):
    needs("podman")
    instance.ok("template", "export", base, "--to", "oci:layout:x", cwd=tmp_path)
    short = tempfile.mkdtemp(dir="/var/tmp")  # it takes no long ones
    podman = ["podman", "--root", tmp_path / "root", "--runroot", short, "--storage-driver", "vfs"]

    def call(*arguments):
        return subprocess.run([*podman, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True,
                              env=os.environ | {"TMPDIR": str(tmp_path)}).stdout.strip()
    image = call("pull", "--quiet", "oci:layout:x")
    place = call("image", "mount", image)
    try:
        assert open(f"{place}/etc/issue").read() == "a small system\n"
        assert os.stat(f"{place}/etc/issue").st_mtime_ns // 10**9 == \
            int(inside(instance, base, "stat -c %Y /etc/issue"))
    finally:
        call("image", "unmount", image)
        call("rmi", "--force", image)
        shutil.rmtree(short)


def test_export_of_a_whiteout_name(instance, base, tmp_path):
    instance.ok("template", "update", base, "--", "touch", "/srv/.wh.x")
    refused(instance.isolate("template", "export", base, "--to", "oci:layout", cwd=tmp_path), "srv/.wh.x", "tar:")
    assert os.listdir(tmp_path) == []
    instance.ok("template", "export", base, "--to", "tar:out", cwd=tmp_path)


def test_export_to_what_is_no_layout(instance, base, tmp_path):
    (tmp_path / "file").write_text("x")
    refused(instance.isolate("template", "export", base, "--to", f"oci:{tmp_path}"), "file", "nor empty")
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    refused(instance.isolate("template", "export", base, "--to", f"oci:{tmp_path}"), "2.0.0")
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "index.json").write_text("{}")
    refused(instance.isolate("template", "export", base, "--to", f"oci:{tmp_path}"), "index.json")
    (tmp_path / "index.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "blobs").symlink_to("elsewhere")
    refused(instance.isolate("template", "export", base, "--to", f"oci:{tmp_path}"), "blobs")
    assert sorted(os.listdir(tmp_path)) == ["blobs", "elsewhere", "file", "oci-layout"]
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.long
def test_export_of_an_image_to_a_full_disk(instance, rootfs, also, full_disk):
    also("large")
    instance.ok("template", "create", "large", "--from", f"dir:{rootfs}", timeout=120)
    refused(instance.isolate("template", "export", "large", "--to", f"oci:{full_disk}/new"), "No space")
    assert os.listdir(full_disk) == []


@pytest.mark.parametrize("arguments,words", [
    (["base", "--to", "oci:"], ["names no directory"]),
    (["base", "--to", "oci:x:"], ["tag"]),
    (["base", "--to", "oci:x:a b"], ["tag", "a b"]),
    (["base", "--to", "oci:/no/where/x"], ["/no/where/x", "No such file"]),
    (["nothere", "--to", "oci:x"], ["nothere"]),
    (["base"], ["--to is missing"]),
    (["base", "--to", "zip:x"], ["zip:x", "tar:FILE"]),
    (["base", "--to", "tar:"], ["tar:FILE"]),
    (["base", "--to", "tar:/no/where/x"], ["/no/where/x", "No such file"]),
    (["base", "--to", "tar:/"], ["directory"]),
    (["nothere", "--to", "tar:x"], ["nothere", "template ls"]),
])
def test_bad_exports(instance, base, tmp_path, arguments, words):
    refused(instance.isolate("template", "export", *arguments, cwd=tmp_path), *words)
    assert os.listdir(tmp_path) == []
