# SPDX-License-Identifier: Apache-2.0
"""The verbs on sandboxes that run, through a resident daemon: shell, exec, attach, logs, kill, stop,
wait, stats, pool, ps --filter, and run -d."""

import json
import os
import signal
import subprocess
import time

import pytest

from sandboxes import PATIENCE, wait_until
from services import Member
from terminal import Terminal

ANNE, BERT = 61301, 61302
NOBODY_HERE = "no such sandbox"


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


def start(caller, *command, options=()):
    return caller.ok("run", "-d", *options, "t", "--", *command).strip()


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


# run -d, logs, wait


def test_detached_prints_its_id_and_runs_on(service, anne):
    sandbox = start(anne, "sh", "-c", "echo out; echo err >&2; read x; exit 5", options=["-i"])
    assert [item["id"] for item in service.ps()] == [sandbox]
    wait_until(lambda: "out" in anne.ok("logs", sandbox), what="its output")
    done = anne.isolate("logs", sandbox)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    anne.ok("stop", sandbox)
    assert anne.ok("wait", sandbox) == "143\n"
    service.assert_clean()


def test_detached_whose_id_cannot_be_printed(service, anne):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = anne.isolate("run", "-d", "t", "--", "sleep", "600", stdout=full)
    (sandbox,) = (item["id"] for item in service.ps())
    assert done.returncode == 0 and f"No space left on device; what runs is {sandbox}" in done.stderr, done
    anne.ok("stop", sandbox)
    service.assert_clean()


def test_wait_during_and_after(service, anne):
    sandbox = start(anne, "sh", "-c", "sleep 0.5; exit 42", options=["--name", "job"])
    assert anne.ok("wait", "job") == "42\n"
    assert anne.ok("wait", sandbox, "job") == "42\n42\n"
    assert anne.ok("logs", sandbox) == ""
    refused(Member(service, BERT).isolate("wait", sandbox), NOBODY_HERE)
    refused(anne.isolate("wait", "no-such"), NOBODY_HERE)


def test_logs_follow_to_the_end(service, anne):
    sandbox = start(anne, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert anne.ok("logs", "-f", sandbox) == "1\n2\n3\n"


def test_log_keeps_the_last_of_much(service, anne):
    sandbox = start(anne, "sh", "-c", "i=0; while [ $i -lt 60000 ]; do echo line$i; i=$((i+1)); done")
    anne.ok("wait", sandbox)
    lines = anne.ok("logs", sandbox).splitlines()
    assert lines[-1] == "line59999"
    assert 100 < len(lines) < 60000
    numbers = [int(line[4:]) for line in lines[1:]]
    assert numbers == list(range(numbers[0], 60000))


def test_logs_of_what_is_not_detached(service, anne):
    process = anne.sleeper("--name", "here")
    refused(anne.isolate("logs", "here"), "-d")
    refused(anne.isolate("attach", "here"), "-d")
    process.communicate("\n", timeout=PATIENCE)


def test_detached_survives_the_daemon(service, anne):
    sandbox = start(anne, "sh", "-c", "echo before; sleep 2; echo after; exit 6")
    service.kill_resident()
    service.start_again()
    assert anne.ok("wait", sandbox) == "6\n"
    assert anne.ok("logs", sandbox) == "before\nafter\n"
    service.assert_clean()


def test_end_without_a_daemon_is_told_to_the_next(service, anne):
    sandbox = start(anne, "sh", "-c", "sleep 0.5; exit 9")
    service.kill_resident()
    time.sleep(1)
    service.start_again()
    assert anne.ok("wait", sandbox) == "9\n"
    service.assert_clean()


def test_log_of_one_that_a_power_cut_ended(service, anne):
    """It lies on a disk, and its sandbox's record did not."""
    lost = service.state / "logs" / "t_1790000000000000000"
    lost.write_bytes(b"")
    sandbox = start(anne, "sleep", "600")
    assert lost.name in service.isolate("doctor").stdout
    service.ok("prune")
    assert not lost.exists()
    lost.write_bytes(b"")
    service.stop_resident()
    (service.runtime / "swept").unlink()  # as after a boot
    service.start_resident()
    wait_until(lambda: not lost.exists(), what="its removal")
    assert anne.ok("logs", sandbox) == ""
    anne.ok("kill", "-s", "KILL", sandbox)


def test_detached_needs_a_daemon(service):
    done = service.isolate("run", "-d", "t", "--", "true", env={"ISOLATE_SOCKET": ""})
    refused(done, "daemon")


def test_detach_and_receipt_do_not_go_together(service, tmp_path):
    refused(service.isolate("run", "-d", "--receipt", tmp_path / "r", "t"), "--receipt")


# exec


@pytest.fixture
def job(anne):
    sandbox = start(anne, "sleep", "600", options=["--name", "job", "-e", "OF=run"])
    yield sandbox
    anne.isolate("kill", "-s", "KILL", sandbox)
    anne.isolate("wait", sandbox)


def test_exec_runs_beside(anne, job):
    done = anne.isolate("exec", "job", "--", "sh", "-c", "cat; echo err >&2; exit 4", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, "in\n", "err\n")
    assert anne.isolate("exec", job, "sh", "-c", "kill -9 $$").returncode == 137
    assert anne.isolate("exec", "job", "no-such-command").returncode == 127
    assert anne.isolate("exec", "job", "/etc/passwd").returncode == 126


def test_exec_that_says_nothing_for_long(anne, job):
    # longer than a client waits for an init that is silent behind the end of its sandbox
    assert anne.isolate("exec", "job", "sh", "-c", "sleep 3; exit 5").returncode == 5


def test_exec_options(anne, job):
    assert anne.ok("exec", "-u", "user", "job", "id", "-u") == "1000\n"
    assert anne.ok("exec", "-u", "5:6", "job", "sh", "-c", "id -u; id -g") == "5\n6\n"
    assert anne.ok("exec", "-w", "/srv", "job", "pwd") == "/srv\n"
    assert anne.ok("exec", "-e", "A=b", "job", "sh", "-c", "echo $A$OF") == "b\n"
    refused(anne.isolate("exec", "-u", "nobody-here", "job", "id"), "nobody-here")
    refused(anne.isolate("exec", "-w", "/none", "job", "id"), "/none")


def test_exec_has_the_same_rights(anne, job):
    def status(*command):
        text = anne.ok(*command, "sh", "-c", "cat /proc/self/status")
        wanted = ("Cap", "NoNewPrivs", "Seccomp")
        return sorted(line for line in text.splitlines() if line.startswith(wanted))

    assert status("exec", "job") == status("run", "t", "--")
    assert anne.isolate("exec", "job", "sh", "-c", "mknod /x b 1 1 2>&1").returncode != 0


def test_exec_ends_with_its_client(service, anne, job):
    process = subprocess.Popen(anne.argv("exec", "job", "sleep", "777"), cwd="/",
                               env={**service.env, **anne.more["env"]})
    count = "n=0; for p in /proc/[0-9]*/comm; do read c <$p && [ $c = sleep ] && n=$((n+1)); done; echo $n"
    wait_until(lambda: anne.ok("exec", "job", "sh", "-c", count) == "2\n", what="the second command")
    process.kill()
    process.wait()
    wait_until(lambda: anne.ok("exec", "job", "sh", "-c", count) == "1\n", what="the end of it alone")


def test_exec_in_anothers_or_nobodys(service, job):
    bert = Member(service, BERT)
    for name in (job, "job", "none"):
        refused(bert.isolate("exec", name, "id"), NOBODY_HERE)
        refused(bert.isolate("kill", name), NOBODY_HERE)
        refused(bert.isolate("attach", name), NOBODY_HERE)
    assert service.ok("exec", job, "id", "-u") == "0\n"


def test_many_execs_at_once(service, anne, job):
    processes = [subprocess.Popen(anne.argv("exec", "job", "sh", "-c", f"sleep 0.3; exit {i}"), cwd="/",
                                  env={**service.env, **anne.more["env"]}) for i in range(20)]
    assert [process.wait(PATIENCE) for process in processes] == list(range(20))


def test_exec_with_a_terminal(service, job):
    env = {**service.env, "TERM": "xterm"}
    terminal = Terminal([str(service.programs / "isolate"), "exec", "-t", "job", "--", "sh"], env)
    terminal.write("tty; stty size 2>/dev/null; exit 3\n")
    terminal.expect(rb"/dev/pts/\d+")
    assert terminal.wait() == 3
    terminal.close()


# attach


def test_attach_types_and_detaches(service, anne):
    start(anne, "sh", options=["-it", "--name", "tty"])
    env = {**service.env, "TERM": "xterm"}
    terminal = Terminal([str(service.programs / "isolate"), "attach", "tty"], env)
    terminal.write("echo a$((1+1))b\n")
    terminal.expect(rb"a2b")
    terminal.write("\x10\x11")
    assert terminal.wait() == 0
    terminal.close()
    assert terminal and [item["name"] for item in service.ps()] == ["tty"]
    again = Terminal([str(service.programs / "isolate"), "attach", "tty"], env)
    again.write("exit 7\n")
    assert again.wait() == 7
    again.close()
    service.assert_clean()


def test_attach_to_pipes(service, anne):
    start(anne, "sh", "-c", "read x; echo got $x; read y; exit 3", options=["-i", "--name", "pipe"])
    done = anne.isolate("attach", "pipe", input="word\nsecond\n")
    assert (done.returncode, done.stdout) == (3, "got word\n")


def test_attach_sends_what_only_begins_like_the_keys(service, anne):
    start(anne, "sh", "-c", "read x; echo \"got $x\"; read x; echo \"got $x\"; exit 3", options=["-i", "--name", "keys"])
    done = anne.isolate("attach", "keys", input="ls\x10b\x10\x10c\nlast\x10\n")
    assert (done.returncode, done.stdout) == (3, "got ls\x10b\x10\x10c\ngot last\x10\n")


def test_attach_sends_what_is_typed_before_the_keys(service, anne):
    start(anne, "sh", "-c", "read x; echo got $x; exit 3", options=["-i", "--name", "before"])
    assert anne.isolate("attach", "before", input="word\n\x10\x11").returncode == 0
    assert anne.ok("wait", "before") == "3\n" and anne.ok("logs", "before") == "got word\n"


def test_attach_to_who_reads_late(service, anne):
    """More than its pipe holds: none is lost."""
    start(anne, "sh", "-c", "sleep 1; n=0; while read -r x; do [ $x = 12345678 ] || echo $x; n=$((n+1)); "
          "[ $n -lt 20000 ] || break; done; echo $n; exit 3", options=["-i", "--name", "late"])
    done = anne.isolate("attach", "late", input="12345678\n" * 20000)
    assert (done.returncode, done.stdout) == (3, "20000\n")


def test_attach_of_too_many(service, anne):
    start(anne, "sh", "-c", "while :; do echo up; sleep 0.05; done", options=["--name", "full"])
    attached = [subprocess.Popen(anne.argv("attach", "--no-stdin", "full"), cwd="/", text=True,
                                 stdout=subprocess.PIPE, env={**service.env, **anne.more["env"]}) for _ in range(8)]
    assert all(process.stdout.readline() == "up\n" for process in attached)
    refused(anne.isolate("attach", "--no-stdin", "full"), "8 clients are attached")
    anne.ok("kill", "-s", "TERM", "full")
    assert [process.wait(PATIENCE) for process in attached] == [143] * 8
    for process in attached:
        process.stdout.close()


@pytest.mark.parametrize("options,end,status", [((), ("kill", "-s", "KILL"), 137), (("--timeout", "10"), None, 124)],
                         ids=["killed", "timeout"])
def test_attach_knows_what_ended_the_sandbox(service, anne, options, end, status):
    """Also where init is gone before it can say so."""
    start(anne, "sh", "-c", "echo up; sleep 1000", options=("--name", "ends", *options))
    process = subprocess.Popen(anne.argv("attach", "--no-stdin", "ends"), cwd="/", text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**service.env, **anne.more["env"]})
    assert process.stdout.readline() == "up\n"
    if end:
        anne.ok(*end, "ends")
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (status, ""), said


def test_attach_forwards_signals(service, anne):
    start(anne, "sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.05; done",
          options=["--name", "sig"])
    process = subprocess.Popen(anne.argv("attach", "--no-stdin", "sig"), cwd="/", text=True,
                               stdout=subprocess.PIPE, env={**service.env, **anne.more["env"]})
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 9
    process.stdout.close()


# kill, stop


def test_kill_sends_signals(anne):
    start(anne, "sh", "-c", "trap 'exit 11' USR1; while :; do sleep 0.05; done", options=["--name", "k"])
    anne.ok("kill", "-s", "SIGUSR1", "k")
    assert anne.ok("wait", "k") == "11\n"
    start(anne, "sleep", "600", options=["--name", "k2"])
    anne.ok("kill", "-s", "9", "k2")
    assert anne.ok("wait", "k2") == "137\n"
    refused(anne.isolate("kill", "-s", "NOPE", "k2"), "NOPE")
    refused(anne.isolate("kill", "-s", "65", "k2"), "65")


def state_of(caller, name):
    return {one["name"]: one["state"] for one in json.loads(caller.ok("ps", "--json"))}.get(name)


def test_killed_in_the_foreground(service, anne):
    """Its init dies with it, and cannot tell."""
    for n in range(5):
        run = anne.popen(["--name", f"f{n}"], ["sh", "-c", "echo up; sleep 600"], template=service.template)
        assert run.stdout.readline() == "up\n"
        wait_until(lambda: state_of(anne, f"f{n}") == "running", what="its init has told so")
        anne.ok("kill", "-s", "KILL", f"f{n}")
        _, said = run.communicate(timeout=30)
        assert run.returncode == 137, said


def test_stats_of_what_does_not_run(service, anne):
    start(anne, "sleep", "600", options=["--name", "s"])
    done = anne.isolate("stats", "s", "nosuch")
    refused(done, '"nosuch": no such sandbox runs')
    assert " s " in done.stdout and " s " in anne.ok("stats", "s")
    refused(anne.isolate("stats", "nosuch"), '"nosuch"')
    anne.ok("kill", "-s", "KILL", "s")


def test_what_has_stopped_can_be_used_at_once(service, anne):
    """Who is told that it has ended may have it: its clone is settled and let go of."""
    anne.ok("run", "-d", "--keep", "--name", "again", "t", "--", "sleep", "600")
    builders = service.helpers("isolated", "--builder")
    for pid in builders:
        os.kill(pid, signal.SIGSTOP)
    try:
        stop = anne.popen_isolate("stop", "-t", "0", "again")
        wait = anne.popen_isolate("wait", "again")
        time.sleep(1)
        assert (stop.poll(), wait.poll()) == (None, None), "it is still being taken away"
    finally:
        for pid in builders:
            os.kill(pid, signal.SIGCONT)
    assert stop.wait(PATIENCE) == 0
    said = wait.stdout.read()
    assert said in ("137\n", "143\n") and anne.ok("wait", "again") == said
    anne.ok("diff", "again")
    anne.ok("start", "again", "--", "true")
    anne.ok("rm", "again")


def test_one_with_chosen_ids_is_known_by_its_name(service):
    """While it is taken away and afterwards, although the name is free for others."""
    service.ok("run", "-d", "--first-id", "100000", "--name", "chosen", "t", "--", "sh", "-c", "echo said; sleep 600")
    wait_until(lambda: service.ok("logs", "chosen") == "said\n", PATIENCE, "its output")
    builders = service.helpers("isolated", "--builder")
    for pid in builders:
        os.kill(pid, signal.SIGSTOP)
    try:
        service.ok("kill", "-s", "KILL", "chosen")
        wait = service.popen_isolate("wait", "chosen")
        assert service.ok("logs", "chosen") == "said\n"
        assert wait.poll() is None
    finally:
        for pid in builders:
            os.kill(pid, signal.SIGCONT)
    assert wait.communicate(timeout=PATIENCE)[0] == "137\n"
    assert service.ok("logs", "chosen") == "said\n" and service.ok("wait", "chosen") == "137\n"


def test_stop_at_once_of_what_ends_at_once(service, anne):
    """TERM may have ended it before KILL comes: that is no failure."""
    for _ in range(12):
        anne.ok("run", "-d", "--name", "brief", service.template, "sleep", "600")
        done = anne.isolate("stop", "-t", "0", "brief")
        assert (done.returncode, done.stderr) == (0, ""), done


def test_stop_kills_what_ignores_term(service, anne):
    start(anne, "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", options=["--name", "deaf"])
    anne.ok("stop", "-t", "1", "deaf")
    assert service.ps() == []
    refused(anne.isolate("stop", "deaf"), NOBODY_HERE)
    refused(anne.isolate("stop", "-t", "x", "deaf"), "--time")


# stats, ps, pool, shell


def test_stats_and_filters(service, anne):
    one = start(anne, "sleep", "600", options=["--name", "one"])
    two = start(anne, "sleep", "600")
    stats = {item["id"]: item["stats"] for item in json.loads(anne.ok("stats", "--json"))}
    assert set(stats) == {one, two}
    assert all(value["processes"] == 2 and value["cpu_us"] >= 0 for value in stats.values())
    assert [item["id"] for item in json.loads(anne.ok("stats", "--json", "one"))] == [one]
    assert [item["id"] for item in service.ps("--filter", "name=one")] == [one]
    assert len(service.ps("--filter", f"owner={ANNE}", "--filter", "template=t")) == 2
    assert service.ps("--filter", "owner=0") == []
    refused(anne.isolate("ps", "--filter", "colour=red"), "colour")
    anne.ok("stop", one, two)


def test_shell_is_run_with_a_terminal_where_there_is_one(service, anne):
    assert anne.ok("shell", "t", "--", "sh", "-c", "tty || true") == "not a tty\n"
    terminal = Terminal([str(service.programs / "isolate"), "shell", "t"], {**service.env, "TERM": "x"})
    terminal.write("tty; exit 5\n")
    terminal.expect(rb"/dev/pts/0")
    assert terminal.wait() == 5
    terminal.close()


@pytest.mark.settings({"Pool.Parked": 6})
def test_pool_verbs(service, anne):
    anne.run()

    def shape():
        return {item["template"]: item for item in json.loads(anne.ok("pool", "--json"))}.get("t")

    wait_until(lambda: shape() and shape()["ready"] > 0, what="something parked")
    service.ok("pool", "set", "t", "5")
    wait_until(lambda: shape()["ready"] == 5, what="five")
    before = service.parked()
    service.ok("pool", "refresh", "t")
    wait_until(lambda: shape()["ready"] == 5 and not set(before) & set(service.parked()), what="others")
    service.ok("pool", "drain")
    wait_until(lambda: not service.parked(), what="none")
    assert anne.run([], ["sh", "-c", "exit 3"]).returncode == 3
    service.ok("pool", "set", "t", "auto")
    wait_until(lambda: shape()["ready"] > 0, what="some again")
    refused(service.isolate("pool", "set", "t", "7"), "Parked=")
    refused(service.isolate("pool", "set", "none", "1"), "none")
    refused(service.isolate("pool", "set", "t", "x"), "x")
    for verb in (["set", "t", "1"], ["drain"], ["refresh"]):
        refused(anne.isolate("pool", *verb), "root")


def test_directory_as_template(service, anne, small_root, session_directory):
    """templates.d says that a directory is a template; a broken file is the loss of that one alone."""
    folder = service.base / "templates.d"
    folder.mkdir()
    (folder / "plain.conf").write_text(f"[Template]\nRoot={small_root}\n")
    (folder / "gone.conf").write_text("[Template]\nRoot=/no/such/root\n")
    (folder / "odd.conf").write_text("[Template]\nColour=red\n")
    service.stop_resident()
    service.start_again()
    try:
        assert anne.run([], ["cat", "/etc/issue"], template="plain").stdout == "a small system\n"
        anne.run([], ["sh", "-c", "echo x >/etc/issue"], template="plain")
        assert anne.run([], ["cat", "/etc/issue"], template="plain").stdout == "a small system\n"
        refused(anne.run(["--storage", "dir"], ["true"], template="plain"), "--storage dir", "for root only")
        refused(anne.run([], ["true"], template="gone"), "/no/such/root")
        refused(anne.run([], ["true"], template="odd"), "Colour")
        assert {"plain", "gone", "odd", "t"} == {t["name"] for t in json.loads(anne.ok("template", "ls", "--json"))}
        assert "gone" in service.log()
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.settings({"Pool.Parked": 2, "Pool.Fresh": 1})
def test_directory_as_template_is_not_parked_on_itself(service, anne, small_root, session_directory):
    """What root does on the directory itself is no demand for more of that: who comes next gets a clone."""
    folder = service.base / "templates.d"
    root = session_directory / "roots" / "plain"
    folder.mkdir()
    (folder / "plain.conf").write_text(f"[Template]\nRoot={root}\n")
    service.call(["cp", "-a", str(small_root), str(root)])
    service.stop_resident()
    service.start_again()
    try:
        for _ in range(3):
            service.ok("run", "--storage", "dir", "plain", "--", "touch", "/srv/root-s")
        service.wait_for_ends()
        assert not service.parked()
        assert anne.run([], ["touch", "/srv/anne-s"], template="plain").returncode == 0
        assert [path.name for path in (root / "srv").iterdir()] == ["root-s"]
    finally:
        service.call(["rm", "-r", str(folder), str(root)])
