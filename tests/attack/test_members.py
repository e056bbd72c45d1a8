# SPDX-License-Identifier: Apache-2.0
"""Members of the group who want more than they may: attack 21 (the daemon's socket inside), 29 (what
is another's), 30 (-u), 31 (directories that the caller cannot read), 32 (what is root's) and 38
(set-id files), all at a running daemon. Control: root, or the owner, who may."""

import os
import pathlib
import shutil
import stat

import pytest

from instance import parse
from resident import BERT, MALLORY, Control, Raw, run_parameters, version


def run(service, *words, uid=MALLORY, options=()):
    return service.call("run", *options, "t", "--", *words, uid=uid)


# --- 21 ---


@pytest.mark.parametrize("who", ["member", "root"])
def test_socket_inside(service, judge, who):
    """Whose sandbox it is does not matter: inside is nobody of the host's."""
    uid = MALLORY if who == "member" else 0
    results = {}
    for variant, options in {"default": (), "user": ("-u", "1000:1000")}.items():
        done = run(service, "/attack/connect", "/mnt/io.isolate", uid=uid,
                   options=("-v", f"{service.runtime}:/mnt", *options))
        assert done.returncode == 0, done
        results[variant] = parse(done.stdout)["connect"]
    control = service.control("connect", service.socket)["connect"]
    judge(21, f"daemon_socket_in_a_bind_of_{who}", results, control, {"EACCES", "EPERM", "ENOENT", "EPIPE", "ECONNRESET"})


# --- 29 ---


@pytest.fixture(scope="module")
def victims(service):
    """{name: id} of a kept and of a running sandbox of Bert's."""
    assert run(service, "/attack/look", uid=BERT, options=("--keep", "--name", "kept")).returncode == 0
    assert run(service, "/attack/ids", "1000", uid=BERT, options=("-d", "--name", "running")).returncode == 0
    with Raw(service, BERT) as raw:
        listed = raw.call("List", all=True)["parameters"]["sandboxes"]
    yield {item["name"]: item["id"] for item in listed}
    assert service.call("rm", "kept", uid=BERT).returncode == 0
    assert service.call("kill", "-s", "KILL", "running", uid=BERT).returncode == 0


# method: which of them, and further parameters
ON_SANDBOXES = {
    "Inspect": ("running", {}), "Diff": ("kept", {}), "Remove": ("kept", {}), "Kill": ("running", {"signal": 18}),
    "Wait": ("running", {}), "Logs": ("running", {}), "Attach": ("running", {"control": 0}),
    "Exec": ("running", {"control": 0, "argv": ["/attack/ids"]}), "Run": ("kept", {}),
}


@pytest.mark.parametrize("by", ["name", "id"])
@pytest.mark.parametrize("method", ON_SANDBOXES)
def test_sandbox_of_another(service, judge, victims, method, by):
    which, parameters = ON_SANDBOXES[method]
    wanted = which if by == "name" else victims[which]
    parameters = {"sandbox" if method == "Exec" else "name": wanted, **parameters}
    if method == "Run":
        parameters = run_parameters(service, kept=wanted)
        del parameters["template"]
    elif method == "Exec":
        parameters["client"] = version(service)
    said = {uid: say(service, uid, method, parameters) for uid in (MALLORY, BERT)
            # these would end it
            if uid == MALLORY or method not in ("Remove", "Run")}
    error = said[MALLORY].get("error", "").split(".")[-1]
    assert error == "NotFound" and "no such" in said[MALLORY]["parameters"]["message"], said[MALLORY]
    own = said.get(BERT, {}).get("error", "").split(".")[-1]
    judge(29, f"{method}_of_anothers_by_{by}", f"denied {error}", "SUCCEEDED" if not own else
          f"denied {own}", {"NotFound"})


def say(service, uid, method, parameters):
    """The answer; {} where it waits for something."""
    control = Control()
    fds = [control.theirs.fileno()] if "control" in parameters else []
    try:
        with Raw(service, uid) as raw:
            raw.socket.settimeout(2)
            return raw.call(method, fds, more=True, **parameters)
    except TimeoutError:
        return {}
    finally:
        control.close()


def test_sandboxes_of_others_are_not_listed(service, judge, victims):
    with Raw(service, MALLORY) as raw:
        assert raw.call("List", all=True) == {"parameters": {"sandboxes": []}}
    with Raw(service, 0) as raw:
        everything = raw.call("List", all=True)["parameters"]["sandboxes"]
    judge(29, "list", "denied empty", "SUCCEEDED" if {item["id"] for item in everything} >= set(victims.values()) else "denied", {"empty"})


# --- 30 ---

USERS = {"0": 0, "1": 1, "1:1": 1, "1000": 1000, "user": 1000, "65535": 65535}
BAD_USERS = ["65536", "4294967295", "4294967296", "4294967297", "-1", "-4294967295", "0x1", "1e3", " 1", "1 ",
             "+1", "no-such", "root:no-such", "", ":", "1:", ":1", "00000000000000000000001x",
             "18446744073709551616", "1:4294967296", "../etc", "us\ner"]


@pytest.mark.parametrize("user", USERS)
def test_user_is_exact(service, user):
    done = run(service, "/attack/ids", options=("-u", user))
    assert done.stdout.split()[0] == str(USERS[user]), done


@pytest.mark.parametrize("user", BAD_USERS)
def test_bad_user_is_refused(service, judge, user):
    done = run(service, "/attack/look", "/etc/passwd", options=(f"--user={user}",))
    assert done.returncode == 125 and done.stdout == "", done
    judge(30, f"user_{user!r}", "denied refused", "SUCCEEDED" if run(
        service, "/attack/look", "/etc/passwd", options=("-u", "1")).returncode == 0 else "denied", {"refused"})


# --- 31 ---


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_directory_that_the_caller_cannot_read(service, judge, mode):
    secret = service.path(f"secret-{mode}")
    (secret / "file").write_text("secret")
    secret.chmod(0o700)
    try:
        option = f"{secret}:/mnt" + (":ro" if mode == "ro" else "")
        words = ("/attack/look", "/mnt/file")
        mine = run(service, *words, options=("-v", option))
        roots = run(service, *words, uid=0, options=("-v", option))
        native = "SUCCEEDED" if "present" in mine.stdout else "denied EACCES"
        judge(31, f"unreadable_directory_{mode}", native,
              "SUCCEEDED" if "present" in roots.stdout else "denied", {"EACCES"})
        raw_bind = raw_look(service, secret)
        judge(31, f"unreadable_directory_by_o_path_{mode}", raw_bind,
              "SUCCEEDED" if "present" in roots.stdout else "denied", {"EACCES"})
    finally:
        shutil.rmtree(secret)


def raw_look(service, secret):
    """With an O_PATH fd that somebody with more rights has opened."""
    out, into = os.pipe()
    fd = os.open(secret, os.O_PATH)
    control = Control([into] * 3)
    os.close(into)
    bind = {"fd": 1, "target": "/mnt", "source": str(secret)}
    with Raw(service) as raw:
        answer = raw.call("Run", [control.theirs.fileno(), fd], more=True, **run_parameters(
            service, argv=["/attack/look", "/mnt/file"], binds=[bind]))
        control.theirs.close()
        text = os.fdopen(out).read()
    control.ours.close()
    os.close(control.null)
    os.close(fd)
    assert "error" not in answer or "EACCES" in str(answer), answer
    return "SUCCEEDED" if "present" in text else "denied EACCES"


# --- 32 ---

ROOTS = {
    "engine_chroot": {"engine": "chroot", "storage": "dir", "root": "ROOT", "root_fd": 1},
    "directory_as_template": {"root": "ROOT", "root_fd": 1},
    "host": {"host": True, "root_fd": 1},
    "host_network": {"network": "host"},
    "owner": {"owner": "root"},
    "hold": {"hold": True},
    "net_admin": {"cap_add": ["NET_ADMIN"]},
    "sys_admin": {"cap_add": ["SYS_ADMIN"]},
    "all_capabilities": {"cap_add": ["ALL"]},
}
METHODS = {
    "TemplateCreate": {"name": "x", "source": "dir:/etc"}, "TemplateRemove": {"name": "t"},
    "TemplateSnapshot": {"name": "t"}, "TemplateHash": {"name": "t"}, "Prune": {"kept": True}, "Status": {},
    "TemplateRollback": {"name": "t", "generation": "20200101T000000Z"},
    "Commit": {"name": "x", "template": "t"}, "StorageList": {}, "StorageForget": {"name": "btrfs:/srv"},
}
# what no policy of this version gives anybody
NOBODYS = {"sys_admin", "all_capabilities"}


@pytest.mark.parametrize("what", ROOTS)
def test_run_that_is_roots(service, judge, what):
    answers = {}
    for uid in (MALLORY, 0):
        control = Control()
        root = os.open("/" if what == "host" else service.root, os.O_PATH)
        parameters = run_parameters(service, **ROOTS[what])
        if "root" in parameters:
            parameters["root"] = str(service.root)
        if what == "host":
            parameters["argv"] = ["true"]
        if "root_fd" in parameters:
            del parameters["template"]
        with Raw(service, uid) as raw:
            fds = [control.theirs.fileno(), *([root] if "root_fd" in parameters else [])]
            answers[uid] = raw.call("Run", fds, more=True, **parameters)
        control.close()
        os.close(root)
    error = answers[MALLORY].get("error", "started").split(".")[-1]
    judge(32, what, f"denied {error}", "SUCCEEDED" if "error" not in answers[0] else
          "denied NOBODY" if what in NOBODYS else f"denied {answers[0]}",
          {"Denied", "Unsupported", "Invalid", "NotFound"}, missing={"NOBODY"})


def test_id_range_of_another(service, judge):
    """Root, too, gets it only when that sandbox has gone."""
    first_id = 3_000_000_000
    started = service.call("run", "-d", "--name", "has_ids", "--first-id", first_id, "t", "--", "/attack/ids", "1000", uid=0)
    assert started.returncode == 0, started

    def ask(uid):
        control = Control()
        with Raw(service, uid) as raw:
            answer = raw.call("Run", [control.theirs.fileno()], more=True, **run_parameters(service, first_id=first_id))
        control.close()
        return answer.get("error", "started").split(".")[-1]

    answers = [ask(MALLORY), ask(0)]
    assert answers[1] == "Busy", answers
    assert service.call("stop", "has_ids", uid=0).returncode == 0
    judge(32, "another_id_range", f"denied {answers[0]}", "SUCCEEDED" if ask(0) == "started" else "denied", {"Denied"})


@pytest.mark.parametrize("method", METHODS)
def test_method_that_is_roots(service, judge, method):
    with Raw(service) as raw:
        answer = raw.call(method, more=True, **METHODS[method])
    assert answer["error"] == "io.isolate.Denied", answer
    with Raw(service) as raw:
        assert "error" not in raw.call("TemplateInspect", name="t")
    judge(32, method, "denied Denied", "SUCCEEDED", {"Denied"})


# --- 38 ---


def test_set_id_files_of_a_member(service, judge):
    """In a bind of hers she may leave what she could make herself: nothing of root's."""
    directory = service.path("mallorys")
    os.chown(directory, MALLORY, MALLORY)
    try:
        done = run(service, "/attack/setid", "/mnt", options=("-v", f"{directory}:/mnt"))
        assert done.returncode == 0, done
        found = []
        for path in pathlib.Path(directory).rglob("*"):
            st = path.lstat()
            assert (st.st_uid, st.st_gid) == (MALLORY, MALLORY), path
            caps = "security.capability" in os.listxattr(path, follow_symlinks=False)
            if st.st_mode & (stat.S_ISUID | stat.S_ISGID) or caps:
                found.append(path.name)
                assert not caps, f"{path} has capabilities"
        # the control: something with such a bit was made at all
        judge(38, "set_id_of_roots_by_a_member", "denied own", "SUCCEEDED" if found else "denied ENOSYS",
              {"own"})
    finally:
        shutil.rmtree(directory)
