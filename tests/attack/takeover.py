# SPDX-License-Identifier: Apache-2.0
"""Taking a process over, as somebody has who found a hole in it: root stops it by ptrace(2) and has it
make system calls of our choice, with or without its own filter in force."""

import contextlib
import ctypes
import os
import platform
import re
import signal
import struct

import pytest

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
SINGLESTEP, GETREGS, SETREGS, DETACH = 9, 12, 13, 17
SEIZE, INTERRUPT = 0x4206, 0x4207
SUSPEND_SECCOMP = 1 << 21
REGISTERS = """r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base
gs_base ds es fs gs""".split()

needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="knows the registers of x86_64 only")

# numbers of x86_64
CALLS = dict(read=0, write=1, open=2, stat=4, mmap=9, dup=32, getpid=39, socket=41, connect=42, accept=43, fork=57,
             clone=56, execve=59, kill=62, setuid=105, setgid=106, ptrace=101, setns=308, chroot=161, mount=165,
             umount2=166, mkdir=83, unshare=272, openat=257, process_vm_readv=310, pidfd_open=434, pidfd_getfd=438,
             capset=126, prctl=157, setrlimit=160, prlimit64=302, bpf=321, io_uring_setup=425, keyctl=250,
             setresuid=117, setgroups=116, mknod=133, open_by_handle_at=304, reboot=169, perf_event_open=298,
             userfaultfd=323, bind=49, listen=50, socketpair=53, sched_setaffinity=203, name_to_handle_at=303,
             init_module=175, swapon=167, kexec_load=246, memfd_create=319, shmget=29)


def ptrace(request, pid, address=None, data=None):
    ctypes.set_errno(0)
    result = LIBC.ptrace(request, pid, address, data)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class TakenOver:
    """A process that does what we say. Stops it; free() lets it go on as if nothing had been."""

    def __init__(self, pid, without_filter):
        self.pid = pid
        try:
            ptrace(SEIZE, pid, None, SUSPEND_SECCOMP if without_filter else 0)
        except OSError as error:
            pytest.skip(f"this kernel cannot suspend a filter: {error}")
        ptrace(INTERRUPT, pid)
        os.waitpid(pid, 0x40000000) # __WALL
        self.saved = self.registers()
        self.memory = open(f"/proc/{pid}/mem", "r+b", buffering=0)
        self.syscall = self.find_syscall()

    def registers(self):
        data = (ctypes.c_ulonglong * len(REGISTERS))()
        ptrace(GETREGS, self.pid, None, ctypes.byref(data))
        return dict(zip(REGISTERS, data))

    def set_registers(self, values):
        data = (ctypes.c_ulonglong * len(REGISTERS))(*(values[name] for name in REGISTERS))
        ptrace(SETREGS, self.pid, None, ctypes.byref(data))

    def find_syscall(self):
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as maps:
            for line in maps:
                first, last, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
                if "x" not in rights or "[" in line:
                    continue
                self.memory.seek(int(first, 16))
                at = self.memory.read(int(last, 16) - int(first, 16)).find(b"\x0f\x05")
                if at >= 0:
                    return int(first, 16) + at
        raise AssertionError("no system call instruction in its text")

    def put(self, data, offset=0):
        """Where it lies in its memory then: far below its stack pointer."""
        place = (self.saved["rsp"] - 16384 + offset) & ~15
        self.memory.seek(place)
        self.memory.write(data)
        return place

    def get(self, place, length):
        self.memory.seek(place)
        return self.memory.read(length)

    def prepare(self, name, *arguments):
        """Its next instruction is that call; bytes are put into its memory."""
        values = []
        for i, argument in enumerate(arguments):
            values.append(self.put(argument, 1024 * i) if isinstance(argument, bytes) else argument & (1 << 64) - 1)
        values += [0] * (6 - len(values))
        registers = dict(self.saved, rip=self.syscall, rax=CALLS[name], orig_rax=(1 << 64) - 1)
        registers.update(zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), values))
        self.set_registers(registers)

    def call(self, name, *arguments):
        """The result, or -errno."""
        self.prepare(name, *arguments)
        stopped_by = None
        while stopped_by != signal.SIGTRAP: # signals come first, and are kept from it
            ptrace(SINGLESTEP, self.pid)
            _, status = os.waitpid(self.pid, 0x40000000)
            assert os.WIFSTOPPED(status), f"{name} ended it: {status}"
            stopped_by = os.WSTOPSIG(status)
        return struct.unpack("q", struct.pack("Q", self.registers()["rax"]))[0]

    def let_go_with(self, name, *arguments):
        """It makes that call with nobody looking, so that its parent hears of its end as of any other."""
        self.prepare(name, *arguments)
        ptrace(DETACH, self.pid)
        self.memory.close()

    def free(self):
        with contextlib.suppress(OSError):
            self.set_registers(self.saved)
            ptrace(DETACH, self.pid)
        self.memory.close()
