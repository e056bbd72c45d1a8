# SPDX-License-Identifier: Apache-2.0
"""--cpu-time: what all processes of a sandbox may use of processors together."""

import json
import os
import signal
import time

import pytest

from sandboxes import ENGINE, PATIENCE, children, comm, receipt, wait_until
from services import Member

ANNE = 61301
BUSY = "while :; do :; done"
# each of them far below the limit
SHORT = "while :; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done'; done"


def used_us(path):
    usage = receipt(path)["sandbox"]["usage"]
    return usage["user_us"] + usage["system_us"]


@pytest.mark.parametrize("command", [BUSY, f"{BUSY} & {BUSY} & wait", SHORT], ids=["one", "two", "short"])
def test_it_ends(instance, tmp_path, command):
    path = tmp_path / "receipt"
    done = instance.run(["--receipt", path, "--cpu-time", "400ms"], ["sh", "-c", command])
    assert done.returncode == 124 and "CPU time" in done.stderr, done
    assert (receipt(path)["kind"], receipt(path)["status"]) == ("cpu_time", 124)
    assert receipt(path)["sandbox"]["exit"] == {"kind": "cpu_time"}
    assert 350000 < used_us(path) < 2000000


def test_waiting_costs_nothing(instance):
    assert instance.run(["--cpu-time", "900ms"], ["sh", "-c", "sleep 2; exit 7"]).returncode == 7


def test_the_other_time_is_told_apart(instance, tmp_path):
    path = tmp_path / "receipt"
    for limit, kind in ((["--cpu-time", "1h", "--timeout", "300ms"], "timeout"),
                        (["--cpu-time", "300ms", "--timeout", "1h"], "cpu_time")):
        assert instance.run(["--receipt", path, *limit], ["sh", "-c", BUSY]).returncode == 124
        assert receipt(path)["kind"] == kind


def test_who_does_not_hear(instance, tmp_path):
    """TERM first, and KILL after ten seconds."""
    mark = tmp_path / "mark"
    begin = time.monotonic()
    done = instance.run(["--cpu-time", "200ms", "-v", f"{tmp_path}:/mnt"],
                        ["sh", "-c", f"trap 'echo heard >/mnt/mark' TERM; {BUSY}"])
    assert done.returncode == 124
    assert mark.read_text() == "heard\n"
    assert time.monotonic() - begin >= 10


def test_the_last_word_is_the_limits(instance, tmp_path):
    path = tmp_path / "receipt"
    done = instance.run(["--receipt", path, "--cpu-time", "200ms"], ["sh", "-c", f"trap 'exit 5' TERM; {BUSY}"])
    assert done.returncode == 124 and receipt(path)["kind"] == "cpu_time"


def test_explain(instance):
    told = json.loads(instance.output(["--explain", "--json", "--cpu-time", "1m30s"]))
    assert told["plan"]["cpu_time_ms"] == told["spec"]["cpu_time_ms"] == 90000
    assert "CPU time       90000 ms" in instance.output(["--explain", "--cpu-time", "90s"])


def test_kept(instance):
    assert instance.run(["--keep", "--name", "k", "--cpu-time", "300ms"], ["sh", "-c", BUSY]).returncode == 124
    try:
        assert instance.isolate("start", "k").returncode == 124
        assert instance.isolate("start", "--cpu-time", "1h", "k", "--", "true").returncode == 0
    finally:
        instance.ok("rm", "k")


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


def test_exec_counts(service, anne):
    anne.run(["-d", "--name", "x", "--cpu-time", "500ms"], ["sleep", "600"])
    assert anne.isolate("exec", "--", "x", "true").returncode == 0
    assert anne.isolate("exec", "x", "--", "sh", "-c", BUSY).returncode in (137, 143)
    assert anne.isolate("wait", "x").stdout == "124\n"


def test_it_holds_without_the_daemon(service, anne):
    """The one that comes next hears of it."""
    run = anne.popen(["--cpu-time", "2s"], ["sh", "-c", f"echo ran; {BUSY}"])
    assert run.stdout.readline() == "ran\n"
    service.kill_resident()
    service.start_again()
    assert run.wait(PATIENCE) == 124, run.stderr.read()


@pytest.mark.skipif(ENGINE != "native", reason="the inner processes of others are not init's children")
def test_an_init_that_does_nothing(service, anne):
    """Whoever has taken over its init gains fifteen seconds."""
    run = anne.popen(["--cpu-time", "1s"], ["sh", "-c", f"echo ran; {BUSY}"])
    assert run.stdout.readline() == "ran\n"
    # init, which is about to be stopped, has said so: one that never does is a start that failed
    wait_until(lambda: [one["state"] for one in service.ps()] == ["running"], PATIENCE, "the start")
    (leaf,) = service.leaves()
    pids = [int(pid) for pid in (service.cgroup / leaf / "cgroup.procs").read_text().split()]
    (init,) = [pid for pid in pids if comm(pid) == "isolate-init"]
    os.kill(init, signal.SIGSTOP)
    begin = time.monotonic()
    assert run.wait(60) == 124, run.stderr.read()
    assert time.monotonic() - begin < 50
    assert not children(init)


@pytest.mark.long
@pytest.mark.skipif(ENGINE != "native", reason="the inner processes of others are not init's children")
def test_an_init_that_does_nothing_under_the_next_daemon(service, anne):
    """That one goes on where the one before it was, with both clocks."""
    runs = [anne.popen([option, "5s"], ["sh", "-c", f"echo ran; {BUSY}"]) for option in ("--cpu-time", "--timeout")]
    assert [run.stdout.readline() for run in runs] == ["ran\n"] * 2
    wait_until(lambda: [one["state"] for one in service.ps()] == ["running"] * 2, PATIENCE, "the starts")
    for leaf in service.leaves():
        pids = [int(pid) for pid in (service.cgroup / leaf / "cgroup.procs").read_text().split()]
        (init,) = [pid for pid in pids if comm(pid) == "isolate-init"]
        os.kill(init, signal.SIGSTOP)
    service.kill_resident()
    service.start_again()
    assert all("clocks" not in one for one in service.ps()), "of no use to a caller"
    for run in runs:
        assert run.wait(60) == 124, run.stderr.read()
    service.assert_clean()
