# SPDX-License-Identifier: Apache-2.0
"""Servers and clients at both ends of a sandbox's network. All traffic stays on this machine: servers
of the tests' own at its addresses."""

import contextlib
import os
import re
import socket
import subprocess
import threading

import pytest

from sandboxes import PATIENCE

NAT = ("--network", "nat")

# `connect ADDRESS PORT [INTERFACE]`: prints what a server says, or the error's name. Waits for a
# second at most
CLIENT = r"""
use Socket qw(:all); use Errno; use IO::Socket;
my ($kind, $address, $port, $interface) = @ARGV;
my $six = $address =~ /:/;
my $to = $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address))
              : pack_sockaddr_in($port, inet_aton($address));
socket(my $s, $six ? AF_INET6 : AF_INET, $kind eq "udp" ? SOCK_DGRAM : SOCK_STREAM, 0) or die;
setsockopt($s, SOL_SOCKET, 25, "$interface\0") or die "SO_BINDTODEVICE: $!" if $interface;
$SIG{ALRM} = sub { print "silence"; exit };
alarm 1;
connect($s, $to) or do { my %n = map { Errno->can($_)->() => $_ } keys %!; print $n{$!+0}; exit };
syswrite $s, "hello"; sysread $s, my $answer, 100; print $answer // "end";
"""

# accepts one connection (or datagram) at PORT, answers what it hears, and who that came from
SERVER = r"""
use Socket qw(:all); use IO::Handle; STDOUT->autoflush;
my ($kind, $port) = @ARGV;
socket(my $s, AF_INET, $kind eq "udp" ? SOCK_DGRAM : SOCK_STREAM, 0) or die;
setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1); bind($s, pack_sockaddr_in($port, INADDR_ANY)) or die "$!";
if ($kind eq "udp") { print "up\n"; my $from = recv $s, my $data, 100, 0; send $s, "udp:$data", 0, $from; }
else { listen $s, 5; print "up\n"; accept my $c, $s; sysread $c, my $data, 100; syswrite $c, "tcp:$data"; }
sysread STDIN, my $end, 1;
"""


def ask(box, options, kind, address, port, *interface):
    command = ("perl", "-e", CLIENT, kind, address, str(port), *interface)
    return box.output(options, command)


def machine_address(family=socket.AF_INET):
    """An address of this machine that is not loopback."""
    shown = subprocess.run(["ip", "-o", "-4" if family == socket.AF_INET else "-6", "addr", "show", "scope", "global"],
                           capture_output=True, text=True, check=True).stdout
    found = re.search(r"inet6? ([0-9a-f.:]+)/", shown)
    if not found:
        pytest.skip("this machine has no address but loopback")
    return found[1]


@contextlib.contextmanager
def server(address, kind=socket.SOCK_STREAM, answer=lambda data: b"machine:" + data, port=0):
    """A server of the machine's own; yields its port and the list of whom it heard."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    heard = []
    with socket.socket(family, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if kind == socket.SOCK_STREAM:
            listener.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    if kind == socket.SOCK_STREAM:
                        connection, peer = listener.accept()
                        with connection:
                            heard.append(peer)
                            connection.sendall(answer(connection.recv(100)))
                    else:
                        data, peer = listener.recvfrom(2000)
                        if not peer:  # shut down
                            return
                        heard.append(peer)
                        listener.sendto(answer(data), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(PATIENCE)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def published(box, options, kind="tcp", port=80):
    """A sandbox that listens; ends when the block does."""
    process = box.popen((*NAT, *options), ("perl", "-e", SERVER, kind, str(port)), stdin=subprocess.PIPE)
    try:
        line = process.stdout.readline()
        assert line == "up\n", process.communicate()
        yield process
        process.stdin.close()
        assert process.wait(PATIENCE) == 0, process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def call(address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(10)
        client.connect((address, port))
        client.sendall(b"hello")
        return client.recv(100)


def is_open(address, port):
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex((address, port)) == 0


@contextlib.contextmanager
def resolv_conf(text, directory):
    """Another /etc/resolv.conf for this mount namespace and the daemon in it."""
    file = directory / "resolv.conf"
    file.write_text(text)
    place = os.path.realpath("/etc/resolv.conf")
    subprocess.run(["mount", "--bind", file, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def dns_answer(data):
    """192.0.2.99 for whatever is asked (type A), nothing for others."""
    question = data[12:data.index(b"\0", 12) + 5]
    is_a = question[-4:-2] == b"\0\1"
    head = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + bytes([192, 0, 2, 99])
    return head + question + (record if is_a else b"")
