# SPDX-License-Identifier: Apache-2.0
"""Layers of images on the driver overlay: each is there once, and what they make is what one tree would be."""

import json
import os
import random
import signal
import subprocess
import tarfile

import pytest

from images import (LAYER, MTIME, Layout, compressed, digest, directory, docker_archive, entry, file, gone, hard_link,
                    layer_tar, link, opaque, tree_tar)
from sandboxes import BUILD, wait_until

MB = 1 << 20


@pytest.fixture(autouse=True)
def overlay(instance):
    if instance.disk and not instance.disk.storage.startswith("overlay"):
        pytest.skip("the storage keeps no layers")


def store(instance):
    if instance.disk:
        return instance.disk.path / "isolate"
    return instance.state / "overlay"


def kept(instance):
    """The layers that there are."""
    return {path.name for path in (store(instance) / "layers").iterdir()}


def used(instance):
    lines = subprocess.run(["du", "-sB1", store(instance)], check=True, capture_output=True, text=True)
    return int(lines.stdout.split()[0])


def create(instance, also, name, source):
    also(name)
    instance.ok("template", "create", name, "--from", str(source))


def hash_of(instance, name):
    return instance.ok("template", "inspect", "--hash", name).strip()


def count_layers(instance, name):
    return json.loads(instance.ok("template", "inspect", "--json", name))["generations"][0]["layers"]


def hash_of_tree(source, path):
    """Of the same image in one tree; or what is wrong with it."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for argv in (["import", source, str(fd)], ["hash", str(fd)]):
            done = subprocess.run([BUILD / "isolate-image", *argv], pass_fds=[fd], check=False, capture_output=True,
                                  text=True, timeout=120)
            if done.returncode != 0:
                return done.stderr.partition("isolate: ")[2]
        return done.stdout.strip()
    finally:
        os.close(fd)
        subprocess.run(["rm", "-rf", path], check=True)


def assert_same(instance, name, source, tmp_path):
    assert hash_of(instance, name) == hash_of_tree(str(source), tmp_path / f"tree-{name}")


# ---- once ----


def test_base_is_stored_once(instance, also, tmp_path, small_root):
    """The second image needs no space for what it has in common with the first one."""
    base = layer_tar([file(f"big{i}", os.urandom(4 * MB)) for i in range(5)])
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    root = tree_tar(small_root)  # with times of access, of which each reading makes new ones
    one.image(base, root, [file("one", "1")])
    two.image(base, root, [file("two", os.urandom(MB))], [gone("big0")])
    before, space = kept(instance), used(instance)
    create(instance, also, "one", one)
    first = used(instance) - space
    assert 20 * MB < first < 34 * MB
    assert len(kept(instance) - before) == 3
    create(instance, also, "two", two)
    assert MB <= used(instance) - space - first < 2 * MB
    assert len(kept(instance) - before) == 5
    assert instance.output([], ["sh", "-c", "cd /; ls big* one two 2>/dev/null; cat one"], template="one") == (
        "big0\nbig1\nbig2\nbig3\nbig4\none\n1")
    assert instance.output([], ["sh", "-c", "cd /; ls big* one two 2>/dev/null; true"], template="two") == (
        "big1\nbig2\nbig3\nbig4\ntwo\n")
    assert_same(instance, "one", one, tmp_path)
    assert_same(instance, "two", two, tmp_path)
    # what the other one needs stays
    instance.ok("template", "rm", "one")
    assert len(kept(instance) - before) == 4
    assert instance.output([], ["sh", "-c", "cd /; ls big*"], template="two") == "big1\nbig2\nbig3\nbig4\n"
    instance.ok("template", "rm", "two")
    assert kept(instance) == before


def test_same_layers_from_an_archive(instance, also, tmp_path, small_root):
    """However they were packed."""
    layers = [tree_tar(small_root), layer_tar([file("x", "1")])]
    layout = Layout(tmp_path / "layout")
    layout.image(*[layout.layer(tar, "zstd") for tar in layers])
    create(instance, also, "one", layout)
    before = kept(instance)
    create(instance, also, "two", docker_archive(tmp_path / "saved", layers))
    create(instance, also, "three", docker_archive(tmp_path / "saved2", [*layers, layer_tar([file("y")])], legacy=False))
    assert len(kept(instance) - before) == 1
    assert hash_of(instance, "one") == hash_of(instance, "two") != hash_of(instance, "three")


def test_other_order_is_another_layer(instance, also, tmp_path):
    """What a layer is depends on what it lies on."""
    a, b = [directory("d/"), file("d/a"), file("x", "a")], [gone("d/a"), file("x", "b"), opaque("d")]
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    one.image(a, b)
    two.image(b, a)
    before = kept(instance)
    for name, layout in (("one", one), ("two", two)):
        create(instance, also, name, layout)
        assert_same(instance, name, layout, tmp_path)
    assert len(kept(instance) - before) == 4


def test_workdir_is_no_layer_of_the_image(instance, also, tmp_path, small_root):
    """It is made for who names it, where it is missing, and nobody else sees it."""
    before, root = kept(instance), tree_tar(small_root)
    for name, config, more in (("plain", {}, 1), ("there", {"WorkingDir": "/etc"}, 0), ("made", {"WorkingDir": "/a/b"}, 1)):
        layout = Layout(tmp_path / name)
        layout.image(root, config=config)
        create(instance, also, name, layout)
        assert len(kept(instance) - before) == more
        before = kept(instance)
        assert_same(instance, name, layout, tmp_path)
    assert instance.output([], ["pwd"], template="made") == "/a/b\n"
    assert instance.output([], ["sh", "-c", "ls -d /a || echo none"], template="plain").endswith("none\n")


def test_layers_below_an_update(instance, also, tmp_path, small_root):
    """Commits lie on top, and the image stays what it was for the next one."""
    layout = Layout(tmp_path / "layout")
    layout.image(tree_tar(small_root), [file("x", "1")])
    create(instance, also, "one", layout)
    instance.ok("template", "update", "one", "--", "sh", "-c", "echo 2 > /x")
    before = kept(instance)
    create(instance, also, "two", layout)
    assert kept(instance) == before
    assert instance.output([], ["cat", "/x"], template="one") == "2\n"
    assert instance.output([], ["cat", "/x"], template="two") == "1"
    assert_same(instance, "two", layout, tmp_path)


def test_increment_fits_another_template_of_the_image(instance, also, tmp_path, small_root):
    """Both have the same content, and so the same identity."""
    layout = Layout(tmp_path / "layout")
    layout.image(tree_tar(small_root), [file("x", "1")])
    create(instance, also, "one", layout)
    create(instance, also, "two", layout)
    instance.ok("template", "snapshot", "one")
    generations = json.loads(instance.ok("template", "inspect", "--json", "one"))["generations"]
    (since,) = [each["id"] for each in generations if each["pinned"]]
    instance.ok("template", "update", "one", "--", "sh", "-c", "echo 2 > /x")
    stream = tmp_path / "stream"
    with open(stream, "wb") as out:
        instance.ok("template", "send", "--since", since, "one", stdout=out)
    with open(stream, "rb") as into:
        instance.ok("template", "receive", "two", stdin=into)
    assert hash_of(instance, "one") == hash_of(instance, "two")


# ---- the same tree ----

CORPUS = {
    "nothing": [[], []],
    "links that stay together": [[file("first", "same"), hard_link("second", "first"), hard_link("third", "second")],
                                 [hard_link("fourth", "first")], [file("second", "other")]],
    "link below": [[directory("d/"), file("d/one", "1")], [hard_link("two", "d/one")], [gone("d/one")]],
    "links come apart": [[file("a", "1"), hard_link("b", "a")], [file("a", "2")], [hard_link("c", "b")]],
    "links of links": [[link("l", "x"), hard_link("m", "l")], [hard_link("n", "m")]],
    "opaque": [[directory("d/", mtime=5), file("d/a"), directory("d/s/"), file("d/s/b")], [opaque("d"), file("d/c")],
               [directory("d/s/"), file("d/s/e")]],
    "opaque root": [[file("a"), directory("d/"), file("d/b")], [opaque(""), file("c")]],
    "opaque twice": [[directory("d/"), file("d/a")], [file("d/b"), opaque("d")], [opaque("d"), file("d/a", "2")]],
    "whiteouts of the own": [[file("f", "1"), directory("m/"), file("m/x")],
                             [file("f", "2"), gone("f"), file("made/x"), gone("made"), gone("m"), file("m/y")]],
    "gone and back": [[directory("d/"), file("d/a"), directory("d/e/"), file("d/e/b")], [gone("d")], [file("d/c")],
                      [gone("d")], [directory("d/", mode=0o700, uid=5)]],
    "kinds": [[directory("d/"), file("d/a"), file("f"), link("l", "f"), entry("p", tarfile.FIFOTYPE)],
              [file("d", "file"), directory("f/"), file("f/x"), directory("l/"), file("p", "file")],
              [link("d", "f"), gone("f"), entry("l", tarfile.CHRTYPE, devmajor=1, devminor=3)]],
    "metadata": [[directory("d/", mode=0o2750, uid=1, gid=2, mtime=3), file("d/a", "1", mode=0o4711, uid=7)],
                 [directory("d/", mode=0o1777, mtime=9)], [file("d/a", "1", mode=0o4711, uid=8, mtime=1)]],
    "root": [[directory("./", mode=0o711, uid=3, mtime=4), file("a")], [file("b")], [directory("./", mode=0o755, mtime=8)],
             [gone("a")]],
    "directories without an entry": [[file("a/b/x", uid=5)], [file("a/c/x")], [file("a/b/c/d")], [gone("a/b/c/d")]],
    "through links": [[directory("real/"), file("real/a"), link("way", "real"), link("abs", "/real")],
                      [file("way/b"), gone("abs/a")], [opaque("way"), file("way/c")]],
    "directory that becomes a link": [[directory("tmp/", mode=0o1777, uid=1), directory("tmp/d/"), file("tmp/d/x")],
                                      [file("tmp/d/y"), link("tmp/d", "nowhere", uid=2)]],
    "names": [[directory("x" * 200 + "/"), file("x" * 200 + "/é \n", "1")], [gone("x" * 200 + "/é \n"), file("tra,x:y\\z=")]],
    "nested": [[directory("/".join("abcdefgh") + "/"), file("a/b/c/d/e/f/g/h/x")], [gone("a/b/c/d"), file("a/b/c/y")],
               [directory("a/b/c/d/e/"), file("a/b/c/d/e/z")]],
    "many": [[file(f"d/{i}") for i in range(300)], [gone(f"d/{i}") for i in range(0, 300, 2)],
             [file(f"d/{i}", "2") for i in range(0, 300, 3)]],
}


@pytest.mark.parametrize("layers", CORPUS.values(), ids=CORPUS)
def test_same_tree(instance, also, tmp_path, layers):
    layout = Layout(tmp_path / "layout")
    layout.image(*layers)
    create(instance, also, "img", layout)
    assert_same(instance, "img", layout, tmp_path)


def test_attributes(instance, also, tmp_path):
    """Of the root as well, which is not the lowest layer's directory but that of the highest."""
    tars = []
    for i, names in enumerate((["d", "f"], ["f"], [])):
        tree = tmp_path / f"of{i}"
        (tree / "d").mkdir(parents=True)
        (tree / "f").write_text(str(i))
        for path in (tree, *(tree / name for name in names)):
            os.setxattr(path, "user.of", str(i).encode())
        inner = ["."] if i == 0 else names or ["d"]
        tars.append(subprocess.run(["tar", "--xattrs", "--xattrs-include=user.*", "--no-recursion", "-cf", "-", "-C", tree, *inner, *(names if i == 0 else [])],
                                   check=True, capture_output=True).stdout)
    layout = Layout(tmp_path / "layout")
    layout.image(*tars)
    create(instance, also, "img", layout)
    assert count_layers(instance, "img") == 3
    assert_same(instance, "img", layout, tmp_path)


class Chance:
    """Layers by chance, and what is there with them, so that most entries mean something."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.directories = {""}
        self.names = set()

    def name(self):
        at = self.random.choice(sorted(self.directories))
        return f"{at}/{self.random.choice('abcdef')}".lstrip("/")

    def forget(self, name, itself=True):
        self.names = {n for n in self.names if not n.startswith(f"{name}/") and not (itself and n == name)}
        self.directories = {n for n in self.directories if not n.startswith(f"{name}/") and not (itself and n == name)} | {""}

    def entry(self, added):
        kind = self.random.choices(["file", "directory", "link", "gone", "opaque", "hard", "fifo"], [5, 4, 1, 3, 1, 2, 1])[0]
        name = self.name()
        fields = {"mtime": MTIME + self.random.randrange(1000), "uid": self.random.randrange(3)}
        if kind == "gone" and self.names:
            name = self.random.choice(sorted(self.names))
            return None if name in added else (gone(name), lambda: self.forget(name))
        if kind == "opaque":
            at = self.random.choice(sorted(self.directories))
            return None if any(n.startswith(at) for n in added) else (opaque(at), lambda: self.forget(at, itself=False))
        if name in added or (name in self.directories and kind != "directory" and any(n.startswith(f"{name}/") for n in added)):
            return None
        if kind == "directory":
            return directory(f"{name}/", mode=self.random.choice([0o755, 0o700, 0o1777]), **fields), lambda: self.directories.add(name)
        files = sorted(n for n in self.names - self.directories if n != name and not n.startswith(f"{name}/"))
        if kind == "hard" and files:
            return hard_link(name, self.random.choice(files)), lambda: self.forget(name)
        made = {"link": lambda: link(name, "nowhere", **fields), "fifo": lambda: entry(name, tarfile.FIFOTYPE, **fields)}
        return made.get(kind, lambda: file(name, str(self.random.random()), **fields))(), lambda: self.forget(name)

    def layer(self, n):
        members, added = [], set()
        for _ in range(n):
            made = self.entry(added)
            if not made:
                continue
            (info, _), then = made
            members.append(made[0])
            then()
            if "/.wh." not in f"/{info.name}":
                name = info.name.rstrip("/")
                self.names.add(name)
                added.add(name)
        return members


@pytest.mark.parametrize("seed", range(200 if os.environ.get("ISOLATE_LONG") else 12))
def test_same_tree_by_chance(instance, also, tmp_path, seed):
    chance = Chance(seed)
    layout = Layout(tmp_path / "layout")
    layout.image(*[chance.layer(12) for _ in range(6)])
    before = kept(instance)
    also("img")
    done = instance.isolate("template", "create", "img", "--from", str(layout))
    if done.returncode == 0:
        assert_same(instance, "img", layout, tmp_path)
    else:  # some cannot be, whatever they become
        assert done.stderr.endswith(hash_of_tree(str(layout), tmp_path / "tree")), done
        assert kept(instance) == before


def test_more_layers_than_are_kept_one_by_one(instance, also, tmp_path):
    layers = [[file(f"f{i}", str(i)), *([gone(f"f{i - 3}")] if i > 3 else [])] for i in range(70)]
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    one.image(*layers)
    two.image(*layers, [file("more")])
    before = kept(instance)
    create(instance, also, "one", one)
    assert count_layers(instance, "one") == 64
    create(instance, also, "two", two)
    assert len(kept(instance) - before) == 65
    assert_same(instance, "one", one, tmp_path)
    assert_same(instance, "two", two, tmp_path)


# ---- nobody gets anything but what the digest says ----


def test_layer_that_is_not_what_it_says(instance, also, tmp_path, small_root):
    """It names the content of another image's layer, and is something else: no layer comes of it."""
    good, bad = Layout(tmp_path / "good"), Layout(tmp_path / "bad")
    root = tree_tar(small_root)
    _, diff_id = good.layer(root)
    evil, _ = bad.layer([file("etc/evil", "evil")])
    before = kept(instance)
    bad.image((evil, diff_id), [file("x")])
    done = instance.isolate("template", "create", "bad", "--from", str(bad))
    assert done.returncode == 125 and "digest" in done.stderr, done
    assert kept(instance) == before
    good.image(root)
    create(instance, also, "good", good)
    assert_same(instance, "good", good, tmp_path)
    assert instance.run([], ["ls", "/etc/evil"], template="good").returncode != 0
    # nor above a layer that is right, and there
    worse = Layout(tmp_path / "worse")
    evil, _ = worse.layer([file("etc/evil", "evil")])
    worse.image(root, (evil, digest(layer_tar([file("x")]))))
    before = kept(instance)
    done = instance.isolate("template", "create", "bad", "--from", str(worse))
    assert done.returncode == 125 and "layer 2 of 2" in done.stderr, done
    assert kept(instance) == before


def test_layer_is_not_got_by_its_digest(instance, also, tmp_path):
    """Only who has what is in it gets a layer of another image, however that was packed."""
    theirs = Layout(tmp_path / "theirs")
    secret = layer_tar([file("secret", "of somebody else")])
    described, diff_id = theirs.layer(secret)
    theirs.image((described, diff_id))
    create(instance, also, "theirs", theirs)
    before = kept(instance)

    def ask_for(name, described, has=b""):
        layout = Layout(tmp_path / name)
        layout.image((described, diff_id))
        if has:
            layout.blob_path(described).write_bytes(has)
        return instance.isolate("template", "create", name, "--from", str(layout))

    packed = theirs.blob_path(described).read_bytes()
    other = compressed(layer_tar([file("x")]), "gzip")
    mine = {**described, "digest": digest(other), "size": len(other)}
    for name, *how in (("nothing", described), ("other", mine, other), ("damaged", described, packed[:-9] + b"x" * 9),
                       ("shorter", described, packed[:-9])):
        done = ask_for(name, *how)
        assert done.returncode == 125 and "layer 1 of 1" in done.stderr, (name, done)
    again = compressed(secret, "zstd")
    also("again")
    done = ask_for("again", {"mediaType": f"{LAYER}+zstd", "digest": digest(again), "size": len(again)}, again)
    assert done.returncode == 0, done
    assert kept(instance) == before
    assert hash_of(instance, "again") == hash_of(instance, "theirs")


def test_failed_layer_leaves_none(instance, tmp_path):
    layout = Layout(tmp_path / "layout")
    layout.image([file("a")], [file("b")], [file("../c")])
    before = kept(instance)
    done = instance.isolate("template", "create", "bad", "--from", str(layout))
    assert done.returncode == 125 and "layer 3 of 3" in done.stderr, done
    assert kept(instance) == before
    assert not list((store(instance) / "imports").iterdir())


@pytest.mark.parametrize("victim", ["client", "worker"])
def test_killed_import_leaves_nothing(instance, also, tmp_path, small_root, victim):
    """While its second layer is being written, above one that another template has."""
    base = Layout(tmp_path / "base")
    root = tree_tar(small_root)
    base.image(root)
    create(instance, also, "base", base)
    before = kept(instance)
    layout = Layout(tmp_path / "layout")
    layout.image(root, layout.layer([file(f"f{i}", bytes(MB)) for i in range(300)]))
    with instance.popen_isolate("template", "create", "killed", "--from", str(layout)) as run:
        imports = store(instance) / "imports"
        wait_until(lambda: list(imports.glob("*/layers/*/upper/f1")), 30, "the second layer")
        if victim == "client":
            run.kill()
        else:
            os.kill(min(instance.members()), signal.SIGKILL)
        assert run.wait(30) != 0

    def is_gone():
        instance.ok("template", "ls")  # the next command takes away what was left
        return kept(instance) == before and not list(imports.iterdir()) and not instance.members()

    wait_until(is_gone, 20, "the end of what was begun")
    create(instance, also, "killed", layout)
    assert len(kept(instance) - before) == 1
