# SPDX-License-Identifier: Apache-2.0
"""The life of the resident daemon: a second one, its death at the wrong moment, a stop, a reload,
the death of its helpers. What runs does not notice."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from sandboxes import BUILD, PATIENCE, live, wait_until
from services import Member, Service, finish, kill

ANNE, BERT = 61301, 61302


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


@pytest.fixture
def bert(service):
    return Member(service, BERT)


def start_daemon(service, env=None):
    """One that is expected to end by itself: its status and what it said."""
    done = subprocess.run([BUILD / "isolated"], env={**service.env, "ISOLATE_SOCKET": "", **(env or {})},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert done.stderr.count("\n") == 1 and done.returncode == 1, done
    return done.stderr


def snapshot(directory):
    """Of all below it what changes when somebody touches it."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        st = path.lstat()
        found[path] = (st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    return found


def zombies_gone(service):
    wait_until(lambda: not service.zombies(), PATIENCE, "that no zombie is left")


# a second daemon


def test_second_daemon_is_refused_before_it_touches_anything(service, anne):
    process = anne.sleeper()
    (leaf,) = service.leaves()
    records = service.runtime / "sandboxes"
    before = snapshot(records), snapshot(service.runtime / "ids"), snapshot(service.state / "overlay")
    said = start_daemon(service)
    assert "another isolated serves" in said and str(service.runtime) in said
    now = snapshot(records), snapshot(service.runtime / "ids"), snapshot(service.state / "overlay")
    assert now == before
    assert service.leaves() == [leaf] and service.serves()
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    finish(process)


def test_second_daemon_is_refused_while_the_first_one_is_stopped(service):
    service.resident.send_signal(signal.SIGSTOP)
    try:
        assert "another isolated" in start_daemon(service)
    finally:
        service.resident.send_signal(signal.SIGCONT)
    assert service.run().returncode == 0


# a killed daemon


def test_stale_socket_is_replaced(service, anne):
    path = service.runtime / "io.isolate"
    inode = path.stat().st_ino
    service.kill_resident()
    assert path.stat().st_ino == inode, "the killed one left its socket"
    # members are told, and who names that daemon; root has the embedded mode
    for done in (anne.run(), service.run()):
        assert done.returncode == 125 and "no isolated is running" in done.stderr, done
    assert service.run([], ["sh", "-c", "exit 4"], env={"ISOLATE_SOCKET": ""}).returncode == 4
    service.start_again()
    assert path.stat().st_ino != inode
    assert anne.run([], ["sh", "-c", "exit 5"]).returncode == 5


@pytest.mark.parametrize("thing", ["file", "link"])
def test_something_else_in_the_place_of_the_socket(service, anne, thing, tmp_path):
    service.stop_resident()
    path = service.runtime / "io.isolate"
    victim = tmp_path / "victim"
    victim.write_text("")
    path.write_text("") if thing == "file" else path.symlink_to(victim)
    service.start_again()
    assert path.is_socket() and not path.is_symlink() and victim.read_text() == ""
    assert anne.run().returncode == 0


def populated(service):
    return [events for events in service.cgroup.glob("*/cgroup.events") if "populated 1" in events.read_text()]


def test_killed_with_sandboxes_running(service, anne, bert):
    """They go on, say their real status, are taken over by the next daemon and cleared away."""
    service.wait_for_ends()
    running = [anne.sleeper("--name", "a"), bert.sleeper(), anne.sleeper()]
    service.kill_resident()
    finish(running.pop())  # without any daemon
    wait_until(lambda: len(populated(service)) == 2, PATIENCE, "the end of the third")
    service.start_again()
    assert "2 sandboxes of an earlier isolated go on" in service.log()
    shown = {item["owner_uid"]: item for item in service.ps()}
    assert {ANNE, BERT} <= set(shown) and shown[ANNE]["state"] == "running"
    wait_until(lambda: len(service.ps()) == 2, PATIENCE, "that the third one is gone")
    assert anne.run(["--name", "a"]).returncode == 125, "the name is still taken"
    finish(running.pop())
    service.kill_resident()
    service.start_again()
    finish(running.pop(0))
    service.assert_clean()
    assert anne.run(["--name", "a"], ["sh", "-c", "exit 3"]).returncode == 3


def test_client_of_an_adopted_one_dies(service, anne):
    process = anne.sleeper()
    service.kill_resident()
    service.start_again()
    process.kill()
    process.wait()
    service.assert_clean()


def test_kept_one_survives_a_killed_daemon(service, anne):
    process = anne.popen(["--keep", "--name", "hers"], ["sh", "-c", "touch /file; echo up; read x; exit 7"])
    assert process.stdout.readline() == "up\n"
    service.kill_resident()
    service.start_again()
    finish(process)
    wait_until(lambda: [item["state"] for item in service.ps("-a")] == ["kept"], PATIENCE)
    assert anne.ok("diff", "hers") == "A /file\n"
    anne.ok("rm", "hers")
    service.assert_clean()


def test_kept_one_runs_without_a_daemon(service, anne):
    """Nobody takes it away, commits it or starts it a second time, prune and doctor leave it alone;
    the next daemon takes it over, and it is kept when it ends."""
    process = anne.sleeper("--keep", "--name", "k")
    (item,) = service.ps()
    service.kill_resident()
    alone = {"env": {"ISOLATE_SOCKET": ""}}
    for verb in (["rm", item["id"]], ["commit", item["id"], "t"], ["start", item["id"], "--", "true"],
                 ["prune", "--kept"]):
        done = service.isolate(*verb, **alone)
        assert done.returncode == (0 if verb[0] == "prune" else 125), (verb, done)
        assert verb[0] == "prune" or "is running" in done.stderr, (verb, done)
    checks = json.loads(service.isolate("doctor", "--json", **alone).stdout)["checks"]
    assert not [c for c in checks if c["result"] == "leftover"], checks
    assert process.poll() is None
    service.start_again()
    finish(process)
    wait_until(lambda: [one["state"] for one in json.loads(anne.ok("ps", "-a", "--json"))] == ["kept"], PATIENCE)
    assert anne.isolate("start", "k", "--", "sh", "-c", "exit 3").returncode == 3
    anne.ok("rm", "k")


def test_killed_while_it_builds(service, anne):
    for _ in range(10):
        process = anne.popen([], ["sh", "-c", "exit 7"])
        time.sleep(0.01)
        service.kill_resident()
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode in (7, 125, 123), (process.returncode, errors)
        assert process.returncode == 7 or "nothing ran" in errors or "unknown" in errors or \
            "no isolated is running" in errors, errors
        service.start_again()
    service.assert_clean()


# stopped


def test_stop_without_sandboxes(service, anne):
    assert anne.run().returncode == 0
    service.wait_for_ends()
    assert service.stop_resident() == 0
    assert not (service.runtime / "io.isolate").exists()
    service.assert_clean()
    service.start_again()
    assert anne.run().returncode == 0


@pytest.mark.settings({"Pool.Parked": 4})
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_with_sandboxes(service, anne, number):
    process = anne.sleeper()
    wait_until(service.parked, PATIENCE, "parked ones")
    assert service.stop_resident(number) == 0
    # the parked ones are gone at once, the running one is not
    assert list(service.states().values()) == ["running"], service.states()
    assert len(service.leaves()) == 1
    finish(process)
    service.start_again()
    wait_until(lambda: "running" not in service.states().values(), PATIENCE)


def test_stop_asked_twice_while_nothing_can_be_taken_away(service, anne):
    process = anne.sleeper()
    service.resident.send_signal(signal.SIGTERM)
    service.resident.send_signal(signal.SIGTERM)
    assert service.resident.wait(PATIENCE) == 0
    service.resident = None
    service.env["ISOLATE_SOCKET"] = ""
    finish(process)
    service.start_again()
    service.assert_clean()


# configuration


def reload(service):
    seen = service.log()
    service.resident.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration" in service.log()[len(seen):], PATIENCE, "the reload")
    return service.log()[len(seen):]


def test_reload(service, anne):
    process = anne.sleeper()
    service.write_configuration(Daemon_SandboxesPerUser=1)
    assert "reloaded" in reload(service)
    done = anne.run()
    assert done.returncode == 125 and "1 sandboxes already" in done.stderr
    finish(process)
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    service.write_configuration(Daemon_SandboxesPerUser=20)
    assert "reloaded" in reload(service)
    running = [anne.sleeper() for _ in range(3)]
    for one in running:
        finish(one)


@pytest.mark.settings({"Pool.Parked": 2})
def test_many_reloads(service, anne):
    """More than a builder takes orders at once: each of them is done with."""
    for i in range(20):
        service.write_configuration(Daemon_SandboxesPerUser=100 + i)
        assert "reloaded" in reload(service)
    done = [anne.run([], ["sh", "-c", "exit 3"]) for _ in range(5)]
    assert [one.returncode for one in done] == [3] * 5, done
    service.stop_resident()
    assert "running" not in service.states().values()


@pytest.mark.settings({"Pool.Parked": 2})
def test_helpers_have_the_configuration_that_was_checked(service, anne):
    """Not what the file says when they are started again."""
    process = anne.sleeper()
    good = service.config.read_text()
    service.config.write_text("[Paths]\nStateDirectory=/nonexistent/state\n[NoSuchSection]\nx=1\n")
    for pid in service.helpers("isolated", "--builder"):
        kill(pid)
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode in (3, 125)
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    finish(process)
    service.wait_for_ends()
    assert not os.path.exists("/nonexistent")
    service.config.write_text(good)


BAD_SETTINGS = [
    ("[Daemon]\nNoSuchKey=1\n", "NoSuchKey"),
    ("[NoSuchSection]\nParked=1\n", "NoSuchSection.Parked"),
    ("[Pool]\nParked=many\n", "Parked="),
    ("[Pool]\nParked=-1\n", "Parked="),
    ("[Pool]\nParked=99999999999999999999\n", "Parked="),
    ("[Pool]\nParked=\n", "Parked="),
    ("[Daemon]\nSandboxesPerUser=0\n", "SandboxesPerUser="),
    ("[Daemon]\nSandboxesPerUser=1.5\n", "SandboxesPerUser="),
    ("[Daemon]\nGroup=\n", "Group="),
    ("[Sandboxes]\nCgroup=a/../b\n", "Cgroup="),
    ("[Sandboxes]\nRanges=0\n", "Ranges="),
    ("[Paths]\nStateDirectory=relative\n", "StateDirectory="),
    ("a line of nothing\n", "neither"),
]


def test_reload_of_a_bad_configuration(service, anne):
    """The old one stays, what runs is untouched, the message names file, line and key."""
    process = anne.sleeper()
    for text, word in BAD_SETTINGS:
        service.write_configuration(extra=text)
        said = reload(service)
        assert word in said and "the old configuration stays" in said, (text, said)
        assert f"{service.config}:" in said, said
        assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    service.write_configuration(extra="[Paths]\nStateDirectory=/somewhere/else\n")
    assert "cannot change" in reload(service)
    service.config.unlink()
    assert str(service.config) in reload(service)
    service.write_configuration()
    finish(process)
    assert "reloaded" in reload(service)


def test_start_with_a_bad_configuration(service, tmp_path):
    service.stop_resident()
    for text, word in BAD_SETTINGS:
        service.write_configuration(extra=text)
        said = start_daemon(service)
        assert word in said and f"{service.config}:" in said, (text, said)
    assert str(tmp_path / "none") in start_daemon(service, {"ISOLATE_CONFIG": str(tmp_path / "none")})
    service.write_configuration(extra="[Paths]\nStateDirectory=/dev/null/x\n")
    assert "/dev/null" in start_daemon(service)
    service.write_configuration()
    service.start_again()
    assert service.run().returncode == 0


def test_cgroup_removed_under_the_daemon(service, anne):
    """Empty, as the keeper of isolate-sandboxes.service removes it: it is made again."""
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    for status in (4, 5):
        wait_until(lambda: not service.leaves(), PATIENCE, "the end of all")
        service.cgroup.rmdir()
        process = anne.sleeper()
        (leaf,) = service.leaves()
        assert (service.cgroup / leaf / "cgroup.procs").read_text()
        finish(process)
        assert anne.run([], ["sh", "-c", f"exit {status}"]).returncode == status
    wait_until(lambda: not service.leaves(), PATIENCE, "the end of all")
    service.cgroup.rmdir()
    source = service.base / "root"
    source.mkdir()
    service.ok("template", "create", "made", "--from", f"dir:{source}")
    service.ok("template", "rm", "made")
    assert not service.leaves()


def test_group_that_is_not_there(service, anne):
    service.stop_resident()
    service.write_configuration(Daemon_Group="no-such-group-here")
    service.start_again()
    assert 'there is no group "no-such-group-here"' in service.log()
    assert anne.run().returncode == 125
    assert service.run([], ["sh", "-c", "exit 3"]).returncode == 3


def test_refusal_names_the_group_whatever_it_is_called(service, anne):
    service.stop_resident()
    service.write_configuration(Daemon_Group='no "such" \\group')
    service.start_again()
    (service.runtime / "io.isolate").chmod(0o666)
    done = anne.run()
    assert done.returncode == 125 and 'is not in the group no "such" ' in done.stderr


def test_helper_program_is_missing(service, session_directory):
    """An installation that lost a part: a clear error, and nothing left."""
    service.stop_resident()
    libexec = session_directory / "libexec"
    libexec.mkdir()
    try:
        names = ("isolated", "isolate-init", "isolate-decoder", "isolate-nursery", "isolate-image",
                 "isolate-network")
        for missing in ("isolate-init", "isolate-decoder", "isolate-nursery"):
            for name in names:
                if name != missing:
                    shutil.copy(BUILD / name, libexec)
            said = start_daemon(service, {"ISOLATE_LIBEXEC_DIR": str(libexec)})
            assert missing in said and "installed completely" in said
            for path in libexec.iterdir():
                path.unlink()
    finally:
        shutil.rmtree(libexec)
    service.assert_clean()
    service.start_again()


# helpers that die


@pytest.mark.settings({"Pool.Parked": 2})
@pytest.mark.parametrize("who", ["isolate-nursery", "isolated --builder", "isolate-decoder", "all"])
def test_service_goes_on_when_a_helper_is_killed(service, anne, bert, who):
    process = anne.sleeper()
    for _ in range(10):
        helpers = [p for p in service.resident_processes() - {service.resident.pid}] if who == "all" \
            else service.helpers(*who.split())
        assert helpers
        for pid in helpers:
            kill(pid)
        wait_until(lambda: not any(live(pid) for pid in helpers), PATIENCE, "the end of the helpers")
        # at most one call may have been on its way to the dead
        codes = [caller.run([], ["sh", "-c", "exit 3"]).returncode for caller in (bert, bert, anne)]
        assert codes[-1] == 3 and set(codes) <= {3, 125}, (codes, service.log())
    finish(process)
    zombies_gone(service)
    service.wait_for_ends()
    assert service.stop_resident() == 0
    service.assert_clean()


def test_decoder_of_another_uid_is_killed(service, anne, bert):
    """Its callers lose their connection, what they run goes on to its end; others see nothing."""
    mine, other = anne.sleeper(), bert.sleeper()
    for pid in service.helpers("isolate-decoder"):
        first = int((service.runtime / "decoder-ids").read_text())
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert int(status.split("Uid:")[1].split()[0]) > first
        kill(pid)
        wait_until(lambda: not live(pid), PATIENCE)
    # at most one call may have been on its way to the dead
    codes = [anne.run([], ["sh", "-c", "exit 4"]).returncode for _ in range(2)]
    assert codes[-1] == 4 and codes[0] in (4, 125)
    wait_until(lambda: len(service.ps()) == 2, PATIENCE, "the end of what was on its way")
    finish(mine)
    finish(other)
    service.assert_clean()


def test_builder_is_killed_while_it_builds(service, anne):
    """Nothing is left of what it had half made, not even a process that nobody waits for."""
    for i in range(20):
        process = anne.popen([], ["sh", "-c", "exit 7"])
        time.sleep(0.002 * i)
        for pid in service.helpers("isolated", "--builder"):
            kill(pid)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 7 or (process.returncode == 125 and "nothing ran" in errors), \
            (process.returncode, errors)
    service.assert_clean()
    zombies_gone(service)
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3


def test_fds_of_the_daemon_after_much_work(service, anne, bert):
    def open_fds():
        return len(os.listdir(f"/proc/{service.resident.pid}/fd"))

    for caller in (anne, bert, anne, bert):
        caller.run()
        caller.ok("ps")
    service.assert_clean()
    wait_until(lambda: not service.states(), PATIENCE)
    before = open_fds()
    for _ in range(25):
        anne.run([], ["false"])
        bert.isolate("inspect", "none")
        bert.run(template="none")
        anne.run(["-u", "no-such-user"])
    service.assert_clean()
    wait_until(lambda: open_fds() <= before, PATIENCE, f"{before} fds")


def test_removing_the_installation_leaves_nothing(session_directory, small_root):
    with Service(session_directory / "other", f"isolate-test-{os.getpid()}-other") as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}")
        made.start_resident()
        assert made.run().returncode == 0
    assert not made.runtime.exists() and not made.cgroup.exists()
