# SPDX-License-Identifier: Apache-2.0
"""A file system that does not answer for a while: who asked for what it has to write waits, and
nobody else does."""

import contextlib
import json
import os
import shutil
import subprocess

import pytest

from sandboxes import BUILD, PATIENCE, wait_until
from services import Member, Service, finish
from test_bad_input import small_disk

ANNE = 61301
SOON = 5  # seconds; what waits for the file system waits for ever


@pytest.fixture
def stallable(session_directory, small_root):
    """A service whose clones and templates are on a volume of their own."""
    base = session_directory / "stall"
    shutil.rmtree(base, ignore_errors=True)
    (base / "instance").mkdir(parents=True)
    base.chmod(0o755)
    with small_disk(base, 200) as mounted:
        with Service(base / "instance", f"isolate-test-{os.getpid()}-stall",
                     {"Paths.StateDirectory": mounted / "state"}) as made:
            made.state = mounted / "state"
            made.ok("template", "create", "t", "--from", f"dir:{small_root}")
            made.start_resident()
            yield made
            made.wait_for_ends()
            made.stop_resident()
            made.assert_clean()


@contextlib.contextmanager
def frozen(service):
    """Nothing is written to its volume meanwhile: who tries sleeps until it thaws."""
    volume = service.state.parent
    subprocess.run(["fsfreeze", "--freeze", volume], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", volume], check=True)


def assert_served(anne):
    """Whatever needs nothing from the volume goes on as always."""
    assert [item["name"] for item in json.loads(anne.ok("ps", "--json", timeout=SOON))] == ["other"]
    done = anne.isolate("exec", "other", "--", "sh", "-c", "exit 3", timeout=SOON)
    assert done.returncode == 3, done
    anne.ok("pool", timeout=SOON)


def test_template_is_made_on_a_stalled_volume(stallable, small_root):
    anne = Member(stallable, ANNE)
    process = anne.sleeper("--name", "other")
    with frozen(stallable):
        making = stallable.popen_isolate("template", "create", "n", "--from", f"dir:{small_root}")
        for _ in range(3):
            assert_served(anne)
        assert making.poll() is None
    _, errors = making.communicate(timeout=PATIENCE)
    assert making.returncode == 0, errors
    assert anne.run([], ["sh", "-c", "exit 4"], template="n").returncode == 4
    finish(process)


def test_update_ends_on_a_stalled_volume(stallable):
    """Its clone is settled: what it wrote has to get there before it becomes a generation."""
    anne = Member(stallable, ANNE)
    process = anne.sleeper("--name", "other")
    running = len(stallable.members())
    script = "echo new >/srv/new; echo up; read x"
    updating = stallable.popen_isolate("template", "update", "--network", "none", "t", "--", "sh", "-c", script,
                                       stdin=subprocess.PIPE)
    assert updating.stdout.readline() == "up\n"
    with frozen(stallable):
        updating.stdin.write("\n")
        updating.stdin.flush()
        wait_until(lambda: len(stallable.members()) == running, SOON, "the end of the update's command")
        for _ in range(3):
            assert_served(anne)
        assert updating.poll() is None
    _, errors = updating.communicate(timeout=PATIENCE)
    assert updating.returncode == 0, errors
    done = anne.run([], ["cat", "/srv/new"])
    assert done.stdout == "new\n", done
    finish(process)


@pytest.mark.parametrize("when", ["settling", "publishing"])
def test_client_of_an_update_leaves_on_a_stalled_volume(stallable, when):
    """Nothing is left of it, and what is run next is of the template as it is."""
    anne = Member(stallable, ANNE)
    process = anne.sleeper("--name", "other")
    running = len(stallable.members())
    updating = stallable.popen_isolate("template", "update", "--network", "none", "t", "--", "sh", "-c",
                                       "echo new >/srv/new; echo up; read x", stdin=subprocess.PIPE)
    assert updating.stdout.readline() == "up\n"
    with frozen(stallable) if when == "settling" else contextlib.nullcontext():
        updating.stdin.write("\n")
        updating.stdin.flush()
        wait_until(lambda: len(stallable.members()) == running, SOON, "the end of the update's command")
        updating.kill()
        updating.wait()
        assert_served(anne)
    finish(process)
    assert stallable.isolate("template", "update", "--network", "none", "t", "--", "sh", "-c",
                             "echo newer >/srv/newer").returncode == 0
    assert anne.run([], ["cat", "/srv/newer"]).stdout == "newer\n"


def test_client_of_a_create_leaves(stallable, small_root):
    """What was half made goes at once, and the name is free."""
    with frozen(stallable):
        making = stallable.popen_isolate("template", "create", "n", "--from", f"dir:{small_root}",
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: stallable.helpers(str(BUILD / "isolated")), SOON, "the process of the call")
        making.kill()
        making.wait()  # its stderr is with the worker, too
    wait_until(lambda: not list((stallable.state / "overlay").glob("imports/*")), PATIENCE)
    stallable.ok("template", "create", "n", "--from", f"dir:{small_root}")
