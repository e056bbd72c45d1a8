# SPDX-License-Identifier: Apache-2.0
"""Templates made of images: what is in them, what runs in them, what is refused."""

import json
import os
import struct
import subprocess
import tarfile

import pytest

from images import (ARCHITECTURE, INDEX, LAYER, MTIME, OTHER_ARCHITECTURE, Layout, digest, directory,
                    docker_archive, entry, file, gone, hard_link, layer_tar, link, opaque, tree_tar)
from sandboxes import BUILD, Instance, wait_until
from terminal import Terminal

# cap_net_raw, permitted and effective: linux/capability.h, VFS_CAP_REVISION_2
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture(scope="session")
def base_layer(small_root):
    return tree_tar(small_root)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "layout")


@pytest.fixture
def made(instance, layout, base_layer, also):
    """A template of the base layer, others above it and a configuration."""

    def make(*layers, config=None, name="img", **more):
        also(name)
        layout.image(layout.layer(base_layer), *layers, config=config, **more)
        instance.ok("template", "create", name, "--from", str(layout))
        return name

    return make


def inside(instance, name, script, *options):
    return instance.output(options, ["sh", "-c", script], template=name)


def test_layer_without_its_padding(instance, made, layout, base_layer):
    """umoci leaves it out, and the end mark; what is missing of a file's content is another thing."""
    whole = layer_tar([file("etc/first", "1"), file("etc/last", "x" * 700)]).rstrip(b"\0")
    assert inside(instance, made(whole), "cat /etc/last") == "x" * 700
    layout.image(layout.layer(base_layer), whole[:-600], tag="short")
    done = instance.isolate("template", "create", "bad", "--from", f"{layout}:short")
    assert done.returncode == 125 and "damaged, cut off" in done.stderr, done


# ---- what runs ----

CONFIG = {
    "Entrypoint": ["sh", "-c", 'echo "$0" "$@"; echo "$PWD $COLOR $PATH"; id -u; id -g'],
    "Cmd": ["one", "two words"],
    "Env": ["COLOR=blue", "PATH=/usr/bin:/opt/bin"],
    "WorkingDir": "/srv/app",
    "User": "1000:1234",
}


def test_runs_what_docker_run_would(instance, made):
    name = made(config=CONFIG)
    assert instance.output([], [], template=name) == "one two words\n/srv/app blue /usr/bin:/opt/bin\n1000\n1234\n"
    shown = json.loads(instance.ok("template", "inspect", "--json", name))["defaults"]
    assert shown == {"entrypoint": CONFIG["Entrypoint"], "cmd": CONFIG["Cmd"], "env": CONFIG["Env"],
                     "workdir": "/srv/app", "user": "1000:1234"}
    text = instance.ok("template", "inspect", name)
    assert "command: one 'two words'\n" in text and "workdir: /srv/app\n" in text


def test_command_line_goes_first(instance, made):
    name = made(config=CONFIG)
    options = ["-e", "COLOR=red", "-w", "/etc", "-u", "0"]
    assert instance.output(options, ["three"], template=name) == "three\n/etc red /usr/bin:/opt/bin\n0\n0\n"
    # another entrypoint takes the image's command away, too
    assert instance.output(["--entrypoint", "env"], [], template=name).splitlines().count("COLOR=blue") == 1
    assert instance.output(["--entrypoint", ""], ["pwd"], template=name) == "/srv/app\n"
    assert instance.output(["--entrypoint=sh"], ["-c", "echo $0"], template=name) == "sh\n"


def test_command_without_entrypoint(instance, made):
    name = made(config={"Cmd": ["cat", "/etc/issue"], "User": "user"})
    assert instance.output([], [], template=name) == "a small system\n"
    assert instance.output([], ["id", "-u"], template=name) == "1000\n"


def test_image_that_says_nothing(instance, made):
    name = made()
    assert "defaults" not in json.loads(instance.ok("template", "inspect", "--json", name))
    assert instance.output([], ["pwd"], template=name) == "/root\n"


def test_explain_tells_defaults(instance, made):
    name = made(config=CONFIG)
    plan = json.loads(instance.ok("run", "--explain", "--json", name, "x"))["plan"]
    assert plan["argv"] == [*CONFIG["Entrypoint"], "x"]
    assert plan["workdir"] == "/srv/app" and plan["user"] == "1000:1234"
    assert plan["env"] == CONFIG["Env"]


def test_shell_is_a_shell(instance, made):
    name = made(config=CONFIG)
    done = instance.isolate("shell", name, "--", "sh", "-c", "echo $COLOR; id -u")
    assert done.stdout == "blue\n1000\n", done


def test_update_runs_as_root_and_keeps_defaults(instance, made):
    name = made(config=CONFIG)
    instance.ok("template", "update", name, "--", "sh", "-c", "id -u > /srv/who; pwd >> /srv/who; echo $COLOR >> /srv/who")
    output = instance.output(["--entrypoint", ""], ["cat", "/srv/who"], template=name)
    assert output == "0\n/root\nblue\n"
    assert instance.output([], [], template=name).startswith("one two words\n")


def test_commit_takes_defaults_along(instance, made, also):
    name = made(config=CONFIG)
    also("img-two")
    instance.ok("run", "--keep", "--name", "kept", "--entrypoint", "", name, "true")
    instance.ok("commit", "kept", "img-two")
    instance.ok("rm", "kept")
    assert instance.output([], [], template="img-two").startswith("one two words\n")


def test_kept_sandbox_starts_as_before(instance, made):
    name = made(config=CONFIG)
    first = instance.output(["--keep", "--name", "kept"], [], template=name)
    assert instance.ok("start", "kept") == first
    assert instance.ok("start", "kept", "x").startswith("x\n")
    instance.ok("rm", "kept")


@pytest.fixture
def serving(service, layout, base_layer):
    """A resident daemon with the template "img"."""
    layout.image(layout.layer(base_layer), config={**CONFIG, "Entrypoint": ["sh", "-c"], "Cmd": ["sleep 100"]})
    service.ok("template", "create", "img", "--from", str(layout))
    return service


def test_exec_has_the_image_s_variables(serving):
    sandbox = serving.ok("run", "-d", "img").strip()
    done = serving.isolate("exec", sandbox, "sh", "-c", "echo $COLOR $PWD; id -u")
    assert done.stdout == "blue /srv/app\n1000\n", done
    assert serving.ok("exec", "-e", "COLOR=red", "-w", "/", sandbox, "sh", "-c", "echo $COLOR $PWD") == "red /\n"
    serving.ok("stop", sandbox)


@pytest.mark.settings({"Pool.Parked": 4})
def test_parked_sandboxes_have_the_image_s_defaults(serving):
    serving.ok("pool", "set", "img", "2")

    def ready():
        return [s for s in json.loads(serving.ok("pool", "--json")) if s["template"] == "img" and s["ready"] >= 2]

    wait_until(ready, what="parked sandboxes")
    for _ in range(4):
        assert serving.ok("run", "img", "echo $COLOR; pwd") == "blue\n/srv/app\n"


@pytest.mark.settings({"Pool.Parked": 1})
def test_parked_sandbox_that_the_request_does_not_fit_goes(serving):
    """That it does not is known only when the sandbox is there: it is gone before its caller knows."""
    serving.ok("pool", "set", "img", "1")
    (before,) = wait_until(serving.parked, what="a parked sandbox")
    wait_until(lambda: json.loads(serving.ok("pool", "--json"))[0]["ready"] == 1, what="that it is ready")
    done = serving.isolate("run", "img", "--", *["x"] * 65536)
    assert done.returncode == 125 and "more than 65536 arguments" in done.stderr, done
    assert before not in serving.states()


def test_members_get_no_more_by_an_image(instance, made):
    """A user is one of the sandbox, whatever the image calls it."""
    name = made(config={"User": "70000"})
    done = instance.run([], ["true"], template=name)
    assert done.returncode == 125 and "70000" in done.stderr


# ---- what is in it ----


def test_layers(instance, made):
    name = made(
        [directory("d/"), file("d/stays", "1"), file("d/goes", "1"), file("d/changes", "1", mode=0o4711),
         directory("hidden/"), file("hidden/below", "1"), directory("deep/er/"), file("deep/er/x", "1"),
         file("becomes-dir", "1"), directory("becomes-file/"), file("becomes-file/x", "1"),
         file("first", "same"), hard_link("second", "first")],
        [gone("d/goes"), file("d/changes", "2", uid=1000), opaque("hidden"), file("hidden/new", "2"),
         gone("deep"), directory("becomes-dir/"), file("becomes-dir/x", "2"), file("becomes-file", "2"),
         hard_link("third", "first"), gone("not/there")],
    )
    script = """ls d hidden; stat -c '%a %u' d/changes; test -e deep || echo no deep; cat becomes-dir/x becomes-file
                echo; stat -c %h first second third; find / -xdev -name '.wh.*'; test -e /not || echo not there"""
    lines = inside(instance, name, f"cd /; {script}").split()
    assert lines == "d: changes stays hidden: new 644 1000 no deep 22 3 3 3 not there".split()


def test_whiteouts_never_mean_their_own_layer(instance, made):
    """Whatever the order of entries: what a layer has is there when it is done."""
    name = made(
        [directory("d/"), file("d/below", "1"), directory("d/sub/"), file("d/sub/below", "1"), file("f", "1")],
        [directory("d/sub/"), file("d/sub/new", "2"), file("d/new", "2"), opaque("d"), file("f", "2"), gone("f"),
         file("made/by/itself", "2"), gone("made")],
    )
    script = "cd /; find d made -type f; cat f"
    assert sorted(inside(instance, name, script).split()) == ["2", "d/new", "d/sub/new", "made/by/itself"]


def test_directory_that_a_layer_does_not_name_keeps_what_it_has(instance, made):
    below = directory("d/", mode=0o2750, uid=5, gid=6, mtime=MTIME - 100)
    name = made([below, file("d/old", "1")], [file("d/new", "2"), gone("d/old")])
    assert inside(instance, name, "stat -c '%a %u %g %Y' /d; ls /d") == f"2750 5 6 {MTIME - 100}\nnew\n"


def test_entries_pass_through_links_of_layers_below(instance, made):
    """As in every image of a system whose /bin is a link, and never out of the root."""
    name = made(
        [link("out", "/etc"), link("up", "../../../../etc"), directory("etc/")],
        [file("bin/tool", "#!/bin/sh\necho tool\n", mode=0o755), file("out/one", "1"), file("up/two", "2")],
    )
    assert inside(instance, name, "tool; cat /etc/one /etc/two; test -h /bin && test -h /out && echo links") == (
        "tool\n12links\n")


def test_attributes_and_owners(instance, made, tmp_path):
    tar = tmp_path / "layer.tar"
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d/capable").write_bytes(b"x")
    os.setxattr(tree / "d/capable", "security.capability", CAPABILITY)
    os.setxattr(tree / "d/capable", "user.mine", b"value")
    os.setxattr(tree / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(tree / "d", "user.overlay.opaque", b"y")
    os.chown(tree / "d/capable", 1000, 65535)
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-cf", tar, "-C", tree, "d"], check=True)
    name = made(tar.read_bytes())
    assert inside(instance, name, "stat -c '%u %g' /d/capable; ls /d") == "1000 65535\ncapable\n"


@pytest.mark.parametrize("how", [None, "gzip", "zstd"])
def test_compressions(instance, layout, base_layer, also, how):
    also("img")
    layout.image(layout.layer(base_layer, how))
    instance.ok("template", "create", "img", "--from", str(layout))
    assert inside(instance, "img", "cat /etc/issue") == "a small system\n"


def test_index_of_platforms(instance, layout, base_layer, also):
    also("img")
    mine = layout.manifest([layout.layer(base_layer)], {"Cmd": ["cat", "/etc/issue"]})
    other = layout.manifest([[file("x")]], architecture=OTHER_ARCHITECTURE)
    index = layout.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {**other, "platform": {"os": "linux", "architecture": OTHER_ARCHITECTURE}},
        {**mine, "platform": {"os": "linux", "architecture": ARCHITECTURE}},
        {**other, "platform": {"os": "unknown", "architecture": "unknown"}}]}, INDEX)
    layout.tag(index, "multi")
    instance.ok("template", "create", "img", "--from", f"{layout}:multi")
    assert instance.output([], [], template="img") == "a small system\n"


def test_tags(instance, layout, base_layer, also):
    also("img")
    layout.image(layout.layer(base_layer), [file("which", "one")], tag="one")
    layout.image(layout.layer(base_layer), [file("which", "two")], tag="docker.io/library/two:2.0")
    done = instance.isolate("template", "create", "img", "--from", str(layout))
    assert done.returncode == 125 and "several images" in done.stderr and "one, docker.io" in done.stderr, done
    done = instance.isolate("template", "create", "img", "--from", f"{layout}:three")
    assert done.returncode == 125 and 'no tag "three"' in done.stderr, done
    instance.ok("template", "create", "img", "--from", f"{layout}:docker.io/library/two:2.0")
    assert inside(instance, "img", "cat /which") == "two"
    assert json.loads(instance.ok("template", "inspect", "--json", "img"))["source"].endswith("two:2.0")


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("how", [None, "gzip"])
def test_docker_archive(instance, tmp_path, base_layer, also, legacy, how):
    also("img")
    layers = [base_layer, layer_tar([file("new", "2"), gone("etc/issue")]), layer_tar([file("new", "3")])]
    source = docker_archive(tmp_path / "saved", [*layers, layers[1]], CONFIG, legacy=legacy, compress=how)
    instance.ok("template", "create", "img", "--from", source)
    assert instance.output(["--entrypoint", ""], ["cat", "/new"], template="img") == "2"
    assert instance.output([], [], template="img").startswith("one two words\n/srv/app blue")


def test_archive_of_an_oci_layout(instance, tmp_path, layout, base_layer, also):
    also("img")
    layout.image(layout.layer(base_layer), tag="latest")
    archive = tmp_path / "layout.tar"
    subprocess.run(["tar", "-cf", archive, "-C", layout.path, "."], check=True)
    instance.ok("template", "create", "img", "--from", f"docker-archive:{archive}:latest")
    assert inside(instance, "img", "cat /etc/issue") == "a small system\n"


@pytest.mark.parametrize("archive", [False, pytest.param(True, marks=pytest.mark.long)], ids=["layout", "archive"])
def test_progress_on_a_terminal(instance, layout, base_layer, also, tmp_path, archive):
    """How much of it is done, and what is left; stdout stays empty."""
    also("img")
    layers = [base_layer, layer_tar([file(f"f{i}", os.urandom(2048)) for i in range(12000)])]
    layout.image(*layers)
    source = docker_archive(tmp_path / "saved", layers) if archive else str(layout)
    with Terminal([str(BUILD / "isolate"), "template", "create", "img", "--from", source], instance.env, columns=120,
                  stdout=subprocess.DEVNULL) as terminal:
        terminal.expect(rb"unpack: \d+ entries, [\d.]+ MiB, [\d.]+ MiB/s, \d+% of \d+\.\d MiB, \d+ s left")
        assert terminal.wait(60) == 0


# ---- what is refused, and leaves nothing ----


def refused(instance, source, *words):
    done = instance.isolate("template", "create", "bad", "--from", str(source))
    if done.returncode == 0:
        instance.ok("template", "rm", "bad")
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert not [t for t in json.loads(instance.ok("template", "ls", "--json")) if t["name"] == "bad"]


HOSTILE = {
    "absolute": [file("/etc/x")],
    "dots": [file("../x")],
    "dots within": [directory("a/"), file("a/../../x")],
    "hard link out": [hard_link("x", "../../etc/passwd")],
    "hard link absolute": [hard_link("x", "/etc/passwd")],
    "hard link through a link out": [link("l", "/proc/self/root"), hard_link("x", "l/nothing")],
    "whiteout of dots": [file(".wh...")],
    "whiteout of nothing": [directory("a/"), file("a/.wh.")],
    "whiteout of the directory": [file("a/.wh..")],
    "whiteout above": [file("../.wh.x")],
    "through a file": [file("a"), file("a/b")],
    "links in a circle": [link("a", "b"), link("b", "a"), file("a/x")],
    "link to nowhere": [link("a", "nowhere"), file("a/x")],
    "long name": [file("x" * 256)],
    "deep": [directory("d/" * 1100)],
    "overlay whiteout": [entry("x", tarfile.CHRTYPE, devmajor=0, devminor=0)],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("above", [False, True], ids=["lowest", "above"])
def test_hostile_layers(instance, layout, members, above):
    first = [directory("a/")] if not [1 for info, _ in members if info.name in ("a", "b")] else [directory("c/")]
    layout.image(*([first] if above else []), members)
    refused(instance, layout, f"layer {2 if above else 1} of")


def test_devices_are_kept_inside(instance, made):
    """A node of the machine's disk is there and cannot be opened; nor could who has unpacked it."""
    name = made([entry("dev/disk", tarfile.BLKTYPE, devmajor=8, devminor=0), entry("null", tarfile.CHRTYPE, devmajor=1,
                                                                                  devminor=3)])
    assert inside(instance, name, "cat /null || echo denied; test -c /null && echo there").endswith("denied\nthere\n")


def test_duplicates_are_one(instance, made):
    name = made([file("x", "1"), file("x", "2"), link("x", "/etc/issue"), file("x", "3"), directory("d/"),
                 directory("d/", mode=0o700)])
    assert inside(instance, name, "cat /x; stat -c %a /d; cat /etc/issue") == "3700\na small system\n"


def test_bomb(instance, layout):
    """3 GiB of zeros in a layer of some hundred KB are refused before they are all written."""
    info, _ = file("zeros")
    info.size = 3 << 30
    tar = layout.path / "bomb"
    tar.write_bytes(info.tobuf())
    os.truncate(tar, 512 + info.size + 1024)
    made = subprocess.run(["zstd", "-q", "-c", tar], check=True, capture_output=True)
    layout.image((layout.blob(made.stdout, LAYER + "+zstd"), digest(b"")))
    refused(instance, layout, "times its size")


def test_damaged_parts(instance, layout, base_layer, tmp_path):
    described, diff_id = layout.layer(base_layer)
    path = layout.blob_path(described)
    whole = path.read_bytes()
    layout.image((described, diff_id))
    path.write_bytes(whole[:-100])
    refused(instance, layout, "layer 1 of 1", described["digest"], "cut off")
    path.write_bytes(whole[:-100] + bytes(100))
    refused(instance, layout, "layer 1 of 1", described["digest"], "damaged")
    path.write_bytes(whole + b"x")
    refused(instance, layout, "layer 1 of 1", described["digest"])
    path.unlink()
    refused(instance, layout, described["digest"], "is not there", "fetch it again")
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(whole)
    refused(instance, layout, "symbolic links")
    path.unlink()
    os.mkfifo(path)
    refused(instance, layout, "no regular file")


def test_wrong_digests(instance, layout, base_layer):
    described, diff_id = layout.layer(base_layer)
    layout.image((described, digest(b"something else")))
    refused(instance, layout, "what is in it has the digest", digest(b"something else"))
    layout.manifests.clear()
    layout.image(({**described, "digest": "sha256:" + "0" * 64}, diff_id))
    refused(instance, layout, "0" * 64, "is not there")
    layout.manifests.clear()
    layout.image(({**described, "size": described["size"] + 1}, diff_id))
    refused(instance, layout, "bytes where the image says")
    for wrong in (None, "sha512:" + "0" * 128, "sha256:../../../../etc/passwd", "sha256:" + "A" * 64, 7):
        layout.manifests.clear()
        layout.image(({**described, "digest": wrong}, diff_id))
        refused(instance, layout, "no digest that can be checked")
    layout.manifests.clear()
    manifest = layout.manifest([(described, diff_id)])
    layout.blob_path(manifest).write_bytes(layout.blob_path(manifest).read_bytes().replace(b'": ', b'" :', 1))
    layout.tag(manifest)
    refused(instance, layout, manifest["digest"])


def test_kinds_that_are_not_known(instance, layout, base_layer):
    def with_type(media_type):
        layout.manifests.clear()
        layout.image(layout.layer(base_layer, "gzip", media_type))

    with_type("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    refused(instance, layout, "foreign layer")
    with_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    refused(instance, layout, "foreign layer")
    with_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    refused(instance, layout, "encrypted")
    with_type("application/x-something")
    refused(instance, layout, "application/x-something")
    layout.manifests.clear()
    layout.tag(layout.blob({"schemaVersion": 2}, "application/x-else"))
    refused(instance, layout, "application/x-else")
    layout.manifests.clear()
    layout.image([file("x")], schemaVersion=1)
    refused(instance, layout, "schema 2")


def test_other_machines(instance, layout):
    layout.image([file("x")], architecture=OTHER_ARCHITECTURE)
    refused(instance, layout, f"linux/{OTHER_ARCHITECTURE}", f"linux/{ARCHITECTURE}")
    layout.manifests.clear()
    layout.tag(layout.manifest([[file("x")]]), platform={"os": "windows", "architecture": ARCHITECTURE})
    refused(instance, layout, f"windows/{ARCHITECTURE}")


def test_what_is_no_image(instance, layout, tmp_path):
    refused(instance, layout, "index.json")
    (layout.path / "index.json").write_text("{")
    refused(instance, layout, "no valid JSON")
    (layout.path / "index.json").write_text('{"manifests": []}')
    refused(instance, layout, "no image in it")
    (layout.path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    refused(instance, layout, "version")
    refused(instance, f"oci:{tmp_path}/nothing", "nothing")
    refused(instance, f"oci:{tmp_path}", "no OCI layout")
    (tmp_path / "file").write_text("x" * 2000)
    refused(instance, f"oci:{tmp_path}/file", "docker-archive:")
    refused(instance, f"docker-archive:{tmp_path}", "oci:")
    refused(instance, f"docker-archive:{tmp_path}/file", "no tar archive")
    source = docker_archive(tmp_path / "saved", [layer_tar([file("x")])])
    refused(instance, f"{source}:other", 'no image "other"', "there is: test:latest")
    (tmp_path / "empty.tar").write_bytes(layer_tar([file("x")]))
    refused(instance, f"docker-archive:{tmp_path}/empty.tar", "manifest.json", "docker save")
    whole = (tmp_path / "saved").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    refused(instance, f"docker-archive:{tmp_path}/cut")


def test_configuration_that_makes_no_sense(instance, layout):
    for config in ({"Env": "x"}, {"Cmd": [1]}, {"User": ["x"]}, {"WorkingDir": 1}, {"Entrypoint": {}}, ["x"]):
        layout.manifests.clear()
        layout.image([file("x")], config=config)
        refused(instance, layout, "configuration")
    layout.manifests.clear()
    layout.image([file("x")], config={"Env": [f"V{i}={'x' * 100}" for i in range(1000)]})
    refused(instance, layout, "configuration")
    layout.manifests.clear()
    layout.image([file("x")], config={"WorkingDir": "/../../x"})
    refused(instance, layout, "working directory")


@pytest.fixture
def own(session_directory):
    """An installation for one test: storages that are registered leave a list."""
    with Instance(session_directory / "own", f"isolate-test-{os.getpid()}-own") as made:
        made.isolate("template", "ls")
        yield made


def test_disk_full_half_way(own, layout, tmp_path):
    """A storage of 64 MiB gets 100: refused with what is missing, and all of it is free again."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=0755", "small", place], check=True)
    try:
        layout.image([file(f"f{i}", os.urandom(10 << 20)) for i in range(10)])
        done = own.isolate("template", "create", "bad", "--storage", str(place), "--from", str(layout))
        assert done.returncode == 125 and "full" in done.stderr, done
        used = os.statvfs(place)
        assert (used.f_blocks - used.f_bfree) * used.f_frsize < 1 << 20
        (name,) = [s["name"] for s in json.loads(own.ok("storage", "ls", "--json")) if s["elsewhere"]]
        own.ok("storage", "forget", name)
    finally:
        subprocess.run(["umount", place], check=True)


# out again

SAYS = {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $WORD from $PWD as $(id -un)"], "Env": ["WORD=it came"],
        "WorkingDir": "/etc", "User": "user"}
SAID = "it came from /etc as user\n"


def test_what_it_says_leaves_with_an_image(instance, made, also, tmp_path):
    name = made(config=SAYS)
    assert instance.output([], [], template=name) == SAID
    done = instance.isolate("template", "export", name, "--to", f"oci:{tmp_path}/out:x")
    assert done.returncode == 0 and "not part" not in done.stderr, done
    also("back")
    instance.ok("template", "create", "back", "--from", f"oci:{tmp_path}/out:x")
    assert defaults_of(instance, "back") == defaults_of(instance, name) is not None
    assert instance.output([], [], template="back") == SAID


def test_what_it_says_travels_in_a_stream(instance, made, also):
    name = made(config=SAYS)
    also("copy")
    stream = subprocess.run([BUILD / "isolate", "template", "send", name], capture_output=True, check=True,
                            env=instance._environment(None), stdin=subprocess.DEVNULL, timeout=120).stdout
    subprocess.run([BUILD / "isolate", "template", "receive", "copy"], input=stream, check=True, capture_output=True,
                   env=instance._environment(None), timeout=120)
    assert defaults_of(instance, "copy") == defaults_of(instance, name) is not None
    assert instance.output([], [], template="copy") == SAID


def test_archives_have_no_place_for_it(instance, made, also, small_root, tmp_path):
    name = made(config=SAYS)
    done = instance.isolate("template", "export", name, "--to", f"tar:{tmp_path}/out.tar")
    assert done.returncode == 0 and "not part of an archive" in done.stderr, done
    also("silent")
    instance.ok("template", "create", "silent", "--from", f"dir:{small_root}")
    done = instance.isolate("template", "export", "silent", "--to", f"tar:{tmp_path}/silent.tar")
    assert done.returncode == 0 and "not part" not in done.stderr, done


def defaults_of(instance, name):
    return json.loads(instance.ok("template", "inspect", "--json", name)).get("defaults")
