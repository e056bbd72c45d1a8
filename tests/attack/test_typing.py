# SPDX-License-Identifier: Apache-2.0
"""Attacks 1 to 4: typing into the caller's terminal by TIOCSTI and TIOCLINUX, with high bits in the
request, by int 0x80 and by the x32 numbers.

The caller's terminal is a private pty that is nobody's controlling terminal, so that the attacker
can make it its own: then only the filter stands between. Control: the same program on such a pty
without a filter, as an ordinary user where dev.tty.legacy_tiocsti=1, else as root. For TIOCLINUX,
which only consoles know, it is a virtual console that nobody uses."""

import array
import fcntl
import os
import pathlib
import subprocess
import termios
import tty

import pytest

from instance import NOBODY, parse, wait_until

VT_DISALLOCATE = 0x5608


class Terminal:
    """A pty that shows what was typed into it."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)

    def typed(self):
        waiting = array.array("i", [0])
        fcntl.ioctl(self.slave, termios.FIONREAD, waiting)
        return os.read(self.slave, waiting[0]) if waiting[0] else b""

    def close(self):
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def outside(instance, program, fd, user=None):
    command = [str(instance.programs / program)]
    if user:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                   "--no-new-privs", *command]
    done = subprocess.run(command, stdin=fd, capture_output=True, text=True, timeout=60, check=True)
    return parse(done.stdout)


def control_user():
    legacy = pathlib.Path("/proc/sys/dev/tty/legacy_tiocsti")
    return NOBODY if not legacy.exists() or legacy.read_text().strip() == "1" else None


VARIANTS = {"default": (), "terminal": ("-t",), "user": ("-u", "1000:1000")}


@pytest.mark.parametrize("number,what", [(1, "tiocsti"), (1, "tiocsti_dev_tty"),
                                         (2, "tiocsti_high_bits")])
def test_typing(instance, judge, terminal, number, what):
    native = {variant: instance.attack("tty", stdin=terminal.slave, options=options)[what]
              for variant, options in VARIANTS.items()}
    assert terminal.typed() == b"", "something was typed into the caller's terminal"
    control = outside(instance, "tty", terminal.slave, control_user())
    assert b"A" in terminal.typed()
    judge(number, what, native, control[what], {"EPERM"})


def give_back(number):
    try:
        with open("/dev/tty0", "rb") as current:
            fcntl.ioctl(current, VT_DISALLOCATE, number)
    except OSError:
        return False
    return True


@pytest.fixture
def console():
    """A virtual console that nobody uses; it is given back to the kernel."""
    free = [n for n in range(63, 1, -1) if not os.path.exists(f"/dev/vcs{n}")]
    try:
        fd = os.open(f"/dev/tty{free[0]}", os.O_RDWR | os.O_NOCTTY)
    except (OSError, IndexError) as error:
        pytest.skip(f"no virtual console to spare: {error}")
    yield fd
    termios.tcflush(fd, termios.TCIOFLUSH)
    os.close(fd)
    assert wait_until(lambda: give_back(free[0])), "the console stays allocated"


@pytest.mark.parametrize("number,what", [(4, "tioclinux"), (2, "tioclinux_high_bits")])
def test_pasting(instance, judge, console, number, what):
    native = instance.attack("tty", stdin=console)
    control = outside(instance, "tty", console)
    judge(number, what, native[what], control[what], {"EPERM"}, missing={"EINVAL"})


@pytest.mark.parametrize("what", ["int80_getpid", "int80_unshare", "int80_tiocsti", "x32_getpid",
                                  "x32_unshare", "x32_tiocsti", "x32_plain_ioctl"])
def test_other_doors(instance, judge, terminal, what):
    native = instance.attack("syscall_abi", stdin=terminal.slave)
    assert terminal.typed() == b""
    control = outside(instance, "syscall_abi", terminal.slave)
    judge(3, what, native[what], control[what], {"SIGSYS", "ENOSYS"})


@pytest.mark.parametrize("what", ["int80_unshare", "int80_tiocsti", "int80_chmod_set_id", "x32_getpid", "x32_unshare",
                                  "x32_tiocsti", "x32_plain_ioctl"])
def test_with_the_door_of_32_bits_open(instance, judge, terminal, what):
    """--personality 32bit opens int 0x80 to what the other door lets through, and to nothing else."""
    native = instance.attack("syscall_abi", stdin=terminal.slave, options=("--personality", "32bit",
                             "-v", f"{instance.path('bound-' + what)}:/attack/bound"))
    os.rmdir(instance.directory / f"bound-{what}")
    assert terminal.typed() == b""
    assert native["int80_getpid"] == "SUCCEEDED"
    control = outside(instance, "syscall_abi", terminal.slave)
    judge(3, f"with 32bit: {what}", native[what], control[what],
          {"SIGSYS"} if what.startswith("x32") else {"EPERM"})
