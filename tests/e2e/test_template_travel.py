# SPDX-License-Identifier: Apache-2.0
"""Templates that leave the machine, and come back the same."""

import os
import signal
import subprocess
import tarfile
import threading

import pytest

from sandboxes import children, comm, wait_until
from test_template import also, base, tree_hash  # noqa: F401


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


@pytest.mark.parametrize("arguments,words", [
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
