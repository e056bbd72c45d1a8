# SPDX-License-Identifier: Apache-2.0
"""Storages other than the default, side by side: DRIVER:LOCATION on file systems of their own."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import pytest

import fake_zfs
from sandboxes import Disk, Instance, record_in, try_umount, wait_until
from services import Member, Service


def new_disk(session_directory, driver, file_system):
    """Of its own for each module that asks for one."""
    base = pathlib.Path(tempfile.mkdtemp(prefix=f"{file_system}-", dir=session_directory))
    base.chmod(0o755)
    return Disk(base, driver, file_system)


@pytest.fixture(scope="module")
def btrfs(session_directory):
    disk = new_disk(session_directory, "btrfs", "btrfs")
    yield disk
    disk.remove()


@pytest.fixture(scope="module")
def xfs(session_directory):
    disk = new_disk(session_directory, "reflink", "xfs")
    yield disk
    disk.remove()


@pytest.fixture
def own(session_directory):
    """An installation for one test: storages that are registered stay so."""
    with Instance(session_directory / "own", f"isolate-test-{os.getpid()}-own") as made:
        made.isolate("template", "ls")
        yield made


def create(instance, name, root, storage):
    arguments = ["--storage", storage] if storage else []
    return instance.isolate("template", "create", name, "--from", f"dir:{root}", *arguments)


def listed(instance):
    return {one["name"]: one["storage"] for one in json.loads(instance.ok("template", "ls", "--json"))}


def cat_issue(instance, name):
    return instance.output([], ["cat", "/etc/issue"], template=name)


def test_side_by_side(own, btrfs, xfs, small_root):
    """Each template is found where it lies, whichever it is."""
    for name, storage in (("a", btrfs.storage), ("b", xfs.storage), ("c", None), ("d", f"overlay:{xfs.path}")):
        done = create(own, name, small_root, storage)
        assert done.returncode == 0, done
        assert f"(storage {storage or 'overlay'})" in done.stderr
    assert listed(own) == {"a": btrfs.storage, "b": xfs.storage, "c": "overlay", "d": f"overlay:{xfs.path}"}
    for name in "abcd":
        own.ok("template", "update", name, "--", "sh", "-c", f"echo {name} >/etc/issue")
        assert cat_issue(own, name) == f"{name}\n"
        assert own.run(["--keep", "--name", f"k{name}"], ["touch", "/srv/x"], template=name).returncode == 0
        assert own.ok("diff", f"k{name}") == "A /srv/x\n"
    # who names another one is told, and to leave that out only where it helps
    done = own.isolate("run", "--storage", "overlay", "a", "--", "true")
    assert done.returncode == 125 and f'"a" is not in storage overlay but in {btrfs.storage}' in done.stderr, done
    done = own.isolate("run", "--storage", btrfs.storage, "none", "--", "true")
    assert done.returncode == 125 and f"there is none in storage {btrfs.storage}, nor elsewhere" in done.stderr, done
    assert "--storage" not in done.stderr
    # a name is one for all storages
    for taken in ("b", "c"):
        done = create(own, taken, small_root, btrfs.storage)
        assert done.returncode == 125 and "exists" in done.stderr
        done = own.isolate("commit", "ka", taken)
        assert done.returncode == 125 and "exists" in done.stderr, done
    own.ok("commit", "kb", "e")
    assert listed(own)["e"] == xfs.storage
    own.ok("prune", "--kept")
    for name in "abcde":
        own.ok("template", "rm", name)
    assert listed(own) == {}
    for place in (btrfs.path / "isolate/btrfs", xfs.path / "isolate/reflink", xfs.path / "isolate/overlay"):
        for directory in ("clones", "layers", "templates", "imports", "trash"):
            assert os.listdir(place / directory) == []


def test_best_for_a_location(own, btrfs, xfs, small_root):
    """A location alone: the best driver there, and its name is told."""
    for name, place, driver in (("a", btrfs.path, "btrfs"), ("b", xfs.path, "overlay")):
        done = create(own, name, small_root, str(place))
        assert f"(storage {driver}:{place})" in done.stderr
        own.ok("template", "rm", name)


def test_state_directory_on_btrfs(session_directory, btrfs, small_root):
    """Without --storage the driver is the best for the state directory."""
    link = session_directory / "on-btrfs"
    with Instance(link, f"isolate-test-{os.getpid()}-on") as made:
        made.state = btrfs.path / "state"
        made.config.write_text(made.config.read_text().replace(f"{link}/state", str(made.state)))
        done = create(made, "a", small_root, None)
        assert "(storage btrfs)" in done.stderr
        assert cat_issue(made, "a") == "a small system\n"
        made.ok("template", "rm", "a")


def test_location_in_memory(own, small_root, session_directory):
    """Allowed, and said: it will not be there after a boot."""
    place = session_directory / "memory"
    place.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "memory", place], check=True)
    for name, storage, options in (("a", str(place), []), ("b", f"overlay:{place}", ["-q"])):
        done = own.isolate("template", "create", name, *options, "--from", f"dir:{small_root}", "--storage", storage)
        assert done.returncode == 0, done
        (warning,) = [line for line in done.stderr.splitlines() if "warning" in line]
        assert f'"{name}": storage overlay:{place} lies in memory (tmpfs)' in warning
        assert cat_issue(own, name) == "a small system\n"
    own.ok("template", "rm", "a", "b")
    wait_until(lambda: try_umount(place), 10, "the umount")
    place.rmdir()


def test_location_through_a_symlink(own, btrfs, small_root, tmp_path):
    """What is written down is where it leads."""
    (tmp_path / "link").symlink_to(btrfs.path)
    create(own, "a", small_root, f"btrfs:{tmp_path}/link")
    assert listed(own) == {"a": btrfs.storage}
    own.ok("template", "rm", "a")


def test_unmounted_location(own, btrfs, xfs, small_root):
    """The templates of other storages go on; the missing place is named."""
    assert create(own, "a", small_root, btrfs.storage).returncode == 0
    assert create(own, "b", small_root, xfs.storage).returncode == 0
    assert own.run(["--keep", "--name", "k"], template="a").returncode == 0
    wait_until(lambda: try_umount(btrfs.path), 10, "the umount")
    try:
        assert cat_issue(own, "b") == "a small system\n"
        done = own.isolate("template", "ls", "--json")
        assert [one["name"] for one in json.loads(done.stdout)] == ["b"]
        assert str(btrfs.path) in done.stderr
        done = own.run(template="a")
        assert done.returncode == 125 and str(btrfs.path) in done.stderr, done
        assert own.isolate("start", "k").returncode == 125
        # and nothing is made in the place below, whatever driver would suit that
        for storage in (btrfs.storage, f"overlay:{btrfs.path}", str(btrfs.path)):
            done = create(own, "c", small_root, storage)
            assert done.returncode == 125 and "mount" in done.stderr, done
        assert not os.path.exists(btrfs.path / "isolate")
    finally:
        subprocess.run(["mount", "-o", "loop", btrfs.image, btrfs.path], check=True)
    assert cat_issue(own, "a") == "a small system\n"
    assert own.isolate("start", "k").returncode == 0
    own.ok("prune", "--kept")
    own.ok("template", "rm", "a", "b")


def storages(instance):
    return {one["name"]: one for one in json.loads(instance.ok("storage", "ls", "--json"))}


def rows_of(instance, name):
    checks = json.loads(instance.isolate("doctor", "--json").stdout)["checks"]
    return [check for check in checks if check["name"] == name]


def test_forget_a_lost_disk(own, btrfs, small_root):
    """It is complained of until it is forgotten; what was kept there can be removed then."""
    assert create(own, "a", small_root, btrfs.storage).returncode == 0
    assert create(own, "b", small_root, None).returncode == 0
    assert own.run(["--keep", "--name", "k"], template="a").returncode == 0
    known = storages(own)
    assert {name: (one["templates"], one["clones"], one["problem"]) for name, one in known.items()} == {
        "overlay": (1, 0, ""), btrfs.storage: (1, 1, "")}
    (row,) = rows_of(own, "storage")
    assert row["result"] == "ok" and btrfs.storage in row["detail"], row
    done = own.isolate("storage", "forget", btrfs.storage)
    assert done.returncode == 125 and "1 templates and 1 clones; remove them first" in done.stderr, done
    wait_until(lambda: try_umount(btrfs.path), 10, "the umount")
    forget = f"isolate storage forget {btrfs.storage}"
    try:
        own.ok("prune")  # from now on each command tries to sweep it
        # a daemon says it in its log
        assert own.resident or forget in own.run(template="b").stderr
        assert forget in storages(own)[btrfs.storage]["problem"]
        table = own.ok("storage", "ls")
        assert "PROBLEM" in table and forget in table
        (row,) = rows_of(own, "storage")
        assert row["result"] == "missing" and forget in row["remedy"] and str(btrfs.path) in row["detail"], row
        assert own.isolate("rm", "k").returncode == 125
        done = own.isolate("storage", "forget", btrfs.storage)
        assert done.returncode == 0 and f"storage {btrfs.storage} is forgotten" in done.stderr, done
        (kept,) = os.listdir(own.state / "kept")
        assert f"isolate rm {kept}" in done.stderr, done
        for arguments in (["run", "b", "true"], ["template", "ls"]):
            assert own.isolate(*arguments).stderr == ""
        assert list(storages(own)) == ["overlay"] and rows_of(own, "storage") == []
        assert "there is none" in own.run(template="a").stderr
        done = own.isolate("rm", "k")
        assert done.returncode == 0 and (own.resident or "is forgotten" in done.stderr), done
        assert os.listdir(own.state / "kept") == []
        assert not os.path.exists(btrfs.path / "isolate")
    finally:
        subprocess.run(["mount", "-o", "loop", btrfs.image, btrfs.path], check=True)
    # it was not lost after all: a template brings back the others
    assert create(own, "c", small_root, btrfs.storage).returncode == 0
    assert listed(own) == {"a": btrfs.storage, "b": "overlay", "c": btrfs.storage}
    own.ok("template", "rm", "a", "b", "c")
    own.ok("prune")
    done = own.isolate("storage", "forget", btrfs.storage)
    assert done.returncode == 0 and "it had no templates and no clones" in done.stderr, done
    assert json.loads((own.state / "stores").read_text()) == []


def test_forget_while_something_is_kept(own, btrfs, small_root):
    """A clone without its record, or a record without its clone: both are somebody's."""
    assert create(own, "a", small_root, btrfs.storage).returncode == 0
    assert own.run(["--keep", "--name", "k"], template="a").returncode == 0
    own.ok("template", "rm", "a")
    done = own.isolate("storage", "forget", btrfs.storage)
    assert done.returncode == 125 and "0 templates and 1 clones" in done.stderr, done
    (record,) = (own.state / "kept").iterdir()
    text = record.read_text()
    own.ok("rm", "k")
    record.write_text(text)
    done = own.isolate("storage", "forget", btrfs.storage)
    assert done.returncode == 125 and f"isolate rm {record.name}" in done.stderr, done
    own.ok("rm", "k")
    own.ok("storage", "forget", btrfs.storage)


@pytest.mark.parametrize("name, words", [
    ("overlay", "lies in the state directory"),
    ("btrfs:/no/such/place", "is none that isolate knows"),
    ("/no/such/place", "is none that isolate knows"),
    ("", "is none that isolate knows"),
])
def test_forget_what_is_not_there(own, name, words):
    done = own.isolate("storage", "forget", name)
    assert done.returncode == 125 and words in done.stderr, done


@pytest.mark.parametrize("arguments", [["ls"], ["forget", "btrfs:/srv"]], ids=["ls", "forget"])
def test_storages_are_for_root(service, arguments):
    done = Member(service, 61577).isolate("storage", *arguments)
    assert done.returncode == 125 and ("for root only" in done.stderr or "only root" in done.stderr), done
    assert [one["templates"] for one in storages(service).values()] == [1]


@pytest.mark.parametrize("broken", ["", "[", '{"a": "b"}', '["btrfs:/srv", 1]', '["' + 300 * "x" + '"]', None],
                         ids=["empty", "cut", "no list", "number", "long", "directory"])
def test_broken_list(own, btrfs, small_root, broken):
    """Where it cannot be said what lies elsewhere, the list is named; the state directory goes on."""
    assert create(own, "a", small_root, btrfs.storage).returncode == 0
    assert create(own, "b", small_root, None).returncode == 0
    stores = own.state / "stores"
    before = stores.read_text()
    stores.unlink()
    if broken is None:
        stores.mkdir()
    else:
        stores.write_text(broken)
    for arguments in (["template", "ls"], ["prune"]):
        done = own.isolate(*arguments)
        assert done.returncode == 0 and done.stderr.count(f"{stores}, cannot be read") == 1, done
        assert "correct it" in done.stderr, done
    assert listed(own) == {"b": "overlay"}
    assert cat_issue(own, "b") == "a small system\n"
    assert str(stores) in own.isolate("storage", "ls").stderr
    *_, row = rows_of(own, "storage")
    assert row["result"] == "missing" and str(stores) in row["detail"], row
    assert own.isolate("storage", "forget", btrfs.storage).returncode == 125
    assert create(own, "c", small_root, None).returncode == 0
    for done in (own.run(template="a"), create(own, "d", small_root, btrfs.storage),
                 create(own, "d", small_root, f"overlay:{btrfs.path}"), own.isolate("-r", "rpool/isolate/d", "1")):
        assert done.returncode == 125 and str(stores) in done.stderr, done
    assert sorted(os.listdir(btrfs.path / "isolate")) == ["btrfs"]
    if broken is None:
        stores.rmdir()
    else:
        stores.unlink()
    # no list: nothing elsewhere
    assert own.isolate("template", "ls").stderr == ""
    assert "there is none" in own.run(template="a").stderr
    stores.write_text(before)
    assert cat_issue(own, "a") == "a small system\n"
    own.ok("template", "rm", "a", "b", "c")


def test_broken_list_through_a_daemon(service):
    """The caller is told, not only the daemon's log."""
    (service.state / "stores").write_text("[")
    for arguments in (["template", "ls"], ["prune"]):
        done = service.isolate(*arguments)
        assert done.returncode == 0 and f"{service.state}/stores, cannot be read" in done.stderr, done
    done = service.run(template="elsewhere")
    assert done.returncode == 125 and f"{service.state}/stores" in done.stderr, done
    assert service.output([], ["cat", "/etc/issue"]) == "a small system\n"


@pytest.mark.parametrize("storage, words", [
    ("btrfs", ["btrfs", "not a btrfs file system"]),
    ("reflink", ["reflink", "share"]),
    ("btrfs:{xfs}", ["not a btrfs file system", "{xfs}"]),
    ("btrfs:relative/path", ["relative/path", "absolute"]),
    ("btrfs:/no/such/place", ["/no/such/place", "No such file"]),
    ("/no/such/place", ["/no/such/place", "No such file"]),
    ("btrfs:", ["absolute"]),
    ("btrfsx:{btrfs}", ["btrfsx", "btrfs"]),
    ("dir:{btrfs}", ["dir", "templates"]),
    ("btrfs:{btrfs}/ü b", ["ü b", "No such file"]),
])
def test_bad_storage(own, btrfs, xfs, small_root, storage, words):
    known = {"btrfs": btrfs.path, "xfs": xfs.path}
    done = create(own, "x", small_root, storage.format(**known))
    assert done.returncode == 125
    for word in words:
        assert word.format(**known) in done.stderr, done.stderr
    assert listed(own) == {}
    assert own.isolate("template", "ls").stderr == ""


def test_location_with_spaces(own, btrfs, small_root):
    place = btrfs.path / "mit Leerzeichen ü"
    place.mkdir()
    assert create(own, "a", small_root, f"btrfs:{place}").returncode == 0
    assert cat_issue(own, "a") == "a small system\n"
    own.ok("template", "rm", "a")


@pytest.mark.parametrize("what", ["writable", "another's", "writable above"])
def test_location_open_to_others(own, btrfs, small_root, what):
    """Who could move the store could give root another one."""
    above = btrfs.path / "above"
    place = above / "place"
    place.mkdir(parents=True)
    try:
        if what == "another's":
            os.chown(place, 1000, 0)
        else:
            (place if what == "writable" else above).chmod(0o777)
        done = create(own, "a", small_root, f"btrfs:{place}")
        assert done.returncode == 125
        assert "somebody else" in done.stderr and str(place) in done.stderr
        assert os.listdir(place) == []
    finally:
        place.rmdir()
        above.rmdir()


def test_subvolume_made_inside(own, btrfs, small_root):
    """A sandbox can make subvolumes of its own, which a snapshot would lose: a commit says so, and
    they go with the sandbox. Nothing of another clone does."""
    assert create(own, "a", small_root, btrfs.storage).returncode == 0
    assert own.run(["--keep", "--name", "k"], template="a").returncode == 0
    (clone,) = [entry for entry in (btrfs.path / "isolate/btrfs/clones").iterdir()]
    for name in ("sub", "tree"):  # the small root has no btrfs command: the same, from outside
        subprocess.run(["btrfs", "-q", "subvolume", "create", clone / "tree/srv" / name], check=True)
        (clone / "tree/srv" / name / "file").write_text("x")
    done = own.isolate("commit", "k", "other")
    assert done.returncode == 125 and "subvolume" in done.stderr and "/srv/" in done.stderr, done
    assert listed(own) == {"a": btrfs.storage}
    assert "A /srv/sub/file" in own.ok("diff", "k")
    own.ok("rm", "k")
    assert os.listdir(clone.parent) == []
    own.ok("template", "rm", "a")
    left = subprocess.run(["btrfs", "subvolume", "list", btrfs.path], check=True, text=True, stdout=subprocess.PIPE)
    assert "isolate/btrfs" not in left.stdout


@pytest.fixture(params=["btrfs", "xfs"])
def elsewhere(request, session_directory, small_root):
    """A resident daemon with parked sandboxes whose template "t" lies on another file system."""
    disk = request.getfixturevalue(request.param)
    with Service(session_directory / "elsewhere", f"isolate-test-{os.getpid()}-elsewhere",
                 {"Pool.Parked": 4, "Pool.Fresh": 2}) as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}", "--storage", disk.storage)
        made.stop_resident()
        made.start_resident()
        yield made
        made.isolate("prune", "--kept")
        made.ok("template", "rm", "t")
        made.stop_resident()


def test_parked_elsewhere(elsewhere):
    """Members start parked sandboxes there, each fresh, also behind a daemon that was killed."""
    member = Member(elsewhere, 0)
    elsewhere.ok("pool", "set", "t", "4")
    for _ in range(12):
        done = member.run([], ["sh", "-c", "cat /etc/issue; echo used >/etc/issue"])
        assert (done.returncode, done.stdout) == (0, "a small system\n"), done
    wait_until(lambda: "parked" in elsewhere.states().values(), 20, "a parked sandbox")
    elsewhere.kill_resident()
    elsewhere.start_again()
    assert member.run([], ["cat", "/etc/issue"]).stdout == "a small system\n"
    done = member.run(["--storage", "btrfs:/elsewhere"])
    assert done.returncode == 125 and "holds no templates" in done.stderr, done


# limits of disk space; those of ext4 and XFS, and ZFS, are seen in the virtual machine


@pytest.fixture(scope="module")
def quota(session_directory, small_root):
    """An installation with a template on btrfs with quotas."""
    base = session_directory / "quota"
    base.mkdir(mode=0o755)
    disk = Disk(base, "btrfs", "btrfs")
    subprocess.run(["btrfs", "quota", "enable", disk.path], check=True)
    with Instance(base / "own", f"isolate-test-{os.getpid()}-quota") as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}", "--storage", disk.storage)
        yield made
        made.ok("prune", "--kept")
        made.ok("template", "rm", "t")
    disk.remove()


def write(mib, name="big"):
    return ["dd", "if=/dev/zero", f"of=/{name}", "bs=1M", f"count={mib}", "conv=fsync"]


def test_disk_limit(quota):
    assert quota.run(["--disk", "16M"], write(4), template="t").returncode == 0
    done = quota.run(["--disk", "16M"], write(32), template="t")
    assert done.returncode == 1 and "quota" in done.stderr.lower(), done
    assert quota.run([], write(32), template="t").returncode == 0


def test_disk_limit_of_a_kept_one(quota):
    assert quota.run(["--disk", "16M", "--keep", "--name", "k"], write(8), template="t").returncode == 0
    assert json.loads(quota.ok("inspect", "k"))["limits"] == {"disk_bytes": 16 << 20}
    # it neither grows with a start nor goes with one
    assert quota.isolate("start", "k", "--", *write(12, "more")).returncode == 1
    done = quota.isolate("start", "--disk", "1G", "k")
    assert done.returncode == 125 and "--disk" in done.stderr
    # what is made of it has none
    quota.ok("commit", "k", "made")
    assert quota.run([], write(32), template="made").returncode == 0
    quota.ok("rm", "k")
    quota.ok("template", "rm", "made")


def test_disk_limit_through_a_daemon(session_directory, quota, small_root):
    """Parked sandboxes have no limit, and are not used for one that asks for it."""
    disk = quota.ok("template", "ls", "--json")
    storage = json.loads(disk)[0]["storage"]
    with Service(session_directory / "limited", f"isolate-test-{os.getpid()}-limited",
                 {"Pool.Parked": 2}) as service:
        service.ok("template", "create", "l", "--from", f"dir:{small_root}", "--storage", storage)
        service.start_resident()
        service.ok("pool", "set", "l", "2")
        member = Member(service, 61577)
        wait_until(lambda: "parked" in service.states().values(), 30, "a parked sandbox")
        for _ in range(3):
            done = member.run(["--disk", "16M"], write(32), template="l")
            assert done.returncode == 1 and "quota" in done.stderr.lower(), done
        assert member.run([], write(32), template="l").returncode == 0
        service.ok("template", "rm", "l")
        service.stop_resident()


def test_disk_limit_without_quotas(own, btrfs, small_root, tmp_path):
    create(own, "b", small_root, btrfs.storage)
    for arguments in (["-v", f"{tmp_path}:/mnt", "--disk", "16M", "b"],
                      ["-v", f"{tmp_path}:/mnt", "--disk", "16M", "--storage", "dir", str(small_root)]):
        done = own.isolate("run", *arguments, "--", "touch", "/mnt/ran")
        assert done.returncode == 125, done
        assert "quota" in done.stderr or "cannot limit disk space" in done.stderr
    assert not (tmp_path / "ran").exists()
    own.ok("template", "rm", "b")


def test_reserve_of_root_stays(own, session_directory, small_root):
    """An overlay is mounted by root, but writes for somebody else: the blocks that ext4 keeps for root
    stay free, however full a sandbox makes it."""
    base = session_directory / "reserve"
    base.mkdir(mode=0o755)
    disk = Disk(base, "overlay", "ext4", "400M")
    assert create(own, "r", small_root, disk.storage).returncode == 0
    run = own.popen([], ["sh", "-c", "dd if=/dev/zero of=/big bs=1M conv=fsync; echo full; sleep 60"], template="r")
    assert run.stdout.readline() == "full\n"
    space = os.statvfs(disk.path)
    run.kill()
    run.communicate()
    assert space.f_bavail * space.f_frsize < 1 << 20
    assert space.f_bfree > 0.04 * space.f_blocks  # 5 % are root's
    own.ok("template", "rm", "r")
    disk.remove()


def test_no_space_for_a_new_generation(session_directory, own, small_root):
    """A session that leaves no space for its commit is lost, and what is kept stays; both are said, and
    what to do."""
    base = session_directory / "full"
    base.mkdir(mode=0o755)
    disk = Disk(base, "reflink", "xfs", "400M")
    assert create(own, "t", small_root, disk.storage).returncode == 0
    before = own.ok("template", "inspect", "--json", "t")
    filling = "i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/big-$i bs=64k; i=$((i+1)); done 2>/dev/null; true"
    advice = f"free space in storage {disk.storage} (see `isolate template rm NAME@GENERATION`"
    done = own.isolate("template", "update", "--network", "none", "t", "--", "sh", "-c", filling)
    assert done.returncode == 125 and "No space left" in done.stderr and advice in done.stderr, done
    assert "no new generation was made, and what the session changed is lost" in done.stderr
    assert own.ok("template", "inspect", "--json", "t") == before
    # a daemon takes the session's clone away behind the answer
    wait_until(lambda: own.run(template="t").returncode == 0, 30, "space again")
    own.output(["--keep", "--name", "k"], ["sh", "-c", filling], template="t")
    for name in ("t", "new"):
        done = own.isolate("commit", "k", name)
        assert done.returncode == 125 and "No space left" in done.stderr and advice in done.stderr, done
        assert "the sandbox stays as it is" in done.stderr
    for verb in (["template", "create", "other", "--storage", disk.storage, "--from", f"dir:{small_root}"],
                 ["template", "update", "--network", "none", "t", "--", "true"], ["run", "t", "--", "true"]):
        done = own.isolate(*verb)
        assert done.returncode == 125 and advice in done.stderr, done
        assert "is lost" not in done.stderr  # nothing had begun
    assert "A /big-0\n" in own.ok("diff", "k")
    own.ok("rm", "k")
    assert cat_issue(own, "t") == "a small system\n"
    own.ok("template", "rm", "t")
    disk.remove()


def cached_share(path):
    """How much of a file is in the page cache."""
    words = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES,SIZE", path], check=True,
                           text=True, stdout=subprocess.PIPE).stdout.split()
    return int(words[0]) / int(words[1])


def parked_trees(service):
    """The clones of the parked sandboxes."""
    (storage,) = listed(service).values()
    driver, location = storage.split(":")
    return [pathlib.Path(location, "isolate", driver, "clones", name, "tree") for name in service.parked()]


def test_parked_holds_its_file_system(btrfs, xfs, elsewhere):
    """Until it is drained."""
    (disk,) = [one for one in (btrfs, xfs) if one.storage == listed(elsewhere)["t"]]
    elsewhere.ok("pool", "set", "t", "2")
    wait_until(elsewhere.parked, 20, "a parked sandbox")
    assert not try_umount(disk.path)
    elsewhere.ok("pool", "drain")
    wait_until(lambda: try_umount(disk.path), 10, "the umount")
    subprocess.run(["mount", "-o", "loop", disk.image, disk.path], check=True)
    elsewhere.ok("pool", "set", "t", "auto")
    assert elsewhere.output([], ["cat", "/etc/issue"]) == "a small system\n"


def test_parked_is_read_ahead(elsewhere, small_root):
    """What each command needs first is in memory before it starts: clones have inodes of their own."""
    elsewhere.ok("pool", "set", "t", "2")
    (library,) = (path.relative_to(small_root) for path in small_root.glob("usr/lib/*/libc.so.6"))
    wait_until(lambda: any((tree / library).exists() and cached_share(tree / library) > 0.9
                           for tree in parked_trees(elsewhere)), 20, "the C library in the page cache")
    assert Member(elsewhere, 0).run([], ["cat", "/etc/issue"]).stdout == "a small system\n"


def program(interpreter, count=1):
    """The head of an ELF program of this machine that names its dynamic linker."""
    head = pathlib.Path("/bin/true").read_bytes()[:64]
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(interpreter), len(interpreter), 1)
    return head[:32] + struct.pack("<Q", 64) + head[40:56] + struct.pack("<H", count) + head[58:] + segment + interpreter


SHELLS = {
    "empty": b"",
    "script": b"#!/bin/sh\n",
    "cut": program(b"/lib64/ld\0")[:100],
    "many segments": program(b"/lib64/ld\0", 65535),
    "no end": program(b"/lib64/ld"),
    "relative": program(b"etc/issue\0"),
    "the root": program(b"/\0"),
    "a directory": program(b"/etc\0"),
    "a loop": program(b"/loop\0"),
    "a fifo": program(b"/fifo\0"),
    "of the kernel": program(b"/proc/kmsg\0"),
}


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_parked_with_a_hostile_shell(own, btrfs, small_root, tmp_path, shell):
    """What init looks at to read ahead is the template's: whatever it is, sandboxes are parked and start."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    os.mkfifo(root / "libc.so.6")
    (root / "hostile").write_bytes(shell)
    passwd = root / "etc/passwd"
    passwd.write_text(passwd.read_text().replace("/bin/sh", "/hostile"))
    with Service(tmp_path / "service", f"isolate-test-{os.getpid()}-hostile", {"Pool.Parked": 2}) as made:
        made.base.chmod(0o755)
        made.ok("template", "create", "t", "--from", f"dir:{root}", "--storage", btrfs.storage)
        made.stop_resident()
        made.start_resident()
        made.ok("pool", "set", "t", "2")
        wait_until(lambda: len(made.parked()) == 2, 20, "parked sandboxes")
        assert made.output([], ["cat", "/etc/issue"]) == "a small system\n"
        made.ok("template", "rm", "t")
        made.stop_resident()


# where ZFS does not answer; that it does is seen in the virtual machine and by the contract


@pytest.fixture
def fake(session_directory, small_root):
    """The dataset rpool/isolate/deb is a template, as far as isolate can see."""
    if fake_zfs.is_real():
        pytest.skip("this kernel has ZFS: isolate would not ask the command alone")
    with fake_zfs.FakeZfs(session_directory / "fake", f"isolate-test-{os.getpid()}-fake") as made:
        made.ok("template", "create", "e", "--from", f"dir:{small_root}")
        made.ok("-r", "rpool/isolate/deb", "-s")
        yield made
        made.ok("template", "rm", "e")


@pytest.mark.parametrize("complaint, remedy", [
    (fake_zfs.NO_MODULE, "modprobe zfs"),
    (fake_zfs.NO_DAEMON, "systemctl start zfs-fuse"),
], ids=["module", "daemon"])
def test_zfs_does_not_answer(fake, complaint, remedy):
    (row,) = rows_of(fake, "zfs")
    assert row["result"] == "ok", row
    fake.silence(complaint)
    (row,) = rows_of(fake, "zfs")
    assert row["result"] == "optional" and "nobody answers" in row["detail"], row
    assert "modprobe zfs" in row["remedy"] and "zfs-fuse" in row["remedy"], row
    done = fake.isolate("template", "inspect", "deb")
    assert done.returncode == 125 and "ZFS does not answer" in done.stderr and remedy in done.stderr, done
    # what lies elsewhere goes on, and hears of it once; until it can be swept, each time
    for arguments in (["prune"], ["run", "e", "true"], ["-r", "rpool/isolate/deb", "0"]):
        done = fake.isolate(*arguments)
        assert done.returncode == 0 and done.stderr.count("warning") == done.stderr.count(remedy) == 1, done


def kept_there(instance, name):
    """A kept sandbox of another storage that is written down as one of the fake dataset's."""
    assert instance.run(["--keep", "--name", name], template="e").returncode == 0
    (record,) = (instance.state / "kept").iterdir()
    value = record_in(record)
    clone = instance.state / value["storage"] / "clones" / record.name
    store = instance.state / "zfs/rpool%isolate/clones" / record.name
    store.mkdir()
    shutil.copy(clone / "clone.json", store)
    record.write_text(json.dumps({**value, "storage": "zfs:rpool/isolate"}))
    return record, value


def test_pool_is_not_imported(fake):
    """Nobody is told to make anew what is only not there at the moment."""
    record, before = kept_there(fake, "k")
    fake.have()
    wanted = 'pool "rpool" is not imported; see `zpool import`'
    for arguments in (["diff", "k"], ["start", "k"], ["template", "inspect", "deb"], ["template", "rm", "deb"],
                      ["run", "deb", "true"], ["-r", "rpool/isolate/other", "1"]):
        done = fake.isolate(*arguments)
        assert done.returncode == 125 and wanted in done.stderr and "create" not in done.stderr, done
    (deb,) = [one for one in json.loads(fake.ok("template", "ls", "--json")) if one["name"] == "deb"]
    assert wanted in deb["problem"]
    table = fake.ok("template", "ls")
    assert "PROBLEM" in table and wanted in table
    fake.have("rpool", "rpool/isolate")
    for arguments in (["diff", "k"], ["template", "inspect", "deb"]):
        done = fake.isolate(*arguments)
        assert done.returncode == 125 and "any more" in done.stderr and "create" not in done.stderr, done
    # what somebody wants to have a template of may be made
    done = fake.isolate("-r", "rpool/isolate/other", "1")
    assert done.returncode == 125 and "zfs create rpool/isolate/other" in done.stderr, done
    done = fake.isolate("template", "create", "x", "--from", "dir:/srv", "--storage", "zfs:rpool/other")
    assert done.returncode == 125 and "zfs create rpool/other" in done.stderr, done
    record.write_text(json.dumps(before))
    fake.ok("rm", "k")
    fake.have("rpool", "rpool/isolate", "rpool/isolate/deb")
    assert "PROBLEM" not in fake.ok("template", "ls")
