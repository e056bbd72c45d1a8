# SPDX-License-Identifier: Apache-2.0
"""Hooks of members of the group: what they may do with the root that they are shown, on each storage that
can be had here, and what isolated does with those who do not let go of it."""

import json
import os
import signal
import socket
import subprocess

import pytest

from sandboxes import Disk, wait_until
from services import Member

ANNE, BERT = 61301, 61302
CANCELED = 125


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


@pytest.fixture(params=["overlay", "btrfs", "reflink"])
def shown(request, service, small_root, session_directory):
    """A template "s" of which the hooks' own rights can be told: files of root's and of user 1000's."""
    root = session_directory / "roots" / "shown"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    for name, mode, owner in (("root/secret", 0o600, (0, 0)), ("srv/users", 0o600, (1000, 1000)),
                              ("srv/shared", 0o640, (0, 1000))):
        (root / name).write_text(name + "\n")
        (root / name).chmod(mode)
        os.chown(root / name, *owner)
    disk = None
    storage = []
    if request.param != "overlay":
        base = session_directory / "shown"
        base.mkdir(mode=0o755)
        disk = Disk(base, request.param, {"btrfs": "btrfs", "reflink": "xfs"}[request.param])
        storage = ["--storage", disk.storage]
    service.ok("template", "create", "s", "--from", f"dir:{root}", *storage)
    yield "s"
    service.ok("template", "rm", "s")
    subprocess.run(["rm", "-r", root], check=True)
    if disk:
        disk.remove()
        disk.path.parent.rmdir()


def test_rights(service, anne, shown):
    """As root of the sandbox, but without a right that the caller has not: what is root's there is the
    caller's own, what is anybody else's is as on the host, and nothing can be given to anybody."""
    hook = """
        id -u
        cat $ROOTFS/root/secret && echo new >$ROOTFS/root/secret && mkdir $ROOTFS/root/d
        echo changed >$ROOTFS/srv/shared && ln $ROOTFS/srv/shared $ROOTFS/srv/link && mv $ROOTFS/srv/link $ROOTFS/srv/l2
        stat -c '%u:%g %a' $ROOTFS/root/secret
        cat $ROOTFS/srv/users 2>/dev/null || echo no
        echo x 2>/dev/null >>$ROOTFS/srv/users || echo no
        chown 1000 $ROOTFS/root/d 2>/dev/null || echo no
        cp /bin/sleep $ROOTFS/root/suid && chmod 6755 $ROOTFS/root/suid
        mknod $ROOTFS/root/disk b 8 0 2>/dev/null || echo no
        mknod $ROOTFS/root/pipe p
    """
    done = anne.run(["--pre-hook", hook, "--post-hook", "cat $ROOTFS/root/back; test -O $ROOTFS/root/back"],
                    ["sh", "-c", "cat /root/secret /srv/shared; stat -c '%u:%g %a %F' /root/secret /root/d /root/suid"
                                 " /root/pipe /srv/shared /srv/l2 /srv/users; echo b >/root/back"], template=shown)
    assert done.returncode == 0, done
    assert done.stderr == f"{ANNE}\nroot/secret\n{ANNE}:{ANNE} 600\nno\nno\nno\nno\nb\n"
    assert done.stdout.splitlines() == [
        "new", "changed", "0:0 600 regular file", "0:0 755 directory", "0:0 6755 regular file", "0:0 644 fifo",
        "0:1000 640 regular file", "0:1000 640 regular file", "1000:1000 600 regular file"]


def test_links_lead_nowhere(service, anne, shown, tmp_path):
    """What the command leaves is a trap for the hook's own programs."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "victim").write_text("mine\n")
    os.chown(tmp_path / "victim", ANNE, ANNE)
    command = f"ln -s {tmp_path}/victim /root/log; ln -s ../../../../../../..{tmp_path} /srv/out; ln -s usr /srv/in"
    hook = ("for name in root/log srv/out/victim srv/in/x; do echo leaked 2>&1 >>$ROOTFS/$name; done;"
            f"readlink $ROOTFS/root/log; rm $ROOTFS/root/log; cat {tmp_path}/victim")
    done = anne.run(["--post-hook", hook], ["sh", "-c", command], template=shown)
    assert done.returncode == 0 and (tmp_path / "victim").read_text() == "mine\n", done
    assert not (tmp_path / "x").exists() and done.stderr.count("Too many levels of symbolic links") == 3, done
    assert done.stderr.endswith(f"{tmp_path}/victim\nmine\n"), done


def test_with_binds_and_a_terminal(service, anne, tmp_path):
    """What came with the request waits with it."""
    for parent in [tmp_path, *tmp_path.parents[:-1]]:
        parent.chmod(parent.stat().st_mode | 0o011)
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, ANNE, ANNE)
    done = anne.run(["-t", "-v", f"{own}:/o", "--tmpfs", "/x", "--pre-hook", f"echo pre >{own}/pre",
                     "--post-hook", f"cat {own}/made >&2"],
                    ["sh", "-c", "cat /o/pre >/o/made; tty; stat -c %u /o/pre"])
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["/dev/pts/0", "0"], "pre\n"), done
    assert (own / "made").stat().st_uid == ANNE
    service.assert_clean()


def test_only_the_caller_s(service, anne, shown):
    """Not even another member's way to it is open."""
    bert = " ".join(Member(service, BERT).prefix)
    process = subprocess.Popen(
        anne.argv("run", "--pre-hook", "echo $ROOTFS; sleep 600", shown, "--", "true"), cwd="/", text=True,
        env={**service.env, **anne.more["env"]}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    root = process.stderr.readline().strip()
    as_bert = subprocess.run(f"{bert} ls {root}/", shell=True, capture_output=True, text=True, check=False)
    process.kill()
    process.communicate()
    assert "Permission denied" in as_bert.stderr and as_bert.stdout == ""
    service.assert_clean()


# Opens the root, tells that, and keeps it after everything has ended.
KEEP = """
import os, sys, time
root = os.open(os.environ["ROOTFS"], os.O_RDONLY)
file = os.open("root/kept", os.O_CREAT | os.O_RDWR, 0o600, dir_fd=root)
if sys.argv[1] == "closed":
    os.close(file)
if os.fork() == 0:
    for number in (0, 1, 2):
        os.close(number)
    while not os.path.exists(sys.argv[2] + "/go"):
        time.sleep(0.01)
    try:
        result = os.open("root/after", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=root)
    except OSError as error:
        result = -error.errno
    with open(sys.argv[2] + "/result", "w") as out:
        out.write(str(result))
    os._exit(0)
"""


@pytest.mark.parametrize("file", ["closed", "open"])
@pytest.mark.parametrize("when", ["pre", "post"])
def test_who_keeps_the_root(service, anne, shown, tmp_path, when, file):
    """What outlives the hook holds up nothing, and makes nothing new any more. (Where clones are subvolumes, who
    has left a file open for writing still has it, and what is beside it, for as long as it likes.)"""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    script = tmp_path / "keep.py"
    script.write_text(KEEP)
    done = anne.run([f"--{when}-hook", f"exec python3 {script} {file} {tmp_path}"], ["ls", "/root"], template=shown)
    service.assert_clean()
    (tmp_path / "go").touch()
    wait_until(lambda: (tmp_path / "result").exists() and (tmp_path / "result").read_text())
    result = int((tmp_path / "result").read_text())
    storage = next(one["storage"] for one in json.loads(service.ok("template", "ls", "--json"))
                   if one["name"] == shown)
    if when == "pre" and file == "open" and storage == "overlay":
        assert done.returncode == CANCELED and "open for writing; nothing ran" in done.stderr, done
    else:
        assert done.returncode == 0, done
    if file == "closed" or not storage.startswith("btrfs"):
        assert result < 0, "something was made in a clone that is gone"


@pytest.mark.settings({"Daemon.SandboxesPerUser": 1})
@pytest.mark.parametrize("when", ["pre", "post"])
def test_held_ones_count(service, anne, when):
    process = anne.popen([f"--{when}-hook", "echo up; sleep 600"])
    assert process.stderr.readline() == "up\n"
    done = anne.run()
    assert done.returncode == 125 and "Sandboxes=" in done.stderr, done
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert anne.run().returncode == 0
    service.assert_clean()


@pytest.mark.parametrize("when", ["pre", "post"])
def test_daemon_killed_while_a_hook_runs(service, anne, when):
    """Before the start the hook ends with it; behind the end there is nothing that could still be lost."""
    process = anne.popen([f"--{when}-hook", "echo up; sleep 2; echo through"], ["sh", "-c", "exit 5"])
    assert process.stderr.readline() == "up\n"
    service.kill_resident()
    _, err = process.communicate(timeout=10)
    if when == "pre":
        assert process.returncode == 125 and "isolated ended before the command started; nothing ran" in err
        assert "through" not in err
    else:
        assert process.returncode == 5 and "through" in err
    service.start_again()
    service.assert_clean()


def test_killed_at_any_moment(service, anne):
    for step in range(0, 24, 1 if os.environ.get("ISOLATE_LONG") else 5):
        process = anne.popen(["--pre-hook", "sleep 0.05; :", "--post-hook", "sleep 0.05; :"])
        try:
            process.wait(step * 0.012)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    service.assert_clean()


# at the socket

class Caller:
    """Speaks for itself, as a member."""

    def __init__(self, service):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(service.env["ISOLATE_SOCKET"])
        self.rest = b""

    def call(self, method, parameters, fds=(), more=False):
        message = {"method": f"io.isolate.{method}", "parameters": parameters}
        if more:
            message["more"] = True
        socket.send_fds(self.socket, [json.dumps(message).encode() + b"\0"], list(fds))

    def receive(self):
        fds = []
        while b"\0" not in self.rest:
            data, new, _, _ = socket.recv_fds(self.socket, 65536, 8)
            assert data, "the connection ended"
            self.rest += data
            fds += new
        text, _, self.rest = self.rest.partition(b"\0")
        return json.loads(text), fds

    def ask(self, *arguments, **kw):
        self.call(*arguments, **kw)
        return self.receive()

    def error(self, *arguments, **kw):
        answer, fds = self.ask(*arguments, **kw)
        assert fds == []
        return answer["error"], answer["parameters"]["message"]


def version(service):
    return service.ok("version").split()[-1]


def test_calls_out_of_order(service):
    one, other = Caller(service), Caller(service)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    run = {"client": version(service), "template": "t", "argv": ["true"], "control": 0, "pre_hook": True}
    for bad in ({"detach": True}, {"hold": True}, {"sandbox": "x"}):
        assert one.error("Run", {**run, **bad}, [theirs.fileno()], more=True)[0] == "io.isolate.Invalid"
    assert one.error("Run", {**run, "pre_hook": 1}, [theirs.fileno()], more=True)[0] == "io.isolate.Invalid"
    assert one.error("Continue", {"id": "t_1"}, more=True)[0] == "io.isolate.NotFound"
    assert one.error("Continue", {}, more=True)[0] == "io.isolate.Invalid"
    # what no method has is not passed over, nor taken for a part of the declaration
    for unknown in ("sig", "name: string, signal", "", "id", "Name"):
        assert one.error("Kill", {"name": "t_1", unknown: 9})[0] == "io.isolate.Invalid"
    assert one.error("Continue", {"id": "t_1"})[0] == "io.isolate.Protocol"
    assert one.error("Release", {"id": "t_1"})[0] == "io.isolate.NotFound"
    held, fds = one.ask("Run", run, fds=[theirs.fileno()], more=True)
    assert held["parameters"]["state"] == "held" and len(fds) == 1
    name = {"id": held["parameters"]["id"]}
    # another connection has no part in it, and nothing runs yet
    for method, more in (("Continue", True), ("Release", False), ("Kill", False)):
        parameters = {"name": name["id"]} if method == "Kill" else name
        assert other.error(method, parameters, more=more)[0] == "io.isolate.NotFound"
    assert one.error("Commit", {"name": name["id"], "template": "t"})[0] in ("io.isolate.Busy", "io.isolate.NotFound")
    # several of one connection, each by its id
    second, more_fds = one.ask("Run", run, fds=[theirs.fileno()], more=True)
    assert one.ask("Release", {"id": second["parameters"]["id"]})[0]["parameters"]["kept"] is False
    assert one.error("Release", {"id": second["parameters"]["id"]})[0] == "io.isolate.NotFound"
    ours.close(), theirs.close()
    # its client is gone: init says so
    answer, _ = one.ask("Continue", name, more=True)
    assert "error" in answer or answer["parameters"]["state"] in ("started", "ended"), answer
    for fd in fds + more_fds:
        os.close(fd)
    one.socket.close(), other.socket.close()
    service.assert_clean()
