# SPDX-License-Identifier: Apache-2.0
"""X11, Wayland and sound of the caller's in a sandbox: real programs in a throwaway clone, seen and heard
on real servers, and what is missing or wrong refused by name. Servers and callers are ordinary users;
the caller is a member of the group, through a resident daemon."""

import base64
import contextlib
import os
import pathlib
import pwd
import socket
import subprocess
import time

import pytest

from displays import HOST, Desktop, changed_area, heard_tone, interrupt, need
from sandboxes import PATIENCE, children, comm, process_state, wait_until
from services import Member
from test_bad_input import small_disk

LONG = os.environ.get("ISOLATE_LONG") == "1"
USER, GROUP = pwd.getpwnam("games")[2:4]  # dbus-daemon wants one that is in passwd
NATIVE = "native"
# what they need is not installed everywhere
FOREIGN = {"bwrap": "/usr/bin/bwrap", "lxc": "/usr/bin/lxc-execute", "nspawn": "/usr/bin/systemd-nspawn",
           "oci": "/usr/bin/crun"}
engines = pytest.mark.parametrize("engine", [NATIVE, *(
    pytest.param(engine, marks=pytest.mark.skipif(not pathlib.Path(program).exists(),
                                                  reason=f"{program} is not installed"))
    for engine, program in FOREIGN.items())])
needs_bwrap = pytest.mark.skipif(not pathlib.Path("/usr/bin/bwrap").exists(), reason="bubblewrap is not installed")


def through(engine):
    return ["--engine", engine]


@pytest.fixture
def desktop():
    with Desktop(USER) as made:
        yield made


@pytest.fixture
def member(service, desktop):
    """The desktop's user, whose environment follows the desktop's."""
    made = Member(service, USER)
    made.prefix[made.prefix.index("--regid") + 1] = str(GROUP)
    desktop.env["ISOLATE_LIBEXEC_DIR"] = made.more["env"]["ISOLATE_LIBEXEC_DIR"]
    made.more["env"] = desktop.env
    return made


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, done.stderr
    assert not done.stdout


# X11


def window(desktop, member, *options):
    """A clock on the X display from inside; its client."""
    before = desktop.x_picture()
    process = member.popen([*HOST, *options], ["xclock", "-name", "in a sandbox", "-geometry", "100x80+30+20"])
    try:
        wait_until(lambda: "in a sandbox" in desktop.x_windows() or process.poll() is not None, PATIENCE)
        assert process.poll() is None, process.communicate()
        # it draws a moment later
        wait_until(lambda: changed_area(before, desktop.x_picture()), PATIENCE, "the window's picture")
        area, n = changed_area(before, desktop.x_picture())
        assert (area[0], area[1]) >= (30, 20) and area[2] <= 132 and area[3] <= 102, area
        assert n > 4000
    finally:
        interrupt(process)
        process.communicate()
    wait_until(lambda: changed_area(before, desktop.x_picture()) is None, PATIENCE, "the window's end")


def test_x11_window(desktop, member):
    need("xclock", "xwd", "xwininfo")
    desktop.start_x()
    window(desktop, member, "--x11")


@pytest.mark.long
@pytest.mark.parametrize("trust", ["--x11", "--x11-trusted"])
@engines
def test_x11_window_everywhere(desktop, member, engine, trust):
    need("xclock", "xwd", "xwininfo")
    desktop.start_x()
    window(desktop, member, trust, *through(engine))
    window(desktop, member, trust, "-u", "user", *through(engine))
    window(desktop, member, trust, "--read-only", *through(engine))


def test_x11_of_a_server_of_root_s(desktop, member):
    """Its socket belongs to nobody whom the sandbox knows, and lets everybody connect."""
    need("xdpyinfo")
    desktop.start_x()
    path = f"/tmp/.X11-unix/X{desktop.env['DISPLAY'].lstrip(':')}"
    os.chown(path, 0, 0)
    done = member.run([*HOST, "--x11", "-u", "user"], ["xdpyinfo"])
    os.chown(path, USER, GROUP)  # whose server removes it
    assert done.returncode == 0, done


def cookie_in(done):
    return done.stdout.split()[-1]


def test_x11_cookie_is_the_sandbox_s_own(desktop, member):
    need("xdpyinfo")
    desktop.start_x()
    own = desktop.run("xauth", "list").decode().split()[-1]
    look = member.run([*HOST, "--x11"], ["sh", "-c", "stat -c '%n %a %u' $XDG_RUNTIME_DIR $XAUTHORITY; xauth list"])
    assert look.returncode == 0, look
    assert look.stdout.startswith("/run/user/0 700 0\n/run/user/0/Xauthority 600 0\n"), look
    assert cookie_in(look) != own
    # nothing else lets it in
    for cookie in ("XAUTHORITY=/dev/null", "XAUTHORITY=/tmp/none"):
        without = member.run([*HOST, "--x11", "-e", cookie], ["xdpyinfo"])
        assert without.returncode == 1 and "Authorization required" in without.stderr, without
    as_others = member.run([*HOST, "--x11", "-u", "user"], ["sh", "-c", "stat -c '%a %u' $XAUTHORITY; env"])
    assert as_others.stdout.startswith("600 1000\n") and "XDG_RUNTIME_DIR=/run/user/user\n" in as_others.stdout


def test_x11_does_not_trust_it(desktop, member):
    """What is typed elsewhere and shown by others is out of its reach; trusted, it is not."""
    need("xdpyinfo", "xwd", "xclock")
    desktop.start_x()
    desktop.start("xclock", "-name", "secret")
    wait_until(lambda: "secret" in desktop.x_windows(), PATIENCE, "the caller's own window")
    spy = ["sh", "-c", "xdpyinfo >/tmp/info || exit 9; grep -c SECURITY /tmp/info; xwd -name secret -silent | wc -c"]
    distrusted = member.run([*HOST, "--x11"], spy)
    assert distrusted.stdout.split() == ["0", "0"], distrusted
    trusted = member.run([*HOST, "--x11-trusted"], spy)
    assert trusted.stdout.split()[0] == "1" and int(trusted.stdout.split()[1]) > 1000, trusted


def can_connect(desktop, member, cookie):
    """Whether a stranger is let in by that cookie."""
    number = desktop.env["DISPLAY"].lstrip(":")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/tmp/.X11-unix/X{number}")
        client.sendall(b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0" + bytes.fromhex(cookie))
        return client.recv(1) == b"\1"


@pytest.mark.long
def test_x11_cookie_is_forgotten(desktop, member):
    """It is good for as long as the command runs, without any window meanwhile, and not much longer."""
    need("xdpyinfo")
    desktop.start_x()
    process = member.popen([*HOST, "--x11"], ["sh", "-c", "xauth list; read x; xdpyinfo >/dev/null"])
    cookie = process.stdout.readline().split()[-1]
    time.sleep(12)
    _, errors = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert can_connect(desktop, member, cookie)  # which begins its time anew
    time.sleep(12)
    assert not can_connect(desktop, member, cookie)


@pytest.mark.long
def test_x11_of_a_kept_and_a_detached_one(desktop, member):
    need("xdpyinfo")
    desktop.start_x()
    done = member.run([*HOST, "--x11", "--keep", "--name", "k"], ["xdpyinfo"])
    assert done.returncode == 0, done
    assert '"files"' not in member.ok("inspect", "k")
    again = member.isolate("start", "k")
    assert again.returncode == 0 and "name of display:    :7700.0" in again.stdout, again
    member.ok("rm", "k")
    name = member.run([*HOST, "--x11", "-d"], ["sh", "-c", "sleep 1; xdpyinfo"]).stdout.strip()
    assert member.ok("wait", name).split()[-1] == "0"


def test_secrets_are_in_no_record(desktop, member, service):
    desktop.start_x()
    process = member.popen([*HOST, "--x11"], ["sh", "-c", "xauth list; read x; exit 7"])
    cookie = process.stdout.readline().split()[-1]
    assert len(cookie) == 32
    [name] = [name for name, state in service.states().items() if state == "running"]
    text = (service.runtime / "sandboxes" / name).read_text()
    assert '"x11"' in text and cookie not in text
    assert cookie not in member.ok("inspect", name)
    process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 7


@contextlib.contextmanager
def executions(service, member, path):
    """What the member's client, the daemon, and all that comes of both execute meanwhile: a list of texts, at the
    end."""
    path.mkdir()
    path.chmod(0o777)
    words = ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-s", "100000", "-o"]
    daemons = [service.resident.pid, *children(service.resident.pid)]
    tracer = subprocess.Popen([*words, path / "daemons", *(f"-p{pid}" for pid in daemons)], stderr=subprocess.PIPE)
    wait_until(lambda: all(f"TracerPid:\t{tracer.pid}\n" in pathlib.Path(f"/proc/{pid}/status").read_text()
                           for pid in daemons), PATIENCE, "strace")
    before, texts = member.prefix, []
    member.prefix = [*before, *words, str(path / "client")]
    try:
        yield texts
    finally:
        member.prefix = before
        tracer.terminate()
        tracer.communicate()
        texts += [(path / name).read_text() for name in ("daemons", "client")]


@pytest.mark.settings({"Pool.Parked": 0})
def test_cookies_are_in_no_argument(desktop, member, service):
    """Of X and of PulseAudio, the caller's and the sandbox's, from the first moment on."""
    need("strace")
    desktop.start_x()
    own = desktop.run("xauth", "list").decode().split()[-1]
    sound = os.urandom(256)
    cookie = desktop.path / "sound-cookie"
    cookie.write_bytes(sound)
    cookie.chmod(0o644)
    desktop.env["PULSE_COOKIE"] = str(cookie)
    with listening(desktop.path / "pulse" / "native"), executions(service, member, desktop.path / "traces") as texts:
        done = member.run([*HOST, "--x11", "--audio"],
                          ["sh", "-c", 'xauth list; wc -c <"$PULSE_COOKIE"'])
    assert done.returncode == 0 and done.stdout.split()[-1] == "256", done
    given = done.stdout.split()[-2]
    assert len(given) == len(own) == 32 and given != own
    executed = "".join(texts)
    for word in ("xauth", "isolate-init", "wc -c"):
        assert word in executed, executed
    for secret in (own, given, sound.hex()[:24], base64.b64encode(sound).decode()[:16]):
        assert secret not in executed


def test_x11_variables_of_the_command_line_win(desktop, member):
    desktop.start_x()
    done = member.run(["--x11", "-e", "DISPLAY=:5", "-e", "XDG_RUNTIME_DIR=/x"], ["env"])
    assert "DISPLAY=:5\n" in done.stdout and "XDG_RUNTIME_DIR=/x\n" in done.stdout, done
    assert "XAUTHORITY=/run/user/0/Xauthority\n" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("form", [":{}", ":{}.0", "unix:{}", "unix:{}.0"])
def test_x11_forms_of_display(desktop, member, form):
    need("xdpyinfo")
    desktop.start_x()
    desktop.env["DISPLAY"] = form.format(desktop.env["DISPLAY"].lstrip(":"))
    assert member.run([*HOST, "--x11"], ["xdpyinfo"]).returncode == 0


NO_DISPLAYS = [
    (None, ["--x11: DISPLAY is not set"]),
    ("", ["--x11: DISPLAY is not set"]),
    (":59000", ["--x11", "/tmp/.X11-unix/X59000", "No such file"]),
    (":59000.1", ["/tmp/.X11-unix/X59000"]),
    ("localhost:10.0", ['"localhost:10.0"', "network"]),
    ("192.0.2.1:0", ['"192.0.2.1:0"', "network"]),
    ("nonsense", ['"nonsense"']),
    (":", ["not a number"]),
    (":x", ["not a number from 0 to 59535"]),
    (":60000", ["59535"]),
    (":1.x", ["screen"]),
    (":-1", ["not a number"]),
]


def test_x11_is_trusted_or_not(desktop, member):
    refused(member.run(["--x11", "--x11-trusted"]), "--x11-trusted")
    refused(member.run(["--x11-trusted", "--x11"]), "exclude each other")


def test_x11_display_that_is_none(desktop, member):
    for display, words in NO_DISPLAYS:
        desktop.env.pop("DISPLAY", None)
        if display is not None:
            desktop.env["DISPLAY"] = display
        refused(member.run(["--x11"]), *words)


def test_x11_server_that_has_ended(desktop, member):
    number = 58000 + os.getpid() % 1000
    path = pathlib.Path(f"/tmp/.X11-unix/X{number}")
    path.parent.mkdir(mode=0o1777, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    try:
        os.chmod(path, 0o777)
        desktop.env["DISPLAY"] = f":{number}"
        refused(member.run(["--x11"]), "nobody listens", str(path))
        os.chmod(path, 0o700)
        refused(member.run(["--x11"]), "Permission denied", str(path))
        path.unlink()
        path.write_text("")
        refused(member.run(["--x11"]), "Not a socket", str(path))
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.long
def test_x11_server_that_does_not_answer(desktop, member):
    number = 58000 + os.getpid() % 1000
    path = pathlib.Path(f"/tmp/.X11-unix/X{number}")
    path.parent.mkdir(mode=0o1777, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        os.chmod(path, 0o777)
        server.listen()
        try:
            desktop.env["DISPLAY"] = f":{number}"
            refused(member.run(["--x11"]), "does not answer")
        finally:
            path.unlink()


def test_x11_without_a_cookie_of_the_caller_s(desktop, member):
    desktop.start_x()
    desktop.env["XAUTHORITY"] = "/nowhere"
    for option in ("--x11", "--x11-trusted"):
        refused(member.run([option]), "Authorization required", "XAUTHORITY")


def test_x11_of_a_server_that_is_open(desktop, member):
    """A cookie of few rights is worth nothing where none is needed to have all."""
    need("xhost", "xdpyinfo")
    desktop.start_x()
    for open_it, close_it in (("+local:", "-local:"), ("+", "-")):
        desktop.run("xhost", open_it)
        refused(member.run(["--x11"]), "lets every local user in", "--x11-trusted")
        assert member.run([*HOST, "--x11-trusted"], ["xdpyinfo"]).returncode == 0
        desktop.run("xhost", close_it)
    desktop.run("xhost", f"+si:localuser:{USER}", check=False)
    assert member.run(["--x11"]).returncode == 0


def test_x11_of_a_server_without_cookies(desktop, member):
    need("xdpyinfo")
    desktop.start_x("-extension", "SECURITY", auth=False)
    refused(member.run(["--x11"]), "lets every local user in")
    assert member.run([*HOST, "--x11-trusted"], ["xdpyinfo"]).returncode == 0


def test_x11_of_a_server_without_security(desktop, member):
    need("xdpyinfo")
    desktop.start_x("-extension", "SECURITY")
    refused(member.run(["--x11"]), "no SECURITY extension", "--x11-trusted")
    done = member.run([*HOST, "--x11-trusted"], ["sh", "-c", "xdpyinfo >/dev/null && xauth list"])
    assert done.returncode == 0, done
    assert cookie_in(done) == desktop.run("xauth", "list").decode().split()[-1]


def test_xauth_not_installed(desktop, member, tmp_path):
    desktop.start_x()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    argv = ["unshare", "--mount", "sh", "-c",
            f"mount -t overlay -o lowerdir=/usr/bin,upperdir={tmp_path}/upper,workdir={tmp_path}/work x /usr/bin && "
            "rm /usr/bin/xauth && exec \"$@\"", "sh", *member.argv("run", "--x11", "t", "true")]
    done = member.service.call(argv, env=desktop.env, cwd="/")
    refused(done, "xauth", "not installed", "package xauth")


COVERS = [
    (["-v", "/tmp:/tmp"], ["bind at /tmp", "/tmp/.X11-unix"]),
    (["-v", "/tmp:/run"], ["bind at /run", "/run/user/0"]),
    (["--tmpfs", "/run"], ["tmpfs at /run", "/run/user/0"]),
    (["--tmpfs", "/run/user/0"], ["tmpfs at /run/user/0"]),
    (["-v", "/tmp:/var/run"], ["/var/run: leads to /run, and would cover /run/user/0"]),
    (["--tmpfs", "/var/run/user"], ["/var/run/user: leads to /run/user, and would cover /run/user/0"]),
    (["--engine", "chroot"], ["engine chroot"]),
]


def test_nothing_covers_the_display(desktop, member):
    desktop.start_x()
    for options, words in COVERS:
        refused(member.run(["--x11", *options]), *words)


def test_engine_that_cannot(instance, desktop):
    """Asked by root, whose own engine chroot is."""
    desktop.start_x()
    env = {name: desktop.env[name] for name in ("DISPLAY", "XAUTHORITY")}
    done = instance.call(["isolate", "run", "--engine", "chroot", "--storage", "dir", "--x11", instance.template,
                          "true"], executable=str(pathlib.Path(instance.env["ISOLATE_LIBEXEC_DIR"]) / "isolate"),
                         env=env)
    assert done.returncode == 125 and "engine chroot cannot hand over a display" in done.stderr, done


# Wayland


def window_on_weston(desktop, member, *options):
    before = desktop.weston_picture()
    process = member.popen([*HOST, "--wayland", *options], ["weston-simple-shm"])
    try:
        wait_until(lambda: changed_area(before, desktop.weston_picture()) or process.poll() is not None, PATIENCE,
                   "the window")
        assert process.poll() is None, process.communicate()
        _, n = changed_area(before, desktop.weston_picture())
        assert n > 10000
    finally:
        interrupt(process)
        process.communicate()
    wait_until(lambda: changed_area(before, desktop.weston_picture()) is None, PATIENCE, "the window's end")


@engines
def test_wayland_window(desktop, member, engine):
    if engine != NATIVE and not LONG:
        pytest.skip("only with --long")
    before = forwarders()
    desktop.start_weston()
    window_on_weston(desktop, member, *through(engine))
    assert not set(forwarders()) - set(before)  # those of a test before may be ending


@pytest.mark.long
def test_wayland_as_another_user(desktop, member):
    """The mode of the compositor's socket is for its owner alone: who runs the command is that."""
    desktop.start_weston()
    desktop.env["WAYLAND_DISPLAY"] = str(desktop.path / "wayland-7")  # absolute, too
    for user in ("0", "user", "1000:1000", "54321"):
        done = member.run([*HOST, "--wayland", "-u", user], ["weston-info"])
        assert done.returncode == 0 and "wl_shm" in done.stdout, done
    done = member.run([*HOST, "--wayland"], ["sh", "-c", "chmod 777 $XDG_RUNTIME_DIR/wayland-0"])
    assert done.returncode != 0 and "Read-only" in done.stderr, done


NO_COMPOSITORS = [
    ({"XDG_RUNTIME_DIR": None}, ["--wayland", "XDG_RUNTIME_DIR is not set"]),
    ({"XDG_RUNTIME_DIR": "run"}, ["--wayland", "XDG_RUNTIME_DIR is not set"]),
    ({}, ["--wayland", "/wayland-0", "No such file"]),
    ({"WAYLAND_DISPLAY": "/none"}, ["--wayland", "/none", "No such file"]),
    ({"WAYLAND_DISPLAY": "wayland-9"}, ["/wayland-9"]),
    ({"WAYLAND_DISPLAY": "/etc/passwd"}, ["/etc/passwd", "Not a socket"]),
    ({"WAYLAND_DISPLAY": "x" * 5000}, ["WAYLAND_DISPLAY", "too long"]),
]


def run_with(desktop, member, env, option):
    """With some variables changed, or not set."""
    member.more["env"] = {name: value for name, value in {**desktop.env, **env}.items() if value is not None}
    return member.run([option])


def test_wayland_that_is_none(desktop, member):
    for env, words in NO_COMPOSITORS:
        refused(run_with(desktop, member, env, "--wayland"), *words)


def forwarders():
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if comm(pid) == "isolate-forward"]


@contextlib.contextmanager
def overlay(path, tmp_path):
    """A file system there that cannot be id-mapped, as a tmpfs cannot before Linux 6.3."""
    for name in ("upper", "work", "lower"):
        (tmp_path / name).mkdir()
    subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,"
                    f"workdir={tmp_path}/work", "x", path], check=True)
    os.chown(path, USER, GROUP)
    os.chmod(path, 0o700)
    try:
        yield
    finally:
        wait_until(lambda: subprocess.run(["umount", path], check=False).returncode == 0, PATIENCE, "the umount")


def test_wayland_where_ids_cannot_be_mapped(desktop, member, tmp_path):
    """The client stands in between, until its end."""
    before = forwarders()
    with overlay(desktop.path, tmp_path):
        weston = desktop.start_weston()
        window_on_weston(desktop, member)
        wait_until(lambda: forwarders() == before, PATIENCE, "the forwarders' end")
        assert [path.name for path in desktop.path.glob("isolate-*")] == []
        # when the server ends, so do connections
        process = member.popen([*HOST, "--wayland"], ["sh", "-c", "weston-simple-shm; weston-info; echo ended"])
        wait_until(lambda: len(forwarders()) >= len(before) + 3, PATIENCE, "a connection")
        desktop.end(weston)
        assert process.communicate(timeout=PATIENCE)[0].strip() == "ended"
        wait_until(lambda: forwarders() == before, PATIENCE, "the forwarders' end")
        for log in desktop.path.glob("*.log"):
            log.unlink()


def test_client_killed_before_its_forwarder_is_ready(desktop, member, tmp_path):
    """At the worst moment: the directory of its socket is being made."""
    before = forwarders()
    with small_disk(tmp_path, 20) as disk, overlay(desktop.path, disk), listening(desktop.path / "wayland-0") as server:
        os.chmod(desktop.path / "wayland-0", 0o700)
        os.chown(desktop.path / "wayland-0", USER, GROUP)
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        try:
            process = member.popen(["--wayland"], ["true"])
            wait_until(lambda: "D" in map(process_state, [process.pid, *children(process.pid)]), PATIENCE, "the mkdir")
            process.kill()
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        process.communicate(timeout=PATIENCE)
        wait_until(lambda: forwarders() == before, PATIENCE, "the forwarder's end")
        assert list(desktop.path.glob("isolate-*")) == []
        server.close()


def test_forwarders_end_with_a_killed_client(desktop, member, tmp_path):
    before = forwarders()
    with overlay(desktop.path, tmp_path), listening(desktop.path / "wayland-0") as server:
        os.chmod(desktop.path / "wayland-0", 0o700)
        os.chown(desktop.path / "wayland-0", USER, GROUP)
        process = member.sleeper("--wayland")
        wait_until(lambda: len(forwarders()) > len(before), PATIENCE, "the forwarder")
        process.kill()
        process.communicate()
        wait_until(lambda: forwarders() == before, PATIENCE, "the forwarder's end")
        assert list(desktop.path.glob("isolate-*")) == []
        # detached there is no client to stand in between
        refused(member.run(["--wayland", "-d"]), "cannot be id-mapped", "wayland-0")
        # a mode that lets everybody in is enough
        os.chmod(desktop.path / "wayland-0", 0o777)
        assert member.run(["--wayland", "-d"], ["true"]).returncode == 0
        assert forwarders() == before
        server.close()


def test_wayland_of_another_group(desktop, member):
    """A gid that is not the caller's is nobody's inside, and the kernel lets nobody write there."""
    desktop.start_weston()
    os.chown(desktop.path / "wayland-7", USER, 1)
    done = member.run([*HOST, "--wayland"], ["weston-info"])
    assert done.returncode == 0 and "wl_shm" in done.stdout, done
    refused(member.run(["--wayland", "-d"]), f"belongs to {USER}:1")


def test_wayland_of_somebody_else(desktop, instance):
    """Root may connect to it, but would be nobody there inside; and with --owner it is the owner."""
    need("weston")
    desktop.start_weston()
    env = {"WAYLAND_DISPLAY": str(desktop.path / "wayland-7")}
    for options in ([], ["--owner", pwd.getpwuid(USER).pw_name]):
        done = instance.run([*HOST, "--wayland", *options], ["weston-info"], env=env)
        assert done.returncode == 0 and "wl_shm" in done.stdout, done
    if instance.resident:
        done = instance.run(["--wayland", "-d"], env=env)
        assert done.returncode == 125 and f"belongs to {USER}" in done.stderr and "--owner" in done.stderr, done


# sound


def hear(desktop, recorder, play):
    """How much of the tone is recorded while play() runs, which lasts a second."""
    with open(desktop.path / "heard", "wb") as file:
        recording = desktop.start(*recorder, stdout=file)
        wait_until(lambda: (desktop.path / "heard").stat().st_size > 0, PATIENCE, "the recording")
        play()
        desktop.end(recording)
    return heard_tone((desktop.path / "heard").read_bytes())


@pytest.mark.long
@engines
def test_pulseaudio(desktop, member, engine):
    tone = desktop.write_tone()
    desktop.start_pulseaudio()
    recorder = ["parec", "-d", "n.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=1"]

    def play():
        done = member.run([*HOST, "--audio", "-v", f"{tone}:/tone.wav:ro", *through(engine)], ["paplay", "/tone.wav"])
        assert done.returncode == 0, done

    assert 300 < hear(desktop, recorder, play) < 1100
    look = member.run([*HOST, "--audio", *through(engine)], ["sh", "-c", "env; stat -c '%a %u' $PULSE_COOKIE ${PULSE_SERVER#unix:}"])
    assert "PULSE_SERVER=unix:/run/user/0/pulse/native\n" in look.stdout, look
    assert "PIPEWIRE_REMOTE" not in look.stdout
    assert "\n600 0\n777 " in look.stdout, look
    # without the cookie it is a stranger
    done = member.run([*HOST, "--audio", "-e", "PULSE_COOKIE=/dev/null"], ["pactl", "info"])
    assert done.returncode != 0, done


@pytest.mark.long
def test_pulseaudio_records(desktop, member):
    """And the other way round: a tone that is played outside is heard inside."""
    tone = desktop.write_tone(3)
    desktop.start_pulseaudio()
    playing = desktop.start("paplay", "-d", "n", str(tone))
    done = member.run([*HOST, "--audio"], ["sh", "-c", "timeout 2 parec -d n.monitor --raw --format=s16le --rate=48000 "
                                           "--channels=1"], text=False)
    desktop.end(playing)
    assert heard_tone(done.stdout) > 300


@pytest.mark.long
@engines
def test_pipewire(desktop, member, engine):
    tone = desktop.write_tone()
    desktop.start_pipewire()
    recording = desktop.start("pw-record", "-P", "{ stream.capture.sink=true }", "--target", "n", "--channels", "1",
                              "--rate", "48000", "--format", "s16", str(desktop.path / "heard.wav"))
    wait_until(lambda: b"pw-record" in desktop.run("pw-link", "-l"), PATIENCE, "the recording's link")
    done = member.run([*HOST, "--audio", "-v", f"{tone}:/tone.wav:ro", *through(engine)],
                      ["pw-play", "--target", "n", "/tone.wav"])
    assert done.returncode == 0, done
    desktop.end(recording)
    assert 300 < heard_tone((desktop.path / "heard.wav").read_bytes()[44:]) < 1100
    look = member.run([*HOST, "--audio", *through(engine)], ["env"])
    assert "PIPEWIRE_REMOTE=pipewire-0\n" in look.stdout and "PULSE" not in look.stdout, look


NO_SOUNDS = [
    ({}, ["--audio", "no sound server", "pulse/native", "pipewire-0"]),
    ({"XDG_RUNTIME_DIR": None}, ["--audio", "no sound server", "not set"]),
    ({"PULSE_SERVER": "tcp:localhost:4713"}, ["PULSE_SERVER", "network"]),
    ({"PULSE_SERVER": "unix:/none"}, ["--audio", "/none"]),
    ({"PULSE_SERVER": "{0123}unix:/etc/passwd"}, ["/etc/passwd", "Not a socket"]),
    ({"PIPEWIRE_REMOTE": "pipewire-9"}, ["--audio", "/pipewire-9"]),
    ({"PIPEWIRE_REMOTE": "/none"}, ["--audio", "/none"]),
    ({"PIPEWIRE_REMOTE": "pipewire-9", "XDG_RUNTIME_DIR": None}, ["PIPEWIRE_REMOTE", "XDG_RUNTIME_DIR"]),
]


def test_sound_that_is_none(desktop, member):
    if pathlib.Path("/run/pulse/native").exists():
        pytest.skip("this machine has a sound server for all")
    for env, words in NO_SOUNDS:
        refused(run_with(desktop, member, env, "--audio"), *words)


def listening(path):
    path.parent.mkdir(exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    os.chmod(path, 0o777)
    server.listen()
    return server


def test_sound_cookie_and_ended_servers(desktop, member):
    """A named cookie must be there; the socket of a server that has ended counts for nothing beside one
    that lives, unless it was named."""
    with listening(desktop.path / "pipewire-0") as dead:
        dead.close()
        with listening(desktop.path / "pulse" / "native"):
            done = member.run(["--audio"], ["env"])
            assert "PULSE_SERVER=" in done.stdout and "PIPEWIRE" not in done.stdout, done
            desktop.env["PIPEWIRE_REMOTE"] = "pipewire-0"
            refused(member.run(["--audio"]), "PipeWire", "nobody listens")
            del desktop.env["PIPEWIRE_REMOTE"]
            desktop.env["PULSE_COOKIE"] = "/no/cookie"
            refused(member.run(["--audio"]), "cookie", "/no/cookie", "No such file")
            desktop.env["PULSE_COOKIE"] = "/usr/bin/env"
            refused(member.run(["--audio"]), "cookie", "/usr/bin/env")
        del desktop.env["PULSE_COOKIE"]
        refused(member.run(["--audio"]), "nobody listens")


# the original's command line


def original(desktop, service, *arguments):
    return subprocess.Popen([*desktop.prefix, str(service.programs / "isolate"), *arguments],
                            env={**service.env, **desktop.env}, cwd="/", stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@needs_bwrap
def test_original_x11(desktop, service):
    """-1 of an ordinary user, who needs no daemon, on the machine's own root; and of root."""
    need("xdpyinfo")
    desktop.start_x()
    command = ["sh", "-c", "xdpyinfo | grep -c SECURITY; stat -c '%a %u' $XDG_RUNTIME_DIR $XAUTHORITY; ls /proc/self/fd"]
    process = original(desktop, service, "-1", "-t", "/", *command)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and out.split() == ["1", "700", str(USER), "600", str(USER), "0", "1", "2", "3"], (
        out, errors)
    assert "control everything" in errors
    desktop.env["DISPLAY"] = ""
    process = original(desktop, service, "-1", "-t", "/", "true")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 125 and "DISPLAY is not set" in errors
    process = original(desktop, service, "-2", "-t", "/", "true")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 125 and "no sound server" in errors


@pytest.mark.long
@needs_bwrap
def test_original_pulseaudio(desktop, service):
    tone = desktop.write_tone()
    desktop.start_pulseaudio()
    recorder = ["parec", "-d", "n.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=1"]

    def play():
        process = original(desktop, service, "-2", "-d", f"{tone}:/tmp/tone.wav", "-t", "/", "paplay", "/tmp/tone.wav")
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (out, errors)

    assert 300 < hear(desktop, recorder, play) < 1100


def test_original_x11_of_root(desktop, instance, rootfs):
    desktop.start_x()
    env = {name: desktop.env[name] for name in ("DISPLAY", "XAUTHORITY")}
    done = instance.isolate("-e", "native", "-1", "-t", str(rootfs), "env", env=env)
    assert done.returncode == 0 and "DISPLAY=:7700.0\n" in done.stdout, done
    assert "control everything" in done.stderr
