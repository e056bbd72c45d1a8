# SPDX-License-Identifier: Apache-2.0
"""Kept sandboxes: ps, start, diff, commit, rm, prune."""

import json
import os
import signal
import subprocess
import time

import pytest

from sandboxes import ENGINE, children, comm, live, process_state, receipt, wait_until
from terminal import Terminal


@pytest.fixture
def base(instance, small_root):
    instance.ok("template", "create", "base", "--from", f"dir:{small_root}")
    yield "base"
    instance.isolate("prune", "--kept")
    for one in json.loads(instance.ok("template", "ls", "--json")):
        instance.ok("template", "rm", one["name"])


def keep(instance, base, script, *options, name="k"):
    done = instance.run(["--keep", "--name", name, *options], ["sh", "-c", script], template=base)
    return done


def listed(instance, *options):
    return {one["name"] or one["id"]: one for one in json.loads(instance.ok("ps", "--json", *options))}


def test_keep_and_start(instance, base):
    assert keep(instance, base, "echo one >>/srv/log; cat /srv/log; exit 3").returncode == 3
    done = instance.isolate("start", "k")
    assert (done.returncode, done.stdout) == (3, "one\none\n")
    done = instance.isolate("start", "k", "--", "cat", "/srv/log")
    assert (done.returncode, done.stdout) == (0, "one\none\n")
    # its own command is still the first one
    assert instance.isolate("start", "k").stdout == "one\none\none\n"


def test_keep_after_any_end(instance, base, tmp_path):
    path = tmp_path / "receipt"
    done = instance.run(["--keep", "--name", "k", "--receipt", path, "--timeout", "300ms"],
                        ["sh", "-c", "echo x >/srv/x; sleep 600"], template=base)
    assert done.returncode == 124
    assert receipt(path)["sandbox"]["kept"] is True
    assert instance.ok("start", "k", "--", "cat", "/srv/x") == "x\n"
    assert keep(instance, base, "echo y >/srv/y; kill -9 $$", name="l").returncode == 137
    assert instance.ok("start", "l", "--", "cat", "/srv/y") == "y\n"


def test_keep_without_a_name(instance, base, tmp_path):
    path = tmp_path / "receipt"
    instance.output(["--keep", "--receipt", path], ["touch", "/srv/x"], template=base)
    ident = receipt(path)["sandbox"]["id"]
    assert list(listed(instance, "-a")) == [ident]
    assert instance.ok("diff", ident) == "A /srv/x\n"
    assert instance.ok("start", ident, "--", "ls", "/srv") == "x\n"
    instance.ok("rm", ident)


def test_what_never_ran_is_kept_or_gone_but_never_in_between(instance, base):
    """A command that could not be started leaves no kept sandbox behind without a word."""
    done = instance.run(["--keep", "--name", "k"], ["no-such-command"], template=base)
    assert done.returncode == 127
    if "k" in listed(instance, "-a"):
        instance.ok("rm", "k")
    else:
        assert not [n for n in instance.clones() if n.startswith("overlay/clones/")]


def test_name_of_a_kept_one_is_taken(instance, base):
    keep(instance, base, "true")
    done = keep(instance, base, "true")
    assert done.returncode == 125 and '"k"' in done.stderr
    assert instance.run(["--name", "k"], ["true"], template=base).returncode == 125


def test_ps(instance, base):
    assert listed(instance) == {} and listed(instance, "-a") == {}
    keep(instance, base, "echo 12345 >/srv/x")
    run = instance.popen(["--name", "running"], ["sh", "-c", "echo ready; read x"], template=base,
                         stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    assert set(listed(instance)) == {"running"}
    both = listed(instance, "-a")
    assert set(both) == {"running", "k"}
    assert (both["running"]["state"], both["k"]["state"]) == ("running", "kept")
    assert both["k"]["bytes"] > 0
    assert both["k"]["template"] == base and both["k"]["engine"] == ENGINE.partition(":")[0]
    assert abs(both["k"]["created_us"] / 1e6 - time.time()) < 60
    text = instance.ok("ps", "-a")
    assert "running" in text and "kept" in text and "COMMAND" in text
    run.communicate("x\n")
    assert set(listed(instance, "-a")) == {"k"}


def test_ps_names_the_generation(instance, base):
    keep(instance, base, "true")
    shown = json.loads(instance.ok("template", "inspect", "--json", base))["generations"]
    assert listed(instance, "-a")["k"]["generation"] == shown[0]["id"]


def test_ps_with_a_hostile_command(instance, base):
    instance.run(["--keep", "--name", "k"], ["sh", "-c", ": \x1b[31m\n evil\u202e"], template=base)
    text = instance.ok("ps", "-a")
    assert "\x1b" not in text
    assert "sh -c : \\x1b[31m\\x0a evil\\xe2\\x80\\xae\n" in text, "not escaped, or twice"
    assert len(text.splitlines()) == 2


def test_inspect(instance, base):
    keep(instance, base, "true", "-e", "A=1")
    shown = json.loads(instance.ok("inspect", "k"))
    assert shown["name"] == "k" and shown["request"]["argv"] == ["sh", "-c", "true"]
    done = instance.isolate("inspect", "none")
    assert done.returncode == 125 and '"none"' in done.stderr


def test_start_repeats_the_options(instance, base, tmp_path):
    (tmp_path / "f").write_text("bound\n")
    script = "cat /mnt/f; echo $A; pwd; id -u; hostname; touch /etc/x 2>/dev/null || echo read-only"
    options = ["-v", f"{tmp_path}:/mnt:ro", "-e", "A=value", "-w", "/srv", "-u", "user",
               "--hostname", "box", "--tmpfs", "/scratch:1M"]
    first = keep(instance, base, script, *options).stdout
    assert first == "bound\nvalue\n/srv\n1000\nbox\nread-only\n"
    assert instance.isolate("start", "k").stdout == first


def test_start_on_the_same_directory_only(instance, base, small_root, tmp_path):
    """A path may lead elsewhere by the time that a kept sandbox is started again."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    assert keep(instance, str(root), "echo x >/srv/x").returncode == 0
    root.rename(tmp_path / "moved")
    subprocess.run(["cp", "-a", small_root, root], check=True)
    done = instance.isolate("start", "k", "--", "cat", "/srv/x")
    assert done.returncode == 125 and "another directory" in done.stderr and str(root) in done.stderr
    root.rename(tmp_path / "other")
    (tmp_path / "moved").rename(root)
    assert instance.ok("start", "k", "--", "cat", "/srv/x") == "x\n"


def test_start_has_the_same_hostname(instance, base):
    first = keep(instance, base, "hostname").stdout
    assert first == "k\n"
    assert instance.ok("start", "k") == first


def test_start_with_a_terminal(instance, base):
    keep(instance, base, "tty")
    with Terminal([instance.run_argv()[0], "start", "-t", "k"], instance.env) as terminal:
        terminal.expect(rb"/dev/pts/0")
        assert terminal.wait() == 0
        assert terminal.is_restored()


def test_start_with_a_receipt(instance, base, tmp_path):
    keep(instance, base, "exit 5")
    path = tmp_path / "receipt"
    assert instance.isolate("start", "--receipt", path, "k").returncode == 5
    got = receipt(path)
    assert (got["kind"], got["code"]) == ("exited", 5)
    assert got["sandbox"]["name"] == "k" and got["sandbox"]["template"] == base


def test_start_keeps_files_and_their_owners(instance, base):
    keep(instance, base, "touch /srv/a /srv/b; chown 1000:1000 /srv/b; chmod 4755 /srv/a; mkfifo /srv/f")
    out = instance.ok("start", "k", "--", "stat", "-c", "%u:%g:%a", "/srv/a", "/srv/b", "/srv/f")
    assert out.split() == ["0:0:4755", "1000:1000:644", "0:0:644"]


def test_start_of_what_runs(instance, base):
    keep(instance, base, "true")
    run = instance.popen_isolate("start", "k", "--", "sh", "-c", "echo ready; read x", stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    for verb in (["start", "k"], ["diff", "k"], ["rm", "k"], ["commit", "k", "other"]):
        done = instance.isolate(*verb)
        assert done.returncode == 125, (verb, done)
        assert "running" in done.stderr
    assert listed(instance)["k"]["state"] == "running"
    run.communicate("x\n")
    assert run.returncode == 0
    assert listed(instance, "-a")["k"]["state"] == "kept"


def test_start_of_what_is_not_there(instance, base):
    done = instance.isolate("start", "none")
    assert done.returncode == 125 and '"none"' in done.stderr
    assert base


def test_start_that_fails_keeps_it(instance, base):
    keep(instance, base, "echo x >/srv/x")
    assert instance.isolate("start", "k", "--", "no-such-command").returncode == 127
    assert instance.ok("start", "k", "--", "cat", "/srv/x") == "x\n"


def test_start_whose_bind_is_gone(instance, base, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    keep(instance, base, "true", "-v", f"{source}:/mnt")
    source.rmdir()
    done = instance.isolate("start", "k")
    assert done.returncode == 125 and str(source) in done.stderr


# killed at any moment


def test_kept_survives_the_death_of_all(instance, base):
    for step in range(16):
        name = f"k{step}"
        run = instance.popen(["--keep", "--name", name], ["sh", "-c", "echo x >/srv/x; sleep 600"], template=base)
        if step % 2:
            wait_until(lambda: instance.member_named("sleep"))
        else:
            time.sleep(step * 0.001)
        # one that it starts just now would go on beside the next
        os.kill(run.pid, signal.SIGSTOP)
        wait_until(lambda: process_state(run.pid) in "TZ", 20, "the client to stop")
        started = children(run.pid)
        pid = next((p for p in started if comm(p) == "isolated"), 0)
        if step % 4 < 2 and pid:
            os.kill(pid, signal.SIGKILL)
        run.kill()
        run.communicate()
        # one that has not come to its command yet must not be taken for the next
        wait_until(lambda: not any(live(p) for p in started), 20, "the end of isolated")
        wait_until(lambda: not instance.members(), 20, "the end of the processes")
        there = listed(instance, "-a")
        wait_until(lambda: not instance.leaves(), 20, "the end of the cgroup")
        if step % 2:
            assert name in there, step
        if name in there:
            wait_until(lambda: listed(instance, "-a")[name]["state"] == "kept", 20, "it to be kept")
            out = instance.isolate("start", name, "--", "cat", "/srv/x")
            assert out.returncode == 0 or step % 2 == 0, out
            instance.ok("rm", name)
        assert not [n for n in instance.clones() if n.startswith("overlay/clones/")], step


def test_records_half_written_go(instance, base):
    """What isolated was writing when it was killed; the next command, or prune at the latest."""
    halves = [directory / ".base_1234567890123456789.new"
              for directory in (instance.state / "kept", instance.runtime / "sandboxes")]
    for half in halves:
        half.write_text("{")
    try:
        instance.output([], ["true"], template=base)
        instance.ok("prune")
        assert not [half for half in halves if half.exists()]
    finally:
        for half in halves:
            half.unlink(missing_ok=True)


def test_kept_survives_a_boot(instance, base):
    keep(instance, base, "echo x >/srv/x; chown 1000:1000 /srv/x")
    subprocess.run(["umount", instance.runtime], check=True)
    assert instance.ok("start", "k", "--", "stat", "-c", "%u:%g", "/srv/x") == "1000:1000\n"
    # its id range is not given to another one
    assert instance.run([], ["true"], template=base).returncode == 0
    assert len([r for r in instance.records() if r.startswith("ids/")]) == 1


# diff


CHANGES = """
    echo new >/srv/new; mkdir /srv/dir; echo x >/srv/dir/x; rm /etc/issue; echo y >>/etc/group;
    ln -s new /srv/link; mkfifo /srv/fifo; chmod 700 /root; touch '/srv/a
b'
"""


def test_diff(instance, base):
    keep(instance, base, CHANGES)
    lines = instance.ok("diff", "k").splitlines()
    assert set(lines) >= {"A /srv/new", "A /srv/dir", "A /srv/dir/x", "D /etc/issue", "C /etc/group",
                          "A /srv/link", "A /srv/fifo", "C /root"}
    assert not [line for line in lines if "hosts" in line or "localtime" in line or "resolv" in line]
    assert len(lines) == 9, lines
    changes = json.loads(instance.ok("diff", "--json", "k"))
    assert {(c["kind"], c["path"]) for c in changes} >= {("A", "/srv/a\nb"), ("D", "/etc/issue")}
    assert len(changes) == 9


def test_diff_of_nothing(instance, base):
    keep(instance, base, "true")
    assert instance.ok("diff", "k") == ""
    assert json.loads(instance.ok("diff", "--json", "k")) == []
    keep(instance, base, "touch /tmp/x /run/x /dev/shm/x; echo x >/etc/group.new; rm /etc/group.new", name="l")
    assert [line for line in instance.ok("diff", "l").splitlines() if not line.startswith("C /etc")] == []


def test_diff_of_a_directory_that_was_replaced(instance, base):
    keep(instance, base, "rm -r /srv; mkdir /srv; touch /srv/x; rm -rf /var; echo file >/var")
    lines = instance.ok("diff", "k").splitlines()
    assert "A /srv/x" in lines
    assert "D /var/tmp" in lines or "C /var" in lines


def test_diff_with_many_changes(instance, base):
    keep(instance, base, "i=0; while [ $i -lt 20000 ]; do : >/srv/$i; i=$((i+1)); done")
    lines = instance.ok("diff", "k").splitlines()
    assert len(lines) == 20000
    assert lines == sorted(lines, key=os.fsencode)


def test_diff_of_what_is_not_there(instance):
    done = instance.isolate("diff", "none")
    assert done.returncode == 125 and '"none"' in done.stderr


def test_diff_on_a_one_off_root(instance, small_root):
    instance.output(["--keep", "--name", "d"], ["sh", "-c", "echo x >/srv/x"], template=str(small_root))
    assert instance.ok("diff", "d") == "A /srv/x\n"
    assert instance.ok("start", "d", "--", "cat", "/srv/x") == "x\n"
    instance.ok("rm", "d")
    assert not (small_root / "srv/x").exists()


# commit


def test_commit_to_a_new_template(instance, base):
    keep(instance, base, CHANGES)
    instance.ok("commit", "k", "fresh")
    script = "cat /srv/new /srv/dir/x; stat -c %a /root; test -e /etc/issue"
    out = instance.run([], ["sh", "-c", script], template="fresh")
    assert (out.returncode, out.stdout) == (1, "new\nx\n700\n")
    # the old one is as it was
    assert instance.output([], ["cat", "/etc/issue"], template=base) == "a small system\n"


def test_commit_to_its_own_template_is_a_generation(instance, base):
    keep(instance, base, "echo newer >/etc/issue")
    instance.ok("commit", "k", base)
    assert instance.output([], ["cat", "/etc/issue"], template=base) == "newer\n"
    # the sandbox goes on from there
    assert instance.ok("start", "k", "--", "cat", "/etc/issue") == "newer\n"
    assert instance.ok("diff", "k") == ""


def test_commit_twice(instance, base):
    keep(instance, base, "echo 1 >/srv/1")
    instance.ok("commit", "k", base)
    instance.ok("start", "k", "--", "sh", "-c", "echo 2 >/srv/2")
    assert "A /srv/2" in instance.ok("diff", "k")
    instance.ok("commit", "k", base)
    assert instance.output([], ["ls", "/srv"], template=base) == "1\n2\n"


def test_commit_twice_in_a_row(instance, base):
    keep(instance, base, "echo 1 >/srv/1")
    ids = [generation["id"] for generation in generations(instance, base)]
    instance.ok("commit", "k", base)
    # what isolate wrote into the clone is still nobody's change
    assert instance.ok("diff", "k") == ""
    assert "nothing has changed" in instance.isolate("commit", "k", base).stderr
    assert instance.output([], ["ls", "/srv"], template=base) == "1\n"
    # and no name is used twice, however fast it goes
    for number in range(2, 6):
        ids += [generation["id"] for generation in generations(instance, base)]
        instance.ok("start", "k", "--", "touch", f"/srv/{number}")
        instance.ok("commit", "k", base)
    assert len(ids) == len(set(ids)) == 5


def generations(instance, template):
    return json.loads(instance.ok("template", "inspect", "--json", template))["generations"]


def test_commit_of_nothing(instance, base):
    keep(instance, base, "true", "--hostname", "box")
    done = instance.isolate("commit", "k", base)
    assert done.returncode == 0 and "nothing has changed" in done.stderr
    assert len(json.loads(instance.ok("template", "inspect", "--json", base))["generations"]) == 1
    # what isolate wrote is still known to be isolate's
    assert instance.ok("diff", "k") == ""
    assert instance.ok("start", "k", "--", "hostname") == "box\n"
    instance.ok("commit", "k", "copy")
    assert instance.output([], ["cat", "/etc/issue"], template="copy") == "a small system\n"


def test_commit_to_another_template_that_exists(instance, base, small_root):
    instance.ok("template", "create", "other", "--from", f"dir:{small_root}")
    keep(instance, base, "echo newer >/etc/issue")
    done = instance.isolate("commit", "k", "other")
    assert done.returncode == 125
    assert f'"other" exists, and clone {base}_' in done.stderr and f'belongs to template "{base}"' in done.stderr
    assert instance.output([], ["cat", "/etc/issue"], template="other") == "a small system\n"


def test_commit_moves_to_the_template_that_it_made(instance, base):
    """From then on it is of that one, and no longer of the one that it was made from."""
    keep(instance, base, "echo newer >/etc/issue")
    instance.ok("commit", "k", "fresh")
    instance.ok("start", "k", "--", "touch", "/srv/more")
    assert instance.ok("diff", "k").splitlines() == ["A /srv/more"]
    done = instance.isolate("commit", "k", base)
    assert done.returncode == 125
    assert f'"{base}" exists' in done.stderr and 'belongs to template "fresh"' in done.stderr
    instance.ok("commit", "k", "fresh")
    assert instance.output([], ["ls", "/srv/more"], template="fresh") == "/srv/more\n"


def test_commit_with_a_bad_name(instance, base):
    keep(instance, base, "true")
    for name in ("a/b", "", "..", "A", "x" * 300):
        assert instance.isolate("commit", "k", name).returncode == 125
    assert instance.isolate("commit", "none", "fresh").returncode == 125


def test_commit_has_nothing_of_isolates_own(instance, base):
    keep(instance, base, "echo x >/srv/x", "--hostname", "secret-host")
    instance.ok("commit", "k", "fresh")
    for tree in (instance.state / "overlay/layers").glob("*/tree/etc"):
        for name in ("hosts", "localtime"):
            assert not (tree / name).exists()


# rm, prune


def test_rm(instance, base):
    keep(instance, base, "true")
    keep(instance, base, "true", name="l")
    instance.ok("rm", "k", "l")
    assert listed(instance, "-a") == {}
    done = instance.isolate("rm", "k")
    assert done.returncode == 125 and '"k"' in done.stderr


def test_rm_of_trees_that_resist(instance, base):
    script = "cd /srv; i=0; while [ $i -lt 600 ]; do mkdir directory-with-a-long-name; " \
             "cd directory-with-a-long-name; i=$((i+1)); done; touch x; mkdir /srv/closed; touch /srv/closed/x; " \
             "chmod 0 /srv/closed"
    assert keep(instance, base, script).returncode == 0
    instance.ok("rm", "k")
    assert not [n for n in instance.clones() if n.startswith("overlay/clones/")]


def test_prune_leaves_kept_ones_alone(instance, base):
    keep(instance, base, "echo x >/srv/x")
    instance.ok("prune")
    assert instance.ok("start", "k", "--", "cat", "/srv/x") == "x\n"
    instance.ok("prune", "--kept")
    assert listed(instance, "-a") == {}


def test_prune_leaves_the_running_alone(instance, base):
    run = instance.popen(["--keep", "--name", "k"], ["sh", "-c", "echo ready; read x; cat /etc/issue"],
                         template=base, stdin=subprocess.PIPE)
    assert run.stdout.readline() == "ready\n"
    instance.ok("prune", "--kept")
    out, _ = run.communicate("x\n", timeout=20)
    assert (out, run.returncode) == ("a small system\n", 0)
    assert set(listed(instance, "-a")) == {"k"}


def test_kept_holds_its_generation(instance, base):
    keep(instance, base, "echo x >/srv/x")
    instance.ok("template", "update", base, "--", "sh", "-c", "echo newer >/etc/issue")
    assert instance.ok("start", "k", "--", "cat", "/etc/issue") == "a small system\n"
    assert len(json.loads(instance.ok("template", "inspect", "--json", base))["generations"]) == 2
    instance.ok("rm", "k")
    wait_until(
        lambda: len(json.loads(instance.ok("template", "inspect", "--json", base))["generations"]) == 1,
        5, "the end of the old generation")


def test_commit_to_its_own_template_that_has_moved_on(instance, base):
    """What an update made meanwhile is not lost without a word."""
    keep(instance, base, "echo kept >/srv/kept")
    instance.ok("template", "update", base, "--", "sh", "-c", "echo update >/srv/update")
    done = instance.isolate("commit", "k", base)
    seen = set(instance.output([], ["ls", "/srv"], template=base).split())
    if done.returncode == 0:
        assert seen == {"kept", "update"}, done
    else:
        assert done.returncode == 125 and seen == {"update"}
