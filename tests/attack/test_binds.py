# SPDX-License-Identifier: Apache-2.0
"""Attacks 5 to 7: places for mounts that lead out of the root. A symlink in the template
(CVE-2015-1335), a symlink in an earlier bind (CVE-2026-87766), and one that changes places with a
directory while the mount is made (CVE-2021-30465). Also a template whose own mount points are
symlinks. Control: root of a private mount namespace that makes and mounts the same by path."""

import concurrent.futures
import os
import re
import shutil
import subprocess

import pytest

from instance import tree_hash, wait_until

LONG = os.environ.get("ISOLATE_LONG") == "1"
STARTS = int(os.environ.get("ISOLATE_RACE_STARTS", "10000" if LONG else "300"))
CONTROL_TRIES = 20000


@pytest.fixture
def place(instance, request):
    path = instance.path(re.sub(r"\W+", "-", request.node.name).strip("-"))
    yield path
    shutil.rmtree(path)


def careless(instance, place, *commands):
    """What an engine without care does, in a mount namespace of its own."""
    script = " && ".join(commands)
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], cwd=place, text=True,
                          stderr=subprocess.PIPE, check=False)
    return "SUCCEEDED" if done.returncode == 0 else f"denied {done.stderr}"


@pytest.mark.parametrize("link", ["../../etc", "absolute"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_symlink_in_template(instance, judge, place, link, kind):
    root = place / "x" / "root"
    victim = place / "etc"
    source = place / "source"
    for path in (victim, source, root):
        path.mkdir(parents=True)
    (source / "marker").write_text("")
    shutil.copytree(instance.root, root, dirs_exist_ok=True)
    os.symlink(str(victim) if link == "absolute" else link, root / "work")
    before = tree_hash(root), tree_hash(victim)
    option = ("-v", f"{source}:/work/n") if kind == "bind" else ("--tmpfs", "/work/n")
    inside = f"{victim}/n" if link == "absolute" else "/etc/n"
    done = instance.run("look", inside, f"{inside}/marker", root=root, options=option)
    assert (tree_hash(root), tree_hash(victim)) == before, "the host was changed"
    assert done.returncode == 0, done.stderr
    assert f"{inside}: present" in done.stdout, "not made where the link leads in the root"
    assert (f"{inside}/marker: present" in done.stdout) == (kind == "bind")
    control = careless(instance, place, "mkdir x/root/work/n",
                       "mount --bind source x/root/work/n", "test -e etc/n/marker")
    assert (victim / "n").exists()
    judge(5, f"{kind}_target_through_{'absolute' if link == 'absolute' else 'relative'}_link",
          "denied inside-the-root", control, {"inside-the-root"})


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "tmp", "run"])
def test_mount_point_is_symlink(instance, judge, place, name):
    root = place / "root"
    victim = place / "victim"
    victim.mkdir()
    shutil.copytree(instance.root, root)
    (root / name).rmdir()
    (root / name).symlink_to(victim)
    before = tree_hash(root), tree_hash(victim)
    done = instance.run("look", f"/{name}/marker", root=root)
    assert (tree_hash(root), tree_hash(victim)) == before, "the host was changed"
    control = careless(instance, place, f"mount -t tmpfs none root/{name}",
                       "touch victim/marker", "mountpoint -q victim")
    native = "denied replaced" if done.returncode == 0 else "denied refused"
    judge(5, f"template_{name}_is_link", native, control, {"replaced", "refused"})


@pytest.mark.parametrize("case", ["through_link", "by_link_of_the_root", "missing"])
def test_second_bind_in_first(instance, judge, place, case):
    victim = place / "victim"
    first = place / "first"
    second = place / "second"
    for path in (victim, first, second):
        path.mkdir()
    (second / "marker").write_text("")
    if case != "missing":
        (first / "link").symlink_to(victim)
    before = tree_hash(victim), tree_hash(first)
    # the victim's path exists in the root as well: followed inside, it would be found
    root = place / "root"
    shutil.copytree(instance.root, root)
    (root / str(victim).lstrip("/") / "n").mkdir(parents=True)
    # links of the root are followed, and lead to the one in the first
    (root / "to-first").symlink_to("mnt/first/link")
    target = {"through_link": "/mnt/first/link/n", "by_link_of_the_root": "/to-first/n",
              "missing": "/mnt/first/new/n"}[case]
    for options in ((("-v", f"{first}:/mnt/first", "-v", f"{second}:{target}")),
                    (("-v", f"{second}:{target}", "-v", f"{first}:/mnt/first")),
                    (("-v", f"{first}:/mnt/first", "--tmpfs", target))):
        done = instance.run("look", root=root, options=options)
        assert done.returncode == 125, f"not refused: {options}"
        assert (tree_hash(victim), tree_hash(first)) == before, "the host was changed"
    below = "new/n" if case == "missing" else "link/n"
    control = careless(instance, place, "mkdir -p root/mnt/first",
                       "mount --bind first root/mnt/first", f"mkdir -p root/mnt/first/{below}",
                       f"test -d {'first/new/n' if case == 'missing' else 'victim/n'}")
    judge(6, f"second_bind_{case}", "denied refused", control, {"refused"})


def race_control(instance, place, directory, link, victim, source):
    swap = subprocess.Popen([str(instance.programs / "race"), "swap", str(directory), str(link)])
    try:
        script = '"$0" naive "$1" "$2" "$3" "$4"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, str(instance.programs / "race"),
             str(source), str(directory), str(CONTROL_TRIES), str(victim)],
            capture_output=True, text=True, timeout=120, check=True)
    finally:
        swap.kill()
        swap.wait()
    return done.stdout.strip().removeprefix("race: ")


def repeated_race_control(instance, place, victim, source):
    control_place = place / "control"
    (control_place / "d" / "n").mkdir(parents=True)
    (control_place / "s").symlink_to(victim)
    (victim / "n").mkdir(exist_ok=True)
    for _ in range(5): # it is a race, too
        control = race_control(instance, place, control_place / "d", control_place / "s", victim,
                               source)
        if control == "SUCCEEDED":
            break
    return control


def test_race(instance, judge, place):
    shared, source, victim = place / "shared", place / "source", place / "victim"
    for path in (shared / "d" / "n", source, victim / "n"):
        path.mkdir(parents=True)
    (source / "marker").write_text("")
    (shared / "s").symlink_to(victim)
    root = place / "root"
    shutil.copytree(instance.root, root)
    (root / str(victim).lstrip("/") / "n").mkdir(parents=True)
    before = tree_hash(victim), tree_hash(root)
    attacker = instance.start("race", "swap", "/mnt/a/d", "/mnt/a/s", root=root,
                              options=("-v", f"{shared}:/mnt/a"))
    try:
        assert wait_until(lambda: (shared / "d").is_symlink()), "the attacker does not run"

        def start(_):
            done = instance.run("look", f"{victim}/n/marker", "/mnt/a/d/n/marker",
                                "/mnt/a/s/n/marker", root=root,
                                options=("-v", f"{shared}:/mnt/a", "-v", f"{source}:/mnt/a/d/n"))
            assert f"{victim}/n/marker: present" not in done.stdout, "mounted over the victim"
            assert done.returncode in (0, 125), done.stderr
            return done.returncode

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(start, range(STARTS)))
    finally:
        attacker.terminate()
        attacker.communicate()
    assert (tree_hash(victim), tree_hash(root)) == before, "the host was changed"
    assert 0 in codes and 125 in codes, f"no race took place: {sorted(set(codes))}"
    control = repeated_race_control(instance, place, victim, source)
    judge(7, f"race_{STARTS}_starts", "denied no-escape", control, {"no-escape"})


def test_race_in_the_root(instance, judge, place):
    """A directory that is run on itself, whose own links are followed, while somebody on the host lets
    a directory and a link change places: the bind is in the root, wherever, and nothing is made beside it."""
    source, victim, root = place / "source", place / "victim", place / "root"
    for path in (source, victim):
        path.mkdir()
    (source / "marker").write_text("")
    (victim / "own").write_text("")
    shutil.copytree(instance.root, root)
    (root / "d").mkdir()
    (root / "s").symlink_to(victim)
    before = tree_hash(victim)
    inside = root / str(victim).lstrip("/")

    def start(number):
        done = instance.run("look", f"/d/{number}/marker", f"/s/{number}/marker", "/d/own", "/s/own", root=root,
                            options=("--storage", "dir", "-v", f"{source}:/d/{number}"))
        assert "own: present" not in done.stdout, "the victim is seen"
        assert done.returncode in (0, 125), done.stderr
        return done.returncode

    attacker = instance.start("race", "swap", root / "d", root / "s", outside=True)
    try:
        assert wait_until(lambda: (root / "d").is_symlink()), "the attacker does not run"
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(start, range(STARTS)))
    finally:
        attacker.terminate()
        attacker.communicate()
    assert tree_hash(victim) == before, "something was made in the victim"
    plain = root / ("s" if (root / "d").is_symlink() else "d")
    assert 0 in codes and os.listdir(plain) and os.listdir(inside), "no race took place"
    for directory in (plain, inside):
        assert all(not os.listdir(directory / name) for name in os.listdir(directory))
    control = repeated_race_control(instance, place, victim, source)
    judge(7, f"race_in_the_root_{STARTS}_starts", "denied no-escape", control, {"no-escape"})
