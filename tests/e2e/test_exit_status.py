# SPDX-License-Identifier: Apache-2.0
"""isolate's exit status is the command's own, or says exactly what went wrong."""

import signal

import pytest

from sandboxes import ENGINE, cgroup2_mount, receipt


@pytest.mark.parametrize("status", [0, 1, 2, 42, 123, 124, 125, 126, 127, 128, 200, 255])
def test_the_commands_own(instance, status):
    done = instance.run([], ["sh", "-c", f"exit {status}"])
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "ABRT", "HUP", "PIPE", "RTMAX"])
def test_a_signal_is_128_and_its_number(instance, name):
    number = signal.SIGRTMAX if name == "RTMAX" else getattr(signal, f"SIG{name}")
    done = instance.run([], ["bash", "-c", f"kill -{int(number)} $$; exit 1"])
    assert done.returncode == 128 + number


def test_not_found_is_127(instance):
    for command in ("no-such-command", "/no/such/command", "/etc/passwd/x"):
        done = instance.run([], [command])
        assert done.returncode == 127
        assert command in done.stderr and "no such command" in done.stderr


@pytest.mark.parametrize("command", ["/etc", "/etc/passwd", "/"])
def test_not_executable_is_126(instance, command):
    done = instance.run([], [command])
    assert done.returncode == 126
    assert command in done.stderr


def test_missing_interpreter_is_126(instance, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = instance.run(["-v", f"{script}:/mnt/script"], ["/mnt/script"])
    assert done.returncode == 126
    assert "interpreter" in done.stderr


def test_empty_command_is_127(instance):
    assert instance.run([], [""]).returncode == 127


def test_timeout_is_124(instance):
    done = instance.run(["--timeout", "300ms"], ["sleep", "600"])
    assert done.returncode == 124
    assert "time" in done.stderr


def test_timeout_lets_the_command_end_by_itself(instance):
    assert instance.run(["--timeout", "1m"], ["sh", "-c", "exit 9"]).returncode == 9


def test_timeout_is_term_first(instance):
    script = "trap 'echo term; exit 3' TERM; while :; do sleep 0.01; done"
    done = instance.run(["--timeout", "300ms"], ["sh", "-c", script])
    assert (done.returncode, done.stdout) == (124, "term\n")


def test_timeout_is_kill_ten_seconds_later(instance):
    script = "trap '' TERM; while :; do sleep 0.1; done"
    done = instance.run(["--timeout", "100ms"], ["sh", "-c", script], timeout=30)
    assert done.returncode == 124


def test_timeout_with_a_stopped_command(instance):
    done = instance.run(["--timeout", "300ms"], ["sh", "-c", "kill -STOP $$"], timeout=30)
    assert done.returncode == 124


def test_receipt_of_an_exit(instance, tmp_path):
    path = tmp_path / "receipt"
    assert instance.run(["--receipt", path], ["sh", "-c", "exit 7"]).returncode == 7
    got = receipt(path)
    assert (got["version"], got["kind"], got["status"], got["code"]) == (1, "exited", 7, 7)
    sandbox = got["sandbox"]
    assert sandbox["engine"] == ENGINE.partition(":")[0] and sandbox["storage"] == "overlay"
    assert sandbox["template"] == instance.template
    usage = sandbox["usage"]
    assert usage["wall_us"] > 0 and usage["max_rss_bytes"] > 0
    assert "signal" not in got and "error" not in got


def test_receipt_counts_cpu_time(instance, tmp_path):
    path = tmp_path / "receipt"
    instance.run(["--receipt", path], ["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
    usage = receipt(path)["sandbox"]["usage"]
    assert usage["user_us"] > 50000
    assert usage["wall_us"] >= usage["user_us"] // 2


def test_receipt_of_a_signal(instance, tmp_path):
    path = tmp_path / "receipt"
    assert instance.run(["--receipt", path], ["sh", "-c", "kill -9 $$"]).returncode == 137
    got = receipt(path)
    assert (got["kind"], got["status"], got["signal"]) == ("signaled", 137, 9)
    assert "code" not in got


def test_receipt_tells_137_from_a_signal(instance, tmp_path):
    path = tmp_path / "receipt"
    assert instance.run(["--receipt", path], ["sh", "-c", "exit 137"]).returncode == 137
    assert (receipt(path)["kind"], receipt(path)["code"]) == ("exited", 137)


def test_receipt_of_a_timeout(instance, tmp_path):
    path = tmp_path / "receipt"
    assert instance.run(["--receipt", path, "--timeout", "200ms"], ["sleep", "60"]).returncode == 124
    assert (receipt(path)["kind"], receipt(path)["status"]) == ("timeout", 124)


def test_receipt_tells_limits_apart(instance, tmp_path):
    """Those that need no controller; oom and pids are for the virtual machine."""
    path = tmp_path / "receipt"
    busy = "while :; do :; done"
    for options, command, reached in (([], "exit 3", []), ([], "kill -9 $$", []), (["--ulimit", "cpu=1"], busy, []),
                                      (["--timeout", "200ms"], busy, ["time"]),
                                      (["--cpu-time", "200ms"], busy, ["cpu_time"])):
        instance.run(["--receipt", path, *options], ["sh", "-c", command])
        assert receipt(path)["sandbox"]["reached"] == reached, options


def test_receipt_of_what_is_not_counted(instance, tmp_path):
    """Absent, and not 0, where the cgroup has no controller."""
    path = tmp_path / "receipt"
    instance.run(["--receipt", path], ["true"])
    usage = receipt(path)["sandbox"]["usage"]
    there = (cgroup2_mount() / "cgroup.controllers").read_text().split()
    assert ("io_read_bytes" in usage) == ("io_written_bytes" in usage) == ("io" in there)
    assert "memory_peak_bytes" not in usage or "memory" in there
    assert usage["max_rss_bytes"] > 0


def test_receipt_of_a_failure(instance, tmp_path):
    path = tmp_path / "receipt"
    for options, command, status in [
        ([], ["no-such-command"], 127),
        ([], ["/etc"], 126),
        (["-w", "/no/such/directory"], ["true"], 125),
    ]:
        assert instance.run(["--receipt", path, *options], command).returncode == status
        got = receipt(path)
        assert (got["kind"], got["status"]) == ("failed", status)
        assert got["error"]


def test_receipt_that_cannot_be_written(instance, tmp_path):
    done = instance.run(["--receipt", tmp_path / "no" / "receipt"], ["echo", "ran"])
    assert (done.returncode, done.stdout) == (125, "")
    assert "receipt" in done.stderr


def test_quiet_silences_notes_not_errors(instance):
    done = instance.run(["-q", "--timeout", "200ms"], ["sleep", "60"])
    assert (done.returncode, done.stderr) == (124, "")
    assert instance.run(["-q"], ["no-such-command"]).stderr
