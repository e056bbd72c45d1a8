# SPDX-License-Identifier: Apache-2.0
"""The resident daemon and its callers: who may what, and whose is what."""

import json
import os
import pathlib
import resource
import socket

import pytest

from sandboxes import MEMBERS, PATIENCE
from services import Member, finish, refused

ANNE, BERT, STRANGER = 61301, 61302, 61309


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


@pytest.fixture
def bert(service):
    return Member(service, BERT)


# who


def test_member_runs_commands(service, anne):
    done = anne.run([], ["id"])
    assert (done.returncode, done.stdout) == (0, "uid=0(root) gid=0(root) groups=0(root)\n"), done
    assert anne.run(["-u", "1000"], ["id", "-u"]).stdout == "1000\n"
    assert anne.run([], ["sh", "-c", "exit 7"]).returncode == 7
    assert anne.run([], ["sh", "-c", "kill -9 $$"]).returncode == 137
    assert anne.run([], ["sh", "-c", "cat; echo err >&2"], input="in\n").stdout == "in\n"
    refused_status = [anne.run([], [name]).returncode for name in ("no-such-command", "/etc/passwd")]
    assert refused_status == [127, 126]


def test_member_by_main_group(service):
    caller = Member(service, STRANGER, groups=None)
    caller.prefix[caller.prefix.index("--regid") + 1] = str(MEMBERS)
    assert caller.run([], ["sh", "-c", "exit 3"]).returncode == 3


def test_member_without_a_name_on_this_machine(service, anne, session_directory):
    """The uid is in no passwd: --here gives it an entry in the sandbox none the less."""
    directory = session_directory / "hers"
    directory.mkdir()
    os.chown(directory, ANNE, ANNE)
    try:
        done = anne.run(["--here"], ["sh", "-c", "id -un; echo $HOME"], cwd=directory)
        assert done.stdout.split() == [f"uid{ANNE}", f"/home/uid{ANNE}"], done
    finally:
        directory.rmdir()


def test_binds_of_a_member_are_its_own(service, anne, session_directory):
    directory = session_directory / "bound"
    directory.mkdir()
    try:
        os.chown(directory, ANNE, ANNE)
        assert anne.run(["-v", f"{directory}:/mnt"], ["sh", "-c", "echo hers >/mnt/file"]).returncode == 0
        st = (directory / "file").stat()
        assert (st.st_uid, st.st_gid, st.st_size) == (ANNE, ANNE, 5)
        done = anne.run(["-v", "/etc/shadow:/mnt/x"], ["cat", "/mnt/x"])
        assert done.returncode != 0 and done.stdout == "", done
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def test_stranger_is_refused(service):
    stranger = Member(service, STRANGER, groups=None)
    refused(stranger.run(), "group", "member")
    refused(Member(service, STRANGER, groups="61235").isolate("ps"), "group")
    mode = (service.runtime / "io.isolate").stat()
    assert (mode.st_mode & 0o7777, mode.st_uid, mode.st_gid) == (0o660, 0, MEMBERS)


def test_stranger_behind_an_open_socket(service):
    """Were the socket's mode wrong, the daemon itself still asks the kernel who it is."""
    path = service.runtime / "io.isolate"
    path.chmod(0o666)
    refused(Member(service, STRANGER, groups=None).run(), str(STRANGER), str(MEMBERS))


# what


REFUSALS = [
    (["run", "/", "true"], "directory as template"),
    (["run", "@host", "true"], "@host"),
    (["run", "--network", "host", "t", "true"], "--network host"),
    (["run", "--owner", "root", "t", "true"], "--owner"),
    (["run", "--first-id", "100000", "t", "true"], "--first-id"),
    (["run", "--cap-add", "NET_ADMIN", "t", "true"], "--cap-add"),
    (["run", "--cap-add", "SYS_ADMIN", "t", "true"], "--cap-add"),
    (["run", "--engine", "chroot", "t", "true"], "chroot"),
    (["run", "--storage", "dir", "t", "true"], "dir"),
    (["template", "create", "x", "--from", "dir:/etc"], "template create: only root makes and changes templates"),
    (["template", "update", "t", "true"], "template update"),
    (["template", "rm", "t"], "template rm: only root makes and changes templates"),
    (["template", "snapshot", "t"], "template snapshot: only root makes and changes templates"),
    (["template", "rollback", "t", "20200101T000000Z"], "template rollback: only root makes and changes templates"),
    (["template", "inspect", "--hash", "t"], "template inspect --hash: is for root only"),
    (["-r", "rpool/isolate/t", "1"], "isolate -r: only root makes and changes templates"),
    (["commit", "x", "t"], "commit: only root makes and changes templates"),
    (["prune"], "root only"),
]


@pytest.mark.parametrize("arguments, word", REFUSALS, ids=[" ".join(a) for a, _ in REFUSALS])
def test_member_may_not(service, anne, arguments, word):
    before = service.clones()
    refused(anne.isolate(*arguments), word)
    service.assert_clean()
    assert service.clones() == before


def test_all_refusals_leave_one_daemon_serving(service, anne):
    pid = service.resident.pid
    for arguments, _ in REFUSALS:
        anne.isolate(*arguments)
    assert service.resident.pid == pid and service.resident.poll() is None
    assert anne.run().returncode == 0


# whose


def test_names_are_unique_for_each_uid(service, anne, bert):
    one, two = anne.sleeper("--name", "work"), bert.sleeper("--name", "work")
    three = service.popen(["--name", "work"], ["sh", "-c", "echo up; read x; exit 7"], stdin=-1)
    assert three.stdout.readline() == "up\n"
    for caller in (anne, bert):
        refused(caller.run(["--name", "work"]), '"work"', "belongs to")
        (mine,) = json.loads(caller.ok("ps", "--json"))
        assert mine["name"] == "work" and mine["owner_uid"] == caller.uid
        assert json.loads(caller.ok("inspect", "work"))["owner_uid"] == caller.uid
    assert {item["owner_uid"] for item in service.ps()} == {0, ANNE, BERT}
    for process in (one, two, three):
        finish(process)
    # and it is free at once for who waited
    for _ in range(10):
        assert anne.run(["--name", "work"], ["sh", "-c", "exit 4"]).returncode == 4


@pytest.mark.parametrize("how", ["name", "id"])
def test_what_is_anothers_does_not_exist(service, anne, bert, how):
    assert anne.run(["--keep", "--name", "hers"], ["touch", "/file"]).returncode == 0
    process = anne.sleeper("--name", "now")
    ids = {item["name"]: item["id"] for item in service.ps("-a")}
    for name in ("hers", "now"):
        wanted = name if how == "name" else ids[name]
        for verb in ("inspect", "diff", "rm", "start"):
            done = bert.isolate(verb, wanted)
            refused(done, f'"{wanted}"', "no such")
            missing = bert.isolate(verb, wanted[:-1] + "0")
            # not even by the sentence can it be told from one that is not there
            assert missing.stderr.replace(wanted[:-1] + "0", wanted) == done.stderr
    assert json.loads(bert.ok("ps", "-a", "--json")) == []
    assert anne.ok("diff", "hers") == "A /file\n"
    finish(process)
    # root sees it, and may remove it
    assert service.ok("diff", ids["hers"]) == "A /file\n"
    service.ok("rm", ids["hers"])


@pytest.mark.settings({"Daemon.SandboxesPerUser": 2})
def test_quota_of_sandboxes(service, anne, bert):
    processes = [anne.sleeper() for _ in range(2)]
    refused(anne.run(), "you have 2 sandboxes", "Sandboxes=", "isolated.conf:")
    assert bert.run([], ["sh", "-c", "exit 5"]).returncode == 5
    assert service.run().returncode == 0, "root has no quota"
    finish(processes.pop())
    assert anne.run([], ["sh", "-c", "exit 6"]).returncode == 6
    finish(processes.pop())


@pytest.mark.settings({"Daemon.SandboxesPerUser": 1})
def test_quota_counts_what_runs(service, anne):
    """Who is told that a sandbox has ended may have the next one at once."""
    done = [anne.run([], ["sh", "-c", "exit 3"]) for _ in range(20)]
    assert [one.returncode for one in done] == [3] * 20, [one for one in done if one.returncode != 3]


def test_templates_are_seen_by_members(service, anne):
    assert [t["name"] for t in json.loads(anne.ok("template", "ls", "--json"))] == ["t"]
    assert json.loads(anne.ok("template", "inspect", "--json", "t"))["name"] == "t"
    refused(anne.run(template="none"), '"none"')


def test_member_of_another_version(service, anne):
    """A client from another build is told so."""
    with socket.socket(socket.AF_UNIX) as raw, socket.socket(socket.AF_UNIX) as pair:
        raw.connect(str(service.runtime / "io.isolate"))
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        call = {"method": "io.isolate.Run", "more": True,
                "parameters": {"client": "0.0.1", "template": "t", "argv": ["true"], "control": 0}}
        socket.send_fds(raw, [json.dumps(call).encode() + b"\0"], [two.fileno()])
        raw.settimeout(PATIENCE)
        answer = json.loads(raw.recv(65536).rstrip(b"\0"))
        one.close(), two.close()
    assert answer["error"] == "io.isolate.Protocol" and "0.0.1" in answer["parameters"]["message"]


def test_ids_of_decoders_are_nobody_elses(service, anne):
    """Their range is taken for good: what looks for ranges whose sandbox has gone (prune, doctor)
    takes whatever has not the name of a sandbox for somebody's."""
    anne.run()
    service.ok("ps")  # root's is gone ten seconds after its last call
    first = int((service.runtime / "decoder-ids").read_text())
    assert (service.runtime / "ids" / str(first)).read_text() == "decoders"
    decoders = service.helpers("isolate-decoder")
    assert len(decoders) == 2, "root's and hers"
    for pid in decoders:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        uids = {int(word) for word in status.split("Uid:")[1].split("\n")[0].split()}
        assert len(uids) == 1 and first < uids.pop() < first + 65536
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


def limits(text):
    return dict(line.split() for line in text.splitlines())


def test_limits_on_open_files_are_those_of_who_started_it(service, anne):
    """isolated itself may have more; a program that closes all that it may have is slow then."""
    command = ["sh", "-c", "echo soft $(ulimit -Sn); echo hard $(ulimit -Hn)"]
    service.stop_resident()
    embedded = limits(service.output(command=command))
    service.start_resident()
    assert limits(service.output(command=command)) == embedded
    assert limits(anne.run([], command).stdout) == embedded
    service.kill_resident()
    service.start_resident(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1234, 4321)))
    assert limits(anne.run([], command).stdout) == {"soft": "1234", "hard": "4321"}


def test_a_larger_share_of_disks_is_roots(anne):
    """It is taken from others. Whether there is the controller is looked at later."""
    refused(anne.run(["--io-weight", "101"]), "--io-weight", "root only")
    assert "root only" not in anne.run(["--io-weight", "100"]).stderr
