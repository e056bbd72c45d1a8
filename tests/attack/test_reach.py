# SPDX-License-Identifier: Apache-2.0
"""Attack 20: processes, abstract sockets, queues and memory of the host or of another sandbox.
Attack 24: outliving the sandbox. Controls: the same programs side by side on the host."""

import os
import pathlib
import signal
import shutil
import subprocess
import time

import pytest

from attempts import both_variants, of
from instance import end, parse, read_until, wait_until

# --- 20 ---

REACH = """abstract_socket unix_socket_list tcp_port sysv_memory sysv_messages sysv_semaphores
sysv_any posix_queue posix_memory signal pidfd_open see_process""".split()
CANNOT = {"EPERM", "EACCES", "ENOENT", "ECONNREFUSED", "ESRCH", "EINVAL", "ENOSYS"}


@pytest.fixture(scope="module", params=["host", "sandbox"])
def reach(instance, request):
    name = f"isolate-attack-{os.getpid()}-{request.param}"
    outside = request.param == "host"
    offering = instance.start("reach", "offer", name, outside=outside)
    control_offering = offering if outside else instance.start("reach", "offer", name, outside=True)
    try:
        for process in {offering, control_offering}:
            assert read_until(process, "").startswith("offered")
        pid = offering.pid if outside else host_pid(instance, name)
        native = both_variants(instance, "reach", "try", name, str(pid))
        control = subprocess.run([str(instance.programs / "reach"), "try", name,
                                  str(control_offering.pid)], capture_output=True, text=True,
                                 timeout=60, check=True)
    finally:
        for process in {offering, control_offering}:
            end(process)
    return request.param, native, parse(control.stdout)


def host_pid(instance, name):
    """The pid on the host of the offering command in a sandbox."""
    for procs in instance.cgroup.glob("*/**/cgroup.procs"):
        for pid in procs.read_text().split():
            if name in pathlib.Path("/proc", pid, "cmdline").read_text():
                return int(pid)
    raise AssertionError("the offering sandbox is not there")


@pytest.mark.parametrize("what", REACH)
def test_reach(judge, reach, what):
    whose, native, control = reach
    judge(20, f"{what}_of_{whose}", of(native, what), control[what], CANNOT, missing=set())


def test_abstract_socket_with_host_network(instance, judge):
    """The network is shared, the host's abstract sockets are not (Landlock scoping)."""
    name = f"isolate-attack-{os.getpid()}-network"
    offering = instance.start("reach", "offer", name, outside=True)
    try:
        assert read_until(offering, "").startswith("offered")
        native = both_variants(instance, "reach", "try", name, "0",
                               options=("--network", "host"))
        control = subprocess.run([str(instance.programs / "reach"), "try", name, "0"],
                                 capture_output=True, text=True, timeout=60, check=True)
    finally:
        end(offering)
    judge(20, "abstract_socket_by_host_network", of(native, "abstract_socket"),
          parse(control.stdout)["abstract_socket"], {"EPERM"}, missing=set())


COUNTED = ("one_inotify", "one_timer", "one_queue")


def test_what_is_counted_for_a_user(instance, judge):
    """inotify instances, queued signals and message queues are limited for each uid of the machine, and no
    cgroup knows of them. Control: two processes of one uid of the machine."""
    as_user = ["setpriv", "--reuid", "61499", "--regid", "61499", "--clear-groups", "--", instance.programs / "exhaust"]
    holding = [instance.start("exhaust", "hold"),
               subprocess.Popen([*as_user, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)]
    try:
        for one in holding:
            assert read_until(one, "held")
        others = instance.attack("exhaust", "try")
        roots = parse(subprocess.run([instance.programs / "exhaust", "try"], capture_output=True, text=True, check=True).stdout)
        control = parse(subprocess.run([*as_user, "try"], capture_output=True, text=True, check=True).stdout)
    finally:
        for one in holding:
            end(one)
    for what in COUNTED:
        assert roots[what] == "SUCCEEDED", (what, roots)
        judge(20, f"{what}_of_others", "denied served" if others[what] == "SUCCEEDED" else "SUCCEEDED",
              "SUCCEEDED" if control[what].startswith("denied") else "denied served", {"served"})


# --- 24 ---

HOWS = ["linger", "run-away", "stop"]
QUIET_SECONDS = 0.3


def grows(path):
    before = path.stat().st_size
    time.sleep(QUIET_SECONDS)
    return path.stat().st_size > before


def living(name):
    """Processes of the host with that word on their command line."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words:
            found.append(int(entry.parent.name))
    return found


def kill_all(name):
    while pids := living(name):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def beats(instance):
    path = instance.path("beats")
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("how", HOWS)
def test_outlive(instance, judge, beats, how):
    options = ("-v", f"{beats}:/beats-{os.getpid()}")
    inside = f"/beats-{os.getpid()}/native"
    done = instance.run("outlive", inside, how, options=options)
    assert done.returncode == 0
    assert (beats / "native").stat().st_size > 0, "the attack did not run"
    assert not grows(beats / "native") and not living(inside)
    outside = str(beats / "control")
    subprocess.run([str(instance.programs / "outlive"), outside, how], check=True, timeout=60)
    try:
        alive = bool(living(outside)) or wait_until(lambda: living(outside), 1)
    finally:
        kill_all(outside)
    judge(24, f"outlive_by_{how}", "denied gone", "SUCCEEDED" if alive else "denied gone", {"gone"})


def test_client_killed(instance, judge, beats):
    """A command that ignores every signal, and a client that dies by SIGKILL."""
    inside = f"/beats-{os.getpid()}/native"
    client = instance.start("outlive", inside, "stay",
                            options=("-v", f"{beats}:/beats-{os.getpid()}"))
    assert wait_until((beats / "native").exists)
    client.kill()
    client.communicate()
    assert wait_until(lambda: not living(inside)), "it lives on"
    assert not grows(beats / "native")
    outside = str(beats / "control")
    shell = subprocess.Popen(["sh", "-c", f"{instance.programs / 'outlive'} {outside} stay; exit"])
    assert wait_until((beats / "control").exists)
    shell.kill()
    shell.wait()
    try:
        alive = grows(beats / "control")
    finally:
        kill_all(outside)
    judge(24, "client_killed", "denied gone", "SUCCEEDED" if alive else "denied gone", {"gone"})
