# SPDX-License-Identifier: Apache-2.0
"""Targets of binds and tmpfs that lead through symbolic links: the root's own are followed, within
the root; no other is."""

import os
import shutil

import pytest

from sandboxes import ENGINE

LINKS = {
    "relative": "../srv/deep/er",
    "out": "../../../../srv",
    "chain": "chain2",
    "chain2": "/chain3/x",
    "chain3": "srv",
    "dots": "./srv/../srv//./deep/",
    "dangling": "no/such/place",
    "loop": "loop2",
    "loop2": "/loop",
    "up": "../..",
    "missing-up": "no/such/../../etc",
    "long": "./" * 2000 + "x",
    "etc/mtab": "../proc/self/mounts",
    "in-proc": "/proc",
    "in-dev": "/dev/fd",
    "to-first": "/mnt/first",
    "to-link": "mnt/first/link",
}


@pytest.fixture(scope="module")
def linked(session_directory, small_root):
    root = session_directory / "roots/linked"
    shutil.copytree(small_root, root, symlinks=True)
    (root / "srv/deep/er").mkdir(parents=True)
    (root / "mnt/covered").mkdir(parents=True)
    (root / "mnt/covered/link").symlink_to("/srv")
    for name, text in LINKS.items():
        (root / name).symlink_to(text)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def given(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "marker").write_text(name)
    (tmp_path / "file").write_text("file")
    return tmp_path


def names(root):
    return sorted(os.path.join(where, name) for where, dirs, files in os.walk(root) for name in dirs + files)


def refused(done, *words):
    assert (done.returncode, done.stdout) == (125, ""), done
    assert done.stderr.startswith("isolate: ") and done.stderr.count("\n") == 1, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


@pytest.mark.parametrize("target, place", [
    ("/var/run/x", "/run/x"),
    ("/var/run", "/run"),
    ("/relative/x", "/srv/deep/er/x"),
    ("/relative", "/srv/deep/er"),
    ("/out/x", "/srv/x"),
    ("/chain/y", "/srv/x/y"),
    ("/dots/y", "/srv/deep/y"),
    ("/dangling", "/no/such/place"),
    ("/dangling/x", "/no/such/place/x"),
    ("/bin/x", "/usr/bin/x"),
])
def test_link_of_the_root(instance, linked, given, target, place):
    before = names(linked)
    script = f"cat {place}/marker {target}/marker; touch {place}/made"
    done = instance.run(["-v", f"{given}/first:{target}"], ["sh", "-c", script], template=str(linked))
    if ENGINE == "nspawn" and place == "/run":
        refused(done, f"{target} leads elsewhere", "engine nspawn has a /run/host of its own")
        return
    assert (done.returncode, done.stdout) == (0, "firstfirst"), done
    assert (given / "first/made").exists() and names(linked) == before
    done = instance.run(["-v", f"{given}/file:{target}/f"], ["cat", f"{place}/f"], template=str(linked))
    assert (done.returncode, done.stdout) == (0, "file"), done
    done = instance.run(["--tmpfs", f"{target}:1M"], ["stat", "-f", "-c", "%T", place], template=str(linked))
    assert (done.returncode, done.stdout) == (0, "tmpfs\n"), done
    assert names(linked) == before


def test_last_component_of_a_file(instance, linked, given):
    """The link stays; what it leads to is covered."""
    done = instance.run(["-v", f"{given}/file:/dangling:ro"],
                        ["sh", "-c", "readlink /dangling; cat /no/such/place"], template=str(linked))
    assert (done.returncode, done.stdout) == (0, "no/such/place\nfile"), done


@pytest.mark.parametrize("target, words", [
    ("/loop/x", ["loop of them"]),
    ("/up", ["is the root itself"]),
    ("/missing-up/x", ['".." from what is not there']),
    pytest.param("/long/" + "y/" * 1000 + "y", ["too long a path"], id="long"),
    ("/etc/mtab", ["/proc/self/mounts", "file system of the sandbox's own"]),
    ("/in-proc/1/x", ["/proc/1/x", "file system of the sandbox's own"]),
    ("/in-dev/0", ["/dev/fd/0", "is a symbolic link (to ", "name the place itself"]),
])
def test_link_that_leads_nowhere_good(instance, linked, given, target, words):
    before = names(linked)
    for option in (["-v", f"{given}/file:{target}"], ["--tmpfs", target]):
        refused(instance.run(option, ["echo", "ran"], template=str(linked)), target[:100], *words)
    assert names(linked) == before


def test_two_that_lead_to_one_place(instance, linked, given):
    for options in (["-v", f"{given}/first:/run/x", "-v", f"{given}/second:/var/run/x"],
                    ["-v", f"{given}/first:/var/run/x", "--tmpfs", "/run/x"]):
        refused(instance.run(options, ["echo", "ran"], template=str(linked)), "/run/x", "/var/run/x", "two binds")


def test_order_is_that_of_the_places(instance, linked, given):
    """What is nearer to the root is mounted first, however deep its target's words are."""
    (given / "first/sub").mkdir()
    words = [["-v", f"{given}/first:/relative"], ["-v", f"{given}/second:/srv/deep/er/sub"],
             ["--tmpfs", "/out/deep"]]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        done = instance.run([word for i in order for word in words[i]],
                            ["sh", "-c", "cat /relative/marker /relative/sub/marker; ls /srv/deep"],
                            template=str(linked))
        assert (done.returncode, done.stdout) == (0, "firstseconder\n"), (order, done)


def test_nothing_is_made_in_a_bind_that_a_link_leads_into(instance, linked, given):
    before = names(given)
    # nspawn lets nothing be bound at /run
    for target in ("/to-first/new", "/var/run/new")[:1 if ENGINE == "nspawn" else 2]:
        above = "/run" if target.startswith("/var") else "/mnt/first"
        done = instance.run(["-v", f"{given}/second:{target}", "-v", f"{given}/first:{above}"],
                            ["echo", "ran"], template=str(linked))
        refused(done, target, f"inside the bind at {above}", "nothing is made there")
    assert names(given) == before


def test_no_link_of_a_bind(instance, linked, given):
    """Neither by its own name, nor where a link of the root leads into it; in its place may be a
    link of the root, which the bind hides."""
    (given / "first/link").symlink_to("/srv")
    before = names(given)
    for target, above in (("/mnt/first/link/x", "/mnt/first"), ("/to-first/link/x", "/mnt/first"),
                          ("/to-link/x", "/mnt/first"), ("/mnt/covered/link/x", "/mnt/covered")):
        done = instance.run(["-v", f"{given}/second:{target}", "-v", f"{given}/first:{above}"],
                            ["echo", "ran"], template=str(linked))
        refused(done, target, '"link" is a symbolic link (to "/srv")', "in a bind")
    assert names(given) == before


def test_hidden_link_of_the_root(instance, linked, given):
    """A bind over the directory in which a link is: what counts is what the bind has there."""
    (given / "first/link").mkdir()
    done = instance.run(["-v", f"{given}/second:/mnt/covered/link", "-v", f"{given}/first:/mnt/covered"],
                        ["sh", "-c", "cat /mnt/covered/link/marker; ls /srv"], template=str(linked))
    assert (done.returncode, done.stdout) == (0, "seconddeep\n"), done


def test_link_of_a_directory_that_is_run_on_itself(instance, linked, given, session_directory):
    root = session_directory / "roots/itself"
    shutil.copytree(linked, root, symlinks=True)
    try:
        done = instance.run(["--storage", "dir", "-v", f"{given}/first:/out/made", "-v", f"{given}/file:/dangling"],
                            ["sh", "-c", "cat /srv/made/marker /dangling"], template=str(root))
        assert (done.returncode, done.stdout) == (0, "firstfile"), done
        assert (root / "srv/made").is_dir() and (root / "no/such/place").is_file()
        assert not os.listdir(root / "srv/made")
        assert os.readlink(root / "out") == LINKS["out"]
    finally:
        shutil.rmtree(root)


def test_working_directory_through_a_link(instance, linked, given):
    done = instance.run(["-v", f"{given}/first:/chain/y", "-w", "/chain/y"], ["cat", "marker"], template=str(linked))
    assert (done.returncode, done.stdout) == (0, "first"), done
