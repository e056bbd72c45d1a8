# SPDX-License-Identifier: Apache-2.0
"""Templates made of images in a registry, which skopeo fetches as the caller."""

import json
import os
import signal
import subprocess

import pytest

from images import Layout, file, tree_tar
from registries import Cut, Registry, free_port
from sandboxes import BUILD, Disk, children, wait_until


PASSWORD = ("secret", "$2b$04$2tZrHSSkn/CXNIt82VrXIu/q6cwKfnAt9b4Jmq4/bYSNjHpdEe5dG")


@pytest.fixture
def layout(tmp_path, small_root):
    made = Layout(tmp_path / "layout")
    made.image(made.layer(tree_tar(small_root)), [file("big", os.urandom(3 << 20))],
               config={"Cmd": ["cat", "/etc/issue"]}, tag="one")
    return made


@pytest.fixture
def registry(tmp_path):
    made = Registry(tmp_path / "registry")
    yield made
    made.stop()


@pytest.fixture
def pull(instance, tmp_path, also):
    """template create --from docker://HOST/NAME with a cache of its own, of hosts without TLS."""
    (tmp_path / "cache").mkdir()
    (tmp_path / ".config/containers").mkdir(parents=True)

    def environment(host, more):
        also("pulled")
        (tmp_path / ".config/containers/registries.conf").write_text(
            f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
        return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path),
                "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"), **more}

    def arguments(host, name):
        return ["template", "create", "pulled", "--from", f"docker://{host}/{name}"]

    def go(host, name, storage=None, **env):
        more = ["--storage", storage] if storage else []
        return instance.isolate(*arguments(host, name), *more, timeout=120, env=environment(host, env))

    def begin(host, name, **env):
        return subprocess.Popen([BUILD / "isolate", *arguments(host, name)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env=instance._environment(environment(host, env)))

    go.begin = begin
    go.cache = tmp_path / "cache/isolate/images"
    return go


@pytest.fixture
def small_disk(instance, tmp_path):
    place = tmp_path / "small-disk"
    place.mkdir()
    disk = Disk(place, "overlay", "ext4", "8M")
    yield disk
    instance.isolate("storage", "forget", disk.storage)
    disk.remove()


def refused(instance, done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert "pulled" not in instance.ok("template", "ls")


def test_pull(instance, registry, layout, pull):
    registry.push(f"{layout}:one", "some/image:1.0")
    done = pull(registry.host, "some/image:1.0")
    assert done.returncode == 0, done
    assert instance.output([], [], template="pulled") == "a small system\n"
    shown = json.loads(instance.ok("template", "inspect", "--json", "pulled"))
    assert shown["source"] == f"docker://{registry.host}/some/image:1.0"
    assert not list(pull.cache.iterdir())  # what is imported need not lie there
    done = pull(registry.host, "some/image:1.0")
    assert done.returncode == 125 and "exists" in done.stderr and not list(pull.cache.iterdir())


def test_images_that_are_not_there(instance, registry, layout, pull):
    registry.push(f"{layout}:one", "some/image:1.0")
    refused(instance, pull(registry.host, "some/image:2.0"), "manifest unknown", "no image of that name and tag")
    refused(instance, pull(registry.host, "other:1.0"), "docker://", "no image of that name and tag")
    refused(instance, pull(f"127.0.0.1:{free_port()}", "image:1"), "connection refused")
    refused(instance, pull("127.0.0.1:1", "UPPER CASE"), "docker://")
    refused(instance, pull("", ""), "docker://")


def test_registry_that_asks_for_a_login(instance, layout, pull, tmp_path):
    registry = Registry(tmp_path / "closed", password=PASSWORD)
    try:
        registry.push(f"{layout}:one", "image:1")
        refused(instance, pull(registry.host, "image:1"), "log in first: skopeo login")
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": "YW5uZTpzZWNyZXQ="}}}))
        assert pull(registry.host, "image:1").returncode == 0
    finally:
        registry.stop()


@pytest.mark.long
def test_pull_goes_on_where_it_was_cut(instance, registry, layout, pull):
    """What was fetched whole is not fetched again."""
    registry.push(f"{layout}:one", "image:1")
    cut = Cut(registry.port)
    try:
        cut.of = json.loads(layout.blob_path(layout.manifests[0]).read_text())["layers"][1]["digest"]
        refused(instance, pull(cut.host, "image:1"), "try again")
        whole = {digest for digest, is_whole in cut.blobs if is_whole}
        assert whole and (cut.of, False) in cut.blobs
        cut.of, cut.blobs = None, []
        done = pull(cut.host, "image:1")
        assert done.returncode == 0, done
        assert cut.blobs and not whole & {digest for digest, _ in cut.blobs}
    finally:
        cut.stop()
    assert instance.output([], [], template="pulled") == "a small system\n"


def test_what_was_fetched_outlives_a_failure_of_the_import(instance, registry, layout, pull, small_disk):
    """The disk was full: the image is not fetched again."""
    registry.push(f"{layout}:one", "image:1")
    refused(instance, pull(registry.host, "image:1", storage=small_disk.storage), "full")
    (kept,) = pull.cache.iterdir()
    assert (kept / "index.json").exists()
    done = pull(registry.host, "image:1")
    assert done.returncode == 0 and not list(pull.cache.iterdir()), done


def test_skopeo_that_outlives_isolate(instance, pull, tmp_path):
    """It has the place that it writes to until it ends."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "skopeo").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 60 & wait\n")
    (programs / "skopeo").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    run = pull.begin("127.0.0.1:1", "image:1", PATH=path)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 30, "skopeo")
    skopeo = int((tmp_path / "pid").read_text())
    try:
        run.kill()
        run.wait()
        refused(instance, pull("127.0.0.1:1", "image:1", PATH=path), "another isolate fetches it now")
    finally:
        for pid in [*children(skopeo), skopeo]:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("said, words", [
    ('time="x" level=fatal msg="' + "a long name " * 30 + 'unauthorized: no"', ["unauthorized: no; log in first"]),
    ("x" * 70000 + "\nthe last line", ["skopeo: the last line; what has been fetched"]), ("", ["ended without a word"])])
def test_what_skopeo_says(instance, pull, tmp_path, said, words):
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "said").write_text(said)
    (programs / "skopeo").write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 1\n")
    (programs / "skopeo").chmod(0o755)
    refused(instance, pull("127.0.0.1:1", "image:1", PATH=f"{programs}:{os.environ['PATH']}"), *words)


def test_cache_of_others_is_not_used(instance, registry, layout, pull):
    registry.push(f"{layout}:one", "image:1")
    pull.cache.parent.mkdir()
    os.chown(pull.cache.parent, 1000, 1000)
    refused(instance, pull(registry.host, "image:1"), "belongs to somebody else")
    pull.cache.parent.rmdir()
    pull.cache.parent.symlink_to("/tmp")
    refused(instance, pull(registry.host, "image:1"), "cache for images")


@pytest.mark.parametrize("mode, owner, is_good", [(0o755, 1000, False), (0o777, 0, False), (0o1777, 0, True)])
def test_cache_below_a_directory_of_others(instance, registry, layout, pull, mode, owner, is_good):
    """Who owns it could put a link in the cache's place when it has been looked at, as behind `sudo -E`."""
    registry.push(f"{layout}:one", "image:1")
    base = pull.cache.parent.parent
    os.chown(base, owner, owner)
    base.chmod(mode)
    if is_good:
        assert pull(registry.host, "image:1").returncode == 0
    else:
        refused(instance, pull(registry.host, "image:1"), "belongs to somebody else", str(base))
        assert not list(base.iterdir())


def test_without_skopeo(instance, pull):
    refused(instance, pull("127.0.0.1:1", "image:1", PATH="/nonexistent"), "skopeo", "not installed")
