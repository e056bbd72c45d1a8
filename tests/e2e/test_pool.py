# SPDX-License-Identifier: Apache-2.0
"""The pool: parked sandboxes are built behind a run, given away once, fresh, and never of an old
generation."""

import collections
import contextlib
import json
import os
import shutil
import signal
import time

import pytest

from sandboxes import PATIENCE, process_state, wait_until
from services import Member, finish

pytestmark = pytest.mark.settings({"Pool.Parked": 4})

RUNS = 200


def wait_for_parked(service, n=1):
    def enough():
        names = ready(service)
        return names if len(names) >= n else None
    return wait_until(enough, PATIENCE, f"{n} parked sandboxes")


def ready(service):
    """The parked ones, if as many wait as the daemon says that it has; a record is older."""
    names = service.parked()
    says = json.loads(service.ok("pool", "--json"))
    return names if names and sum(shape["ready"] for shape in says) == len(names) else []


def settled(service):
    """The parked ones, when no more are being built."""
    before = None
    while not before or before != ready(service) or len(service.states()) != len(before):
        before = ready(service)
        time.sleep(0.2)
    return before


def pids_of(service, name):
    try:
        return [int(p) for p in (service.cgroup / name / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def sandbox_of(service, caller=None, options=()):
    """The id of the sandbox that a run gets."""
    process = (caller or Member(service, 0)).sleeper(*options)
    (item,) = service.ps()
    finish(process)
    return item["id"]


def test_parked_after_a_first_run(service):
    assert service.states() == {}, "nothing is parked for nobody"
    assert service.run().returncode == 0
    names = wait_for_parked(service, 2)
    assert service.ps("-a") == [] and service.ps() == []
    for name in names:
        record = service.record(name)
        assert (record["state"], record["template"], record["owner_uid"]) == ("parked", "t", 0)
        assert "request" not in record
        # nobody can name it
        for verb in ("inspect", "diff", "rm", "start"):
            done = Member(service, 61301).isolate(verb, name)
            assert done.returncode == 125 and "no such" in done.stderr, done


@pytest.mark.settings({"Pool.Parked": 1})
def test_parked_again_behind_starts_that_fail(service):
    """What nobody got is no less missing."""
    assert service.run().returncode == 0
    for _ in range(3):
        (before,) = wait_for_parked(service)
        assert service.run([], ["no-such-command"]).returncode == 127
        # much sooner than the pool looks whether it has become too large
        wait_until(lambda before=before: ready(service) not in ([], [before]), 20, "another one")


def test_parked_again_behind_a_failure(service):
    """Also where somebody starts between that and the next try."""
    service.ok("pool", "set", "t", "4")
    wait_for_parked(service, 4)
    clones = service.state / "overlay/clones"
    clones.rename(clones.with_name("away"))
    try:
        for _ in range(2):
            assert service.run().returncode == 0
            wait_until(lambda: "the next try" in service.log(), PATIENCE, "a failure")
    finally:
        shutil.rmtree(clones, ignore_errors=True)
        clones.with_name("away").rename(clones)
    # much sooner than the pool looks whether it has become too large
    wait_until(lambda: len(ready(service)) == 4, 20, "two others")


@contextlib.contextmanager
def stopped(service):
    """None of the parked sandboxes goes on meanwhile; gives their pids."""
    service.run()
    pids = [pid for name in settled(service) for pid in pids_of(service, name)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_what_is_asked_of_one_that_starts_waits(service):
    """It is not shown as running before its command runs; exec, kill and wait come behind its start."""
    with stopped(service):
        process = service.popen_isolate("run", "--name", "early", "t", "--", "sh", "-c", "trap 'exit 5' TERM; sleep 600 & wait")
        wait_until(service.ps, PATIENCE, "its record")
        wait_until(lambda: service.ps()[0]["state"] != "building", PATIENCE, "its claim")
        assert (service.ps()[0]["name"], service.ps()[0]["state"]) == ("early", "starting")
        assert json.loads(service.ok("inspect", "early"))["state"] == "starting"
        execs = [service.popen_isolate("exec", "early", "--", "sh", "-c", f"echo {n}; exit {n}") for n in range(3)]
        waiting = service.popen_isolate("wait", "early")
        time.sleep(0.3)
        assert all(each.poll() is None for each in (process, waiting, *execs))
    for number, each in enumerate(execs):
        assert each.communicate(timeout=PATIENCE) == (f"{number}\n", "") and each.returncode == number
    assert service.ps()[0]["state"] == "running"
    service.ok("kill", "early")
    assert process.wait(PATIENCE) == 5 and waiting.communicate(timeout=PATIENCE)[0] == "5\n"


def test_what_is_asked_of_one_that_fails_to_start(service):
    """It has not run, and whoever asks again does no harm."""
    with stopped(service):
        process = service.popen_isolate("run", "--name", "early", "t", "--", "/no/such/command")
        wait_until(lambda: [item["state"] for item in service.ps()] == ["starting"], PATIENCE, "its claim")
        asked = [service.popen_isolate("exec", "early", "--", "true"), service.popen_isolate("wait", "early")]
        time.sleep(0.3)
        assert all(each.poll() is None for each in (process, *asked))
    assert process.wait(PATIENCE) == 127
    for each in asked:
        _, said = each.communicate(timeout=PATIENCE)
        assert each.returncode == 125 and "has not started: /no/such/command: no such command" in said, said


def test_root_cannot_touch_a_parked_one_either(service):
    service.run()
    name = wait_for_parked(service)[0]
    for verb in ("diff", "rm", "start"):
        assert service.isolate(verb, name).returncode == 125
    assert service.isolate("prune").returncode == 0
    assert service.run([], ["sh", "-c", "exit 3"]).returncode == 3


def test_parked_one_is_used_by_the_next_run_and_never_twice(service):
    service.run()
    used = collections.Counter()
    for _ in range(20):
        parked = settled(service)
        name = sandbox_of(service)
        assert name in parked
        used[name] += 1
    assert set(used.values()) == {1}
    assert not set(used) & set(service.parked())


def test_clone_is_fresh(service):
    """A file made by one run is not seen by the next, however it got its sandbox."""
    callers = [Member(service, 0), Member(service, 61301), Member(service, 61302)]
    for i in range(RUNS):
        done = callers[i % 3].run([], ["sh", "-c", "ls /srv /root /tmp /run; for d in srv root tmp run; do "
                                               "touch /$d/used; done; hostname changed; exit 7"])
        assert done.returncode == 7, (i, done)
        assert "used" not in done.stdout, (i, done)


def test_everything_but_the_shape_binds_late(service, session_directory):
    service.run()
    wait_for_parked(service, 2)
    anne = Member(service, 61301)
    done = anne.run(["--name", "x", "--hostname", "there", "-e", "A=b", "-w", "/srv", "-u", "1000:1000"],
                    ["sh", "-c", "hostname; echo $A; pwd; id -u"])
    assert done.stdout.split() == ["there", "b", "/srv", "1000"], done
    wait_for_parked(service, 1)
    name = sandbox_of(service, anne, ("--name", "y"))
    assert name.startswith("t_")
    assert anne.run(["--timeout", "100ms"], ["sleep", "100"]).returncode == 124


def test_shapes_are_apart(service):
    """Host network is another shape: a parked one without it is not given to who asks for it."""
    service.run()
    wait_for_parked(service, 1)
    inside = service.output(["--network", "host"], ["readlink", "/proc/self/ns/net"])
    assert inside.strip() == os.readlink("/proc/self/ns/net")
    wait_until(lambda: any(service.record(name) for name in service.parked()), PATIENCE)
    assert service.output([], ["readlink", "/proc/self/ns/net"]) != inside
    assert service.output(["--network", "host"], ["readlink", "/proc/self/ns/net"]) == inside


def issue(service):
    return service.output([], ["cat", "/etc/issue"]).strip()


def park_all(service):
    service.run()
    return wait_for_parked(service, 2)


def gone(service, names):
    wait_until(lambda: not set(names) & set(service.states()), PATIENCE, "the end of the old ones")


def test_template_is_updated_under_the_pool(service):
    for i in range(5):
        old = park_all(service)
        service.ok("template", "update", "t", "--", "sh", "-c", f"echo {i} >/etc/issue")
        assert issue(service) == str(i)
        gone(service, old)
    generations = json.loads(service.ok("template", "inspect", "--json", "t"))["generations"]
    wait_until(lambda: len(generations) == 1 or len(json.loads(service.ok(
        "template", "inspect", "--json", "t"))["generations"]) == 1, PATIENCE, "one generation")


def test_template_is_rolled_back_under_the_pool(service):
    service.ok("template", "snapshot", "t")
    (first,) = [g["id"] for g in json.loads(service.ok("template", "inspect", "--json", "t"))["generations"]
                if g["current"]]
    service.ok("template", "update", "t", "--", "sh", "-c", "echo second >/etc/issue")
    old = park_all(service)
    assert issue(service) == "second"
    service.ok("template", "rollback", "t", first)
    assert issue(service) == "a small system"
    gone(service, old)


def test_template_is_removed_under_the_pool(service, small_root):
    """Nobody runs it: the parked ones are no reason to keep it, and no error comes of it."""
    service.ok("template", "create", "other", "--from", f"dir:{small_root}")
    assert service.run(template="other").returncode == 0
    wait_for_parked(service, 1)
    service.ok("template", "rm", "other")
    done = service.run(template="other")
    assert done.returncode == 125 and '"other"' in done.stderr, done
    wait_until(lambda: not any(n.startswith("other_") for n in service.states()), PATIENCE)
    # nor is it shown for ever as one that cannot be built
    wait_until(lambda: "other" not in service.ok("pool"), PATIENCE)
    service.ok("template", "create", "other", "--from", f"dir:{small_root}")
    assert service.run([], ["sh", "-c", "exit 3"], template="other").returncode == 3
    service.ok("template", "rm", "other")
    wait_until(lambda: not [n for n in service.clones() if "/other" in n], PATIENCE,
               f"that nothing is left of it: {service.clones()} {service.states()} {service.log()}")


def test_template_changed_by_another_process(service):
    """A one-shot of root's changes it: the daemon sees that before the next run."""
    old = park_all(service)
    done = service.isolate("template", "update", "t", "--", "sh", "-c", "echo apart >/etc/issue",
                           env={"ISOLATE_SOCKET": ""})
    assert done.returncode == 0, done
    assert issue(service) == "apart"
    gone(service, old)


def test_killed_parked_inits_are_replaced(service):
    names = park_all(service)
    for name in names:
        (service.cgroup / name / "cgroup.kill").write_text("1")
    # the one that is given away now may be dying: then it is said that nothing ran or, where it took
    # along what it needs to start, that nobody can know
    done = [service.run([], ["sh", "-c", "exit 3"]) for _ in range(5)]
    codes = [one.returncode for one in done]
    assert set(codes) <= {3, 123, 125} and codes[-1] == 3, done
    assert all("unknown" in one.stderr for one in done if one.returncode == 123), done
    gone(service, names)
    wait_for_parked(service, 2)
    wait_until(lambda: not service.zombies(), PATIENCE, "that no zombie is left")


def test_stopped_parked_init_hangs_one_caller_only(service):
    """An init that does not answer (here: stopped) is its caller's loss."""
    names = park_all(service)
    for name in names:
        for pid in pids_of(service, name):
            os.kill(pid, signal.SIGSTOP)
    stuck = []
    while set(names) & set(service.parked()):
        stuck.append(Member(service, 61301).popen())
        time.sleep(0.05)
        assert len(stuck) < 50
    assert Member(service, 61302).run([], ["sh", "-c", "exit 3"]).returncode == 3
    for process in stuck:
        process.kill()
        process.wait()
    gone(service, names)


def test_pool_shrinks_to_what_a_reload_says(service):
    park_all(service)
    service.write_configuration(Pool_Parked=0)
    service.resident.send_signal(signal.SIGHUP)
    wait_until(lambda: not service.states(), PATIENCE, "an empty pool")
    assert service.run([], ["sh", "-c", "exit 3"]).returncode == 3


def test_shapes_are_known_to_the_next_daemon(service):
    old = park_all(service)
    service.kill_resident()
    service.start_again()
    gone(service, old)
    wait_for_parked(service, 1)
    assert set(service.states()) & set(old) == set()


def test_burst_of_more_than_is_parked(service):
    """Who comes when the pool is empty waits a little longer; nobody gets an error."""
    callers = [Member(service, 61301), Member(service, 61302), Member(service, 0)]
    park_all(service)
    processes = [callers[i % 3].popen([], ["sh", "-c", f"exit {i}"]) for i in range(40)]
    for i, process in enumerate(processes):
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == i, errors


def test_parked_sandboxes_are_idle(service):
    """Nobody who waits for work eats the machine, and they are no zombies."""
    names = park_all(service)
    time.sleep(0.2)
    for name in names:
        assert all(process_state(pid) == "S" for pid in pids_of(service, name))


FRESH = pytest.mark.settings({"Pool.Parked": 0, "Pool.Fresh": 2})


def fresh(service, n=2):
    """The fresh clones, when there are n and nothing else is being made."""
    def enough():
        states = service.states()
        return sorted(states) if list(states.values()) == ["fresh"] * n else None
    return wait_until(enough, PATIENCE, f"{n} fresh clones")


@FRESH
def test_fresh_clone_is_used_by_the_next_run_and_never_twice(service):
    assert service.run().returncode == 0
    used = collections.Counter()
    for i in range(10):
        names = fresh(service)
        assert service.ps("-a") == []
        process = Member(service, 61301).sleeper("--name", f"x{i}")
        (item,) = service.ps()
        assert item["id"] in names and item["name"] == f"x{i}" and item["owner_uid"] == 61301
        finish(process)
        used[item["id"]] += 1
    assert set(used.values()) == {1}
    for verb in ("diff", "rm", "start"):
        done = Member(service, 61301).isolate(verb, fresh(service)[0])
        assert done.returncode == 125 and "no such" in done.stderr, done
        assert service.isolate(verb, fresh(service)[0]).returncode == 125
    service.ok("pool", "drain")
    wait_until(lambda: not service.states(), PATIENCE, "the end of the fresh ones")
    assert service.run([], ["sh", "-c", "exit 3"]).returncode == 3


@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 3})
def test_parked_ones_are_built_in_fresh_clones(service):
    def both():
        by_state = collections.defaultdict(set)
        for name, state in service.states().items():
            by_state[state].add(name)
        return by_state if {k: len(v) for k, v in by_state.items()} == {"parked": 2, "fresh": 3} else None
    service.run()
    for _ in range(4):
        before = wait_until(both, PATIENCE, "2 parked and 3 fresh")
        (shape,) = json.loads(service.ok("pool", "--json"))
        assert (shape["ready"], shape["fresh"]) == (2, 3)
        assert sandbox_of(service) in before["parked"]
        after = wait_until(both, PATIENCE, "2 parked and 3 fresh")
        assert len(after["parked"] & before["fresh"]) == 1


@FRESH
def test_fresh_clones_are_taken_over_by_the_next_daemon(service):
    service.run()
    names = fresh(service)
    service.kill_resident()
    service.start_again()
    assert sandbox_of(service) in names
    assert set(fresh(service)) & set(names)


@FRESH
@pytest.mark.parametrize("how", ["used", "template changed"])
def test_clones_that_are_not_fresh_are_not_taken_over(service, how):
    """One that a start has been begun in, or of an old generation, goes."""
    service.run()
    names = fresh(service)
    if how == "used":
        process = Member(service, 0).sleeper()
        (item,) = service.ps()
        service.kill_resident()
        finish(process)
        names = [item["id"]]
    else:
        service.kill_resident()
        service.ok("template", "update", "t", "--", "sh", "-c", "echo later >/etc/issue", env={"ISOLATE_SOCKET": ""})
    service.start_again()
    gone(service, names)
    assert not set(fresh(service)) & set(names)
    if how != "used":
        assert issue(service) == "later"


@FRESH
def test_fresh_clones_go_with_the_daemon(service):
    service.run()
    fresh(service)
    service.stop_resident()
    service.assert_clean()
    service.start_again()


@pytest.mark.settings({"Pool.Parked": 8})
def test_last_ones_are_left_to_others(service):
    """Where others ask, too, one user does not get all that is parked: the builder is stopped, so
    that what is not parked takes for ever."""
    anne, bert = Member(service, 61301), Member(service, 61302)
    service.ok("pool", "set", "t", "8")
    wait_until(lambda: len(ready(service)) == 8, PATIENCE, "8 parked sandboxes")
    builder = min(service.helpers("isolated", "--builder"))
    os.kill(builder, signal.SIGSTOP)
    try:
        assert bert.run([], ["sh", "-c", "exit 3"]).returncode == 3
        codes = [anne.run([], ["sh", "-c", "exit 3"]).returncode for _ in range(5)]
        late = anne.popen([], ["sh", "-c", "exit 4"])
        assert codes == [3] * 5
        time.sleep(1)  # what bert asks before that has asked makes it the first of another row
        assert bert.run([], ["sh", "-c", "exit 3"]).returncode == 3
        assert late.poll() is None, "the last ones are for others"
    finally:
        os.kill(builder, signal.SIGCONT)
    assert late.wait(PATIENCE) == 4
