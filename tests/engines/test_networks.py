# SPDX-License-Identifier: Apache-2.0
"""Cells 45 to 50: what it reaches. All traffic stays on this machine."""

import os
import pathlib
import shutil
import socket

import pytest

from traffic import (CLIENT, NAT, ask, call, dns_answer, free_port, is_open, machine_address, published,
                     resolv_conf, server)

needs_pasta = pytest.mark.skipif(not shutil.which("pasta"), reason="passt is not installed")


def devices(text):
    return {line.split(":")[0].strip() for line in text.splitlines() if ":" in line}


def connect(port):
    """A command that says whether something listens there on its loopback."""
    script = f'use IO::Socket::INET; print IO::Socket::INET->new("127.0.0.1:{port}") ? "yes" : "no"'
    return ["perl", "-e", script]


def test_45_network_none(box):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for options in (["--network", "none"], *([[]] if box.can("isolates") else [])):
            done = box.run(options, ["cat", "/proc/net/dev"])
            if box.refused(done, "isolates"):
                return
            assert devices(done.stdout) == {"lo"}
            assert box.output(options, connect(listener.getsockname()[1])) == "no"


def test_46_network_host(box):
    options = ["--network", "host"]
    assert box.output(options, ["readlink", "/proc/self/ns/net"]).strip() == os.readlink("/proc/self/ns/net")
    assert box.output(options, ["cat", "/etc/resolv.conf"]) == pathlib.Path("/etc/resolv.conf").read_text()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert box.output(options, connect(listener.getsockname()[1])) == "yes"
    if box.can("isolates"):  # and gives no power over it
        assert box.shell("echo 0 >/proc/sys/net/ipv4/ip_nonlocal_bind", options).returncode != 0


@needs_pasta
def test_47_nat_reaches_a_server_on_the_host(box):
    address = machine_address()
    with server(address) as (port, _):
        done = box.run(NAT, ["perl", "-e", CLIENT, "tcp", address, str(port)])
        if not box.refused(done, "isolates"):
            assert (done.returncode, done.stdout) == (0, "machine:hello"), done
    if box.can("isolates"):
        with server("127.0.0.1") as (port, heard):
            assert "machine" not in ask(box, NAT, "tcp", "127.0.0.1", port) and heard == []


@needs_pasta
def test_48_published_port(box):
    port = free_port()
    if not box.can("isolates"):
        box.refused(box.run([*NAT, "-p", f"{port}:80"]), "isolates")
        return
    with published(box, ("-p", f"{port}:80")):
        assert call("127.0.0.1", port) == b"tcp:hello"
    assert not is_open("127.0.0.1", port)


@needs_pasta
def test_49_DNS(box, tmp_path):
    """By a name server on the machine's loopback, as systemd-resolved is."""
    command = ["getent", "ahostsv4", "server.example.net"]
    names = server("127.0.0.153", socket.SOCK_DGRAM, dns_answer, port=53)
    with names, resolv_conf("nameserver 127.0.0.153\n", tmp_path):
        done = box.run(NAT, command)
        if not box.refused(done, "isolates"):
            assert done.returncode == 0 and "192.0.2.99" in done.stdout, done


def test_50_loopback_works(box):
    """By its address and, where isolate provides hosts (changes to it would persist), by its name; a
    network of its own has all ports."""
    names = ["127.0.0.1", *(["localhost"] if box.can("clones") else [])]
    assert box.output([], ["perl", "-e", """
        use IO::Socket::INET;
        my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => shift) or die $@;
        for (@ARGV) { IO::Socket::INET->new(PeerAddr => $_, PeerPort => $s->sockport) or die "$_: $@" }
        print "connected";""", "80" if box.can("isolates") else "0", *names]) == "connected"
