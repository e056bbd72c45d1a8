# SPDX-License-Identifier: Apache-2.0
"""Hooks: commands of the caller's on the host, before the command starts and after it has ended. What
others than root see of a clone is in test_resident_hooks.py."""

import errno
import json
import os
import pathlib
import signal

import pytest

from sandboxes import process_state, receipt, wait_until
from test_old_kernel import without_layers_by_fd

ROUND = ["--pre-hook", "echo made >$ROOTFS/root/by-hook && rm $ROOTFS/etc/issue",
         "--post-hook", "cat $ROOTFS/root/by-command"]
COMMAND = ["sh", "-c", "stat -c %u:%g /root/by-hook; cat /root/by-hook; test -e /etc/issue || echo gone;"
                       " echo back >/root/by-command; exit 7"]


def assert_round(done):
    assert (done.returncode, done.stdout, done.stderr) == (7, "0:0\nmade\ngone\n", "back\n"), done


def test_both_see_the_clone(instance):
    """What the first writes the command finds, as root's, and the second what the command wrote."""
    assert_round(instance.run(ROUND, COMMAND))


@pytest.mark.parametrize("answer", [errno.EBADF, errno.EINVAL])
def test_on_an_old_kernel(instance, answer):
    assert_round(instance.run(ROUND, COMMAND, preexec_fn=without_layers_by_fd(answer)))


def test_what_they_are_told(instance, tmp_path):
    """Variables, an empty standard input, and standard output that is not the command's."""
    script = ('echo "$ISOLATE_HOOK $ISOLATE_NAME $ISOLATE_TEMPLATE ${ISOLATE_STATUS-none} $OWN"; cat;'
              f' echo "$ISOLATE_ID" >>{tmp_path}/ids; pwd')
    done = instance.run(["--name", "n", "--pre-hook", script, "--post-hook", script], ["cat"], input="in\n",
                        env={"OWN": "mine", "ISOLATE_STATUS": "stale"}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "in\n")
    assert done.stderr == (f"pre n {instance.template} none mine\n{tmp_path}\n"
                           f"post n {instance.template} 0 mine\n{tmp_path}\n")
    first, second = (tmp_path / "ids").read_text().split()
    assert first == second and first.startswith(pathlib.Path(instance.template).name)


@pytest.mark.parametrize("command, status", [
    (["sh", "-c", "exit 3"], 3), (["sh", "-c", "kill -9 $$"], 137), (["no-such-command"], 127)])
def test_status_is_the_command_s(instance, command, status):
    """For the second hook too, which is due whenever the first has succeeded."""
    done = instance.run(["--pre-hook", ":", "--post-hook", "echo status $ISOLATE_STATUS; exit 9"], command)
    assert done.returncode == status, done
    assert f"status {status}\n" in done.stderr
    assert "the hook after the end ended with status 9; the exit status is the command's" in done.stderr


def test_post_hook_only_where_something_ran(instance):
    done = instance.run(["--post-hook", "echo ran"], ["no-such-command"])
    assert done.returncode == 127 and "ran\n" not in done.stderr, done
    assert instance.run(["--post-hook", "echo ran"], ["true"]).stderr == "ran\n"


def test_time_of_hooks_is_not_the_command_s(instance):
    done = instance.run(["--timeout", "1s", "--pre-hook", "sleep 1.5", "--post-hook", "sleep 1.2"], ["true"])
    assert done.returncode == 0, done
    done = instance.run(["--timeout", "200ms", "--post-hook", "echo $ISOLATE_STATUS"], ["sleep", "9"])
    assert done.returncode == 124 and "124\n" in done.stderr


def test_receipt(instance, tmp_path):
    path = tmp_path / "receipt"
    assert instance.run(["--receipt", path, *ROUND], COMMAND).returncode == 7
    assert receipt(path)["code"] == 7 and receipt(path)["sandbox"]["exit"] == {"kind": "exited", "code": 7}
    assert instance.run(["--receipt", path, "--pre-hook", "exit 4"]).returncode == 125
    assert receipt(path)["kind"] == "failed" and "status 4" in receipt(path)["error"]


# hooks that fail

def refused(done, *words):
    assert (done.returncode, done.stdout) == (125, ""), done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert "isolate: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("hook, words", [
    ("exit 3", "ended with status 3; the command was not started"),
    ("/no/such/hook", "ended with status 127 (there is no such command)"),
    ("/etc", "ended with status 126 (it cannot be executed)"),
    ("/etc/passwd", "ended with status 126 (it cannot be executed)"),
    ("if", "ended with status 2"),
    ("kill -9 $$", "was killed by signal 9"),
])
def test_failing_pre_hook(instance, tmp_path, hook, words):
    """Nothing is started, the second one has nothing to do, and all is gone when isolate ends."""
    ran = tmp_path / "ran"
    done = instance.run(["--name", "x", "--pre-hook", hook, "--post-hook", f"touch {ran}", "-v", f"{tmp_path}:/o"],
                        ["touch", "/o/ran"])
    refused(done, words)
    assert not ran.exists() and not instance.records_of_sandboxes() and not instance.leaves()
    assert not [name for name in instance.clones() if "/clones/" in name]


@pytest.mark.parametrize("arguments, words", [
    (["--pre-hook", ""], "--pre-hook: the command is empty"),
    (["--post-hook="], "--post-hook: the command is empty"),
    (["-d", "--pre-hook", ":"], "--pre-hook: hooks are run by who waits"),
    (["-d", "--post-hook", ":"], "--post-hook: hooks are run by who waits"),
])
def test_bad_options(instance, arguments, words):
    refused(instance.isolate("run", *arguments, instance.template, "--", "true"), words)


def test_not_for_exec(instance):
    refused(instance.isolate("exec", "--pre-hook", ":", "x", "true"), "--pre-hook")


# hooks that are interrupted

HANGING = "trap '' INT TERM; echo up; sleep 600 & echo $! >{0}; echo $$ >>{0}; wait; wait; sleep 600"


def hanging(instance, tmp_path, when, hook=HANGING, **kw):
    pids = tmp_path / "pids"
    pids.unlink(missing_ok=True)
    client = instance.popen([f"--{when}-hook", hook.format(pids)], ["true"], **kw)
    assert client.stderr.readline() == "up\n"
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    return client, [int(pid) for pid in pids.read_text().split()]


def assert_ended(pids):
    wait_until(lambda: all(process_state(pid) in ("", "Z") for pid in pids), 10, "the end of the hook")


@pytest.mark.parametrize("when", ["pre", "post"])
def test_client_killed_while_a_hook_hangs(instance, tmp_path, when):
    """The hook and its children end with it, whatever they ignore."""
    client, pids = hanging(instance, tmp_path, when)
    client.kill()
    client.communicate()
    assert_ended(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(instance, tmp_path, number):
    client, pids = hanging(instance, tmp_path, "pre", HANGING.replace("trap '' INT TERM;", ""))
    client.send_signal(number)
    out, err = client.communicate(timeout=4)
    assert (client.returncode, out) == (128 + number, ""), err
    assert "interrupted while the hook before the start ran; nothing ran" in err
    assert_ended(pids)
    assert not instance.records_of_sandboxes()


def test_interrupted_twice(instance, tmp_path):
    """One that does not listen is killed at the second signal."""
    client, pids = hanging(instance, tmp_path, "pre")
    client.send_signal(signal.SIGINT)
    with pytest.raises(Exception):
        client.wait(0.5)
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=4)
    assert client.returncode == 130
    assert_ended(pids)


def test_interrupted_post_hook(instance, tmp_path):
    client, pids = hanging(instance, tmp_path, "post")
    client.send_signal(signal.SIGTERM)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=10)
    assert client.returncode == 0 and "the hook after the end was interrupted" in err
    assert_ended(pids)


def test_stopped_and_continued(instance, tmp_path):
    client, pids = hanging(instance, tmp_path, "pre")
    client.send_signal(signal.SIGTSTP)
    wait_until(lambda: process_state(client.pid) == "T" and all(process_state(pid) == "T" for pid in pids))
    client.send_signal(signal.SIGCONT)
    wait_until(lambda: all(process_state(pid) == "S" for pid in pids))
    client.kill()
    client.communicate()
    assert_ended(pids)


def test_what_a_hook_leaves_running_stays(instance, tmp_path):
    """A tunnel that the first opens and the second closes."""
    pid = tmp_path / "pid"
    done = instance.run(["--pre-hook", f"sleep 600 >/dev/null 2>&1 & echo $! >{pid}",
                         "--post-hook", f"kill $(cat {pid}) && echo ended"])
    assert (done.returncode, done.stderr) == (0, "ended\n")
    assert_ended([int(pid.read_text())])


def test_left_behind_writer(instance, tmp_path):
    """A process of the first hook that goes on writing into the clone: then the command is not started,
    because on an overlay nobody could know what comes of it."""
    pid = tmp_path / "pid"
    done = instance.run(["--pre-hook", f"exec 9>$ROOTFS/root/x; sleep 600 >/dev/null 2>&1 & echo $! >{pid}"], ["true"])
    os.kill(int(pid.read_text()), signal.SIGKILL)
    if done.returncode == 0:
        assert instance.disk  # clones that are trees of their own take it
    else:
        refused(done, "the hook before the start has ended", "open for writing; nothing ran")


# the root as a path

def test_programs_that_use_the_path(instance, tmp_path):
    """Also those that close what fds they inherit, or look at links."""
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("content\n")
    hook = (f"set -e; cp -a {tmp_path}/tree $ROOTFS/root/; find $ROOTFS -maxdepth 1 -name etc -printf '%f\\n';"
            "cd $ROOTFS; ls -d etc; test ! -e ../etc/isolate-host; cd /; "
            "python3 -c 'import os, subprocess; subprocess.run([\"ls\", os.environ[\"ROOTFS\"] + \"/root/tree\"])';"
            "bash -c 'exec 3>&- 4>&- 5>&- 6>&-; ls $ROOTFS/root'; tar -C $ROOTFS/root -cf - tree | tar -tf -")
    done = instance.run(["--pre-hook", hook], ["cat", "/root/tree/sub/file"])
    assert (done.returncode, done.stdout) == (0, "content\n"), done
    assert done.stderr.split() == ["etc", "etc", "sub", "tree", "tree/", "tree/sub/", "tree/sub/file"]


def test_dots_do_not_leave_it(instance):
    mark = f"/isolate-test-{os.getpid()}"
    pathlib.Path(mark).touch()
    try:
        hook = f"ls -d $ROOTFS/..{mark} $ROOTFS/../../..{mark} $ROOTFS/etc/../..{mark}"
        done = instance.run(["--pre-hook", hook])
        refused(done, "status 2")
        assert done.stderr.count("No such file") == 3
    finally:
        pathlib.Path(mark).unlink()


def test_not_suid_and_no_devices(instance):
    """Nothing of a clone is more on the host than a file."""
    flags = "python3 -c 'import os; print(os.statvfs(os.environ[\"ROOTFS\"]).f_flag & 6)'"
    done = instance.run(["--pre-hook", flags, "--post-hook", flags])
    assert (done.returncode, done.stderr) == (0, "6\n6\n"), done


# directories themselves, kept sandboxes

def test_directory_itself(instance, small_root, tmp_path):
    root = tmp_path / "root"
    done = instance.call(["cp", "-a", str(small_root), str(root)])
    assert done.returncode == 0
    done = instance.run(["--storage", "dir", "--pre-hook", "echo $ROOTFS; echo a >$ROOTFS/srv/a",
                         "--post-hook", "cat $ROOTFS/srv/b"],
                        ["sh", "-c", "cat /srv/a; echo b >/srv/b"], template=str(root))
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", f"{root}\nb\n")


def test_kept(instance):
    options = ["--keep", "--name", "k"]
    assert_round(instance.run([*options, *ROUND], COMMAND))
    listed = json.loads(instance.ok("ps", "-a", "--json"))
    assert [(one["name"], one["state"]) for one in listed] == [("k", "kept")]
    done = instance.isolate("start", "--pre-hook", "echo second >$ROOTFS/root/by-hook",
                            "--post-hook", "cat $ROOTFS/root/by-hook", "k", "--", "cat", "/root/by-hook")
    assert (done.returncode, done.stdout, done.stderr) == (0, "second\n", "second\n"), done
    # a hook that fails is no reason to lose what was kept
    done = instance.isolate("start", "--pre-hook", "exit 1", "k")
    assert done.returncode == 125
    assert "C /root/by-hook" in (diff := instance.ok("diff", "k")) or "A /root/by-hook" in diff
    instance.ok("rm", "k")
    # but a new one that never ran is not kept
    assert instance.run([*options, "--pre-hook", "exit 1"]).returncode == 125
    assert json.loads(instance.ok("ps", "-a", "--json")) == []


@pytest.mark.parametrize("name", ["PRE_SPAWN_HOOK", "POST_SPAWN_HOOK"])
def test_variables_are_the_original_s(instance, small_root, tmp_path, name):
    root = tmp_path / "root"
    assert instance.call(["cp", "-a", str(small_root), str(root)]).returncode == 0
    done = instance.isolate("-e", "native", "-t", root, "true", env={name: "echo hook $ROOTFS"})
    assert done.returncode == 0 and f"hook {root}\n" in done.stderr, done
    done = instance.isolate("-e", "native", "-t", root, "true", env={name: ""})
    assert done.returncode == 0 and "hook" not in done.stderr, done


def test_explained_and_saved_without_them(instance, tmp_path):
    """A spec says what runs in the sandbox; hooks are of who runs it, and can be given beside it."""
    done = instance.isolate("run", "--explain", "--json", "--pre-hook", f"touch {tmp_path}/ran",
                            "--post-hook", ":", instance.template, "--", "cat", "/root/by-hook")
    assert done.returncode == 0, done
    spec = json.loads(done.stdout)["spec"]
    assert not {"pre_hook", "post_hook"} & set(spec) and not (tmp_path / "ran").exists()
    path = tmp_path / "spec"
    path.write_text(json.dumps(spec))
    assert instance.isolate("run", "--pre-hook", "echo made >$ROOTFS/root/by-hook", "--spec", path).stdout == "made\n"
    path.write_text(json.dumps({**spec, "pre_hook": True}))
    refused(instance.isolate("run", "--spec", path), '"pre_hook" is run by who runs the spec')


def test_explained(instance):
    """They are said to be there, run by nobody, and are no part of what is saved: whoever runs that has hooks of
    its own."""
    done = instance.isolate("run", "--explain", "--json", "--pre-hook", "exit 1", "--post-hook", "exit 1", instance.template, "true")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert told["plan"]["hooks"] == ["pre-hook", "post-hook"]
    assert not [key for key in told["spec"] if "hook" in key]
