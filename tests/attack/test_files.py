# SPDX-License-Identifier: Apache-2.0
"""Attack 23: writing to the template or to another clone. Attack 38: a set-id program of root's, or
one with file capabilities, left in the clone or in a bind for an ordinary user of the host.
Controls: storage "dir", where changes are meant to persist; the same program as root on a
directory of the host, whose result an ordinary user executes in a private mount namespace."""

import os
import shutil
import subprocess

import pytest

from attempts import assert_all_judged, both_variants, of
from instance import NOBODY, end, parse, read_until, tree_hash

# --- 23 ---


def run_beside(instance, root, storage, *arguments):
    """An attacker, and another clone that lives through the attack: (attacker's results, whether
    the other is intact, whether the template was, while the attacker's clone was still there)."""
    options = ("--storage", storage)
    before = tree_hash(root)
    other = instance.start("template_write", "--intact", root=root, options=options)
    read_until(other, "ready:")
    attacker = instance.start("template_write", *arguments, root=root, options=options)
    results = parse(read_until(attacker, "done:"))
    same = tree_hash(root) == before
    end(attacker)
    intact = parse(end(other))["intact"] == "SUCCEEDED"
    return results, intact, same and tree_hash(root) == before


def test_template_and_other_clone(instance, judge):
    results, intact, same = run_beside(instance, instance.root, "overlay")
    worked = [what for what, result in results.items() if result == "SUCCEEDED"]
    assert len(worked) > 8, f"the clone itself is to be writable: {results}"
    copy = instance.directory / "persistent"
    shutil.copytree(instance.root, copy)
    _, control_intact, control_same = run_beside(instance, copy, "dir")
    shutil.rmtree(copy)
    judge(23, "write_to_template", "denied unchanged" if same else "SUCCEEDED",
          "denied unchanged" if control_same else "SUCCEEDED", {"unchanged"})
    judge(23, "write_to_other_clone", "denied unchanged" if intact else "SUCCEEDED",
          "denied unchanged" if control_intact else "SUCCEEDED", {"unchanged"})


@pytest.mark.parametrize("what", ["overlay_redirect", "file_flags"])
def test_overlay_itself(instance, judge, what):
    """Ways to make the overlay show something else, or pin a file; control: root of the host."""
    native = of(both_variants(instance, "template_write"), what)
    copy = instance.directory / "overlay-control"
    shutil.copytree(instance.root, copy)
    done = subprocess.run(["unshare", "--mount", "chroot", str(copy), "/attack/template_write"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    subprocess.run(["chattr", "-i", str(copy / "attack/data/victim")], check=False)
    shutil.rmtree(copy)
    judge(23, what, native, parse(done.stdout)[what], {"EPERM", "EACCES", "EOPNOTSUPP", "ENOTTY"},
          missing={"EOPNOTSUPP"})


@pytest.mark.parametrize("place", ["state", "root", "through_pid1"])
def test_host_path(instance, judge, place):
    target = {"state": instance.state, "root": instance.root,
              "through_pid1": f"/proc/1/root{instance.root}"}[place]
    native = of(both_variants(instance, "template_write", target), "host_path")
    work = instance.path("host-path")
    done = subprocess.run([str(instance.programs / "template_write"), str(work)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    shutil.rmtree(work)
    judge(23, f"host_path_{place}", native, parse(done.stdout)["host_path"],
          {"ENOENT", "EACCES", "EPERM"}, missing=set())


# --- 38 ---

SET_ID = """chmod chmod_sgid chmod_high_bits chmod_wide_mode fchmod fchmodat fchmodat2 creat open
openat openat_high_bits openat2 tmpfile mknod mknodat int80_chmod io_uring rename capability
capability_at rewrite_existing map_existing""".split()


def make_bind(path):
    path.mkdir()
    for name in ("existing", "existing-map"):
        (path / name).write_text("x" * 4096)
        (path / name).chmod(0o4755)


def of_root(directory, but=()):
    """Set-id files of host root's user or group, and files with capabilities, below there."""
    found = []
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            st = os.lstat(path)
            if (st.st_mode & 0o4000 and st.st_uid == 0) or (st.st_mode & 0o2000 and st.st_gid == 0):
                found.append(name)
            elif "security.capability" in os.listxattr(path, follow_symlinks=False):
                found.append(name)
    return sorted(set(found) - set(but))


@pytest.fixture(scope="module")
def set_id(instance):
    place = instance.path("set-id-binds")
    native = {}
    for variant, options in (("root", ()), ("user", ("-u", "1000:1000"))):
        make_bind(place / variant)
        native[variant] = instance.attack(
            "setid", "/bound", options=(*options, "-v", f"{place / variant}:/bound"))
        left = of_root(place / variant, but=("existing", "existing-map"))
        assert not left, f"set-id files of root's: {left}"
    make_bind(place / "control")
    control = subprocess.run([str(instance.programs / "setid"), str(place / "control")],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert of_root(place / "control", but=("existing", "existing-map"))
    shutil.rmtree(place)
    return native, parse(control.stdout)


def test_all_set_id_are_judged(set_id):
    for results in (*set_id[0].values(), set_id[1]):
        assert_all_judged(results, SET_ID)


@pytest.mark.parametrize("what", SET_ID)
def test_set_id_in_bind(request, judge, set_id, what):
    native, control = set_id
    if what == "map_existing":
        request.applymarker(pytest.mark.xfail(strict=True, reason=(
            "the kernel clears set-id bits on write(2) but not on a store to a shared map; a "
            "program of root's that lies in a writable bind of root's can so be changed")))
    judge(38, f"{what}_in_bind", of(native, what), control[what],
          {"EPERM", "EACCES", "ENOSYS", "EXDEV", "SIGSYS"})


def test_set_id_of_the_owner(instance):
    """A bind of an ordinary user's may hold what that user could have made, and no more."""
    bound = instance.path("owned")
    os.chown(bound, NOBODY, NOBODY)
    instance.attack("setid", "/bound", options=("--owner", str(NOBODY), "-v", f"{bound}:/bound"))
    left = of_root(bound)
    shutil.rmtree(bound)
    assert not left, f"set-id files of root's: {left}"


def test_set_id_in_clone(instance, judge):
    """Made by root of the sandbox in its clone: not root's on the host, and out of reach."""
    attacker = instance.start("setid", "/attack/data")
    read_until(attacker, "done:")
    clones = instance.clones()
    made = [os.path.join(parent, name) for parent, _, names in os.walk(clones[0])
            for name in names if os.lstat(os.path.join(parent, name)).st_mode & 0o6000]
    of_host_root = of_root(clones[0])
    reached = [path for path in made if subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "test", "-e", path],
        check=False).returncode == 0]
    end(attacker)
    assert made, "the attack made nothing"
    assert not of_host_root and not reached, (of_host_root, reached)
    program = str(instance.programs / "setid")
    script = ('mount -t tmpfs -o mode=0755 none /mnt && cp "$0" /mnt/setid && '
              'chmod 4755 /mnt/setid && exec setpriv --reuid=65534 --regid=65534 --clear-groups '
              '/mnt/setid --who')
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, program],
                          capture_output=True, text=True, check=True)
    judge(38, "set_id_in_clone_from_host", "denied EACCES", parse(done.stdout)["gained"],
          {"EACCES"})
