# SPDX-License-Identifier: Apache-2.0
"""Templates: made, changed, gone back, removed; never half of it."""

import json
import os
import signal
import struct
import subprocess
import tarfile
import time

import pytest

from sandboxes import BUILD, children, comm, receipt, wait_until
from terminal import Terminal


def templates(instance):
    return {t["name"]: t for t in json.loads(instance.ok("template", "ls", "--json"))}


def generations(instance, name):
    return json.loads(instance.ok("template", "inspect", "--json", name))["generations"]


def current(instance, name):
    (one,) = [g["id"] for g in generations(instance, name) if g["current"]]
    return one


def tree_hash(instance, name):
    return instance.ok("template", "inspect", "--hash", name).strip()


def inside(instance, name, script, *options):
    return instance.output(options, ["sh", "-c", script], template=name)


@pytest.fixture
def base(instance, small_root):
    """A template, whole again for each test."""
    instance.ok("template", "create", "base", "--from", f"dir:{small_root}")
    yield "base"
    instance.ok("template", "rm", "base")


# create


def test_create_from_a_directory(instance, base, small_root):
    assert inside(instance, base, "cat /etc/issue") == "a small system\n"
    shown = templates(instance)[base]
    assert shown["storage"] == (instance.disk.storage if instance.disk else "overlay")
    assert shown["source"] == f"dir:{small_root}"
    assert base in instance.ok("template", "ls")


def test_create_keeps_what_a_tree_holds(instance, tmp_path, also, small_root):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    odd = root / "srv"
    (odd / "setuid").write_text("x")
    (odd / "setuid").chmod(0o4755)
    (odd / "secret").write_text("x")
    (odd / "secret").chmod(0o600)
    os.chown(odd / "secret", 1000, 1001)
    os.link(odd / "secret", odd / "hard")
    (odd / "link").symlink_to("/no/where")
    os.mkfifo(odd / "fifo")
    (odd / "new\nline ü").write_text("x")
    (odd / "sticky").mkdir()
    (odd / "sticky").chmod(0o1777)
    os.setxattr(odd / "secret", "user.test", b"value")
    with open(odd / "sparse", "wb") as file:
        file.truncate(1 << 30)
    os.utime(odd / "secret", ns=(1234567890123456789, 1234567890123456789))
    also("tree")
    instance.ok("template", "create", "tree", "--from", f"dir:{root}")
    script = """cd /srv; stat -c '%n %a %u:%g %h %F' setuid secret hard link fifo;
                stat -c '%n %a %u:%g %F' sticky;
                stat -c %Y.%s secret sparse; stat -c %b sparse; readlink link; ls -b"""
    lines = inside(instance, "tree", script).splitlines()
    assert lines[:6] == [
        "setuid 4755 0:0 1 regular file", "secret 600 1000:1001 2 regular file",
        "hard 600 1000:1001 2 regular file", "link 777 0:0 1 symbolic link", "fifo 644 0:0 1 fifo",
        "sticky 1777 0:0 directory",
    ]
    assert lines[6] == "1234567890.1"
    assert lines[7].endswith(f".{1 << 30}") and int(lines[8]) < 100
    assert lines[9] == "/no/where"
    assert [line for line in lines if line.startswith("new\\nline")]
    # the copy is no link to the original
    (root / "etc/issue").write_text("changed\n")
    assert inside(instance, "tree", "cat /etc/issue") == "a small system\n"


@pytest.mark.parametrize("flags", ["-c", "-cz", "-cj", "-cJ", "-c --zstd"])
def test_create_from_a_tar(instance, tmp_path, small_root, also, flags):
    path = tmp_path / "root.tar.any"
    made = subprocess.run(["tar", *flags.split(), "-f", path, "-C", small_root, "."],
                          capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"tar {flags} does not work here")
    also("tarred")
    instance.ok("template", "create", "tarred", "--from", f"tar:{path}")
    assert inside(instance, "tarred", "cat /etc/issue; stat -c %u /etc/issue") == "a small system\n0\n"


def test_create_from_a_tar_whose_root_is_called_so(instance, tmp_path, small_root, also):
    """As umoci and others write the entry of "/" itself."""
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        root = tarfile.TarInfo("x")
        root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o751, 5
        header = bytearray(root.tobuf())
        header[0:1] = b"/"
        header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
        tar.fileobj.write(header)
        tar.offset += len(header)
        for name in sorted(os.listdir(small_root)):
            tar.add(small_root / name, name)
    also("called")
    instance.ok("template", "create", "called", "--from", f"tar:{archive}")
    # lxc makes a file in a root that can be written, and removes it
    assert inside(instance, "called", "stat -c '%a %Y' /; cat /etc/issue", "--read-only") == \
        "751 5\na small system\n"


def test_create_from_a_relative_path(instance, small_root, also):
    also("rel")
    instance.ok("template", "create", "rel", "--from", f"dir:{small_root.name}", cwd=small_root.parent)
    assert inside(instance, "rel", "cat /etc/issue") == "a small system\n"


def test_create_of_the_debian_root(instance, root_tar, also):
    also("deb")
    instance.ok("template", "create", "deb", "--from", f"tar:{root_tar}", timeout=120)
    assert "ID=debian" in inside(instance, "deb", "cat /etc/os-release")
    assert inside(instance, "deb", "dpkg --version | head -n 1; apt-get --version | head -n 1")


def test_create_from_debian(instance, also):
    """By mmdebstrap from the machine's own mirror: only where a test may use the network."""
    if not os.environ.get("ISOLATE_TEST_NETWORK"):
        pytest.skip("ISOLATE_TEST_NETWORK is not set")
    also("fresh")
    done = instance.isolate("template", "create", "fresh", "--from", "debian", timeout=600)
    assert done.returncode == 0, done
    assert inside(instance, "fresh", "cat /etc/debian_version")


def hostile_tar(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = link
            tar.addfile(info)
    return path


@pytest.mark.parametrize("members", [
    [("/etc/isolate-e2e-escape", tarfile.REGTYPE, "")],
    [("../../../../../../../../../../../../etc/isolate-e2e-escape", tarfile.REGTYPE, "")],
    [("a/../../x", tarfile.REGTYPE, "")],
    [("link", tarfile.SYMTYPE, "/etc"), ("link/isolate-e2e-escape", tarfile.REGTYPE, "")],
    [("link", tarfile.SYMTYPE, ".."), ("link/isolate-e2e-escape", tarfile.REGTYPE, "")],
    [("hard", tarfile.LNKTYPE, "/etc/passwd")],
    [("hard", tarfile.LNKTYPE, "../../../../../../../../etc/passwd")],
    [("link", tarfile.SYMTYPE, "/etc"), ("hard", tarfile.LNKTYPE, "link/passwd")],
])
def test_create_from_a_hostile_tar(instance, tmp_path, members):
    path = hostile_tar(tmp_path / "hostile.tar", *members)
    done = instance.isolate("template", "create", "hostile", "--from", f"tar:{path}")
    assert done.returncode == 125
    assert members[-1][0] in done.stderr, done.stderr
    assert "hostile" not in templates(instance)
    assert not os.path.exists("/etc/isolate-e2e-escape")
    assert os.stat("/etc/passwd").st_nlink == 1


@pytest.mark.parametrize("source", ["dir:/no/such/directory", "dir:/etc/passwd", "tar:/no/such/file", "tar:/etc",
                                    "tar:/etc/passwd", "nonsense:x", "", "dir:", "debian:no-such-suite-name;x",
                                    "debian:../x", "dir", "docker:x"])
def test_create_from_a_bad_source(instance, source):
    done = instance.isolate("template", "create", "bad", "--from", source)
    assert done.returncode == 125, done
    assert done.stderr.startswith("isolate: ")
    assert templates(instance) == {}


def test_create_from_a_truncated_tar(instance, tmp_path, small_root):
    path = tmp_path / "t.tar.gz"
    subprocess.run(["tar", "-czf", path, "-C", small_root, "."], check=True)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    done = instance.isolate("template", "create", "cut", "--from", f"tar:{path}")
    assert done.returncode == 125
    assert str(path) in done.stderr
    assert templates(instance) == {}


def test_create_without_from(instance):
    done = instance.isolate("template", "create", "x")
    assert done.returncode == 125 and "--from" in done.stderr


def test_create_of_a_name_that_exists(instance, base, small_root):
    before = tree_hash(instance, base)
    done = instance.isolate("template", "create", base, "--from", f"dir:{small_root}")
    assert done.returncode == 125
    assert "exists" in done.stderr and "template update" in done.stderr
    assert tree_hash(instance, base) == before


def test_create_with_unknown_storage(instance, small_root):
    done = instance.isolate("template", "create", "x", "--storage", "zsf", "--from", f"dir:{small_root}")
    assert done.returncode == 125 and "zsf" in done.stderr


def test_quiet_create_says_nothing(instance, small_root, also):
    also("q")
    done = instance.isolate("template", "create", "-q", "q", "--from", f"dir:{small_root}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_killed_create_leaves_nothing(instance, rootfs):
    """The client, isolated or the worker, at many moments."""
    for step in range(24):
        run = instance.popen_isolate("template", "create", "cut", "--from", f"dir:{rootfs}")
        time.sleep(0.002 + step * 0.012)
        victims = {
            0: lambda: [run.pid],
            1: lambda: [pid for pid in children(run.pid) if comm(pid) == "isolated"],
            2: lambda: instance.members()[:1],
        }[step % 3]()
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _, err = run.communicate(timeout=60)
        if step % 3 and victims:
            # 123: isolated died, and the client cannot know how far it came
            assert run.returncode in (0, 123, 125), (step, run.returncode, err)
            assert run.returncode == 0 or err
        names = list(templates(instance))  # the next command
        if names:  # made before the blow fell
            instance.ok("template", "rm", "cut")
        wait_until(
            lambda: not [n for n in instance.clones() if n.startswith(("overlay/imports/", "overlay/layers/"))]
            and not instance.records_of_sandboxes() and not instance.leaves(),
            20, f"the end of everything (step {step})")


# ls, inspect, rm


def test_ls_of_nothing(instance):
    assert templates(instance) == {}
    assert instance.isolate("template", "ls").returncode == 0


def test_inspect(instance, base):
    shown = json.loads(instance.ok("template", "inspect", "--json", base))
    assert shown["name"] == base
    (only,) = shown["generations"]
    assert only["current"] and only["bytes"] > 100000
    assert abs(only["created"] - time.time()) < 60
    text = instance.ok("template", "inspect", base)
    assert only["id"] in text and base in text


def test_inspect_of_a_given_generation(instance, base):
    """Only that one, in the table and in JSON; one that is not there is an error in either form."""
    instance.ok("template", "snapshot", base)
    first = current(instance, base)
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    second = current(instance, base)
    for wanted, other in ((first, second), (second, first)):
        (only,) = generations(instance, f"{base}@{wanted}")
        assert (only["id"], only["current"]) == (wanted, wanted == second)
        words = instance.ok("template", "inspect", f"{base}@{wanted}").split()
        assert wanted in words and other not in words
    for bad in ("20200101T000000Z", first[:-1], "x", ""):
        for options in ([], ["--json"], ["--hash"]):
            done = instance.isolate("template", "inspect", *options, f"{base}@{bad}")
            assert (done.returncode, done.stdout) == (125, "")
            assert f'has no generation "{bad}"' in done.stderr, done


def test_hash_is_of_the_whole_tree(instance, base, small_root, also, tmp_path):
    before = tree_hash(instance, base)
    assert len(before) == 64 and int(before, 16)
    also("same")
    also("other")
    instance.ok("template", "create", "same", "--from", f"dir:{small_root}")
    assert tree_hash(instance, "same") == before
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", small_root, copy], check=True)
    (copy / "etc/issue").chmod(0o640)
    instance.ok("template", "create", "other", "--from", f"dir:{copy}")
    assert tree_hash(instance, "other") != before


def test_hash_is_unchanged_by_runs(instance, base):
    before = tree_hash(instance, base)
    inside(instance, base, "rm -rf /etc /usr/lib/none; echo x >/x; mv /srv /srv2; chmod 700 /root")
    assert tree_hash(instance, base) == before


def test_rm(instance, small_root):
    instance.ok("template", "create", "gone", "--from", f"dir:{small_root}")
    instance.ok("template", "rm", "gone")
    assert templates(instance) == {}
    assert instance.run([], ["true"], template="gone").returncode == 125


def test_rm_while_a_sandbox_runs(instance, small_root):
    """The sandbox keeps what it has; then all of it goes."""
    instance.ok("template", "create", "used", "--from", f"dir:{small_root}")
    run = instance.popen([], ["sh", "-c", "echo ready; read x; cat /etc/issue; ls /usr/bin >/dev/null"],
                         template="used", stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    done = instance.isolate("template", "rm", "used")
    assert done.returncode in (0, 125)
    out, _ = run.communicate("x\n", timeout=20)
    assert (out, run.returncode) == ("a small system\n", 0)
    if done.returncode == 125:
        assert '"used"' in done.stderr or "use" in done.stderr
        instance.ok("template", "rm", "used")
    assert templates(instance) == {}


# update, snapshot, rollback


def test_update(instance, base):
    first = current(instance, base)
    done = instance.isolate("template", "update", "--network", "none", base, "--", "sh", "-c",
                            "echo new >/srv/new; rm /etc/issue; echo out")
    assert (done.returncode, done.stdout) == (0, "out\n")
    second = current(instance, base)
    assert second != first
    assert second in done.stderr
    assert inside(instance, base, "cat /srv/new; ls /etc/issue 2>&1 | grep -c issue; true").startswith("new\n")
    assert instance.run([], ["cat", "/etc/issue"], template=base).returncode == 1


def test_update_that_changes_nothing(instance, base):
    before = generations(instance, base), tree_hash(instance, base), instance.clones()
    for script in ("true", "touch /srv/x; rm /srv/x; cat /etc/hosts"):
        done = instance.isolate("template", "update", "--network", "none", base, "--", "sh", "-c", script)
        assert done.returncode == 0
        assert "nothing has changed" in done.stderr and before[0][0]["id"] in done.stderr
    assert (generations(instance, base), tree_hash(instance, base), instance.clones()) == before


def test_update_that_fails_discards(instance, base):
    before = generations(instance, base), tree_hash(instance, base), instance.clones()
    for script, status in (("echo x >/x; exit 3", 3), ("kill -9 $$", 137)):
        done = instance.isolate("template", "update", "--network", "none", base, "--", "sh", "-c", script)
        assert done.returncode == status
        assert "unchanged" in done.stderr
    done = instance.isolate("template", "update", base, "--", "no-such-command")
    assert done.returncode == 127
    done = instance.isolate("template", "update", "--timeout", "200ms", base, "--", "sleep", "600")
    assert done.returncode == 124
    assert (generations(instance, base), tree_hash(instance, base), instance.clones()) == before


def test_update_leaves_nothing_of_the_host_in_it(instance, base, small_root):
    instance.ok("template", "update", base, "--", "sh", "-c", "echo x >/srv/x")
    assert not (small_root / "etc/hosts").exists()
    done = instance.run(["--keep", "--name", "look"], ["true"], template=base)
    assert done.returncode == 0
    # what isolate itself provides to each run is no change
    assert instance.ok("diff", "look") == ""
    instance.ok("rm", "look")
    layers = instance.state / "overlay/layers"
    for tree in layers.glob("*/tree"):
        for name in ("etc/hosts", "etc/resolv.conf", "etc/localtime"):
            path = tree / name
            assert not path.is_file(), path


def test_update_keeps_ids(instance, base):
    instance.ok("template", "update", base, "--", "sh", "-c",
                "touch /srv/a /srv/b; chown 1000:1000 /srv/b; chmod 4755 /srv/a; mkfifo /srv/f")
    out = inside(instance, base, "stat -c '%u:%g:%a' /srv/a /srv/b /etc/passwd")
    assert out.split() == ["0:0:4755", "1000:1000:644", "0:0:644"]


def test_update_keeps_what_the_root_is_like(instance, base, small_root, also, tmp_path):
    """Attributes and ACLs of "/" itself, which hands them down, and which no diff calls changed."""
    acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 7, 3, 4, 5, 2**32 - 1, 16, 7, 2**32 - 1, 32, 5,
                      2**32 - 1)  # user::rwx user:3:rwx group::r-x mask::rwx other::r-x
    change = "mkdir {0}/srv/new; echo x > {0}/srv/new/file; touch -d @5 {0}/srv/new/file {0}/srv/new {0}/srv {0}/etc {0}/"
    hashes = []
    for name in ("before", "after"):
        root = tmp_path / name
        subprocess.run(["cp", "-a", small_root, root], check=True)
        for place in (root, root / "srv"):
            os.setxattr(place, "system.posix_acl_default", acl)
        os.setxattr(root, "user.note", b"of the root")
        os.setxattr(root, "trusted.note", b"of the root")
        os.chown(root, 3, 4)
        os.utime(root, (5, 5))
        if name == "after":
            subprocess.run(["sh", "-c", change.format(root)], check=True)
        also(name)
        instance.ok("template", "create", name, "--from", f"dir:{root}")
        hashes.append(tree_hash(instance, name))
    assert inside(instance, "before", "mkdir /d; stat -c %a /d") == "775\n"
    instance.ok("run", "--keep", "--name", "k", "before", "true")
    assert instance.ok("diff", "k") == ""
    instance.ok("rm", "k")
    instance.ok("template", "update", "before", "--", "sh", "-c", change.format(""))
    assert [tree_hash(instance, "before")] == hashes[1:]


def test_old_generation_goes_with_its_last_sandbox(instance, base):
    first = current(instance, base)
    run = instance.popen([], ["sh", "-c", "echo ready; read x; cat /etc/issue"], template=base,
                         stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    assert [g["id"] for g in generations(instance, base) if not g["current"]] == [first]
    assert inside(instance, base, "cat /etc/issue") == "newer\n"
    out, _ = run.communicate("x\n", timeout=20)
    assert out == "a small system\n"
    wait_until(lambda: len(generations(instance, base)) == 1, 20, "the end of the old generation")


def test_many_updates_in_a_row(instance, base):
    for i in range(12):
        instance.ok("template", "update", base, "--", "sh", "-c", f"echo {i} >/srv/{i}; rm -f /srv/{i - 1}")
    assert inside(instance, base, "ls /srv") == "11\n"
    assert len(generations(instance, base)) == 1


def test_two_updates_at_once(instance, base):
    """Neither is lost in silence: the second is refused, or builds on the first."""
    runs = [
        instance.popen_isolate("template", "update", base, "--", "sh", "-c", f"sleep 0.3; touch /srv/{i}")
        for i in range(2)
    ]
    results = [(run.communicate(timeout=60)[1], run.returncode) for run in runs]
    seen = inside(instance, base, "ls /srv").split()
    assert sorted(seen) == sorted(str(i) for i, (_, status) in enumerate(results) if status == 0), results


def test_run_of_a_given_generation(instance, base):
    instance.ok("template", "snapshot", base)
    first = current(instance, base)
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    assert inside(instance, f"{base}@{first}", "cat /etc/issue") == "a small system\n"
    assert inside(instance, base, "cat /etc/issue") == "newer\n"
    done = instance.run([], ["true"], template=f"{base}@20200101T000000Z")
    assert done.returncode == 125 and "20200101T000000Z" in done.stderr
    for bad in ("x", "../..", ""):
        assert instance.run([], ["true"], template=f"{base}@{bad}").returncode == 125


def test_receipt_names_the_generation(instance, base, tmp_path):
    path = tmp_path / "receipt"
    instance.output(["--receipt", path], ["true"], template=base)
    got = receipt(path)["sandbox"]
    assert got["template"] == base
    assert got["generation"] == current(instance, base)


def test_snapshot_and_rollback(instance, base):
    instance.ok("template", "snapshot", base)
    kept = current(instance, base)
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    assert kept in [g["id"] for g in generations(instance, base)]
    instance.ok("template", "rollback", base, kept)
    assert inside(instance, base, "cat /etc/issue") == "a small system\n"
    done = instance.isolate("template", "rollback", base, "20200101T000000Z")
    assert done.returncode == 125 and "20200101T000000Z" in done.stderr
    assert inside(instance, base, "cat /etc/issue") == "a small system\n"


def test_rm_of_a_generation(instance, base):
    instance.ok("template", "snapshot", base)
    kept = current(instance, base)
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    instance.ok("template", "rm", f"{base}@{kept}")
    assert kept not in [g["id"] for g in generations(instance, base)]
    assert inside(instance, base, "cat /etc/issue") == "newer\n"
    done = instance.isolate("template", "rm", f"{base}@{current(instance, base)}")
    assert done.returncode == 125 and "current" in done.stderr


def test_killed_update_changes_nothing(instance, base):
    before = generations(instance, base), tree_hash(instance, base)
    for step in range(12):
        run = instance.popen_isolate("template", "update", base, "--", "sh", "-c", "echo x >/srv/x; sleep 600")
        time.sleep(step * 0.003)
        victim = run.pid
        if step % 2:
            victim = next((pid for pid in children(run.pid) if comm(pid) == "isolated"), run.pid)
        os.kill(victim, signal.SIGKILL)
        if victim != run.pid:
            time.sleep(0.01)
            run.kill()
        run.communicate()
        assert (generations(instance, base), tree_hash(instance, base)) == before, step
        wait_until(lambda: not instance.leaves() and not instance.records_of_sandboxes(), 20,
                   f"the end of everything (step {step})")


def test_isolated_killed_at_the_commit_of_an_update(instance, base):
    """Old or new, whole in either case; and the client says which."""
    for step in range(20):
        run = instance.popen_isolate("template", "update", base, "--", "sh", "-c", f"echo {step} >/srv/n")
        pid = wait_until(lambda: next((p for p in children(run.pid) if comm(p) == "isolated"), 0))
        time.sleep(0.006 + step * 0.001)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        _, err = run.communicate(timeout=30)
        now = inside(instance, base, "cat /srv/n 2>/dev/null; cat /etc/issue").split("\n")
        assert now[-2] == "a small system"
        if run.returncode == 0:
            assert now[0] == str(step), (step, err)
        else:
            assert run.returncode in (123, 125), (step, run.returncode, err)
            assert err
        assert len(generations(instance, base)) == 1
    instance.ok("prune")  # a range that was taken and has no record yet waits for this


@pytest.fixture
def session(instance, base):
    """Sits at `isolate template update NAME`."""
    with Terminal([str(BUILD / "isolate"), "template", "update", base],
                  {**instance.env, "TERM": "vt100"}) as terminal:
        terminal.expect(rb"# $")
        yield terminal


def test_interactive_update(instance, base, session):
    session.write("echo newer >/etc/issue\r")
    session.expect(rb"# $")
    session.write("exit\r")
    assert session.wait() == 0
    assert inside(instance, base, "cat /etc/issue") == "newer\n"


@pytest.mark.parametrize("answer, made", [("y", True), ("n", False), ("", False), ("\x04", False)])
def test_interactive_update_that_ends_otherwise_asks(instance, base, session, answer, made):
    session.write("echo newer >/etc/issue\r")
    session.expect(rb"# $")
    session.write("exit 4\r")
    session.expect(rb"status 4.*\[y/N\]")
    session.write(answer if answer == "\x04" else answer + "\r")
    assert session.wait() == (0 if made else 4)
    assert session.is_restored()
    assert inside(instance, base, "cat /etc/issue") == ("newer\n" if made else "a small system\n")


def test_update_of_what_is_not_there(instance):
    done = instance.isolate("template", "update", "none", "--", "true")
    assert done.returncode == 125 and '"none"' in done.stderr


def test_update_of_a_path_or_the_host_is_refused(instance, rootfs):
    for what in (str(rootfs), "@host", "."):
        done = instance.isolate("template", "update", what, "--", "echo", "ran", cwd=rootfs)
        assert (done.returncode, done.stdout) == (125, ""), (what, done)
        assert done.stderr.startswith("isolate: ")


def test_recovery_after_a_boot(instance, base):
    """The runtime directory is empty then: the templates stay, what ran is gone."""
    run = instance.popen([], ["sleep", "600"], template=base)
    wait_until(lambda: instance.member_named("sleep"))
    instance.kill_all()
    run.communicate()
    wait_until(lambda: not instance.members())
    instance.remove_leaves()
    subprocess.run(["umount", instance.runtime], check=True)
    assert inside(instance, base, "cat /etc/issue") == "a small system\n"
    assert not [n for n in instance.clones() if n.startswith("overlay/clones/")]


def test_doctor_finds_nothing_left(instance, base):
    inside(instance, base, "true")
    done = instance.isolate("doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    assert not [c for c in checks if c["result"] == "leftover"], checks


def test_doctor_finds_trash(instance, base):
    """What is left of a clone that would not go: told of until the next collection removes it."""
    inside(instance, base, "true")
    trash = instance.state / "overlay/trash/base_1000000000000000001"
    (trash / "upper/planted").mkdir(parents=True)
    done = instance.isolate("doctor", "--json")
    found = [c for c in json.loads(done.stdout)["checks"] if c["result"] == "leftover"]
    assert len(found) == 1 and "base_1000000000000000001: a removed clone" in found[0]["detail"], found
    instance.ok("prune")
    assert not trash.exists()
