# SPDX-License-Identifier: Apache-2.0
"""The resident daemon without space: the runtime directory full, the volume of the clones full.
What cannot be done is said, what runs goes on, and it recovers by itself when there is space."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from sandboxes import PATIENCE, children, process_state, wait_until
from services import Member, Service, finish
from test_bad_input import fill, small_disk

ANNE = 61301
MANY = 150000
FILES = 10  # of which some file systems let no more than 65000 names be made


def fill_tmpfs(path, free=0):
    """Takes the last page of it, or all but that many bytes."""
    with open(path / "filler", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
        if free:
            file.truncate(max(0, file.tell() - free))


@pytest.fixture
def tiny(session_directory, small_root, request):
    """Its runtime directory is a tmpfs of 1 MB."""
    base = session_directory / "tiny"
    (base / "run").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tiny", base / "run"], check=True)
    mark = request.node.get_closest_marker("settings")
    with Service(base, f"isolate-test-{os.getpid()}-tiny", mark.args[0] if mark else None) as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}")
        made.start_resident()
        yield made
        (made.runtime / "filler").unlink(missing_ok=True)


def no_space(done):
    assert done.returncode == 125 and "No space left" in done.stderr, done


@pytest.mark.parametrize("parked", [pytest.param(0, marks=pytest.mark.settings({"Pool.Parked": 0})),
                                    pytest.param(4, marks=pytest.mark.settings({"Pool.Parked": 4}))])
def test_runtime_directory_is_full(tiny, parked):
    anne = Member(tiny, ANNE)
    assert anne.run().returncode == 0
    if parked:
        wait_until(tiny.parked, PATIENCE)
    process = anne.sleeper("--name", "early")
    fill_tmpfs(tiny.runtime)
    for i in range(10):
        done = anne.run([], ["sh", "-c", "exit 7"])
        # what a parked one that failed leaves is room for the next
        if i == 0 or not parked or done.returncode != 7:
            no_space(done)
    finish(process)
    assert tiny.resident.poll() is None
    (tiny.runtime / "filler").unlink()
    # that the name is free again could not be written down: it is when the clone has gone
    wait_until(lambda: anne.run(["--name", "early"], ["sh", "-c", "exit 3"]).returncode == 3, PATIENCE)
    tiny.wait_for_ends()
    tiny.stop_resident()
    tiny.assert_clean()


def test_runtime_directory_gets_full_step_by_step(tiny):
    """Whichever write is the one that fails."""
    anne = Member(tiny, ANNE)
    for free in range(4096, 10 * 4096, 4096):
        fill_tmpfs(tiny.runtime, free)
        done = anne.run(["--name", "n"], ["sh", "-c", "exit 7"])
        assert done.returncode == 7 or (done.returncode == 125 and "No space left" in done.stderr), done
        (tiny.runtime / "filler").unlink()
    tiny.assert_clean()
    assert anne.run(["--name", "n"], ["sh", "-c", "exit 3"]).returncode == 3


def test_start_with_a_full_runtime_directory(tiny):
    """It says so, or serves; started again with space it does, and nothing is left."""
    anne = Member(tiny, ANNE)
    assert anne.run().returncode == 0
    tiny.stop_resident()
    fill_tmpfs(tiny.runtime)
    try:
        tiny.start_again()
        no_space(anne.run())
    except AssertionError:
        tiny.resident = None
        assert "No space left" in tiny.log(), tiny.log()
        (tiny.runtime / "filler").unlink()
        tiny.start_again()
    (tiny.runtime / "filler").unlink(missing_ok=True)
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    tiny.assert_clean()


def test_killed_with_a_full_runtime_directory(tiny):
    anne = Member(tiny, ANNE)
    process = anne.sleeper()
    fill_tmpfs(tiny.runtime)
    tiny.kill_resident()
    finish(process)
    (tiny.runtime / "filler").unlink()
    tiny.start_again()
    tiny.assert_clean()
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3


@pytest.mark.parametrize("parked", [0, 4])
def test_volume_of_the_clones_is_full(session_directory, small_root, parked):
    base = session_directory / "volume"
    base.mkdir()
    base.chmod(0o755)
    with small_disk(base, 60) as mounted:
        mounted.chmod(0o755)
        with Service(mounted / "instance", f"isolate-test-{os.getpid()}-volume",
                     {"Pool.Parked": parked}) as made:
            made.ok("template", "create", "t", "--from", f"dir:{small_root}")
            made.start_resident()
            anne = Member(made, ANNE)
            assert anne.run().returncode == 0
            if parked:
                wait_until(made.parked, PATIENCE)
            process = anne.sleeper()
            filler = fill(mounted)
            for _ in range(10 + parked):
                done = anne.run([], ["sh", "-c", "exit 7"])
                # a parked one is there already, and a clone of nothing may still find its place
                assert done.returncode == 7 or "No space left" in done.stderr, done
                assert done.returncode in (7, 125), done
            assert made.resident.poll() is None
            finish(process)
            shutil.rmtree(filler)
            wait_until(lambda: anne.run([], ["sh", "-c", "exit 3"]).returncode == 3, PATIENCE)
            made.wait_for_ends()
            made.stop_resident()
            made.assert_clean()
    shutil.rmtree(base)


def quarantined(service):
    return [name for name, state in service.states().items() if state == "quarantined"]


def test_quarantine_is_short(service):
    """However long the daemon has had nothing to try again."""
    anne = Member(service, 61301)
    time.sleep(6)  # its next look would be at 21 s
    process = anne.sleeper()
    (item,) = service.ps()
    busy = service.state / "overlay/clones" / item["id"] / "upper/srv/busy"
    busy.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", busy], check=True)
    try:
        finish(process)
        wait_until(lambda: quarantined(service) == [item["id"]], PATIENCE, "the quarantine")
    finally:
        mounts = pathlib.Path("/proc/self/mounts").read_text().split()
        subprocess.run(["umount", *[m for m in mounts if item["id"] in m]], check=True)
    wait_until(lambda: not service.states(), 10, "its end")


@pytest.mark.settings({"Daemon.SandboxesPerUser": 1})
@pytest.mark.parametrize("restart", [False, True], ids=["same_daemon", "next_daemon"])
def test_quarantine(service, restart):
    """What will not go is left alone, shown with its holder, counted, and gone when it can go."""
    anne = Member(service, 61301)
    process = anne.sleeper()
    (item,) = service.ps()
    busy = service.state / "overlay/clones" / item["id"] / "upper/srv/busy"
    busy.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", busy], check=True)
    try:
        finish(process)
        wait_until(lambda: quarantined(service) == [item["id"]], PATIENCE, "the quarantine")
        if restart:
            service.kill_resident()
            service.start_again()
        assert [one["state"] for one in json.loads(anne.ok("ps", "-a", "--json"))] == ["quarantined"]
        done = anne.run()
        assert done.returncode == 125 and "1 sandboxes already" in done.stderr, done
        assert Member(service, 61302).run().returncode == 0
        checks = json.loads(service.isolate("doctor", "--json").stdout)["checks"]
        (found,) = [c for c in checks if c["result"] == "leftover"]
        assert item["id"] in found["detail"] and "has a mount in it" in found["detail"], found
        assert (service.state / "overlay/trash" / item["id"] / "upper/srv/busy").is_mount()
    finally:
        mounts = pathlib.Path("/proc/self/mounts").read_text().split()
        subprocess.run(["umount", *[m for m in mounts if item["id"] in m]], check=True)
    service.ok("prune")
    assert not quarantined(service) and not [n for n in service.clones() if item["id"] in n]
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3


def removers(service):
    """Forks of the destroyer, which are at work when they have given way to all others."""
    return [child for pid in service.helpers("isolated", "--builder") for child in children(pid)
            if os.getpriority(os.PRIO_PROCESS, child) == 19]


def stop_removers(service):
    """They work no longer, until they are told to; [] where there is none after a moment."""
    end = time.monotonic() + 2
    while not (found := removers(service)) and time.monotonic() < end:
        time.sleep(0.01)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    return found


def litter(service, member):
    """A sandbox that has left so many files that none is removed at once: where they go. They are names of a few
    files, which are made sooner."""
    process = member.sleeper()
    (item,) = service.ps()
    many = service.state / "overlay/clones" / item["id"] / "upper/srv/many"
    many.mkdir(parents=True)
    for i in range(MANY):
        file = many / str(i % FILES)
        if i < FILES:
            file.touch()
        else:
            os.link(file, many / str(i))
    finish(process)
    return service.state / "overlay/trash" / item["id"]


def holders(service):
    """Of id ranges."""
    return [path.read_text() for path in (service.runtime / "ids").iterdir()]


def test_many_files_hold_up_nobody(service):
    """Others' ends do not wait until all that one has left is removed; its ids are nobody's until then."""
    anne, ben = Member(service, 61301), Member(service, 61302)
    trash = litter(service, anne)
    stopped = stop_removers(service)
    for _ in range(3):
        assert ben.run(["--keep", "--name", "b"], ["sh", "-c", "exit 3"]).returncode == 3
        ben.ok("rm", "b")
    assert trash.exists()
    assert trash.name in holders(service)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not trash.exists(), PATIENCE, "that all is removed")
    wait_until(lambda: not service.states() and trash.name not in holders(service), PATIENCE, "its end")
    wait_until(lambda: not removers(service), PATIENCE, "the end of removers")


@pytest.mark.settings({"Daemon.SandboxesPerUser": 1})
def test_many_files_count(service):
    """Who leaves them has a sandbox less until they are gone: their ids, and their room, are still taken."""
    anne, ben = Member(service, 61301), Member(service, 61302)
    trash = litter(service, anne)
    stopped = stop_removers(service)
    assert stopped and trash.exists()
    done = anne.run()
    assert done.returncode == 125 and "1 sandboxes already" in done.stderr, done
    assert ben.run().returncode == 0
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not service.states(), PATIENCE, "that all is removed")
    assert anne.run().returncode == 0


@pytest.mark.long
def test_prune_waits_for_many_files(service):
    trash = litter(service, Member(service, 61301))
    stopped = stop_removers(service)
    assert stopped and trash.exists()
    service.ok("prune")
    assert not trash.exists()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not service.states(), PATIENCE, "its end")


@pytest.mark.long
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_next_daemon_removes_many_files(service, kill):
    """The end of a daemon does not wait for them."""
    trash = litter(service, Member(service, 61301))
    stopped = stop_removers(service)
    assert stopped
    if kill:
        service.kill_resident()
    else:
        assert service.stop_resident() == 0
    wait_until(lambda: not any(process_state(pid) for pid in stopped), PATIENCE, "the end of its removers")
    assert trash.exists() and trash.name in holders(service)
    service.start_again()
    wait_until(lambda: not trash.exists() and not service.states(), PATIENCE, "that all is removed")


@pytest.mark.long
def test_killed_destroyer_with_many_files(service):
    trash = litter(service, Member(service, 61301))
    stopped = set(stop_removers(service))
    (destroyer,) = [pid for pid in service.helpers("isolated", "--builder") if stopped & set(children(pid))]
    os.kill(destroyer, signal.SIGKILL)
    wait_until(lambda: not trash.exists() and not service.states(), PATIENCE, "that all is removed")


def test_layers_go_behind_the_last_sandbox(service, small_root):
    """Into the trash, and from there, though nothing else ends."""
    before = set(os.listdir(service.state / "overlay/layers"))
    service.ok("template", "create", "n", "--from", f"dir:{small_root}")
    process = service.popen([], ["sh", "-c", "echo up; read x; exit 7"], template="n", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    service.ok("template", "rm", "n")
    assert set(os.listdir(service.state / "overlay/layers")) > before
    finish(process)
    wait_until(lambda: set(os.listdir(service.state / "overlay/layers")) == before, PATIENCE, "the end of its layers")
    wait_until(lambda: not os.listdir(service.state / "overlay/trash"), PATIENCE, "that the trash is empty")
