# SPDX-License-Identifier: Apache-2.0
"""Real servers of displays and of sound for one user, and pictures and tones taken from them. They run
with that user's uid in a directory of its own, which is the user's XDG_RUNTIME_DIR and home."""

import math
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import wave

import pytest

from sandboxes import PATIENCE, wait_until

# Debian's packages of the programs that these tests need
PACKAGES = {
    "Xvfb": "xvfb", "xauth": "xauth", "xwd": "x11-apps", "xclock": "x11-apps", "xwininfo": "x11-utils",
    "xdpyinfo": "x11-utils", "xhost": "x11-xserver-utils", "weston": "weston", "convert": "imagemagick",
    "pulseaudio": "pulseaudio", "paplay": "pulseaudio-utils", "pipewire": "pipewire", "pw-play": "pipewire-bin",
    "wireplumber": "wireplumber", "dbus-daemon": "dbus-daemon",
}

# of the machine, for a template that has none of these programs
HOST = [word for directory in ("/usr", "/etc/fonts", "/etc/X11", "/etc/pulse", "/etc/alternatives")
        if os.path.isdir(directory) for word in ("-v", f"{directory}:{directory}:ro")]

RATE = 48000
TONE_HZ = 1000


def need(*programs):
    missing = sorted({PACKAGES[program] for program in programs if not shutil.which(program)})
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")


def listens(path):
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(str(path)) == 0


class Desktop:
    """What one user has running. `env` is what a session of that user has set."""

    def __init__(self, uid):
        self.uid = uid
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="isolate-desktop-", dir="/tmp"))
        gid = pwd.getpwuid(uid).pw_gid
        os.chown(self.path, uid, gid)
        self.prefix = ["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", "--"]
        self.env = {"HOME": str(self.path), "XDG_RUNTIME_DIR": str(self.path)}
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)
        shutil.rmtree(self.path)

    def _environment(self):
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **self.env}

    def start(self, *argv, **kw):
        """A process that lives until the end, or until end()."""
        with open(self.path / f"{argv[0]}.log", "ab") as log:
            kw.setdefault("stdout", log)
            process = subprocess.Popen([*self.prefix, *argv], env=self._environment(), cwd=self.path,
                                       stdin=subprocess.DEVNULL, stderr=log, start_new_session=True, **kw)
        self.processes.append(process)
        return process

    def end(self, process):
        """Ends what start() made."""
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
        self.processes.remove(process)

    def run(self, *argv, check=True, **kw):
        """One of the user's programs, to its end; its stdout."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([*self.prefix, *argv], env=self._environment(), cwd=self.path,
                              capture_output=True, timeout=PATIENCE, check=False, **kw)
        assert not check or done.returncode == 0, done
        return done.stdout

    def wait_for_socket(self, path):
        """It is there before its server listens."""
        wait_until(lambda: listens(self.path / path), PATIENCE, f"the socket {path}")

    # X

    def start_x(self, *options, auth=True):
        """Xvfb, on a display that is free; sets DISPLAY and XAUTHORITY."""
        need("Xvfb", "xauth")
        cookie = secrets.token_hex(16)
        server, client = self.path / "server-cookie", self.path / "Xauthority"
        self.env["XAUTHORITY"] = str(server)
        self.run("xauth", "-q", "add", ":0", ".", cookie)
        reading, writing = os.pipe()
        given = ["-auth", str(server)] if auth else []
        process = self.start("Xvfb", "-displayfd", str(writing), "-screen", "0", "320x240x24", "-noreset",
                             "-nolisten", "tcp", *given, *options, pass_fds=(writing,))
        os.close(writing)
        with os.fdopen(reading) as file:
            number = file.readline().strip()
        assert number, (self.path / "Xvfb.log").read_text()
        self.env["DISPLAY"] = f":{number}"
        self.env["XAUTHORITY"] = str(client)
        if auth:
            self.run("xauth", "-q", "add", f":{number}", ".", cookie)
        return process

    def x_windows(self):
        """Names of the windows on the X display."""
        return re.findall(r'"([^"]+)":', self.run("xwininfo", "-root", "-tree").decode())

    def x_picture(self):
        """(width, height, rows of 4 bytes a pixel) of the X display."""
        data = self.run("xwd", "-root", "-silent")
        header = struct.unpack(">25I", data[:100])
        begin = header[0] + 12 * header[19]
        assert header[11] == 32
        rows = [data[at:at + 4 * header[4]]
                for at in range(begin, begin + header[5] * header[12], header[12])]
        return header[4], header[5], rows

    # Wayland

    def start_weston(self):
        """weston without any output but its own memory; sets WAYLAND_DISPLAY."""
        need("weston", "convert")
        process = self.start("weston", "--backend=headless-backend.so", "--use-pixman", "--width=640",
                             "--height=480", "--shell=fullscreen-shell.so", "--socket=wayland-7", "--debug",
                             "--idle-time=0")
        self.wait_for_socket("wayland-7")
        self.env["WAYLAND_DISPLAY"] = "wayland-7"
        return process

    def weston_picture(self):
        self.run("weston-screenshooter")
        [file] = self.path.glob("wayland-screenshot-*.png")
        rgb = subprocess.run(["convert", file, "-depth", "8", "rgb:-"], check=True, capture_output=True).stdout
        file.unlink()
        return 640, 480, [rgb[at:at + 3 * 640] for at in range(0, 3 * 640 * 480, 3 * 640)]

    # sound

    def start_pulseaudio(self):
        """PulseAudio with a sink that plays to nobody, whose monitor is `n.monitor`."""
        need("pulseaudio", "paplay")
        process = self.start("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
                             "-L", "module-null-sink sink_name=n", "-L", "module-native-protocol-unix")
        self.wait_for_socket("pulse/native")
        return process

    def start_pipewire(self):
        """PipeWire with such a sink, called `n`, and what connects streams to it."""
        need("pipewire", "pw-play", "wireplumber", "dbus-daemon")
        self.start("dbus-daemon", "--session", "--nofork", "--nopidfile", "--nosyslog",
                   f"--address=unix:path={self.path}/bus")
        self.wait_for_socket("bus")
        self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={self.path}/bus"
        process = self.start("pipewire")
        self.wait_for_socket("pipewire-0")
        self.run("pw-cli", "create-node", "adapter", "{ factory.name=support.null-audio-sink node.name=n "
                 "media.class=Audio/Sink object.linger=true audio.position=[FL FR] }")
        self.start("wireplumber")
        wait_until(lambda: b"WirePlumber" in self.run("pw-cli", "ls", "Client"), PATIENCE, "wireplumber")
        return process

    def write_tone(self, seconds=1.0):
        path = self.path / "tone.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(b"".join(
                struct.pack("<hh", *[int(12000 * math.sin(2 * math.pi * TONE_HZ * i / RATE))] * 2)
                for i in range(int(RATE * seconds))))
        os.chown(path, self.uid, self.uid)
        return path


def share_of_tone(samples, hertz=TONE_HZ):
    """How much of the power of 16-bit mono samples is at that frequency: 0 to 1 (Goertzel)."""
    total = sum(sample * sample for sample in samples)
    if total == 0:
        return 0.0
    factor = 2 * math.cos(2 * math.pi * hertz / RATE)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    power = last * last + before * before - factor * last * before
    return 2 * power / (total * len(samples))


def heard_tone(data):
    """How many milliseconds of 16-bit mono samples are the tone, loud and pure. A busy machine drops
    some in between."""
    samples = struct.unpack(f"<{len(data) // 2}h", data[:len(data) // 2 * 2])
    step = RATE // 100
    pieces = (samples[at:at + step] for at in range(0, len(samples) - step, step))
    return 10 * sum(max(piece) > 1000 and share_of_tone(piece) > 0.9 for piece in pieces)


def changed_area(before, after):
    """The smallest (left, top, right, bottom) that holds every pixel in which two pictures differ, and
    their number; None where they are the same."""
    size = len(before[2][0]) // before[0]
    rows = [y for y in range(before[1]) if before[2][y] != after[2][y]]
    columns = [x for y in rows for x in range(before[0])
               if before[2][y][x * size:x * size + size] != after[2][y][x * size:x * size + size]]
    return ((min(columns), rows[0], max(columns), rows[-1]), len(columns)) if rows else None


def interrupt(process):
    """Ends a client as ctrl-c would."""
    process.send_signal(signal.SIGINT)
    return process.wait(PATIENCE)
