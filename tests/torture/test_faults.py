# SPDX-License-Identifier: Apache-2.0
"""Every system call that can fail does: of the client, of isolated and of what it starts, the n-th fails
with an errno, for n from 1 on until a run has no such call. ISOLATE_LONG=1: at every n, some 7,500 in all, which
is an hour; else at some."""

import json
import os
import subprocess

import pytest

from fault_runs import each_fault
from images import Layout, file, gone, hard_link, tree_tar
from sandboxes import PATIENCE, Instance, wait_until
from outcome import LOST, NOT_STARTED

LONG = os.environ.get("ISOLATE_LONG") == "1"
ERRNOS = ("ENOMEM", "EMFILE", "ENOSPC", "EIO", "EINTR")
STATUS, CANNOT_EXECUTE, IS_THERE = 7, 126, 99


@pytest.fixture(scope="module")
def instance(programs, root):
    """No daemon: each command is served by one of its own."""
    with Instance(programs.parent / "faults", f"isolate-torture-{os.getpid()}-faults", template="t") as made:
        made.ok("template", "create", "t", "--from", f"dir:{root}")
        yield made


class Run:
    """`isolate run` of a command that proves that it ran."""

    def __init__(self, instance, place):
        self.instance = instance
        self.proof = place / "proof"

    def prepare(self):
        self.proof.unlink(missing_ok=True)

    def command(self):
        return ["run", "-v", f"{self.proof.parent}:/mnt", "t", "--", "/end", STATUS, 0, "/mnt/proof"]

    def judge(self, fault):
        """No status is invented, and what did not start did not run."""
        if fault.status == STATUS:
            assert self.proof.exists(), f"said to have run: {fault.what}"
            return "got over"
        fault.assert_clear((LOST, NOT_STARTED, CANNOT_EXECUTE))
        assert fault.status == LOST or not self.proof.exists(), f"said not to have started, but ran: {fault.what}"
        return "lost" if fault.status == LOST else "not started"

    def undo(self, fault):
        self.prepare()
        after = self.instance.isolate(*map(str, self.command()))
        assert after.returncode == STATUS, f"{fault.what}: and then {after}"


class Change:
    """What changes something: it is done as a whole, or not at all."""
    statuses = (LOST, NOT_STARTED)

    def __init__(self, instance):
        self.instance = instance

    def judge(self, fault):
        is_there = self.is_done()
        if fault.status == 0:
            assert is_there, f"said to be done: {fault.what}"
            return "got over"
        fault.assert_clear(self.statuses)
        return "done, but not known" if is_there else "not done"


class Create(Change):
    """`isolate template create`, of a directory or a tar file."""

    def __init__(self, instance, source, root):
        super().__init__(instance)
        self.source = source
        self.wanted = content(root)
        self.others = 0

    def names(self):
        return [one["name"] for one in json.loads(self.instance.ok("template", "ls", "--json"))]

    def prepare(self):
        assert "new" not in self.names()
        self.others = self.n_whole()

    def command(self):
        return ["template", "create", "new", "--from", self.source]

    def is_done(self):
        if "new" not in self.names():
            return False
        assert self.n_whole() == self.others + 1, "not the whole of it"
        return True

    def n_whole(self):
        """How many layers have just that in them; there are those of other templates."""
        trees = [content(tree) for tree in (self.instance.state / "overlay/layers").glob("*/tree")]
        return trees.count(self.wanted)

    def undo(self, fault):
        if "new" in self.names():
            self.instance.ok("template", "rm", "new")


class CreateImage(Create):
    """The same of an image, of which another template has the lowest layer."""

    def __init__(self, instance, layout, root):
        Change.__init__(self, instance)
        self.source = str(layout)
        tar = tree_tar(root)
        base = type(layout)(layout.path.parent / "base").image(tar)
        instance.ok("template", "create", "base", "--from", str(base))
        layout.image(tar, [gone("end"), file("d/x", "2")], [file("d/y", "3"), hard_link("d/z", "d/x")])
        instance.ok("template", "create", "new", "--from", self.source)
        self.wanted = self.hash()
        instance.ok("template", "rm", "new")

    def prepare(self):
        assert "new" not in self.names()

    def hash(self):
        return self.instance.ok("template", "inspect", "--hash", "new")

    def is_done(self):
        if "new" not in self.names():
            return False
        assert self.hash() == self.wanted, "not the whole of it"
        return True


class Update(Change):
    """`isolate template update`, whose command makes a file that there may be only once."""
    statuses = (LOST, NOT_STARTED, CANNOT_EXECUTE)

    def __init__(self, instance, root):
        super().__init__(instance)
        self.root = root

    def prepare(self):
        self.instance.ok("template", "create", "changed", "--from", f"dir:{self.root}")

    def command(self):
        return ["template", "update", "changed", "--", "/end", 0, 0, "/new"]

    def is_done(self):
        done = self.instance.run(command=("/end", "0", "0", "/new"), template="changed")
        assert done.returncode in (0, IS_THERE), done
        return done.returncode == IS_THERE

    def undo(self, fault):
        self.instance.ok("template", "rm", "changed")


class Remove(Change):
    """`isolate rm` of a kept sandbox."""

    def names(self):
        return [one["name"] for one in json.loads(self.instance.ok("ps", "-a", "--json"))]

    def prepare(self):
        self.instance.run(["--keep", "--name", "kept"], ["/end", "0", "0", "/new"])
        assert "kept" in self.names()

    def command(self):
        return ["rm", "kept"]

    def is_done(self):
        return "kept" not in self.names()

    def undo(self, fault):
        if "kept" in self.names():
            self.instance.ok("rm", "kept")


class Recover(Change):
    """Any command, behind a start of a kept sandbox that was killed with all that it had begun: that is finished, and
    what was kept is kept, or there is a next time."""

    def names(self):
        return [one["name"] for one in json.loads(self.instance.ok("ps", "-a", "--json"))]

    def prepare(self):
        self.instance.ok("run", "--keep", "--name", "kept", "t", "--", "/end", "0", "0", "/new")
        with self.instance.popen_isolate("start", "kept", "--", "/end", "0", "-1", stdin=subprocess.PIPE) as client:
            assert client.stdout.readline() == "up\n"
            client.kill()
            self.instance.kill_all()
            wait_until(lambda: not self.instance.members(), PATIENCE, "the end of it")

    def command(self):
        return ["ps", "-a"]

    def is_done(self):
        done = self.instance.isolate("start", "kept", "--", "/end", "0", "0", "/new")
        assert done.returncode == IS_THERE, f"what was kept is lost: {done}"
        return True

    def undo(self, fault):
        self.instance.ok("rm", "kept")
        assert self.names() == []


def content(directory):
    """All that is in it: names, kinds, rights, owners, sizes and what files hold."""
    found = {}
    for path in sorted(directory.rglob("*")):
        st = path.lstat()
        held = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(directory))] = (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns // 10**9, held)
    return found


@pytest.fixture(scope="module")
def operations(instance, programs, root):
    place = programs.parent / "faults-proof"
    place.mkdir()
    tar = programs.parent / "root.tar"
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    return {
        "run": Run(instance, place),
        "update": Update(instance, root),
        "rm": Remove(instance),
        "recover": Recover(instance),
        "create of a directory": Create(instance, f"dir:{root}", root),
        "create of a tar": Create(instance, f"tar:{tar}", root),
        "create of an image": CreateImage(instance, Layout(programs.parent / "image"), root),
    }


# in the short form every so many calls; few can be interrupted
STRIDE = {"EINTR": 3}


@pytest.mark.parametrize("errno", ERRNOS)
@pytest.mark.parametrize("name", ["run", "create of a directory", "create of a tar", "create of an image", "update", "rm",
                                  "recover"])
def test_faults(instance, programs, operations, name, errno, capsys):
    count, seen = each_fault(instance, programs / "fault", operations[name], errno, 1 if LONG else STRIDE.get(errno, 61),
                             (programs.parent,))
    with capsys.disabled():
        print(f"\nfaults, {name}, {errno}: {count} calls, {dict(seen)}")
